/* SPDX-License-Identifier: MIT */
/* The set of migrations: loads the operator's directory once. The set owns all it holds. Any
 * thread. */
#include "migrate/migration.h"

#include <stdio.h>
#include <stdlib.h>

#include "migrate/formats/native.h"
#include "migrate/graph.h"
#include "migrate/source.h"

const char *risk_name(enum risk risk)
{
    static const char *const names[] = {"green", "yellow", "red"};
    return names[risk];
}

/* The digits of a version without leading zeros; *is_number: there is nothing else. Loops of our
 * own: every look-up compares versions, and strspn would set up a table each time. */
static struct slice digits_of(const char *version, bool *is_number)
{
    const char *begin = version, *end;
    while (*begin == '0')
        begin++;
    for (end = begin; *end >= '0' && *end <= '9'; end++) {
    }
    *is_number = *end == '\0' && end > version;
    return slice_make(begin, (size_t)(end - begin));
}

int version_compare(const char *a, const char *b)
{
    bool a_is_number, b_is_number;
    struct slice left = digits_of(a, &a_is_number), right = digits_of(b, &b_is_number);
    if (!a_is_number || !b_is_number)
        return a_is_number != b_is_number ? (a_is_number ? -1 : 1) : strcmp(a, b);
    if (left.length != right.length)
        return left.length < right.length ? -1 : 1;
    return memcmp(left.data, right.data, left.length);
}

static void migration_free(struct migration *migration)
{
    free(migration->version);
    free(migration->name);
    free(migration->file_name);
    free(migration->path);
    free(migration->text);
    for (size_t i = 0; i < migration->depends_count; i++)
        free(migration->depends[i]);
    free(migration->depends);
}

/* "001_zero_trust.sql" is version 001, name zero_trust. */
static bool migration_name(struct migration *migration, const char *directory,
                           const char *file_name, struct error *error)
{
    size_t digits = strspn(file_name, "0123456789");
    const char *name = file_name + digits;
    if (*name == '_' || *name == '-' || *name == ' ')
        name++;
    const char *end = file_name + strlen(file_name) - 4;
    if (end < name)
        end = name;
    migration->version = slice_to_string(slice_make(file_name, digits));
    migration->name = slice_to_string(slice_make(name, (size_t)(end - name)));
    migration->file_name = slice_to_string(slice_from_string(file_name));
    if (asprintf(&migration->path, "%s/%s", directory, file_name) < 0)
        migration->path = NULL;
    if (migration->version && migration->name && migration->file_name && migration->path)
        return true;
    return error_set(error, ERROR_MEMORY, "%s/%s: out of memory; free some and try again",
                     directory, file_name);
}

static bool migration_load(struct migration *migration, const char *directory,
                           const char *file_name, struct error *error)
{
    if (!migration_name(migration, directory, file_name, error) ||
        !source_read(migration->path, &migration->text, &migration->text_length, error))
        return false;
    source_checksum(migration->text, migration->text_length, migration->checksum);
    return native_parse(migration, error);
}

/* Adds one file; the array grows by doubling, which the count being a power of two shows. */
static bool found(void *context, const char *file_name, struct error *error)
{
    struct migration_set *set = context;
    if (set->count == MIGRATION_COUNT_LIMIT)
        return error_set(error, ERROR_CONFIGURATION,
                         "%s holds more than %d migrations; squash some of them into one",
                         set->directory, MIGRATION_COUNT_LIMIT);
    if ((set->count & (set->count - 1)) == 0) {
        size_t capacity = set->count ? 2 * set->count : 1;
        struct migration *grown = realloc(set->migrations, capacity * sizeof *grown);
        if (!grown)
            return error_set(error, ERROR_MEMORY, "%s: out of memory; free some and try again",
                             set->directory);
        set->migrations = grown;
    }
    struct migration *migration = &set->migrations[set->count];
    *migration = (struct migration){0};
    set->count++; /* freed with the set, also when the rest fails */
    return migration_load(migration, set->directory, file_name, error);
}

bool migration_set_load(struct migration_set *set, const char *directory, struct error *error)
{
    *set = (struct migration_set){.directory = slice_to_string(slice_from_string(directory))};
    bool good =
        set->directory ||
        error_set(error, ERROR_MEMORY, "%s: out of memory; free some and try again", directory);
    const struct source_visitor visitor = {found, set};
    good = good && source_list(directory, &visitor, error) && graph_order(set, error);
    if (!good)
        migration_set_free(set);
    return good;
}

void migration_set_free(struct migration_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        migration_free(&set->migrations[i]);
    free(set->migrations);
    free(set->by_version);
    free(set->directory);
    *set = (struct migration_set){0};
}

const struct migration *migration_set_find(const struct migration_set *set, const char *version)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct migration *migration = &set->migrations[set->by_version[middle]];
        int order = version_compare(version, migration->version);
        if (order == 0)
            return migration;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
