/* SPDX-License-Identifier: MIT */
/* state.db: what must outlive the process and is no history. Each call is one statement that is on
 * the disk when it returns; a handle is used by one thread, the file by many processes. */
#include "journal/state.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/slice.h"
#include "journal/store.h"

struct state {
    struct store store;
};

static const struct store_layout state_layout = {
    .file = "state.db",
    .version = 1,
    .is_synchronous = true,
    .schema = "CREATE TABLE failures("
              " checksum TEXT PRIMARY KEY NOT NULL,"
              " version TEXT NOT NULL,"
              " message TEXT NOT NULL,"
              " failed_at TEXT NOT NULL,"
              " schema_version INTEGER NOT NULL);",
};

struct state *state_open(const char *state_directory, struct error *error)
{
    struct state *state = calloc(1, sizeof *state);
    if (!state) {
        error_set(error, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    if (!store_open(&state->store, state_directory, &state_layout, error)) {
        free(state);
        return NULL;
    }
    return state;
}

void state_close(struct state *state)
{
    if (!state)
        return;
    store_close(&state->store);
    free(state);
}

/* Runs a statement that gives no row, and finalizes it. */
static bool finish(struct state *state, sqlite3_stmt *statement, const char *what,
                   struct error *error)
{
    int result = sqlite3_step(statement);
    bool is_done = result == SQLITE_DONE || store_error(&state->store, result, what, error);
    sqlite3_finalize(statement);
    return is_done;
}

bool state_remember_failure(struct state *state, const struct state_failure *failure,
                            struct error *error)
{
    char now[CLOCK_TEXT_SIZE];
    sqlite3_stmt *statement =
        store_prepare(&state->store,
                      "INSERT INTO failures(checksum, version, message, failed_at, schema_version)"
                      " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(checksum) DO UPDATE SET"
                      " version = excluded.version, message = excluded.message,"
                      " failed_at = excluded.failed_at, schema_version = excluded.schema_version",
                      error);
    if (!statement)
        return false;
    sqlite3_bind_text(statement, 1, failure->checksum, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, failure->version, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, failure->message, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4,
                      failure->failed_at[0] ? failure->failed_at
                                            : clock_format(clock_wall_ms(), now),
                      -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 5, failure->schema_version);
    return finish(state, statement, "a failed migration cannot be remembered", error);
}

bool state_forget_failure(struct state *state, const char *checksum, struct error *error)
{
    sqlite3_stmt *statement =
        store_prepare(&state->store, "DELETE FROM failures WHERE checksum = ?1", error);
    if (!statement)
        return false;
    sqlite3_bind_text(statement, 1, checksum, -1, SQLITE_STATIC);
    return finish(state, statement, "a failed migration cannot be forgotten", error);
}

static void copy_column(sqlite3_stmt *statement, int column, char *out, size_t size)
{
    slice_copy(slice_from_string((const char *)sqlite3_column_text(statement, column)), out, size);
}

bool state_find_failure(struct state *state, const char *checksum, struct state_failure *failure,
                        bool *found, struct error *error)
{
    *found = false;
    sqlite3_stmt *statement =
        store_prepare(&state->store,
                      "SELECT checksum, version, message, failed_at, schema_version FROM failures"
                      " WHERE checksum = ?1",
                      error);
    if (!statement)
        return false;
    sqlite3_bind_text(statement, 1, checksum, -1, SQLITE_STATIC);
    int result = sqlite3_step(statement);
    *found = result == SQLITE_ROW;
    if (*found) {
        copy_column(statement, 0, failure->checksum, sizeof failure->checksum);
        copy_column(statement, 1, failure->version, sizeof failure->version);
        copy_column(statement, 2, failure->message, sizeof failure->message);
        copy_column(statement, 3, failure->failed_at, sizeof failure->failed_at);
        failure->schema_version = sqlite3_column_int64(statement, 4);
    }
    bool is_read = *found || result == SQLITE_DONE ||
                   store_error(&state->store, result, "cannot be read", error);
    sqlite3_finalize(statement);
    return is_read;
}
