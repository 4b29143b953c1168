/* SPDX-License-Identifier: MIT */
/* Catalogues: building one, and looking things up in it. An array sorted by kind and folded name,
 * so that a look-up is a binary search and two catalogues can be compared side by side. Pure; the
 * catalogue owns its strings. */
#include "schema/catalogue.h"

#include <stdlib.h>

#include "base/slice.h"

const char *schema_kind_name(enum schema_kind kind)
{
    static const char *const names[] = {
        [SCHEMA_TABLE] = "table",     [SCHEMA_INDEX] = "index",   [SCHEMA_VIEW] = "view",
        [SCHEMA_TRIGGER] = "trigger", [SCHEMA_COLUMN] = "column",
    };
    return names[kind];
}

static void object_free(struct catalogue_object *object)
{
    for (size_t i = 0; i < object->column_count; i++) {
        free(object->columns[i].name);
        free(object->columns[i].type);
        free(object->columns[i].default_sql);
    }
    free(object->columns);
    free(object->name);
    free(object->table);
    free(object->sql);
}

void catalogue_free(struct catalogue *catalogue)
{
    for (size_t i = 0; i < catalogue->count; i++)
        object_free(&catalogue->objects[i]);
    free(catalogue->objects);
    *catalogue = (struct catalogue){0};
}

bool catalogue_add(struct catalogue *catalogue, struct catalogue_object object)
{
    /* The array is full whenever its count is a power of two: no capacity to keep. */
    size_t count = catalogue->count;
    if ((count & (count - 1)) == 0) {
        struct catalogue_object *grown =
            reallocarray(catalogue->objects, count ? count * 2 : 1, sizeof *grown);
        if (!grown) {
            object_free(&object);
            return false;
        }
        catalogue->objects = grown;
    }
    catalogue->objects[catalogue->count++] = object;
    return true;
}

static int compare_places(const void *left, const void *right)
{
    const struct catalogue_object *a = left;
    const struct catalogue_object *b = right;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return string_compare_ignore_case(a->name, b->name);
}

void catalogue_sort(struct catalogue *catalogue)
{
    if (catalogue->count > 1)
        qsort(catalogue->objects, catalogue->count, sizeof *catalogue->objects, compare_places);
}

static const struct catalogue_object *find(const struct catalogue *catalogue, enum schema_kind kind,
                                           const char *name)
{
    size_t low = 0;
    size_t high = catalogue->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct catalogue_object *object = &catalogue->objects[middle];
        int order = object->kind != kind ? (object->kind < kind ? -1 : 1)
                                         : string_compare_ignore_case(object->name, name);
        if (order == 0)
            return object;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct catalogue_object *catalogue_find(const struct catalogue *catalogue,
                                              enum schema_kind kind, const char *name)
{
    const struct catalogue_object *object = find(catalogue, kind, name);
    if (!object && kind == SCHEMA_TABLE)
        object = find(catalogue, SCHEMA_VIEW, name);
    return object;
}

const struct catalogue_column *catalogue_find_column(const struct catalogue_object *object,
                                                     const char *name)
{
    for (size_t i = 0; i < object->column_count; i++) {
        if (string_compare_ignore_case(object->columns[i].name, name) == 0)
            return &object->columns[i];
    }
    return NULL;
}

bool catalogue_has(const struct catalogue *catalogue, enum schema_kind kind, const char *table,
                   const char *name)
{
    if (kind != SCHEMA_COLUMN)
        return catalogue_find(catalogue, kind, name) != NULL;
    const struct catalogue_object *object = catalogue_find(catalogue, SCHEMA_TABLE, table);
    return object && catalogue_find_column(object, name);
}
