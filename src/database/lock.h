/* SPDX-License-Identifier: MIT */
/* The advisory lock that makes migrations single (P4): flock(2) on <database>.automigrate.lock
 * beside the database (of the resolved path, so that two names of one file share it). The kernel
 * releases it when its holder dies; the file is never unlinked. Its content (pid, host, time,
 * program) is for people only. Its mode is 0600, widened so that whoever may write the database may
 * take it; made by root, it belongs to the database's owner. Excludes threads and processes alike.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct database_lock {
    int fd; /* -1 when not held */
};

/* Waits up to timeout_ms. ERROR_LOCK says who holds it and since when. */
[[gnu::warn_unused_result]] bool database_lock_take(struct database_lock *lock,
                                                    const char *database_path, uint64_t timeout_ms,
                                                    struct error *error);
void database_lock_release(struct database_lock *lock);
