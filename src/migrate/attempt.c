/* SPDX-License-Identifier: MIT */
/* The steps that every attempt has in common. */
#include "migrate/attempt.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "database/history.h"

enum {
    DEFAULT_TIMEOUT_MS = 10 * 60 * 1000,
    /* A COMMIT that waits for readers keeps new ones out (in rollback-journal mode): not for long.
     */
    COMMIT_BUDGET_MS = 2000,
};

static struct statement_result *next_result(struct apply_report *report)
{
    unsigned count = report->statement_count;
    if ((count & (count - 1)) == 0) {
        struct statement_result *grown =
            reallocarray(report->statements, count ? 2 * (size_t)count : 1, sizeof *grown);
        if (!grown)
            return NULL;
        report->statements = grown;
    }
    return &report->statements[report->statement_count++];
}

static bool run_one(struct attempt *attempt, struct executor *executor,
                    const struct statement *statement)
{
    struct apply_report *report = attempt->report;
    struct execution execution;
    struct statement_result *result = next_result(report);
    if (!result)
        return error_set(&report->error, ERROR_MEMORY, "%s: out of memory; free some and try again",
                         attempt->entry->migration->file_name);
    *result = (struct statement_result){.position = statement->position, .line = statement->line};
    statement_excerpt(statement->sql, result->sql, sizeof result->sql);
    executor_run(executor, statement, &execution, &report->error);
    result->duration_us = execution.duration_us;
    result->rows = execution.rows;
    result->benign = execution.outcome == EXECUTED_NOTHING;
    if (execution.outcome != EXECUTED_FAILED)
        return true;
    report->failed_statement = statement->position;
    report->failed_line = execution.line;
    return false;
}

bool attempt_run(struct attempt *attempt, bool (*between)(struct attempt *attempt))
{
    const struct migration *migration = attempt->entry->migration;
    uint64_t limit_ms = migration->timeout_ms ? migration->timeout_ms
                        : attempt->options->migration_timeout_ms
                            ? attempt->options->migration_timeout_ms
                            : DEFAULT_TIMEOUT_MS;
    struct executor executor;
    struct statement_cursor cursor;
    struct statement statement;
    enum statement_next next;
    bool good = true;
    executor_construct(&executor, attempt->database.handle, migration, limit_ms,
                       "-- automigrate:timeout or migrations_options.timeout");
    statement_cursor_construct(&cursor, migration->up, migration->up_line);
    while (good && (next = statement_next(&cursor, &statement, &attempt->report->error)) !=
                       STATEMENT_NONE) {
        good = next == STATEMENT_FOUND && run_one(attempt, &executor, &statement);
        if (good && between) {
            authorizer_suspend(&executor.authorizer);
            good = between(attempt);
            authorizer_resume(&executor.authorizer);
        }
    }
    statement_cursor_destruct(&cursor);
    executor_destruct(&executor);
    return good;
}

static int64_t elapsed_ms(const struct attempt *attempt)
{
    return (int64_t)((clock_monotonic_ns() - attempt->begin_ns) / NS_PER_MS);
}

bool attempt_add_row(struct attempt *attempt, const char *state)
{
    const struct migration *migration = attempt->entry->migration;
    char host[256] = "", memory[1024], now[CLOCK_TEXT_SIZE], written_state[16], cause[512];
    char checksum[CHECKSUM_SIZE], unknown[] = "";
    struct passwd user, *found = NULL;
    gethostname(host, sizeof host - 1);
    getpwuid_r(geteuid(), &user, memory, sizeof memory, &found);
    char *batch = slice_to_string(slice_from_string(attempt->options->batch));
    struct history_row row = {
        .version = migration->version,
        .name = migration->name,
        .checksum = memcpy(checksum, migration->checksum, sizeof checksum),
        .state = slice_copy(slice_from_string(state), written_state, sizeof written_state),
        .applied_at = clock_format(clock_wall_ms(), now),
        .execution_ms = elapsed_ms(attempt),
        .statements = attempt->report->statement_count,
        .applied_by = found ? found->pw_name : unknown,
        .host = host,
        .cause = slice_copy(slice_from_string(attempt->options->cause), cause, sizeof cause),
        .batch = batch,
    };
    bool good = batch
                    ? history_add(&attempt->database, &row, &attempt->report->error)
                    : error_set(&attempt->report->error, ERROR_MEMORY,
                                "%s: out of memory; free some and try again", migration->file_name);
    free(batch);
    return good;
}

/* The table that holds our columns: automigrate_history beside another tool's ledger. */
static const char *update_sql(struct attempt *attempt)
{
    int64_t beside = 0;
    if (!database_number(&attempt->database,
                         "SELECT count(*) FROM pragma_table_info('schema_migrations', 'main') "
                         "WHERE name = 'state' COLLATE NOCASE",
                         0, &beside, &attempt->report->error))
        return NULL;
    return beside > 0 ? "UPDATE main.schema_migrations SET state = ?2, statements = ?3, "
                        "execution_ms = ?4 WHERE version = ?1"
                      : "UPDATE main.automigrate_history SET state = ?2, statements = ?3, "
                        "execution_ms = ?4 WHERE version = ?1";
}

bool attempt_update_row(struct attempt *attempt, const char *state)
{
    sqlite3 *handle = attempt->database.handle;
    sqlite3_stmt *update = NULL;
    const char *sql = update_sql(attempt);
    if (!sql)
        return false;
    int result = sqlite3_prepare_v2(handle, sql, -1, &update, NULL);
    if (result == SQLITE_OK) {
        sqlite3_bind_text(update, 1, attempt->entry->migration->version, -1, SQLITE_STATIC);
        sqlite3_bind_text(update, 2, state, -1, SQLITE_STATIC);
        sqlite3_bind_int64(update, 3, attempt->report->statement_count);
        sqlite3_bind_int64(update, 4, elapsed_ms(attempt));
        result = sqlite3_step(update);
    }
    bool good = result == SQLITE_DONE && sqlite3_changes(handle) == 1;
    if (!good)
        database_error(handle, result, "history row", &attempt->report->error);
    sqlite3_finalize(update);
    return good;
}

bool attempt_commit(struct attempt *attempt)
{
    sqlite3 *handle = attempt->database.handle;
    uint64_t deadline_ns = clock_monotonic_ns() + COMMIT_BUDGET_MS * NS_PER_MS;
    int result;
    sqlite3_busy_timeout(handle, COMMIT_BUDGET_MS);
    /* The busy handler is not asked for every kind of BUSY, so the loop has a limit of its own. */
    do
        result = sqlite3_exec(handle, "COMMIT", NULL, NULL, NULL);
    while ((result & 0xff) == SQLITE_BUSY && clock_monotonic_ns() < deadline_ns);
    if (result == SQLITE_OK)
        return true;
    database_error(handle, result, attempt->entry->migration->file_name, &attempt->report->error);
    if ((result & 0xff) == SQLITE_BUSY)
        error_set(&attempt->report->error, ERROR_LOCK,
                  "%s: rolled back, for readers kept it from committing for %d ms; end long reads "
                  "and try again",
                  attempt->entry->migration->file_name, COMMIT_BUDGET_MS);
    attempt_rollback(attempt);
    return false;
}

void attempt_rollback(struct attempt *attempt)
{
    struct error ignored;
    /* An error may have rolled back already. Should ROLLBACK fail, closing the connection does it.
     */
    if (!sqlite3_get_autocommit(attempt->database.handle) &&
        !database_run(&attempt->database, "ROLLBACK", &ignored))
        LOG(LOG_WARNING, "rollback_failed", ignored.message,
            log_text("file", attempt->entry->migration->file_name));
}
