/* SPDX-License-Identifier: MIT */
/* What is so right now: the live catalogue with its generation, what is pending, and the plan for
 * it. Looked at again when something may have changed; nothing of it is taken from memory when a
 * decision is made (P12). Belongs to the recovery thread; the functions that say "any thread" read
 * atomics. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"
#include "database/database.h"
#include "migrate/plan.h"
#include "recover/files.h"
#include "recover/judge.h"
#include "recover/recover.h"
#include "schema/catalogue.h"

struct live {
    const struct recover_options *options; /* borrowed: the recovery's */
    enum config_mode mode;                 /* in force */
    struct database database;              /* reads only */
    bool is_open;
    struct migration_set set;
    struct files files;  /* what the set was loaded from */
    struct error broken; /* why the files could not be loaded; code ERROR_NONE: they could */
    bool files_are_new;  /* and it has not been told yet */
    struct plan plan;
    struct catalogue catalogue;
    struct appearances appearances;
    uint64_t history_digest; /* of the applied set that the plan was made for */
    int64_t data_version;    /* as last seen */
    uint64_t quiet_since_ns; /* since when no commit was seen */
    bool has_plan;
    bool expects_change;    /* a migration of ours ran since the last look */
    uint64_t device, inode; /* of the database file: a replaced file is a new database */
    char told_trouble[ERROR_MESSAGE_SIZE]; /* the last trouble that was told, so that it is told
                                              once */

    _Atomic uint64_t generation;
    _Atomic uint64_t pending;
    atomic_bool changing;
    atomic_bool trouble;
};

/* First look; what cannot be read is an error here, but for a database that somebody has locked:
 * that is trouble that will pass. `options` must outlive it. */
[[gnu::warn_unused_result]] bool
live_construct(struct live *live, const struct recover_options *options, struct error *error);
void live_destruct(struct live *live);

/* Looks again at database and files, makes a new plan if they changed, and announces what changed.
 * On trouble, tells it and has no plan. */
void live_look(struct live *live);

/* How long until the next look is due, in ms, as files that have just changed come to count or
 * trouble is looked at again; -1: nothing to wait for. */
int live_next_look_ms(const struct live *live);

/* Tells the data plane generation and whether large bodies are to be kept. */
void live_announce(struct live *live);

/* Records where history and files disagree. Done for each new plan; this is for the first one. */
void live_tell_drifts(const struct live *live);

/* A migration begins, or has ended. */
void live_set_changing(struct live *live, bool changing);

/* Whether no commit was seen in the database since `sent_ns`; false when that cannot be known. */
bool live_is_quiet_since(const struct live *live, uint64_t sent_ns);

static inline uint64_t live_generation(const struct live *live)
{
    return atomic_load_explicit(&live->generation, memory_order_acquire);
}

static inline uint64_t live_pending(const struct live *live)
{
    return atomic_load_explicit(&live->pending, memory_order_acquire);
}

static inline bool live_is_changing(const struct live *live)
{
    return atomic_load_explicit(&live->changing, memory_order_acquire);
}

/* Something is pending, a migration runs, or what is pending cannot be known at the moment: a
 * failure may be ours to heal. Any thread. */
static inline bool live_is_moving(const struct live *live)
{
    return live_pending(live) > 0 || live_is_changing(live) || atomic_load(&live->trouble);
}
