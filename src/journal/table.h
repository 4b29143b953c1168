/* SPDX-License-Identifier: MIT */
/* The table of events in journal.db: entries in, equal ones counted together, old ones out. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "journal/entry.h"
#include "journal/store.h"

/* Equal events closer together than this are one row, and one log line. */
enum { EVENT_INTERVAL_MS = 60 * 1000 };

extern const struct store_layout journal_layout;

struct table {
    struct store store;
    sqlite3_stmt *count_again; /* adds to the row of an equal event */
    sqlite3_stmt *insert;
    sqlite3_stmt *remove;
    const char *source; /* borrowed */
};

[[gnu::warn_unused_result]] bool table_open(struct table *table, const char *state_directory,
                                            const char *source, struct error *error);
void table_close(struct table *table);

/* Writes all entries in one transaction, or none. */
[[gnu::warn_unused_result]] bool table_write(struct table *table, struct entry *const *entries,
                                             size_t count, struct error *error);

/* Removes rows that were last seen before `wall_ms`, in bounded steps, so that no other process
 * waits long. */
[[gnu::warn_unused_result]] bool table_prune(struct table *table, int64_t wall_ms,
                                             struct error *error);
