/* SPDX-License-Identifier: MIT */
/* The schema as a rehearsal knows it. An array of pointers sorted by name: looking up is a binary
 * search, adding moves some pointers. Owns its strings. */
#include "migrate/known.h"

#include <stdlib.h>

#include "base/slice.h"
#include "database/schema_read.h"

static void object_free(struct known_object *object)
{
    if (!object)
        return;
    for (size_t i = 0; i < object->column_count; i++)
        free(object->columns[i].name);
    free(object->columns);
    free(object->name);
    free(object->table);
    free(object);
}

/* Tables, views and indexes share one name space, triggers have their own. */
static int compare_place(bool is_trigger, const char *name, const struct known_object *object)
{
    bool other = object->kind == SCHEMA_TRIGGER;
    if (is_trigger != other)
        return is_trigger ? 1 : -1;
    return string_compare_ignore_case(name, object->name);
}

/* Where it is, or belongs. */
static size_t place_of(const struct known *known, bool is_trigger, const char *name, bool *found)
{
    size_t low = 0, high = known->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_place(is_trigger, name, known->objects[middle]);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static struct known_object *find(const struct known *known, bool is_trigger, const char *name)
{
    bool found;
    size_t at = place_of(known, is_trigger, name, &found);
    return found ? known->objects[at] : NULL;
}

const struct known_object *known_find(const struct known *known, enum schema_kind kind,
                                      const char *name)
{
    const struct known_object *object = find(known, kind == SCHEMA_TRIGGER, name);
    return object && object->kind == kind ? object : NULL;
}

const struct known_object *known_find_relation(const struct known *known, const char *name)
{
    const struct known_object *object = find(known, false, name);
    return object && object->kind != SCHEMA_INDEX ? object : NULL;
}

const struct known_column *known_find_column(const struct known_object *object, const char *name)
{
    for (size_t i = 0; i < object->column_count; i++) {
        if (string_compare_ignore_case(object->columns[i].name, name) == 0)
            return &object->columns[i];
    }
    return NULL;
}

bool known_is_fresh(const struct known *known, const char *table)
{
    const struct known_object *object = known_find_relation(known, table);
    return object && object->fresh;
}

static struct known_object *object_new(enum schema_kind kind, const char *name, const char *table)
{
    struct known_object *object = calloc(1, sizeof *object);
    if (!object)
        return NULL;
    bool belongs = kind == SCHEMA_INDEX || kind == SCHEMA_TRIGGER;
    object->kind = kind;
    object->name = slice_to_string(slice_from_string(name));
    object->table = slice_to_string(slice_from_string(belongs ? table : ""));
    if (object->name && object->table)
        return object;
    object_free(object);
    return NULL;
}

/* Takes ownership, also on failure. */
static bool insert(struct known *known, struct known_object *object)
{
    if (!object)
        return false;
    if (known->count == known->capacity) {
        size_t capacity = known->capacity ? 2 * known->capacity : 64;
        struct known_object **grown = reallocarray(known->objects, capacity, sizeof(*grown));
        if (!grown) {
            object_free(object);
            return false;
        }
        known->objects = grown;
        known->capacity = capacity;
    }
    bool found;
    size_t at = place_of(known, object->kind == SCHEMA_TRIGGER, object->name, &found);
    memmove(known->objects + at + 1, known->objects + at,
            (known->count - at) * sizeof(*known->objects));
    known->objects[at] = object;
    known->count++;
    if (object->kind == SCHEMA_TRIGGER) {
        struct known_object *table = find(known, false, object->table);
        if (table)
            table->has_triggers = true;
    }
    return true;
}

static bool add_column(struct known_object *object, const char *name, int made_by, bool fresh)
{
    struct known_column *grown =
        reallocarray(object->columns, object->column_count + 1, sizeof *grown);
    if (!grown)
        return false;
    object->columns = grown;
    grown[object->column_count] =
        (struct known_column){slice_to_string(slice_from_string(name)), made_by, fresh};
    return grown[object->column_count].name && ++object->column_count > 0;
}

static bool add_from_catalogue(struct known *known, const struct catalogue_object *from,
                               int made_by)
{
    struct known_object *object = object_new(from->kind, from->name, from->table);
    bool good = object != NULL;
    for (size_t i = 0; good && i < from->column_count; i++)
        good = add_column(object, from->columns[i].name, made_by, false);
    if (!good) {
        object_free(object);
        return false;
    }
    object->made_by = made_by;
    object->is_virtual = from->is_virtual;
    object->is_shadow = from->is_shadow;
    object->replaces = from->sql && sql_replaces(slice_from_string(from->sql));
    return insert(known, object);
}

bool known_construct(struct known *known, const struct catalogue *live)
{
    *known = (struct known){.entry = MADE_BEFORE};
    /* The catalogue is sorted with triggers last, so their tables are there when they come. */
    for (size_t i = 0; i < live->count; i++) {
        if (!add_from_catalogue(known, &live->objects[i], MADE_BEFORE)) {
            known_destruct(known);
            return false;
        }
    }
    return true;
}

static void forget_gone(struct known *known)
{
    for (size_t i = 0; i < known->gone_count; i++)
        object_free(known->gone[i]);
    free(known->gone);
    known->gone = NULL;
    known->gone_count = 0;
}

void known_destruct(struct known *known)
{
    forget_gone(known);
    for (size_t i = 0; i < known->count; i++)
        object_free(known->objects[i]);
    free(known->objects);
    *known = (struct known){0};
}

void known_begin(struct known *known, int entry)
{
    forget_gone(known);
    known->entry = entry;
}

/* Takes the object at `at` out; it is remembered if it was there when this entry began. */
static bool take_out(struct known *known, size_t at)
{
    struct known_object *object = known->objects[at];
    known->count--;
    memmove(known->objects + at, known->objects + at + 1,
            (known->count - at) * sizeof(*known->objects));
    if (object->made_by == known->entry) {
        object_free(object);
        return true;
    }
    struct known_object **grown = reallocarray(known->gone, known->gone_count + 1, sizeof(*grown));
    if (!grown) {
        object_free(object);
        return false;
    }
    known->gone = grown;
    known->gone[known->gone_count++] = object;
    return true;
}

static void count_triggers(struct known *known)
{
    for (size_t i = 0; i < known->count; i++)
        known->objects[i]->has_triggers = false;
    for (size_t i = 0; i < known->count; i++) {
        if (known->objects[i]->kind != SCHEMA_TRIGGER)
            continue;
        struct known_object *table = find(known, false, known->objects[i]->table);
        if (table)
            table->has_triggers = true;
    }
}

/* Drops one object, and what belonged to it. */
static bool drop(struct known *known, bool is_trigger, const char *name)
{
    bool found;
    size_t at = place_of(known, is_trigger, name, &found);
    if (!found)
        return true;
    bool relation = !is_trigger && known->objects[at]->kind != SCHEMA_INDEX;
    if (!take_out(known, at))
        return false;
    for (size_t i = known->count; relation && i-- > 0;) {
        if (string_compare_ignore_case(known->objects[i]->table, name) == 0 && !take_out(known, i))
            return false;
    }
    if (is_trigger)
        count_triggers(known);
    return true;
}

/* The columns of a table or view of the copy, those that are new marked as made now. */
static bool read_columns(struct known *known, struct database *copy, struct known_object *object,
                         bool fresh)
{
    sqlite3_stmt *query = NULL;
    char *sql = sqlite3_mprintf("PRAGMA main.table_xinfo(%Q)", object->name);
    if (!sql)
        return false;
    struct known_object before = {.columns = object->columns, .column_count = object->column_count};
    bool good = true;
    object->columns = NULL;
    object->column_count = 0;
    int result = sqlite3_prepare_v2(copy->handle, sql, -1, &query, NULL);
    if (result == SQLITE_OK) {
        while (good && (result = sqlite3_step(query)) == SQLITE_ROW) {
            const char *name = (const char *)sqlite3_column_text(query, 1);
            const struct known_column *old = name ? known_find_column(&before, name) : NULL;
            good = name && add_column(object, name, old ? old->made_by : known->entry,
                                      old ? old->fresh : fresh);
        }
    }
    /* A view whose tables are gone cannot tell its columns: it has none. */
    good = good && (result == SQLITE_DONE || (result & 0xff) == SQLITE_ERROR);
    sqlite3_finalize(query);
    sqlite3_free(sql);
    for (size_t i = 0; i < before.column_count; i++)
        free(before.columns[i].name);
    free(before.columns);
    return good;
}

/* Everything anew, after a rename, which may change any object's text. */
static bool refresh(struct known *known, struct database *copy, struct error *error)
{
    struct catalogue now;
    if (!schema_read(copy, &now, error))
        return false;
    bool good = true;
    for (size_t i = known->count; good && i-- > 0;) {
        struct known_object *object = known->objects[i];
        bool stub = known->stubbed && object->made_by == MADE_BEFORE &&
                    (object->kind == SCHEMA_VIEW || object->kind == SCHEMA_TRIGGER);
        if (!catalogue_find(&now, object->kind, object->name) && !stub)
            good = take_out(known, i);
    }
    for (size_t i = 0; good && i < now.count; i++) {
        const struct catalogue_object *object = &now.objects[i];
        struct known_object *old = find(known, object->kind == SCHEMA_TRIGGER, object->name);
        if (!old) {
            good = add_from_catalogue(known, object, known->entry);
            continue;
        }
        free(old->table);
        bool belongs = object->kind == SCHEMA_INDEX || object->kind == SCHEMA_TRIGGER;
        old->table = slice_to_string(slice_from_string(belongs ? object->table : ""));
        good = old->table && (belongs || read_columns(known, copy, old, false));
    }
    count_triggers(known);
    known->blind = known->stubbed;
    catalogue_free(&now);
    return good || error_set(error, ERROR_MEMORY, "out of memory in a rehearsal");
}

static bool is_own(const char *name)
{
    return slice_has_prefix_ignore_case(slice_from_string(name), SLICE("sqlite_"));
}

static bool create(struct known *known, struct database *copy, enum schema_kind kind,
                   const struct authorizer_record *record, const struct execution *execution)
{
    bool is_trigger = kind == SCHEMA_TRIGGER;
    if (is_own(record->first) || find(known, is_trigger, record->first))
        return true;
    struct known_object *object = object_new(kind, record->first, record->second);
    if (!object)
        return false;
    object->made_by = known->entry;
    object->fresh = true;
    object->is_virtual = record->action == SQLITE_CREATE_VTABLE;
    object->is_shadow =
        execution->sentence.verb == VERB_CREATE_VIRTUAL_TABLE && !object->is_virtual;
    object->replaces = execution->sentence.replaces;
    if ((kind == SCHEMA_TABLE || kind == SCHEMA_VIEW) && !read_columns(known, copy, object, true)) {
        object_free(object);
        return false;
    }
    return insert(known, object);
}

static bool update_one(struct known *known, struct database *copy,
                       const struct authorizer_record *record, const struct execution *execution,
                       struct error *error)
{
    struct known_object *table;
    switch (record->action) {
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_VTABLE:
        return create(known, copy, SCHEMA_TABLE, record, execution);
    case SQLITE_CREATE_VIEW:
        return create(known, copy, SCHEMA_VIEW, record, execution);
    case SQLITE_CREATE_INDEX:
        return create(known, copy, SCHEMA_INDEX, record, execution);
    case SQLITE_CREATE_TRIGGER:
        return create(known, copy, SCHEMA_TRIGGER, record, execution);
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_VTABLE:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_INDEX:
        return drop(known, false, record->first);
    case SQLITE_DROP_TRIGGER:
        return drop(known, true, record->first);
    case SQLITE_ALTER_TABLE:
        table = find(known, false, record->second);
        if (execution->sentence.verb != VERB_ALTER_ADD_COLUMN || !table)
            return refresh(known, copy, error);
        table->replaces = table->replaces || execution->sentence.replaces;
        return read_columns(known, copy, table, true);
    default:
        return true;
    }
}

bool known_update(struct known *known, struct database *copy, const struct authorizer *authorizer,
                  const struct execution *execution, struct error *error)
{
    /* Reading columns adds records of its own behind these. */
    size_t count = authorizer->count;
    for (size_t i = 0; i < count; i++) {
        const struct authorizer_record record = authorizer->records[i];
        if (string_compare_ignore_case(record.database, "temp") == 0)
            continue;
        if (!update_one(known, copy, &record, execution, error)) {
            if (error->code == ERROR_NONE)
                error_set(error, ERROR_MEMORY, "out of memory in a rehearsal");
            return false;
        }
    }
    return true;
}

bool known_was_there(const struct known *known, const struct known_object *object,
                     const char *column)
{
    for (size_t i = 0; i < known->gone_count; i++) {
        const struct known_object *gone = known->gone[i];
        if (gone->kind == object->kind && string_compare_ignore_case(gone->name, object->name) == 0)
            return !column || known_find_column(gone, column);
    }
    return false;
}
