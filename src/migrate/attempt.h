/* SPDX-License-Identifier: MIT */
/* One attempt to apply one migration, once the locks are held: running its statements and writing
 * its row. Shared by migrations in a transaction (apply.c) and those outside one (outside.c). One
 * thread. */
#pragma once

#include "migrate/apply.h"
#include "migrate/execute.h"

struct attempt {
    const struct plan *plan;
    const struct plan_entry *entry;
    const struct apply_options *options;
    struct apply_report *report;
    struct database database;
    uint64_t begin_ns; /* when the write lock was asked for */
};

/* Runs the statements, each with its result in the report. `between` is called behind each that
 * succeeded; it may be NULL. False: report->error says why. */
[[gnu::warn_unused_result]] bool attempt_run(struct attempt *attempt,
                                             bool (*between)(struct attempt *attempt));

/* Writes the history row within the transaction that is open. */
[[gnu::warn_unused_result]] bool attempt_add_row(struct attempt *attempt, const char *state);

/* Changes the row's state and figures in a transaction of its own. */
[[gnu::warn_unused_result]] bool attempt_update_row(struct attempt *attempt, const char *state);

/* COMMIT, tried again for a bounded time while readers are in the way; then rolled back. */
[[gnu::warn_unused_result]] bool attempt_commit(struct attempt *attempt);

/* Rolls back what is open; the error that is in the report stays. */
void attempt_rollback(struct attempt *attempt);

/* Applies a migration that has no transaction. */
void outside_apply(struct attempt *attempt);
