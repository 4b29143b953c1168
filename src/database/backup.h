/* SPDX-License-Identifier: MIT */
/* Backups through SQLite's backup API (https://www.sqlite.org/backup.html) from a second
 * connection, while the first holds the write lock: a consistent image with no writer able to slip
 * in between. */
#pragma once

#include "base/error.h"
#include "database/database.h"

/* Copies the database at `database_path` to `directory`/<time>-<label>.db: mode 0600, free space
 * looked at first, synced, quick_check run on the copy; on failure nothing is left. *path (freed by
 * the caller) is where it is. Keeps the newest `keep` (at least this one) of this naming and
 * removes older ones. `directory` is made (0700) where its parent is there. What only the
 * application can check (its own functions and collations) is logged as unverified and kept. */
[[gnu::warn_unused_result]] bool backup_take(const char *database_path, const char *directory,
                                             const char *label, uint64_t keep, char **path,
                                             struct error *error);
