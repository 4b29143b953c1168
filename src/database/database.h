/* SPDX-License-Identifier: MIT */
/* The application's database: connections to it, made one way. Nothing but SQLite ever opens the
 * file (closing any other descriptor of it would drop SQLite's locks:
 * https://www.sqlite.org/howtocorrupt.html, 2.2), so whether it exists is found out with stat and
 * by opening it through SQLite. A connection belongs to the thread that opened it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sqlite3.h>

#include "base/error.h"

enum database_access {
    DATABASE_READ, /* query_only: reads, also in WAL mode; leaves no files behind that the
                      application could not open */
    DATABASE_WRITE,
    DATABASE_CREATE, /* as WRITE, and makes an empty database where there is none: only on the
                        operator's word (P8) */
};

struct database {
    sqlite3 *handle;
    char *path; /* as given, owned */
};

/* Gives a connection that was opened otherwise (in memory) the settings that database_open gives.
 */
[[gnu::warn_unused_result]] bool database_configure(struct database *database,
                                                    uint64_t busy_timeout_ms, struct error *error);

/* Opens `path` and sets: busy timeout, foreign_keys on, legacy_alter_table off, trusted_schema on,
 * defensive on, no extension loading, double-quoted strings as SQLite's default has them (the
 * application's SQL may rely on it; probes switch it off). ERROR_NOT_FOUND names the file and
 * --create-database when it is missing. */
[[gnu::warn_unused_result]] bool database_open(struct database *database, const char *path,
                                               enum database_access access,
                                               uint64_t busy_timeout_ms, struct error *error);
void database_close(struct database *database);

/* The absolute path of the database file, links resolved, whether the file is there yet or not:
 * what is kept beside the database is named after it, so that two names of one file share it. NULL
 * with *error when a directory on the way is missing or a link leads nowhere. Freed by the caller.
 */
[[gnu::warn_unused_result]] char *database_resolve(const char *path, struct error *error);

/* Turns SQLite's result into our code (ERROR_LOCK for BUSY and LOCKED, ERROR_DISK_FULL,
 * ERROR_READ_ONLY, ERROR_CORRUPT, ERROR_CONSTRAINT, ERROR_TIMEOUT for INTERRUPT, …) and fills the
 * message: "what: SQLite's message". Returns false. */
bool database_error(sqlite3 *handle, int result, const char *what, struct error *error);

/* Runs fixed SQL of ours without results. Never text that came from outside. */
[[gnu::warn_unused_result]] bool database_run(struct database *database, const char *sql,
                                              struct error *error);

/* One integer from a fixed query; `missing` when there is no row. */
[[gnu::warn_unused_result]] bool database_number(struct database *database, const char *sql,
                                                 int64_t missing, int64_t *number,
                                                 struct error *error);

/* PRAGMA schema_version and PRAGMA data_version
 * (https://www.sqlite.org/pragma.html#pragma_data_version): the second changes when another
 * connection has committed. Statements are reset before these return, so no reader of ours stands
 * in a writer's way. */
[[gnu::warn_unused_result]] bool database_schema_version(struct database *database,
                                                         int64_t *version, struct error *error);
[[gnu::warn_unused_result]] bool database_data_version(struct database *database, int64_t *version,
                                                       struct error *error);

/* Keeps one state of the database in sight while several queries read it, without a transaction of
 * its own: a statement that is in the middle of its result holds the read transaction. *version is
 * PRAGMA schema_version. NULL with *error on failure; sqlite3_finalize lets go. */
[[gnu::warn_unused_result]] sqlite3_stmt *
database_hold_snapshot(struct database *database, int64_t *schema_version, struct error *error);

/* Whether the file lies on a network file system, where locks cannot be trusted (P4). *name: "nfs",
 * "smb2", …, static. FUSE mounts (sshfs) cannot be told apart and count as local. */
bool database_is_on_network(const char *path, const char **name);
