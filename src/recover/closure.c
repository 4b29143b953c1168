/* SPDX-License-Identifier: MIT */
/* The closure of some migrations under their dependencies. */
#include "recover/closure.h"

#include <stdlib.h>
#include <string.h>

static size_t index_of(const struct migration_set *set, const char *version)
{
    const struct migration *migration = migration_set_find(set, version);
    return migration ? (size_t)(migration - set->migrations) : set->count;
}

/* The set is in an order in which dependencies come first, so one walk from the end marks them all.
 */
static void mark_dependencies(const struct migration_set *set, bool *wanted)
{
    for (size_t i = set->count; i-- > 0;) {
        const struct migration *migration = &set->migrations[i];
        if (!wanted[i])
            continue;
        if (!migration->depends_declared && i > 0)
            wanted[i - 1] = true;
        for (size_t d = 0; d < migration->depends_count; d++) {
            size_t found = index_of(set, migration->depends[d]);
            if (found < set->count)
                wanted[found] = true;
        }
    }
}

bool closure_make(struct closure *closure, const struct migration_set *set,
                  const struct plan *whole, const char *const *versions, size_t count,
                  struct database *database, const struct plan_limits *limits, struct error *error)
{
    *closure = (struct closure){.set = {.directory = set->directory}};
    bool *wanted = calloc(set->count + 1, sizeof *wanted);
    closure->set.migrations = calloc(set->count + 1, sizeof *closure->set.migrations);
    if (!wanted || !closure->set.migrations) {
        free(wanted);
        closure_free(closure);
        return error_set(error, ERROR_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        size_t found = index_of(set, versions[i]);
        if (found < set->count)
            wanted[found] = true;
    }
    mark_dependencies(set, wanted);
    for (size_t i = 0; i < set->count; i++) {
        bool pending = false;
        for (size_t p = 0; p < whole->count; p++)
            pending = pending || whole->entries[p].migration == &set->migrations[i];
        if (wanted[i] || !pending)
            closure->set.migrations[closure->set.count++] = set->migrations[i];
    }
    free(wanted);
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
    *closure = (struct closure){0};
}
