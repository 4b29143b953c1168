/* SPDX-License-Identifier: MIT */
/* History and files compared: what of the set is applied, and what does not fit together. Pure, any
 * thread. */
#pragma once

#include "database/history.h"
#include "migrate/plan.h"

/* For each migration of the set, in its order, the row of the history that is about it, or NULL: 7
 * and 007 are one version. Freed by the caller; the rows belong to the history. NULL: memory. */
[[gnu::warn_unused_result]] const struct history_row **drift_rows(const struct migration_set *set,
                                                                  const struct history *history);

/* A row that says that its migration is in: "applied", or another tool's, which has no state. */
bool drift_is_applied(const struct history_row *row);

/* Fills plan->drifts, ->applied and ->blocked. */
[[gnu::warn_unused_result]] bool drift_find(struct plan *plan, const struct migration_set *set,
                                            const struct history *history,
                                            const struct history_row *const *rows,
                                            struct error *error);

/* A number that differs when the applied set does: the sum of what each row counts for. */
uint64_t history_fingerprint(const struct history *history);
uint64_t history_row_fingerprint(const char *version, bool applied);
