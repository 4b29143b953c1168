/* SPDX-License-Identifier: MIT */
/* Judging schema errors. Of the known names that the text may begin with, the longest is meant.
 * Pure. */
#include "recover/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void appearances_free(struct appearances *appearances)
{
    for (size_t i = 0; i < appearances->count; i++) {
        free(appearances->items[i].table);
        free(appearances->items[i].name);
    }
    free(appearances->items);
    *appearances = (struct appearances){0};
}

static void drop_oldest(struct appearances *appearances, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(appearances->items[i].table);
        free(appearances->items[i].name);
    }
    appearances->count -= count;
    memmove(appearances->items, appearances->items + count,
            appearances->count * sizeof *appearances->items);
}

bool appearances_add(struct appearances *appearances, const struct catalogue_difference *difference,
                     uint64_t generation)
{
    struct appeared *items =
        realloc(appearances->items, (appearances->count + difference->count + 1) * sizeof *items);
    if (!items)
        return false;
    appearances->items = items;
    for (size_t i = 0; i < difference->count; i++) {
        const struct catalogue_change *change = &difference->changes[i];
        if (change->change != CHANGE_ADDED)
            continue;
        struct appeared item = {.kind = change->kind,
                                .table = strdup(change->table ? change->table : ""),
                                .name = strdup(change->name),
                                .generation = generation};
        if (!item.table || !item.name) {
            free(item.table);
            free(item.name);
            return false;
        }
        appearances->items[appearances->count++] = item;
    }
    if (appearances->count > APPEARED_MAX)
        drop_oldest(appearances, appearances->count - APPEARED_MAX);
    return true;
}

/* A table error is about what data is read from: a table or a view. */
static bool kind_matches(enum schema_kind asked, enum schema_kind kind)
{
    return asked == kind || (asked == SCHEMA_TABLE && kind == SCHEMA_VIEW);
}

static bool names(const struct schema_error *error, enum schema_kind kind, const char *table,
                  const char *name)
{
    return kind_matches(error->kind, kind) && detect_names_object(error, name) &&
           (error->kind != SCHEMA_COLUMN || detect_names_table(error, table));
}

static bool is_live(const struct catalogue *live, enum schema_kind kind, const char *table,
                    const char *name)
{
    return catalogue_has(live, kind == SCHEMA_VIEW ? SCHEMA_TABLE : kind, table, name);
}

static size_t longest_live(const struct schema_error *error, const struct catalogue *live,
                           struct judged *judged)
{
    size_t longest = 0;
    for (size_t i = 0; i < live->count; i++) {
        const struct catalogue_object *object = &live->objects[i];
        if (error->kind != SCHEMA_COLUMN) {
            if (names(error, object->kind, "", object->name) && strlen(object->name) > longest) {
                longest = strlen(object->name);
                snprintf(judged->what, sizeof judged->what, "%s %s", schema_kind_name(object->kind),
                         object->name);
            }
            continue;
        }
        for (size_t c = 0; c < object->column_count; c++) {
            const char *column = object->columns[c].name;
            if (names(error, SCHEMA_COLUMN, object->name, column) && strlen(column) > longest) {
                longest = strlen(column);
                snprintf(judged->what, sizeof judged->what, "column %s.%s", object->name, column);
            }
        }
    }
    return longest;
}

static bool has_appeared_since(const struct schema_error *error, uint64_t generation, size_t length,
                               const struct catalogue *live, const struct appearances *appearances,
                               struct judged *judged)
{
    for (size_t i = appearances->count; i-- > 0;) {
        const struct appeared *item = &appearances->items[i];
        if (item->generation <= generation)
            return false; /* older ones come before */
        if (strlen(item->name) < length || !names(error, item->kind, item->table, item->name) ||
            !is_live(live, item->kind, item->table, item->name))
            continue;
        bool column = item->kind == SCHEMA_COLUMN;
        snprintf(judged->what, sizeof judged->what, "%s %s%s%s", schema_kind_name(item->kind),
                 column ? item->table : "", column ? "." : "", item->name);
        return true;
    }
    return false;
}

/* Whether the text says "table.column" with this very table: then an equal column of another table
 * is not meant. */
static bool hints_at(const struct schema_error *error, const char *table)
{
    struct slice object = slice_from_string(error->object), name = slice_from_string(table);
    return slice_has_prefix_ignore_case(object, name) && object.length > name.length &&
           object.data[name.length] == '.';
}

struct candidate {
    const struct provided *provided;
    size_t entry;
    size_t length;
    bool hinted;
    bool ambiguous;
};

static void consider(struct candidate *best, const struct schema_error *error,
                     const struct provided *provided, size_t entry)
{
    size_t length = strlen(provided->name);
    bool hinted =
        error->kind == SCHEMA_COLUMN && (error->table[0] || hints_at(error, provided->table));
    if (!best->provided || length > best->length ||
        (length == best->length && hinted && !best->hinted)) {
        *best = (struct candidate){provided, entry, length, hinted, false};
        return;
    }
    if (length == best->length && hinted == best->hinted && error->kind == SCHEMA_COLUMN &&
        !hinted && string_compare_ignore_case(best->provided->table, provided->table) != 0)
        best->ambiguous = true;
}

static struct candidate best_provider(const struct schema_error *error,
                                      const struct catalogue *live, const struct plan *plan)
{
    struct candidate best = {0};
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_entry *entry = &plan->entries[i];
        for (size_t p = 0; p < entry->provides_count; p++) {
            const struct provided *provided = &entry->provides[p];
            if (names(error, provided->kind, provided->table, provided->name) &&
                !is_live(live, provided->kind, provided->table, provided->name))
                consider(&best, error, provided, i);
        }
    }
    return best;
}

void judge_error(const struct schema_error *error, uint64_t generation,
                 const struct catalogue *live, const struct plan *plan,
                 const struct appearances *appearances, struct judged *judged)
{
    *judged = (struct judged){.judgement = JUDGED_UNMAPPED};
    size_t live_length = longest_live(error, live, judged);
    if (has_appeared_since(error, generation, live_length, live, appearances, judged)) {
        judged->judgement = JUDGED_APPEARED;
        return;
    }
    struct candidate best = best_provider(error, live, plan);
    /* A column of that name in some other table refutes nothing, as the text does not say which
     * table it means. */
    bool live_counts = live_length > 0 && (error->kind != SCHEMA_COLUMN || error->table[0]);
    if (best.provided && (!live_counts || best.length > live_length)) {
        bool column = best.provided->kind == SCHEMA_COLUMN;
        judged->judgement = best.ambiguous ? JUDGED_AMBIGUOUS : JUDGED_CONFIRMED;
        judged->entry = best.entry;
        snprintf(judged->what, sizeof judged->what, "%s %s%s%s",
                 schema_kind_name(best.provided->kind), column ? best.provided->table : "",
                 column ? "." : "", best.provided->name);
        return;
    }
    if (live_length > 0)
        judged->judgement = JUDGED_REFUTED;
}
