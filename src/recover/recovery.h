/* SPDX-License-Identifier: MIT */
/* One pass of recovery over everything that waits: judge, apply once, judge again, release.
 * Recovery thread. */
#pragma once

#include <stdatomic.h>

#include "detect/detect.h"
#include "journal/state.h"
#include "recover/judge.h"
#include "recover/live.h"
#include "recover/recover.h"
#include "recover/tally.h"

/* A failed exchange, as the recovery thread has it. */
struct submission {
    struct submission *next;
    struct ticket ticket;
    bool is_idempotent;
    bool has_idempotency_key;
    bool replayable;
    bool is_quiet; /* no commit was seen between its sending and its end */
    unsigned status;
    uint64_t generation;
    uint64_t sent_ns;
    const char *method; /* static */
    char path[128];
    struct judged judged;
    size_t about; /* which of the errors it was judged by */
    size_t count; /* 0: "database is locked" while a migration of ours ran */
    struct schema_error errors[];
};

void submissions_free(struct submission *first);

struct recovery {
    const struct recover_options *options;
    struct live *live;
    struct state *state; /* NULL: failures are remembered below only */
    struct {
        char checksum[CHECKSUM_SIZE];
        int64_t schema_version;
    } failures[16]; /* of this process, the newest */
    size_t noted;
    struct tally tally;
    uint64_t not_before_ns; /* after a run that could not begin */
    atomic_bool stop;       /* no further migration begins; any thread sets it */
    _Atomic uint64_t applied, failed, retried;
};

[[gnu::warn_unused_result]] bool recovery_construct(struct recovery *recovery, struct live *live,
                                                    const struct recover_options *options,
                                                    struct error *error);
void recovery_destruct(struct recovery *recovery);

/* Gives each its verdict and frees it. */
void recovery_pass(struct recovery *recovery, struct submission *first);
