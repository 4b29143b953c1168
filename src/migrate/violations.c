/* SPDX-License-Identifier: MIT */
/* Counting foreign-key violations with PRAGMA foreign_key_check, one table at a time, since it
 * gives up at the first key that it cannot check. */
#include "migrate/violations.h"

#include <stdlib.h>

#include "base/slice.h"

static bool failed(struct database *database, int result, struct error *error)
{
    return database_error(database->handle, result, "foreign keys", error);
}

static bool is_among(const char *name, char *const *tables, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (string_compare_ignore_case(name, tables[i]) == 0)
            return true;
    }
    return false;
}

static bool add_key(struct violations *violations, const char *child, int64_t id,
                    const char *parent, const char *columns)
{
    struct violation *grown = reallocarray(violations->keys, violations->count + 1, sizeof *grown);
    if (!grown)
        return false;
    violations->keys = grown;
    struct violation *key = &grown[violations->count++];
    *key = (struct violation){.child = slice_to_string(slice_from_string(child)),
                              .parent = slice_to_string(slice_from_string(parent)),
                              .columns = slice_to_string(slice_from_string(columns)),
                              .id = id};
    return key->child && key->parent && key->columns;
}

/* The keys to look at, grouped by child. */
static bool list_keys(struct database *database, char *const *tables, size_t table_count,
                      struct violations *violations, struct error *error)
{
    static const char sql[] =
        "SELECT child, id, parent, group_concat(name, ', ') FROM (SELECT c.name AS child, "
        "k.id AS id, k.\"table\" AS parent, k.\"from\" AS name FROM main.sqlite_schema AS c, "
        "pragma_foreign_key_list(c.name) AS k WHERE c.type = 'table' "
        "ORDER BY c.name, k.id, k.seq) GROUP BY child, id, parent";
    sqlite3_stmt *query = NULL;
    bool good = true;
    int result = sqlite3_prepare_v2(database->handle, sql, -1, &query, NULL);
    if (result == SQLITE_OK) {
        while (good && (result = sqlite3_step(query)) == SQLITE_ROW) {
            const char *child = (const char *)sqlite3_column_text(query, 0);
            const char *parent = (const char *)sqlite3_column_text(query, 2);
            const char *columns = (const char *)sqlite3_column_text(query, 3);
            if (!child || !parent || !columns)
                good = false;
            else if (is_among(child, tables, table_count) || is_among(parent, tables, table_count))
                good = add_key(violations, child, sqlite3_column_int64(query, 1), parent, columns);
        }
    }
    if (!good)
        error_set(error, ERROR_MEMORY, "out of memory while checking foreign keys");
    else if (result != SQLITE_DONE)
        good = failed(database, result, error);
    sqlite3_finalize(query);
    return good;
}

/* Checks the child of keys[first..end). */
static bool count_child(struct database *database, struct violation *first, struct violation *end,
                        struct error *error)
{
    sqlite3_stmt *query = NULL;
    char *sql = sqlite3_mprintf("PRAGMA main.foreign_key_check(%Q)", first->child);
    int result = sql ? sqlite3_prepare_v2(database->handle, sql, -1, &query, NULL) : SQLITE_NOMEM;
    if (result == SQLITE_OK) {
        while ((result = sqlite3_step(query)) == SQLITE_ROW) {
            int64_t id = sqlite3_column_int64(query, 3);
            for (struct violation *key = first; key < end; key++)
                key->rows += key->id == id;
        }
    }
    sqlite3_finalize(query);
    sqlite3_free(sql);
    if (result == SQLITE_DONE)
        return true;
    if ((result & 0xff) != SQLITE_ERROR)
        return failed(database, result, error);
    for (struct violation *key = first; key < end; key++)
        key->rows = VIOLATIONS_UNKNOWN;
    return true;
}

bool violations_count(struct database *database, char *const *tables, size_t table_count,
                      struct violations *violations, struct error *error)
{
    *violations = (struct violations){0};
    bool good = list_keys(database, tables, table_count, violations, error);
    for (size_t first = 0; good && first < violations->count;) {
        size_t end = first + 1;
        while (end < violations->count &&
               strcmp(violations->keys[end].child, violations->keys[first].child) == 0)
            end++;
        good = count_child(database, violations->keys + first, violations->keys + end, error);
        first = end;
    }
    if (!good)
        violations_free(violations);
    return good;
}

void violations_free(struct violations *violations)
{
    for (size_t i = 0; i < violations->count; i++) {
        free(violations->keys[i].child);
        free(violations->keys[i].parent);
        free(violations->keys[i].columns);
    }
    free(violations->keys);
    *violations = (struct violations){0};
}

static bool same_key(const struct violation *a, const struct violation *b)
{
    return string_compare_ignore_case(a->child, b->child) == 0 &&
           string_compare_ignore_case(a->parent, b->parent) == 0 &&
           string_compare_ignore_case(a->columns, b->columns) == 0;
}

bool violations_compare(const struct violations *before, const struct violations *after,
                        struct error *error)
{
    for (size_t i = 0; i < after->count; i++) {
        const struct violation *key = &after->keys[i];
        int64_t old = 0;
        for (size_t b = 0; b < before->count; b++) {
            if (same_key(&before->keys[b], key))
                old = before->keys[b].rows;
        }
        if (key->rows == VIOLATIONS_UNKNOWN && old != VIOLATIONS_UNKNOWN)
            return error_set(error, ERROR_FOREIGN_KEY,
                             "%s(%s) would refer to columns of %s that are no unique key; make "
                             "them PRIMARY KEY or UNIQUE",
                             key->child, key->columns, key->parent);
        if (old != VIOLATIONS_UNKNOWN && key->rows > old)
            return error_set(error, ERROR_FOREIGN_KEY,
                             "%lld rows of %s would refer by (%s) to rows of %s that are not "
                             "there (%lld before); move or delete them in the migration",
                             (long long)key->rows, key->child, key->columns, key->parent,
                             (long long)old);
    }
    return true;
}
