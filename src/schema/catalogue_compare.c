/* SPDX-License-Identifier: MIT */
/* The difference of two catalogues: both are sorted alike, so one walk over the two finds what was
 * added, removed and changed. Pure; the changes borrow their names from the catalogues. */
#include "schema/catalogue.h"

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

static bool tell(struct catalogue_difference *difference, struct catalogue_change change)
{
    size_t count = difference->count;
    if ((count & (count - 1)) == 0) {
        struct catalogue_change *grown =
            reallocarray(difference->changes, count ? count * 2 : 1, sizeof *grown);
        if (!grown)
            return false;
        difference->changes = grown;
    }
    difference->changes[difference->count++] = change;
    return true;
}

static bool tell_object(struct catalogue_difference *difference, int what,
                        const struct catalogue_object *object)
{
    struct catalogue_change change = {0};
    change.change = what;
    change.kind = object->kind;
    change.table = object->table;
    change.name = object->name;
    return tell(difference, change);
}

static bool tell_column(struct catalogue_difference *difference, int what,
                        const struct catalogue_object *object,
                        const struct catalogue_column *column)
{
    struct catalogue_change change = {0};
    change.change = what;
    change.kind = SCHEMA_COLUMN;
    change.table = object->name;
    change.name = column->name;
    return tell(difference, change);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_column(const struct catalogue_column *a, const struct catalogue_column *b)
{
    return string_compare_ignore_case(a->type, b->type) == 0 &&
           same_text(a->default_sql, b->default_sql) && a->not_null == b->not_null &&
           a->primary_key == b->primary_key && a->hidden == b->hidden;
}

static bool same_object(const struct catalogue_object *a, const struct catalogue_object *b)
{
    if (a->is_virtual != b->is_virtual || string_compare_ignore_case(a->table, b->table) != 0)
        return false;
    if (!a->sql || !b->sql)
        return a->sql == b->sql;
    return strcmp(a->sql, b->sql) == 0 || catalogue_same_definition(a->sql, b->sql);
}

/* The column of that name, looked for first at `place`: most columns stay where they were. */
static const struct catalogue_column *column_near(const struct catalogue_object *object,
                                                  size_t place, const char *name)
{
    if (place < object->column_count &&
        string_compare_ignore_case(object->columns[place].name, name) == 0)
        return &object->columns[place];
    return catalogue_find_column(object, name);
}

static bool compare_columns(const struct catalogue_object *before,
                            const struct catalogue_object *after,
                            struct catalogue_difference *difference)
{
    for (size_t i = 0; i < after->column_count; i++) {
        const struct catalogue_column *column = &after->columns[i];
        const struct catalogue_column *old = column_near(before, i, column->name);
        if (!old) {
            if (!tell_column(difference, CHANGE_ADDED, after, column))
                return false;
        } else if (!same_column(old, column)) {
            if (!tell_column(difference, CHANGE_CHANGED, after, column))
                return false;
        }
    }
    for (size_t i = 0; i < before->column_count; i++) {
        const struct catalogue_column *column = &before->columns[i];
        if (!column_near(after, i, column->name) &&
            !tell_column(difference, CHANGE_REMOVED, before, column))
            return false;
    }
    return true;
}

static bool compare_objects(const struct catalogue_object *before,
                            const struct catalogue_object *after,
                            struct catalogue_difference *difference)
{
    if (!same_object(before, after) && !tell_object(difference, CHANGE_CHANGED, after))
        return false;
    return compare_columns(before, after, difference);
}

static bool add_object(const struct catalogue_object *object,
                       struct catalogue_difference *difference)
{
    if (!tell_object(difference, CHANGE_ADDED, object))
        return false;
    for (size_t i = 0; i < object->column_count; i++) {
        if (!tell_column(difference, CHANGE_ADDED, object, &object->columns[i]))
            return false;
    }
    return true;
}

static int order(const struct catalogue_object *a, const struct catalogue_object *b)
{
    if (!a || !b)
        return a ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return string_compare_ignore_case(a->name, b->name);
}

bool catalogue_compare(const struct catalogue *before, const struct catalogue *after,
                       struct catalogue_difference *difference)
{
    *difference = (struct catalogue_difference){0};
    size_t i = 0;
    size_t j = 0;
    while (i < before->count || j < after->count) {
        const struct catalogue_object *old = i < before->count ? &before->objects[i] : NULL;
        const struct catalogue_object *new = j < after->count ? &after->objects[j] : NULL;
        int place = order(old, new);
        bool told;
        if (place < 0)
            told = tell_object(difference, CHANGE_REMOVED, old);
        else if (place > 0)
            told = add_object(new, difference);
        else
            told = compare_objects(old, new, difference);
        if (!told) {
            catalogue_difference_free(difference);
            return false;
        }
        i += place <= 0;
        j += place >= 0;
    }
    return true;
}

void catalogue_difference_free(struct catalogue_difference *difference)
{
    free(difference->changes);
    *difference = (struct catalogue_difference){0};
}
