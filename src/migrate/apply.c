/* SPDX-License-Identifier: MIT */
/* Applying one migration: lock file, fresh connection, BEGIN IMMEDIATE, the applied set read again,
 * backup, statements, history row, COMMIT. Each step that fails ends in one place, which rolls back
 * and closes. On a thread that may block. */
#include "migrate/apply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "database/backup.h"
#include "database/history.h"
#include "database/lock.h"
#include "migrate/attempt.h"
#include "migrate/drift.h"
#include "migrate/violations.h"

static uint64_t microseconds_since(uint64_t begin_ns)
{
    return (clock_monotonic_ns() - begin_ns) / 1000;
}

/* What can be said no to without looking at the database. */
static bool may_begin(struct attempt *attempt)
{
    const struct plan_entry *entry = attempt->entry;
    struct apply_report *report = attempt->report;
    if (entry->rehearsal == REHEARSAL_NOT_RUN) {
        report->outcome = APPLY_CHANGED;
        return error_set(&report->error, ERROR_DEPENDENCY,
                         "%s was not rehearsed, for one before it fails; make a new plan when that "
                         "is applied",
                         entry->migration->file_name);
    }
    if (!entry->migration->transaction && !attempt->options->allow_no_transaction) {
        report->outcome = APPLY_FAILED;
        return error_set(&report->error, ERROR_POLICY,
                         "%s: transaction:false cannot be undone by a rollback; apply it by hand "
                         "with automigrate apply",
                         entry->migration->file_name);
    }
    return true;
}

static bool is_applied(const struct history *history, const char *version)
{
    for (size_t i = 0; i < history->count; i++) {
        if (version_compare(history->rows[i].version, version) == 0)
            return true;
    }
    return false;
}

/* The version that a file without automigrate:depends depends on, if that is pending in the plan:
 * the highest below its own. NULL: none is. */
static const char *pending_predecessor(const struct plan *plan, const struct migration *migration)
{
    const char *predecessor = NULL;
    for (size_t i = 0; i < plan->count; i++) {
        const char *version = plan->entries[i].migration->version;
        if (version_compare(version, migration->version) < 0 &&
            (!predecessor || version_compare(version, predecessor) > 0))
            predecessor = version;
    }
    return predecessor;
}

static bool is_pending(const struct plan *plan, const char *version)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (version_compare(plan->entries[i].migration->version, version) == 0)
            return true;
    }
    return false;
}

/* Refuses unless `needed`, which was pending when the plan was made, is in by now. */
static bool check_dependency(struct attempt *attempt, const struct history *history,
                             const char *needed)
{
    if (!needed || !is_pending(attempt->plan, needed) || is_applied(history, needed))
        return true;
    attempt->report->outcome = APPLY_FAILED;
    return error_set(&attempt->report->error, ERROR_DEPENDENCY,
                     "%s depends on version %s, which is not applied; apply that first",
                     attempt->entry->migration->file_name, needed);
}

static bool check_dependencies(struct attempt *attempt, const struct history *history)
{
    const struct migration *migration = attempt->entry->migration;
    if (!migration->depends_declared)
        return check_dependency(attempt, history, pending_predecessor(attempt->plan, migration));
    for (size_t i = 0; i < migration->depends_count; i++) {
        if (!check_dependency(attempt, history, migration->depends[i]))
            return false;
    }
    return true;
}

/* A row that says "running" or "failed" is no reason to call it applied. */
static bool check_own_row(struct attempt *attempt, const struct history *history)
{
    const struct migration *migration = attempt->entry->migration;
    for (size_t i = 0; i < history->count; i++) {
        const struct history_row *row = &history->rows[i];
        if (version_compare(row->version, migration->version) != 0)
            continue;
        if (drift_is_applied(row)) {
            attempt->report->outcome = APPLY_ALREADY;
            return false;
        }
        attempt->report->outcome = APPLY_FAILED;
        return error_set(&attempt->report->error, ERROR_POLICY,
                         "%s is \"%s\" in the history after %lld statements; finish or undo it by "
                         "hand, then set its state to applied or delete its row",
                         migration->file_name, row->state, (long long)row->statements);
    }
    return true;
}

/* Under the write lock: is everything as it was when the plan was made? */
static bool look_again(struct attempt *attempt)
{
    struct apply_report *report = attempt->report;
    const struct plan_expectation *expected = attempt->plan->expectation;
    struct history history;
    int64_t schema_version;
    report->outcome = APPLY_UNTOUCHED;
    if (!history_read(&attempt->database, &history, &report->error))
        return false;
    bool good = database_schema_version(&attempt->database, &schema_version, &report->error) &&
                check_own_row(attempt, &history);
    if (good && (schema_version != expected->schema_version ||
                 history_fingerprint(&history) != expected->history)) {
        report->outcome = APPLY_CHANGED;
        good = error_set(&report->error, ERROR_DEPENDENCY,
                         "%s: the database's schema or history changed since the plan was made; "
                         "make a new plan",
                         attempt->entry->migration->file_name);
    }
    good = good && check_dependencies(attempt, &history);
    history_free(&history);
    return good;
}

/* From a second connection, while nobody can write and nothing is written yet. */
static bool back_up(struct attempt *attempt)
{
    const struct apply_options *options = attempt->options;
    struct error *error = &attempt->report->error;
    char *directory = NULL;
    if (!options->backup || attempt->entry->risk < MIGRATION_YELLOW)
        return true;
    if (mkdir(options->state_directory, 0700) != 0 && errno != EEXIST)
        return error_set_errno(error, ERROR_IO, errno, "state directory %s",
                               options->state_directory);
    if (asprintf(&directory, "%s/backups", options->state_directory) < 0)
        return error_set(error, ERROR_MEMORY, "out of memory before a backup");
    bool good = backup_take(attempt->database.path, directory, attempt->entry->migration->version,
                            options->backup_keep, &attempt->report->backup, error);
    free(directory);
    return good;
}

/* The statements and the row, in the transaction that is open. */
static bool run_whole(struct attempt *attempt)
{
    const struct plan_entry *entry = attempt->entry;
    struct error *error = &attempt->report->error;
    struct violations before = {0}, after = {0};
    bool count = entry->foreign_keys_off;
    bool good = (!count || violations_count(&attempt->database, entry->touched,
                                            entry->touched_count, &before, error)) &&
                attempt_run(attempt, NULL) &&
                (!count || violations_count(&attempt->database, entry->touched,
                                            entry->touched_count, &after, error));
    if (good && !violations_compare(&before, &after, error)) {
        error_prefix(error, "%s: rolled back: ", entry->migration->file_name);
        good = false;
    }
    violations_free(&before);
    violations_free(&after);
    return good && attempt_add_row(attempt, "applied");
}

/* What the plan may expect from now on: this commit is our own. */
static void note_progress(struct attempt *attempt)
{
    struct plan_expectation *expectation = attempt->plan->expectation;
    struct error ignored;
    /* When it cannot be read the next entry finds that something changed, and a new plan is made.
     */
    if (database_schema_version(&attempt->database, &expectation->schema_version, &ignored))
        expectation->history += history_row_fingerprint(attempt->entry->migration->version, true);
}

/* In the transaction: what is read here is what this commit leaves. */
static void apply_whole(struct attempt *attempt)
{
    struct apply_report *report = attempt->report;
    struct plan_expectation before = *attempt->plan->expectation;
    report->outcome = APPLY_FAILED;
    if (!run_whole(attempt)) {
        attempt_rollback(attempt);
        return;
    }
    note_progress(attempt);
    if (attempt_commit(attempt)) {
        report->outcome = APPLY_DONE;
        return;
    }
    *attempt->plan->expectation = before;
    if (report->error.code == ERROR_LOCK)
        report->outcome = APPLY_UNTOUCHED;
}

/* BEGIN IMMEDIATE, with foreign keys as the migration wants them: inside a transaction that setting
 * would do nothing. */
static bool begin(struct attempt *attempt)
{
    struct error *error = &attempt->report->error;
    bool off = attempt->entry->foreign_keys_off && attempt->entry->migration->transaction;
    if ((off && !database_run(&attempt->database, "PRAGMA foreign_keys = OFF", error)) ||
        !database_run(&attempt->database, "BEGIN IMMEDIATE", error)) {
        error_prefix(error, "%s: ", attempt->entry->migration->file_name);
        return false;
    }
    return true;
}

static void apply_locked(struct attempt *attempt, const char *database_path, uint64_t since_ns)
{
    struct apply_report *report = attempt->report;
    uint64_t waited_ms = microseconds_since(since_ns) / 1000;
    uint64_t limit_ms = attempt->options->lock_timeout_ms;
    uint64_t left_ms = waited_ms < limit_ms ? limit_ms - waited_ms : 1;
    if (!database_open(&attempt->database, database_path, DATABASE_WRITE, left_ms, &report->error))
        return;
    if (begin(attempt)) {
        attempt->begin_ns = clock_monotonic_ns();
        report->lock_wait_us = microseconds_since(since_ns);
        bool good = look_again(attempt);
        if (good && !back_up(attempt)) {
            report->outcome = APPLY_UNTOUCHED;
            good = false;
        }
        if (!good)
            attempt_rollback(attempt);
        else if (attempt->entry->migration->transaction)
            apply_whole(attempt);
        else
            outside_apply(attempt);
        report->duration_us = microseconds_since(attempt->begin_ns);
        if (report->outcome == APPLY_DONE && !attempt->entry->migration->transaction)
            note_progress(attempt);
    }
    database_close(&attempt->database);
}

void apply_migration(const char *database_path, const struct plan *plan,
                     const struct plan_entry *entry, const struct apply_options *options,
                     struct apply_report *report)
{
    *report = (struct apply_report){.outcome = APPLY_UNTOUCHED};
    struct attempt attempt = {.plan = plan, .entry = entry, .options = options, .report = report};
    struct database_lock lock = {.fd = -1};
    uint64_t since_ns = clock_monotonic_ns();
    if (!may_begin(&attempt))
        return;
    if (!database_lock_take(&lock, database_path, options->lock_timeout_ms, &report->error)) {
        report->lock_wait_us = microseconds_since(since_ns);
        return;
    }
    apply_locked(&attempt, database_path, since_ns);
    database_lock_release(&lock);
}

void apply_report_free(struct apply_report *report)
{
    free(report->statements);
    free(report->backup);
    report->statements = NULL;
    report->backup = NULL;
}
