/* SPDX-License-Identifier: MIT */
/* Recovery: schema errors in, one verdict for each out. One thread owns the connections to the
 * database, the set of migrations, the plan and the live catalogue; workers hand it failures
 * through a queue and never wait. In one pass it takes all that wait, looks at the database and the
 * files again, judges each error, applies once what is confirmed and allowed, and releases
 * everyone.
 *
 *   submitted ──► refuted | unmapped | ambiguous | not allowed ──────────────► pass
 *       ├───────► appeared since the request was sent ───────────────────────► retry, by the retry
 * rules └───────► confirmed ──► applied (here or elsewhere) ──► looked at again ┘ └───► failed
 * ───────────────────────────────────────► pass
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"
#include "journal/journal.h"
#include "recover/healing.h"

struct recover;

struct recover_options {
    struct journal *journal;     /* leave it NULL: recover_start gives it */
    const struct config *config; /* outlives the recovery */
    void *context;
    bool (*deliver)(void *context, const struct verdict *verdict);        /* any thread */
    void (*announce)(void *context, uint64_t generation, bool recording); /* any thread */
};

/* Opens the database, loads the migrations and makes
 * the first plan: what is wrong with them is told here, before a request is taken. The thread does
 * not run yet. */
[[gnu::warn_unused_result]] struct recover *recover_new(const struct recover_options *options,
                                                        struct error *error);

/* Starts the thread. `journal` (which may be NULL) gets its events from now on; it outlives the
 * recovery. It comes late so that nothing is written before it is known that database and
 * migrations can be read. */
[[gnu::warn_unused_result]] bool recover_start(struct recover *recover, struct journal *journal,
                                               struct error *error);

/* The table for the data plane. */
const struct healing *recover_healing(struct recover *recover);

/* The database or the migrations may have changed: look again. Any thread, never waits. */
void recover_look(struct recover *recover);

struct recover_figures {
    uint64_t generation, pending, applied, failed, submitted, retried_verdicts, abandoned;
    bool changing;         /* a migration runs */
    bool trouble;          /* database or migrations cannot be read at the moment */
    enum config_mode mode; /* in force: observe on a network file system */
};
void recover_figures(struct recover *recover, struct recover_figures *figures);

/* Ends the thread after the migration that runs, if one does. Whoever waits gets no verdict. */
void recover_stop(struct recover *recover);
void recover_free(struct recover *recover);
