/* SPDX-License-Identifier: MIT */
/* Timers of a worker. Every kind has one duration, so each kind is a list in the order of expiry:
 * starting, restarting and stopping cost a few writes. One thread. */
#pragma once

#include <stdint.h>

#include "base/list.h"

enum timer_kind {
    TIMER_IDLE,     /* a client connection between requests */
    TIMER_HEADER,   /* a request head that is not complete */
    TIMER_BODY,     /* silence within a request body */
    TIMER_SEND,     /* a client that does not read */
    TIMER_LINGER,   /* reading on behind a refusal, so that it arrives */
    TIMER_QUEUE,    /* a request that waits for an upstream connection */
    TIMER_RESPONSE, /* silence of the upstream */
    TIMER_HOLD,     /* a watched answer that is held */
    TIMER_PARK,     /* a request that waits for a verdict */
    TIMER_POOL,     /* an idle upstream connection */
    TIMER_BACKOFF,  /* a listener without descriptors, an upstream to be dialled again */
    TIMER_KIND_COUNT
};

struct timer {
    struct list link;
    uint64_t due_ns;
    enum timer_kind kind;
    void (*expired)(struct timer *timer);
};

struct timers {
    struct list lists[TIMER_KIND_COUNT];
    uint64_t duration_ns[TIMER_KIND_COUNT];
};

void timers_construct(struct timers *timers);
void timer_construct(struct timer *timer, void (*expired)(struct timer *timer));

static inline void timer_stop(struct timer *timer)
{
    list_remove(&timer->link);
}

/* Starts it anew, as `kind`, from `now_ns`. */
static inline void timer_start(struct timers *timers, struct timer *timer, enum timer_kind kind,
                               uint64_t now_ns)
{
    list_remove(&timer->link);
    timer->kind = kind;
    timer->due_ns = now_ns + timers->duration_ns[kind];
    list_append(&timers->lists[kind], &timer->link);
}

static inline bool timer_is_running(const struct timer *timer)
{
    return !list_is_empty(&timer->link);
}

/* Calls what is due; returns nanoseconds until the next, UINT64_MAX if there is none. */
uint64_t timers_run(struct timers *timers, uint64_t now_ns);
