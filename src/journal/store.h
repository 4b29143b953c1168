/* SPDX-License-Identifier: MIT */
/* An SQLite file of our own in the state directory: made safely, in WAL mode, shared by several
 * processes. A store belongs to the thread that opened it. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>

#include "base/error.h"

enum { STORE_BUSY_MS = 2000 }; /* how long another process's write is waited for */

struct store {
    sqlite3 *handle;
    char *path; /* resolved, owned */
};

/* What a file holds. */
struct store_layout {
    const char *file;    /* "journal.db" */
    const char *schema;  /* SQL that makes it, once */
    int version;         /* its user_version; a file with a greater one is refused */
    bool is_synchronous; /* every commit reaches the disk, not only every checkpoint */
};

/* Makes the directory (0700) and the file (0600) where they are missing. Run by root, both get the
 * owner of the directory around them, so that the application's user can work with them too.
 * Symbolic links in their place are refused. */
[[gnu::warn_unused_result]] bool store_open(struct store *store, const char *directory,
                                            const struct store_layout *layout, struct error *error);

/* For reading what is there; makes nothing. *exists: there is such a file, and store is open. */
[[gnu::warn_unused_result]] bool store_open_to_read(struct store *store, const char *directory,
                                                    const struct store_layout *layout, bool *exists,
                                                    struct error *error);
void store_close(struct store *store);

/* Runs fixed SQL of ours without results; returns SQLite's result. */
int store_run(const struct store *store, const char *sql);

/* Prepares fixed SQL of ours; NULL with an error that names the file. The caller finalizes. */
[[gnu::warn_unused_result]] sqlite3_stmt *store_prepare(const struct store *store, const char *sql,
                                                        struct error *error);

/* Fills *error from SQLite's result: "<path>: <what>: <SQLite's message>". Returns false. */
bool store_error(const struct store *store, int result, const char *what, struct error *error);
