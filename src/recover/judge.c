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

/* Whether the text says "table.column" with this very table. */
static bool hints_at(const struct schema_error *error, const char *table)
{
    struct slice object = slice_from_string(error->object), name = slice_from_string(table);
    if (slice_has_prefix_ignore_case(object, SLICE("main.")))
        object = slice_make(object.data + 5, object.length - 5);
    return slice_has_prefix_ignore_case(object, name) && object.length > name.length &&
           object.data[name.length] == '.';
}

/* An error with the table that it names. */
struct question {
    const struct schema_error *error;
    const char *table; /* "no such column: cards.title" means no other, if cards is a live table; an
                          alias is none, and the columns of a view are other tables'. NULL: any */
};

static struct question question_of(const struct schema_error *error, const struct catalogue *live)
{
    struct question question = {error, NULL};
    for (size_t i = 0; error->kind == SCHEMA_COLUMN && i < live->count; i++) {
        const struct catalogue_object *object = &live->objects[i];
        if (object->kind == SCHEMA_TABLE && hints_at(error, object->name) &&
            (!question.table || strlen(object->name) > strlen(question.table)))
            question.table = object->name;
    }
    return question;
}

static bool names(const struct question *question, enum schema_kind kind, const char *table,
                  const char *name)
{
    const struct schema_error *error = question->error;
    if (!kind_matches(error->kind, kind) || !detect_names_object(error, name))
        return false;
    if (error->kind != SCHEMA_COLUMN)
        return true;
    return detect_names_table(error, table) &&
           (!question->table || string_compare_ignore_case(question->table, table) == 0);
}

static bool is_live(const struct catalogue *live, enum schema_kind kind, const char *table,
                    const char *name)
{
    return catalogue_has(live, kind == SCHEMA_VIEW ? SCHEMA_TABLE : kind, table, name);
}

static size_t longest_live(const struct question *question, const struct catalogue *live,
                           struct judged *judged)
{
    size_t longest = 0;
    for (size_t i = 0; i < live->count; i++) {
        const struct catalogue_object *object = &live->objects[i];
        if (question->error->kind != SCHEMA_COLUMN) {
            if (names(question, object->kind, "", object->name) && strlen(object->name) > longest) {
                longest = strlen(object->name);
                snprintf(judged->what, sizeof judged->what, "%s %s", schema_kind_name(object->kind),
                         object->name);
            }
            continue;
        }
        for (size_t c = 0; c < object->column_count; c++) {
            const char *column = object->columns[c].name;
            if (names(question, SCHEMA_COLUMN, object->name, column) && strlen(column) > longest) {
                longest = strlen(column);
                snprintf(judged->what, sizeof judged->what, "column %s.%s", object->name, column);
            }
        }
    }
    return longest;
}

static bool has_appeared_since(const struct question *question, uint64_t generation, size_t length,
                               const struct catalogue *live, const struct appearances *appearances,
                               struct judged *judged)
{
    for (size_t i = appearances->count; i-- > 0;) {
        const struct appeared *item = &appearances->items[i];
        if (item->generation <= generation)
            return false; /* older ones come before */
        if (strlen(item->name) < length || !names(question, item->kind, item->table, item->name) ||
            !is_live(live, item->kind, item->table, item->name))
            continue;
        bool column = item->kind == SCHEMA_COLUMN;
        snprintf(judged->what, sizeof judged->what, "%s %s%s%s", schema_kind_name(item->kind),
                 column ? item->table : "", column ? "." : "", item->name);
        return true;
    }
    return false;
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

/* A column error is never about a table that is missing: that would be the error. */
static bool may_provide(const struct question *question, const struct provided *provided,
                        const struct catalogue *live)
{
    return names(question, provided->kind, provided->table, provided->name) &&
           !is_live(live, provided->kind, provided->table, provided->name) &&
           (provided->kind != SCHEMA_COLUMN ||
            catalogue_find(live, SCHEMA_TABLE, provided->table) != NULL);
}

static struct candidate best_provider(const struct question *question, const struct catalogue *live,
                                      const struct plan *plan)
{
    struct candidate best = {0};
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_entry *entry = &plan->entries[i];
        for (size_t p = 0; p < entry->provides_count; p++) {
            if (may_provide(question, &entry->provides[p], live))
                consider(&best, question->error, &entry->provides[p], i);
        }
    }
    return best;
}

void judge_error(const struct schema_error *error, uint64_t generation,
                 const struct catalogue *live, const struct plan *plan,
                 const struct appearances *appearances, struct judged *judged)
{
    *judged = (struct judged){.judgement = JUDGED_UNMAPPED};
    const struct question question = question_of(error, live);
    size_t live_length = longest_live(&question, live, judged);
    struct candidate best = best_provider(&question, live, plan);
    /* What has appeared is live: a longer name that is pending is meant before it. */
    if (best.length <= live_length &&
        has_appeared_since(&question, generation, live_length, live, appearances, judged)) {
        judged->judgement = JUDGED_APPEARED;
        return;
    }
    /* A column of that name in some other table refutes nothing, as long as the text does not say
     * which table it means. */
    bool live_counts =
        live_length > 0 && (error->kind != SCHEMA_COLUMN || error->table[0] || question.table);
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
