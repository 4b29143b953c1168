/* SPDX-License-Identifier: MIT */
/* A plan for people, as status and apply show it. Main thread. */
#pragma once

#include "cli/columns.h"
#include "journal/state.h"
#include "migrate/plan.h"

enum { PLAN_COLUMNS = 6 };

/* One row: mark, version, name, risk, rehearsal, reason. */
void plan_text_add(struct columns *columns, const struct plan_entry *entry);

/* A line for a rehearsal that fails, and one for a migration that failed before; `failure` may be
 * NULL. */
void plan_text_print_failures(const struct plan_entry *entry, const struct state_failure *failure);

/* A line for each drift. */
void plan_text_print_drift(const struct plan *plan);
