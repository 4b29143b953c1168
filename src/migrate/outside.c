/* SPDX-License-Identifier: MIT */
/* Applying a migration without a transaction, for statements that cannot be in one. Each statement
 * commits by itself, so the history row is written first, as "running", and told after each how far
 * it came: whoever dies in between leaves a row that says so and that blocks what follows (P5). */
#include <limits.h>

#include "migrate/attempt.h"
#include "migrate/violations.h"

static bool begin_trace(struct attempt *attempt)
{
    struct error *error = &attempt->report->error;
    /* The caller holds BEGIN IMMEDIATE, under which it has looked at the applied set. */
    if (!attempt_add_row(attempt, "running") || !attempt_commit(attempt))
        return false;
    uint64_t timeout_ms = attempt->options->lock_timeout_ms;
    sqlite3_busy_timeout(attempt->database.handle,
                         timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms);
    return !attempt->entry->foreign_keys_off ||
           database_run(&attempt->database, "PRAGMA foreign_keys = OFF", error);
}

static bool write_trace(struct attempt *attempt)
{
    return attempt_update_row(attempt, "running");
}

void outside_apply(struct attempt *attempt)
{
    struct apply_report *report = attempt->report;
    const struct plan_entry *entry = attempt->entry;
    struct violations before = {0}, after = {0};
    report->outcome = APPLY_UNTOUCHED;
    if (entry->foreign_keys_off &&
        !violations_count(&attempt->database, entry->touched, entry->touched_count, &before,
                          &report->error)) {
        attempt_rollback(attempt);
        return;
    }
    if (!begin_trace(attempt)) {
        attempt_rollback(attempt);
        violations_free(&before);
        return;
    }
    report->outcome = APPLY_FAILED;
    bool good = attempt_run(attempt, write_trace);
    if (good && entry->foreign_keys_off)
        good = violations_count(&attempt->database, entry->touched, entry->touched_count, &after,
                                &report->error) &&
               violations_compare(&before, &after, &report->error);
    if (good)
        good = attempt_update_row(attempt, "applied");
    if (good) {
        report->outcome = APPLY_DONE;
    } else {
        /* What failed is told; when even that fails, "running" stays, which blocks as well. */
        struct error first = report->error;
        unsigned count = report->statement_count;
        if (report->failed_statement > 0)
            report->statement_count--;
        if (!attempt_update_row(attempt, "failed"))
            error_prefix(&first, "(its history row stays \"running\") ");
        report->statement_count = count;
        report->error = first;
    }
    violations_free(&before);
    violations_free(&after);
}
