/* SPDX-License-Identifier: MIT */
/* Timers of a worker. Worker's thread only. */
#include "proxy/timers.h"

void timers_construct(struct timers *timers)
{
    for (int kind = 0; kind < TIMER_KIND_COUNT; kind++) {
        list_construct(&timers->lists[kind]);
        timers->duration_ns[kind] = 0;
    }
}

void timer_construct(struct timer *timer, void (*expired)(struct timer *timer))
{
    list_construct(&timer->link);
    timer->expired = expired;
}

static struct timer *first_of(struct timers *timers, int kind)
{
    struct list *list = &timers->lists[kind];
    return list_is_empty(list) ? NULL : LIST_ENTRY(list->next, struct timer, link);
}

uint64_t timers_run(struct timers *timers, uint64_t now_ns)
{
    for (int kind = 0; kind < TIMER_KIND_COUNT; kind++) {
        struct timer *timer;
        while ((timer = first_of(timers, kind)) != NULL && timer->due_ns <= now_ns) {
            timer_stop(timer);
            timer->expired(timer);
        }
    }
    /* Only now: what expired may have started a timer of any kind. */
    uint64_t next = UINT64_MAX;
    for (int kind = 0; kind < TIMER_KIND_COUNT; kind++) {
        const struct timer *timer = first_of(timers, kind);
        uint64_t wait_ns = !timer                   ? UINT64_MAX
                           : timer->due_ns > now_ns ? timer->due_ns - now_ns
                                                    : 0;
        if (wait_ns < next)
            next = wait_ns;
    }
    return next;
}
