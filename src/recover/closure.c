/* SPDX-License-Identifier: MIT */
/* The closure of some migrations under their dependencies. */
#include "recover/closure.h"

#include <stdlib.h>
#include <string.h>

static const size_t LEFT_OUT = SIZE_MAX;

static size_t index_of(const struct migration_set *set, const char *version)
{
    const struct migration *migration = migration_set_find(set, version);
    return migration ? (size_t)(migration - set->migrations) : set->count;
}

/* The set is in an order in which dependencies come first, so one walk from the end marks them all.
 * `places`: of each in the order of versions, in which what declares nothing has its predecessor.
 */
static void mark_dependencies(const struct migration_set *set, const size_t *places, bool *wanted)
{
    for (size_t i = set->count; i-- > 0;) {
        const struct migration *migration = &set->migrations[i];
        if (!wanted[i])
            continue;
        if (!migration->depends_declared && places[i] > 0)
            wanted[set->by_version[places[i] - 1]] = true;
        for (size_t d = 0; d < migration->depends_count; d++) {
            size_t found = index_of(set, migration->depends[d]);
            if (found < set->count)
                wanted[found] = true;
        }
    }
}

/* The wanted ones, and what is applied. `places` becomes the place of each in the new set. */
static void take_part(struct migration_set *part, const struct migration_set *set,
                      const struct plan *whole, const bool *wanted, size_t *places)
{
    for (size_t i = 0; i < set->count; i++)
        places[i] = 0;
    for (size_t i = 0; i < whole->count; i++) {
        size_t pending = (size_t)(whole->entries[i].migration - set->migrations);
        if (!wanted[pending])
            places[pending] = LEFT_OUT;
    }
    for (size_t i = 0; i < set->count; i++) {
        if (places[i] == LEFT_OUT)
            continue;
        places[i] = part->count;
        part->migrations[part->count++] = set->migrations[i];
    }
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (places[set->by_version[i]] != LEFT_OUT)
            part->by_version[count++] = places[set->by_version[i]];
    }
}

static bool make_set(struct migration_set *part, const struct migration_set *set,
                     const struct plan *whole, const char *const *versions, size_t count)
{
    bool *wanted = calloc(set->count + 1, sizeof *wanted);
    size_t *places = calloc(set->count + 1, sizeof *places);
    part->migrations = calloc(set->count + 1, sizeof *part->migrations);
    part->by_version = calloc(set->count + 1, sizeof *part->by_version);
    bool good = wanted && places && part->migrations && part->by_version;
    for (size_t i = 0; good && i < count; i++) {
        size_t found = index_of(set, versions[i]);
        if (found < set->count)
            wanted[found] = true;
    }
    if (good) {
        for (size_t i = 0; i < set->count; i++)
            places[set->by_version[i]] = i;
        mark_dependencies(set, places, wanted);
        take_part(part, set, whole, wanted, places);
    }
    free(wanted);
    free(places);
    return good;
}

bool closure_make(struct closure *closure, const struct migration_set *set,
                  const struct plan *whole, const char *const *versions, size_t count,
                  struct database *database, const struct plan_limits *limits, struct error *error)
{
    *closure = (struct closure){.set = {.directory = set->directory}};
    if (!make_set(&closure->set, set, whole, versions, count)) {
        closure_free(closure);
        return error_set(error, ERROR_MEMORY, "out of memory");
    }
    if (plan_make(&closure->plan, &closure->set, database, limits, error))
        return true;
    closure->plan = (struct plan){0};
    closure_free(closure);
    return false;
}

void closure_free(struct closure *closure)
{
    plan_free(&closure->plan);
    free(closure->set.migrations);
    free(closure->set.by_version);
    *closure = (struct closure){0};
}
