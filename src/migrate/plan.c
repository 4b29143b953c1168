/* SPDX-License-Identifier: MIT */
/* Making a plan: history and live schema are read in one snapshot, then what is pending is
 * rehearsed. The plan owns its strings; entries point into the set, which must outlive it. */
#include "migrate/plan.h"

#include <stdlib.h>

#include "migrate/drift.h"
#include "migrate/rehearse.h"

/* The pending migrations of the set, in order. */
static bool collect_pending(struct plan *plan, const struct migration_set *set,
                            const struct history_row *const *rows)
{
    plan->entries = calloc(set->count ? set->count : 1, sizeof *plan->entries);
    if (!plan->entries)
        return false;
    for (size_t i = 0; i < set->count; i++) {
        if (rows[i])
            continue;
        struct plan_entry *entry = &plan->entries[plan->count++];
        *entry = (struct plan_entry){.migration = &set->migrations[i],
                                     .rehearsal = REHEARSAL_NOT_RUN,
                                     .risk = MIGRATION_RED,
                                     .risk_reason = "was not rehearsed: one before it fails",
                                     .foreign_keys_off = set->migrations[i].foreign_keys_off};
    }
    return true;
}

/* Everything that must be read in one snapshot. */
static bool read_live(struct plan *plan, const struct migration_set *set, struct database *database,
                      const struct plan_limits *limits, struct rehearsal_stage *stage, bool *staged,
                      struct error *error)
{
    struct history history = {0};
    bool good = history_read(database, &history, error);
    const struct history_row **rows = good ? drift_rows(set, &history) : NULL;
    if (good) {
        plan->expectation->schema_version = plan->schema_version;
        plan->expectation->history = history_fingerprint(&history);
        good = (rows && collect_pending(plan, set, rows)) ||
               error_set(error, ERROR_MEMORY, "out of memory while planning");
        good = good && drift_find(plan, set, &history, rows, error);
    }
    free(rows);
    history_free(&history);
    if (good && plan->count > 0)
        good = *staged = rehearsal_open(stage, database, limits, error);
    return good;
}

bool plan_make(struct plan *plan, const struct migration_set *set, struct database *database,
               const struct plan_limits *limits, struct error *error)
{
    struct rehearsal_stage stage;
    bool staged = false;
    *plan = (struct plan){.expectation = calloc(1, sizeof *plan->expectation)};
    if (!plan->expectation)
        return error_set(error, ERROR_MEMORY, "out of memory while planning");
    sqlite3_stmt *snapshot = database_hold_snapshot(database, &plan->schema_version, error);
    bool good = snapshot && read_live(plan, set, database, limits, &stage, &staged, error);
    /* A rehearsal takes seconds at worst: no snapshot of ours may keep a writer waiting. */
    sqlite3_finalize(snapshot);
    for (size_t i = 0; good && staged && i < plan->count; i++) {
        good = rehearsal_run(&stage, &plan->entries[i], (int)i, error);
        if (plan->entries[i].rehearsal == REHEARSAL_FAILS)
            break;
    }
    if (staged)
        rehearsal_close(&stage);
    if (!good)
        plan_free(plan);
    return good;
}

static void entry_free(struct plan_entry *entry)
{
    for (size_t i = 0; i < entry->provides_count; i++) {
        free(entry->provides[i].table);
        free(entry->provides[i].name);
    }
    free(entry->provides);
    for (size_t i = 0; i < entry->touched_count; i++)
        free(entry->touched[i]);
    free(entry->touched);
}

void plan_free(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        entry_free(&plan->entries[i]);
    free(plan->entries);
    for (size_t i = 0; i < plan->drift_count; i++) {
        free(plan->drifts[i].version);
        free(plan->drifts[i].message);
    }
    free(plan->drifts);
    free(plan->expectation);
    *plan = (struct plan){0};
}

static bool same_name(const char *a, const char *b)
{
    return string_compare_ignore_case(a, b) == 0;
}

static bool matches(const struct provided *provided, enum schema_kind kind, const char *table,
                    const char *name)
{
    bool same_kind =
        provided->kind == kind || (kind == SCHEMA_TABLE && provided->kind == SCHEMA_VIEW);
    return same_kind && same_name(provided->name, name) &&
           (kind != SCHEMA_COLUMN || !table || same_name(provided->table, table));
}

const struct plan_entry *plan_provider(const struct plan *plan, enum schema_kind kind,
                                       const char *table, const char *name, size_t *index,
                                       bool *ambiguous)
{
    const struct plan_entry *first = NULL;
    const struct provided *found = NULL;
    *ambiguous = false;
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_entry *entry = &plan->entries[i];
        for (size_t p = 0; p < entry->provides_count; p++) {
            const struct provided *provided = &entry->provides[p];
            if (!matches(provided, kind, table, name))
                continue;
            if (!first) {
                first = entry;
                found = provided;
                *index = i;
            } else if (kind == SCHEMA_COLUMN && !same_name(found->table, provided->table)) {
                *ambiguous = true;
            }
        }
    }
    return first;
}
