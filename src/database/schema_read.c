/* SPDX-License-Identifier: MIT */
/* The live schema, read into a catalogue that the caller owns. On the thread that owns the
 * connection. Everything is read while one statement holds the snapshot, so objects, columns and
 * schema_version belong together without a transaction of ours. */
#include "database/schema_read.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    struct database *database;
    struct catalogue *catalogue;
    struct error *error;
    sqlite3_stmt *columns; /* of the table that is bound to it */
};

static bool failed(const struct reader *reader, int result, const char *what)
{
    database_error(reader->database->handle, result, what, reader->error);
    error_prefix(reader->error, "database %s: ", reader->database->path);
    return false;
}

static bool no_memory(const struct reader *reader)
{
    return error_set(reader->error, ERROR_MEMORY, "database %s: schema: out of memory",
                     reader->database->path);
}

/* A copy of a text column; NULL stays NULL. False: memory. */
static bool take_text(sqlite3_stmt *statement, int column, char **text)
{
    *text = NULL;
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return true;
    const unsigned char *value = sqlite3_column_text(statement, column);
    if (!value)
        return false;
    *text = strdup((const char *)value);
    return *text != NULL;
}

static bool take_column(const struct reader *reader, struct catalogue_object *object)
{
    size_t count = object->column_count;
    if ((count & (count - 1)) == 0) {
        struct catalogue_column *grown =
            reallocarray(object->columns, count ? count * 2 : 1, sizeof *grown);
        if (!grown)
            return no_memory(reader);
        object->columns = grown;
    }
    struct catalogue_column *column = &object->columns[object->column_count++];
    *column = (struct catalogue_column){
        .not_null = sqlite3_column_int(reader->columns, 2) != 0,
        .primary_key = sqlite3_column_int(reader->columns, 4),
        .hidden = sqlite3_column_int(reader->columns, 5),
    };
    bool taken = take_text(reader->columns, 0, &column->name);
    taken = take_text(reader->columns, 1, &column->type) && taken;
    taken = take_text(reader->columns, 3, &column->default_sql) && taken;
    if (taken && !column->name)
        column->name = strdup("");
    if (taken && !column->type)
        column->type = strdup("");
    return (taken && column->name && column->type) || no_memory(reader);
}

/* The columns of a table or view. A view whose tables are gone and a virtual table whose module we
 * do not have cannot tell theirs: they have none, and the catalogue goes on. */
static bool take_columns(const struct reader *reader, struct catalogue_object *object)
{
    int result = sqlite3_bind_text(reader->columns, 1, object->name, -1, SQLITE_STATIC);
    bool taken = true;
    if (result == SQLITE_OK) {
        while (taken && (result = sqlite3_step(reader->columns)) == SQLITE_ROW)
            taken = take_column(reader, object);
    }
    if (taken && result != SQLITE_DONE && (result & 0xff) != SQLITE_ERROR)
        taken = failed(reader, result, "columns");
    sqlite3_reset(reader->columns);
    sqlite3_clear_bindings(reader->columns);
    return taken;
}

static bool kind_of(const char *type, enum schema_kind *kind)
{
    static const enum schema_kind kinds[] = {SCHEMA_TABLE, SCHEMA_INDEX, SCHEMA_VIEW,
                                             SCHEMA_TRIGGER};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (type && strcmp(type, schema_kind_name(kinds[i])) == 0) {
            *kind = kinds[i];
            return true;
        }
    }
    return false;
}

static bool take_object(const struct reader *reader, sqlite3_stmt *objects)
{
    struct catalogue_object object = {0};
    const unsigned char *type = sqlite3_column_text(objects, 0);
    if (!kind_of((const char *)type, &object.kind))
        return true; /* nothing that this version of SQLite makes */
    bool taken = take_text(objects, 1, &object.name);
    taken = take_text(objects, 2, &object.table) && taken;
    taken = take_text(objects, 3, &object.sql) && taken;
    taken = (taken && object.name && object.table) || no_memory(reader);
    /* A virtual table has no pages of its own. */
    object.is_virtual = object.kind == SCHEMA_TABLE && sqlite3_column_int64(objects, 4) == 0;
    if (taken && (object.kind == SCHEMA_TABLE || object.kind == SCHEMA_VIEW))
        taken = take_columns(reader, &object);
    bool added = catalogue_add(reader->catalogue, object);
    if (!added)
        no_memory(reader);
    return taken && added;
}

static bool take_objects(struct reader *reader)
{
    static const char columns_sql[] = "SELECT name, type, \"notnull\", dflt_value, pk, hidden"
                                      " FROM pragma_table_xinfo(?1, 'main')";
    static const char objects_sql[] = "SELECT type, name, tbl_name, sql, rootpage"
                                      " FROM main.sqlite_schema"
                                      " WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                                      " AND tbl_name NOT NULL";
    sqlite3 *handle = reader->database->handle;
    sqlite3_stmt *objects = NULL;
    bool taken = true;
    int result = sqlite3_prepare_v2(handle, columns_sql, -1, &reader->columns, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_prepare_v2(handle, objects_sql, -1, &objects, NULL);
    if (result == SQLITE_OK) {
        while (taken && (result = sqlite3_step(objects)) == SQLITE_ROW)
            taken = take_object(reader, objects);
    }
    if (taken && result != SQLITE_DONE)
        taken = failed(reader, result, "schema");
    sqlite3_finalize(objects);
    sqlite3_finalize(reader->columns);
    return taken;
}

static bool has_virtual_table(const struct catalogue *catalogue)
{
    for (size_t i = 0; i < catalogue->count; i++) {
        if (catalogue->objects[i].is_virtual)
            return true;
    }
    return false;
}

/* SQLite knows which tables belong to a virtual table, if it has the module. */
static bool mark_shadow_tables(const struct reader *reader)
{
    static const char sql[] =
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow'";
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(reader->database->handle, sql, -1, &statement, NULL);
    if (result == SQLITE_OK) {
        while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
            const unsigned char *name = sqlite3_column_text(statement, 0);
            if (!name) {
                result = SQLITE_NOMEM;
                break;
            }
            const struct catalogue_object *found =
                catalogue_find(reader->catalogue, SCHEMA_TABLE, (const char *)name);
            if (found)
                reader->catalogue->objects[found - reader->catalogue->objects].is_shadow = true;
        }
    }
    bool marked = result == SQLITE_DONE || failed(reader, result, "shadow tables");
    sqlite3_finalize(statement);
    return marked;
}

bool schema_read(struct database *database, struct catalogue *catalogue, struct error *error)
{
    *catalogue = (struct catalogue){0};
    struct reader reader = {.database = database, .catalogue = catalogue, .error = error};
    sqlite3_stmt *snapshot = database_hold_snapshot(database, &catalogue->schema_version, error);
    if (!snapshot)
        return false;
    bool taken = take_objects(&reader);
    if (taken) {
        catalogue_sort(catalogue);
        taken = !has_virtual_table(catalogue) || mark_shadow_tables(&reader);
    }
    sqlite3_finalize(snapshot);
    if (!taken)
        catalogue_free(catalogue);
    return taken;
}
