/* SPDX-License-Identifier: MIT */
/* Holding the journal against the history. Main thread; failures are told and otherwise harmless.
 */
#include "recover/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "database/history.h"
#include "migrate/drift.h"

enum { READ_BUSY_TIMEOUT_MS = 1000 };

struct known {
    const struct history *history;
    bool *told; /* by row */
};

static bool mark(void *context, json_t *event)
{
    struct known *known = context;
    const char *subject = json_string_value(json_object_get(event, "subject"));
    for (size_t i = 0; subject && i < known->history->count; i++) {
        if (strcmp(known->history->rows[i].version, subject) == 0)
            known->told[i] = true;
    }
    return true;
}

static bool mark_told(const struct config *config, struct known *known, struct error *error)
{
    const enum event_type types[] = {EVENT_APPLIED, EVENT_RECOVERED};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        int64_t last;
        const struct journal_query query = {.type = event_name(types[i])};
        if (!journal_read(config->state_directory, &query, mark, known, &last, error))
            return false;
    }
    return true;
}

/* Applied by this program (without a checksum a row is another tool's), and so lately that the
 * journal would still hold its event. */
static bool should_be_known(const struct config *config, const struct history_row *row)
{
    char oldest[CLOCK_TEXT_SIZE];
    int64_t now_ms = clock_wall_ms();
    if (!row->checksum || !drift_is_applied(row))
        return false;
    if (config->journal_keep_ms == 0 || config->journal_keep_ms > (uint64_t)now_ms)
        return true;
    clock_format(now_ms - (int64_t)config->journal_keep_ms, oldest);
    return !row->applied_at || strcmp(row->applied_at, oldest) > 0;
}

void reconcile_journal(const struct config *config, struct journal *journal)
{
    struct database database;
    struct history history = {0};
    struct error error = {0};
    if (!journal)
        return;
    if (!database_open(&database, config->database, DATABASE_READ, READ_BUSY_TIMEOUT_MS, &error))
        return; /* the first look tells it */
    bool good = history_read(&database, &history, &error);
    database_close(&database);
    struct known known = {&history, calloc(history.count + 1, sizeof *known.told)};
    good = good && (known.told || error_set(&error, ERROR_MEMORY, "out of memory")) &&
           mark_told(config, &known, &error);
    if (!good)
        JOURNAL(journal, EVENT_TROUBLE, "journal", error.message,
                log_text("category", error_category(error.code)));
    for (size_t i = 0; good && i < history.count; i++) {
        const struct history_row *row = &history.rows[i];
        if (!known.told[i] && should_be_known(config, row))
            JOURNAL(journal, EVENT_RECOVERED, row->version, "applied (recovered)",
                    log_text("name", row->name), log_text("applied_at", row->applied_at),
                    log_text("cause", row->cause), log_text("host", row->host),
                    log_number("execution_ms", row->execution_ms));
    }
    free(known.told);
    history_free(&history);
}
