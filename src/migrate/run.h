/* SPDX-License-Identifier: MIT */
/* Applies a plan: its entries in order, as many as the caller permits, with a new plan whenever the
 * database has moved on meanwhile. The one loop behind a recovery and "automigrate apply". Blocks
 * its thread. */
#pragma once

#include <stdatomic.h>

#include "migrate/apply.h"
#include "migrate/plan.h"

struct run {
    const atomic_bool *stop;   /* once true no further one begins; may be NULL */
    struct database *database; /* for new plans; each migration has a connection of its own */
    const struct migration_set *set;
    struct plan_limits limits;
    struct apply_options options;
    void *context;
    /* How many entries, from the first, may be applied. Asked for each plan. */
    size_t (*permit)(void *context, const struct plan *plan);
    /* Told before and after each; either may be NULL. Not told of APPLY_CHANGED, which makes a new
     * plan. */
    void (*before)(void *context, const struct plan_entry *entry);
    void (*after)(void *context, const struct plan *plan, const struct plan_entry *entry,
                  const struct apply_report *report);
};

enum run_outcome {
    RUN_DONE,      /* everything that is permitted is in */
    RUN_FAILED,    /* a migration failed and was rolled back; those before it are in */
    RUN_UNTOUCHED, /* the next one could not begin, or was not to; trying later may help */
    RUN_NO_PLAN,   /* a new plan could not be made, *error says why */
};

/* `plan` is replaced when a new one is made; the caller frees it. */
enum run_outcome run_plan(const struct run *run, struct plan *plan, struct error *error);
