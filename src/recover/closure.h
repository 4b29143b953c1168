/* SPDX-License-Identifier: MIT */
/* With recover.scope mapped: the set of what is applied, the migrations that are needed, and what
 * those depend on, with a plan of its own, so that exactly what would be applied is what is
 * rehearsed. Recovery thread. */
#pragma once

#include "migrate/plan.h"

struct closure {
    struct migration_set set; /* its arrays are owned, what the migrations point to is borrowed */
    struct plan plan;
};

[[gnu::warn_unused_result]] bool
closure_make(struct closure *closure, const struct migration_set *set, const struct plan *whole,
             const char *const *versions, size_t count, struct database *database,
             const struct plan_limits *limits, struct error *error);
void closure_free(struct closure *closure);
