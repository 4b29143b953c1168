/* SPDX-License-Identifier: MIT */
/* Runs the statements of one migration on one connection, one at a time, in the same way in a
 * rehearsal and for good: prepared, stepped and finalised under the authorizer and a time limit.
 * On the thread of the connection. */
#pragma once

#include <sqlite3.h>

#include "base/error.h"
#include "migrate/authorizer.h"
#include "migrate/migration.h"
#include "migrate/statement.h"
#include "migrate/token.h"

struct executor {
    sqlite3 *handle;
    const struct migration *migration;
    struct authorizer authorizer;
    uint64_t deadline_ns; /* monotonic; 0: none */
    uint64_t limit_ms;    /* for the message, as is what to change it with */
    const char *limit_key;
};

/* The executor stays where it is until it is destructed: the connection points at it. limit_ms 0:
 * no limit. */
void executor_construct(struct executor *executor, sqlite3 *handle,
                        const struct migration *migration, uint64_t limit_ms,
                        const char *limit_key);
void executor_destruct(struct executor *executor);

enum executed {
    EXECUTED_DONE,
    EXECUTED_NOTHING, /* what it creates is there already, and is the same */
    EXECUTED_SETTING, /* PRAGMA foreign_keys: heeded before the transaction, not run here */
    EXECUTED_FAILED,
};

struct execution {
    enum executed outcome;
    struct sentence sentence;
    bool read_only; /* as sqlite3_stmt_readonly says */
    bool stepped;   /* prepared without an error */
    int result;     /* SQLite's */
    unsigned line;  /* where it failed, or where the statement begins */
    int64_t rows;   /* changed */
    uint64_t duration_us;
};

/* On failure *error reads "005_x.sql:12: statement 5 (CREATE TABLE a …): near "x": syntax error".
 * The records of what it did are in executor->authorizer until the next call. */
void executor_run(struct executor *executor, const struct statement *statement,
                  struct execution *execution, struct error *error);

/* "005_x.sql:12: statement 5 (CREATE TABLE …)": the beginning of every message about it. */
char *executor_place(const struct executor *executor, const struct statement *statement,
                     unsigned line, char out[512]);
