/* SPDX-License-Identifier: MIT */
/* Finding drift. Each message names the version, what is wrong and the way out. */
#include "migrate/drift.h"

#include <stdio.h>
#include <stdlib.h>

static bool blocks(enum drift_kind kind)
{
    return kind == DRIFT_CHANGED || kind == DRIFT_UNFINISHED;
}

const struct drift *plan_blocker(const struct plan *plan)
{
    for (size_t i = 0; i < plan->drift_count; i++) {
        if (blocks(plan->drifts[i].kind))
            return &plan->drifts[i];
    }
    return NULL;
}

const char *drift_name(enum drift_kind kind)
{
    static const char *const names[] = {"changed", "missing", "late", "ahead", "unfinished"};
    return names[kind];
}

const struct history_row **drift_rows(const struct migration_set *set,
                                      const struct history *history)
{
    const struct history_row **rows = calloc(set->count ? set->count : 1, sizeof(*rows));
    for (size_t i = 0; rows && i < history->count; i++) {
        const struct migration *migration = migration_set_find(set, history->rows[i].version);
        if (migration)
            rows[migration - set->migrations] = &history->rows[i];
    }
    return rows;
}

bool drift_is_applied(const struct history_row *row)
{
    return !row->state || strcmp(row->state, "applied") == 0;
}

[[gnu::format(printf, 4, 5)]] static bool add(struct plan *plan, enum drift_kind kind,
                                              const char *version, const char *format, ...)
{
    struct drift *grown = reallocarray(plan->drifts, plan->drift_count + 1, sizeof *grown);
    if (!grown)
        return false;
    plan->drifts = grown;
    struct drift *drift = &grown[plan->drift_count++];
    *drift = (struct drift){.kind = kind, .version = slice_to_string(slice_from_string(version))};
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&drift->message, format, arguments) < 0)
        drift->message = NULL;
    va_end(arguments);
    plan->blocked = plan->blocked || blocks(kind);
    return drift->version && drift->message;
}

static bool look_at_file(struct plan *plan, const struct migration *migration,
                         const struct history_row *row, const struct migration *newest)
{
    if (!row)
        return version_compare(migration->version, newest ? newest->version : "0") >= 0 ||
               add(plan, DRIFT_LATE, migration->version,
                   "%s is pending, though the newer %s is applied; it will be applied behind it, "
                   "or give it a higher number",
                   migration->file_name, newest->file_name);
    if (!drift_is_applied(row))
        return add(
            plan, DRIFT_UNFINISHED, migration->version,
            "%s runs outside a transaction and is \"%s\" after %lld statements; look what is "
            "in the database, then finish it by hand and set its state to applied, or undo "
            "it and delete its row",
            migration->file_name, row->state, (long long)row->statements);
    plan->applied++;
    if (!row->checksum || strcmp(row->checksum, migration->checksum) == 0)
        return true;
    return add(plan, DRIFT_CHANGED, migration->version,
               "%s was changed after it was applied: its checksum is %s, the history has %s; put "
               "the old content back and write the change as a new migration",
               migration->file_name, migration->checksum, row->checksum);
}

static bool look_at_row(struct plan *plan, const struct migration_set *set,
                        const struct history_row *row, const char *highest)
{
    if (migration_set_find(set, row->version))
        return true;
    if (!drift_is_applied(row))
        return add(plan, DRIFT_UNFINISHED, row->version,
                   "%s is \"%s\" in the history after %lld statements, and no file in %s has that "
                   "version; look what is in the database, then set its state to applied or delete "
                   "its row",
                   row->version, row->state, (long long)row->statements, set->directory);
    if (version_compare(row->version, highest) > 0)
        return add(plan, DRIFT_AHEAD, row->version,
                   "%s is applied, but newer than every file in %s; deploy the newer files",
                   row->version, set->directory);
    return add(plan, DRIFT_MISSING, row->version,
               "%s is applied, but no file in %s has that version; put the file back", row->version,
               set->directory);
}

bool drift_find(struct plan *plan, const struct migration_set *set, const struct history *history,
                const struct history_row *const *rows, struct error *error)
{
    const struct migration *newest = NULL;
    bool good = true;
    for (size_t i = 0; i < set->count; i++) {
        if (rows[i] && drift_is_applied(rows[i]) &&
            (!newest || version_compare(newest->version, set->migrations[i].version) < 0))
            newest = &set->migrations[i];
    }
    for (size_t i = 0; good && i < set->count; i++)
        good = look_at_file(plan, &set->migrations[i], rows[i], newest);
    const char *highest =
        set->count ? set->migrations[set->by_version[set->count - 1]].version : "0";
    for (size_t i = 0; good && i < history->count; i++)
        good = look_at_row(plan, set, &history->rows[i], highest);
    return good || error_set(error, ERROR_MEMORY, "out of memory while planning");
}

/* FNV-1a over version and state. */
uint64_t history_row_fingerprint(const char *version, bool applied)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *at = version; *at; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    return (hash ^ applied) * UINT64_C(0x100000001b3);
}

uint64_t history_fingerprint(const struct history *history)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < history->count; i++)
        sum +=
            history_row_fingerprint(history->rows[i].version, drift_is_applied(&history->rows[i]));
    return sum;
}
