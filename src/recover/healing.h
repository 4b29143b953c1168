/* SPDX-License-Identifier: MIT */
/* What the data plane is handed to have failures healed: a small table of functions, so that a test
 * can script verdicts. A failed exchange is submitted; its verdict comes later as a message to its
 * worker. recover/recover.h fills the table; nothing here waits, and every function may be called
 * from any worker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "http/head.h"

/* Who waits: a slot of a worker, with the slot's generation, so that a verdict that comes late
 * finds nobody. */
struct ticket {
    uint32_t worker;
    uint32_t slot;
    uint64_t slot_generation;
};

enum verdict_kind { VERDICT_PASS, VERDICT_RETRY };

struct verdict {
    struct ticket ticket;
    enum verdict_kind kind;
};

/* A watched answer. Slices live only during the call. */
struct failure {
    enum http_method method;
    struct slice method_text;
    struct slice target;
    bool has_idempotency_key;
    bool replayable; /* the request was kept and may be sent again */
    unsigned status;
    struct slice body;   /* what was held of it, without chunk framing */
    uint64_t generation; /* schema generation that the request was sent under */
    uint64_t sent_ns;    /* when its first byte was sent, monotonic */
};

enum healing_answer {
    HEALING_PASS, /* give the answer to the client */
    HEALING_WAIT, /* a verdict will come */
};

enum healing_outcome {
    OUTCOME_HEALED,     /* the second attempt's answer is not a watched one */
    OUTCOME_NOT_HEALED, /* it is, or there was none */
    OUTCOME_TIMED_OUT,  /* no verdict within the wait */
};

struct healing {
    void *context;

    /* Whether a watched answer to a request that was sent under `generation` is worth holding:
     * something is pending, the schema has changed since, or a migration runs. False is counted: a
     * failure with nothing pending. */
    bool (*is_worth_holding)(void *context, uint64_t generation);

    enum healing_answer (*submit)(void *context, const struct failure *failure,
                                  struct ticket ticket);

    /* The client has gone, or the worker does not wait any longer. */
    void (*take_back)(void *context, struct ticket ticket);

    /* How a request ended that had been given a verdict to retry, or none in time. */
    void (*tell_outcome)(void *context, enum healing_outcome outcome, struct slice method,
                         struct slice target, unsigned status, uint64_t waited_ns);
};
