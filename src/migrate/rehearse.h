/* SPDX-License-Identifier: MIT */
/* Runs pending migrations, one after the other, in an in-memory copy of the live schema, to learn
 * what each provides, what it can lose, and whether it runs at all. The copy has no rows: what
 * fails for lack of them depends on data. One thread. */
#pragma once

#include "migrate/known.h"
#include "migrate/plan.h"

struct rehearsal_stage {
    struct database *live; /* borrowed; asked for sizes only */
    struct database copy;
    struct known known;
    const struct plan_limits *limits;
    uint64_t deadline_ns;
    unsigned stubbed;
    char note[256]; /* what the copy could not hold */
    bool tainted;   /* rows that later statements may need were not there to be copied */
    bool unmet;     /* deferred foreign keys wait for such rows, and keep the transaction open */
};

/* Copies the schema. The live connection must hold a snapshot if others read it beside this. */
[[gnu::warn_unused_result]] bool rehearsal_open(struct rehearsal_stage *stage,
                                                struct database *live,
                                                const struct plan_limits *limits,
                                                struct error *error);
void rehearsal_close(struct rehearsal_stage *stage);

/* Fills all of `entry` but `migration`, which is set. `index` is its place in the plan. False only
 * when the rehearsal itself broke (memory). */
[[gnu::warn_unused_result]] bool rehearsal_run(struct rehearsal_stage *stage,
                                               struct plan_entry *entry, int index,
                                               struct error *error);
