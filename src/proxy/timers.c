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

uint64_t timers_run(struct timers *timers, uint64_t now_ns)
{
    uint64_t next = UINT64_MAX;
    for (int kind = 0; kind < TIMER_KIND_COUNT; kind++) {
        struct list *list = &timers->lists[kind];
        while (!list_is_empty(list)) {
            struct timer *timer = LIST_ENTRY(list->next, struct timer, link);
            if (timer->due_ns > now_ns) {
                if (timer->due_ns - now_ns < next)
                    next = timer->due_ns - now_ns;
                break;
            }
            timer_stop(timer);
            timer->expired(timer);
        }
    }
    return next;
}
