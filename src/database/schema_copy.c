/* SPDX-License-Identifier: MIT */
/* A schema without its rows, made anew in memory for rehearsals. The texts that are run are those
 * of sqlite_schema: what SQLite itself reads whenever it opens the database. On the thread that
 * owns both connections; the copy belongs to the caller. */
#include "database/schema_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

enum { NOTE_SIZE = 256 };

struct copier {
    const struct catalogue *catalogue;
    struct database *copy;
    unsigned *stubbed;
    char *note; /* NULL or NOTE_SIZE bytes */
    struct error *error;
};

static bool failed(struct database *database, int result, const char *what, struct error *error)
{
    database_error(database->handle, result, what, error);
    error_prefix(error, "copy of the schema: ");
    return false;
}

static bool open_memory(struct database *copy, struct error *error)
{
    copy->path = strdup(":memory:");
    if (!copy->path)
        return error_set(error, ERROR_MEMORY, "copy of the schema: out of memory");
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int result = sqlite3_open_v2(copy->path, &copy->handle, flags, NULL);
    if (result != SQLITE_OK)
        return failed(copy, result, "open", error);
    return database_configure(copy, 0, error);
}

/* The encoding can be set only while a database is empty. */
static bool copy_encoding(struct database *database, struct database *copy, struct error *error)
{
    static const struct {
        const char *name;
        const char *sql;
    } encodings[] = {
        {"UTF-8", "PRAGMA encoding = 'UTF-8'"},
        {"UTF-16le", "PRAGMA encoding = 'UTF-16le'"},
        {"UTF-16be", "PRAGMA encoding = 'UTF-16be'"},
    };
    sqlite3_stmt *statement = NULL;
    const char *sql = NULL;
    int result = sqlite3_prepare_v2(database->handle, "PRAGMA encoding", -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        const unsigned char *name = sqlite3_column_text(statement, 0);
        for (size_t i = 0; name && i < sizeof encodings / sizeof *encodings; i++) {
            if (strcmp((const char *)name, encodings[i].name) == 0)
                sql = encodings[i].sql;
        }
    }
    bool copied = sql ? database_run(copy, sql, error)
                      : failed(database, result == SQLITE_ROW ? SQLITE_NOMEM : result,
                               "PRAGMA encoding", error);
    sqlite3_finalize(statement);
    return copied;
}

static bool copy_number(struct database *database, struct database *copy, const char *pragma,
                        struct error *error)
{
    char sql[64];
    int64_t number;
    snprintf(sql, sizeof sql, "PRAGMA main.%s", pragma);
    if (!database_number(database, sql, 0, &number, error))
        return false;
    snprintf(sql, sizeof sql, "PRAGMA main.%s = %lld", pragma, (long long)number);
    return database_run(copy, sql, error);
}

/* One statement and no more, whatever stands in the schema behind it. */
static int make(struct database *copy, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (!slice_has_prefix_ignore_case(slice_from_string(sql), SLICE("CREATE ")))
        return SQLITE_CORRUPT;
    int result = sqlite3_prepare_v2(copy->handle, sql, -1, &statement, NULL);
    if (result != SQLITE_OK)
        return result;
    do
        result = sqlite3_step(statement);
    while (result == SQLITE_ROW);
    sqlite3_finalize(statement);
    return result == SQLITE_DONE ? SQLITE_OK : result;
}

static void append_key(sqlite3_str *sql, const struct catalogue_object *object)
{
    int position = 0;
    for (bool found = true; found;) {
        found = false;
        for (size_t i = 0; i < object->column_count && !found; i++) {
            if (object->columns[i].primary_key == position + 1) {
                sqlite3_str_appendf(sql, "%s\"%w\"", position ? ", " : ", PRIMARY KEY (",
                                    object->columns[i].name);
                found = true;
                position++;
            }
        }
    }
    if (position > 0)
        sqlite3_str_appendchar(sql, 1, ')');
}

/* What stands in for a table that cannot be made: its name, columns and key. */
static char *table_stub(const struct catalogue_object *object)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);
    sqlite3_str_appendf(sql, "CREATE TABLE \"%w\" (", object->name);
    for (size_t i = 0; i < object->column_count; i++) {
        const struct catalogue_column *column = &object->columns[i];
        sqlite3_str_appendf(sql, "%s\"%w\"", i ? ", " : "", column->name);
        if (*column->type)
            sqlite3_str_appendf(sql, " \"%w\"", column->type);
    }
    if (object->column_count == 0)
        sqlite3_str_appendall(sql, "\"unknown\"");
    append_key(sql, object);
    sqlite3_str_appendchar(sql, 1, ')');
    return sqlite3_str_finish(sql);
}

/* What stands in for an index: its name, on the first column, so that dropping it can be tried. */
static char *index_stub(const struct catalogue_object *object, const struct catalogue *catalogue)
{
    const struct catalogue_object *table = catalogue_find(catalogue, SCHEMA_TABLE, object->table);
    const char *column = table && table->column_count ? table->columns[0].name : "unknown";
    return sqlite3_mprintf("CREATE INDEX \"%w\" ON \"%w\" (\"%w\")", object->name, object->table,
                           column);
}

static bool make_stub(const struct copier *copier, const struct catalogue_object *object)
{
    char *sql = NULL;
    switch (object->kind) {
    case SCHEMA_TABLE:
        sql = table_stub(object);
        break;
    case SCHEMA_INDEX:
        sql = index_stub(object, copier->catalogue);
        break;
    case SCHEMA_VIEW:
    case SCHEMA_TRIGGER:
    case SCHEMA_COLUMN:
        return true; /* left out: nothing plain could stand for them */
    }
    if (!sql)
        return failed(copier->copy, SQLITE_NOMEM, object->name, copier->error);
    int result = make(copier->copy, sql);
    sqlite3_free(sql);
    return result == SQLITE_OK || failed(copier->copy, result, object->name, copier->error);
}

static bool copy_object(const struct copier *copier, const struct catalogue_object *object)
{
    int result = make(copier->copy, object->sql);
    if (result == SQLITE_OK)
        return true;
    /* Memory, limits and interruptions end the copy; what this SQLite cannot make is stubbed. */
    if ((result & 0xff) != SQLITE_ERROR)
        return failed(copier->copy, result, object->name, copier->error);
    if (copier->note && *copier->stubbed == 0)
        snprintf(copier->note, NOTE_SIZE, "%s %s: %s", schema_kind_name(object->kind), object->name,
                 sqlite3_errmsg(copier->copy->handle));
    ++*copier->stubbed;
    return make_stub(copier, object);
}

static bool belongs_to_shadow(const struct catalogue *catalogue,
                              const struct catalogue_object *object)
{
    const struct catalogue_object *table = catalogue_find(catalogue, SCHEMA_TABLE, object->table);
    return table && table->is_shadow;
}

/* Tables first; virtual ones behind them, for they may look at the others; then what hangs on
 * tables. Triggers last, since they may hang on views. */
static bool copy_objects(const struct copier *copier)
{
    static const struct {
        enum schema_kind kind;
        bool is_virtual;
    } passes[] = {
        {SCHEMA_TABLE, false}, {SCHEMA_TABLE, true},    {SCHEMA_INDEX, false},
        {SCHEMA_VIEW, false},  {SCHEMA_TRIGGER, false},
    };
    const struct catalogue *catalogue = copier->catalogue;
    for (size_t pass = 0; pass < sizeof passes / sizeof *passes; pass++) {
        for (size_t i = 0; i < catalogue->count; i++) {
            const struct catalogue_object *object = &catalogue->objects[i];
            if (object->kind != passes[pass].kind ||
                object->is_virtual != passes[pass].is_virtual || !object->sql ||
                belongs_to_shadow(catalogue, object))
                continue;
            if (!copy_object(copier, object))
                return false;
        }
    }
    return true;
}

bool schema_copy(struct database *database, struct database *copy, unsigned *stubbed,
                 char note[NOTE_SIZE], struct error *error)
{
    *copy = (struct database){0};
    *stubbed = 0;
    if (note)
        note[0] = '\0';
    struct catalogue catalogue;
    if (!schema_read(database, &catalogue, error))
        return false;
    struct copier copier = {&catalogue, copy, stubbed, note, error};
    bool copied = open_memory(copy, error) && copy_encoding(database, copy, error) &&
                  database_run(copy, "BEGIN", error) && copy_objects(&copier) &&
                  copy_number(database, copy, "user_version", error) &&
                  copy_number(database, copy, "application_id", error) &&
                  database_run(copy, "COMMIT", error);
    catalogue_free(&catalogue);
    if (!copied)
        database_close(copy);
    return copied;
}
