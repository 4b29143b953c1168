/* SPDX-License-Identifier: MIT */
/* The application's side of a worker: a bounded pool of connections and, in front of it, a queue in
 * order. A connection is idle in the pool, or belongs to one exchange. Bytes or an end on an idle
 * one close it. */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "proxy/dialer.h"
#include "proxy/source.h"
#include "proxy/timers.h"
#include "proxy/transport.h"

struct worker;
struct exchange;

struct upstream_connection {
    struct source source;
    struct list link; /* on upstream->idle */
    struct upstream *upstream;
    struct transport transport;
    struct timer timer;
    struct exchange *exchange; /* NULL: idle */
    uint64_t uses;             /* requests sent on it before the current one */
    bool is_closed;
};

struct upstream {
    struct worker *worker;
    struct upstream_address address;
    struct dialer dialer;
    struct list idle;    /* last used first */
    struct list waiting; /* exchanges in order of arrival */
    struct timer redial; /* a full unix backlog is dialled again after a moment */
    unsigned waiting_count;
    unsigned count; /* open connections and dials under way */
    unsigned most;
    unsigned waiting_most;
};

[[gnu::warn_unused_result]] bool upstream_construct(struct upstream *upstream,
                                                    struct worker *worker, struct error *error);
void upstream_destruct(struct upstream *upstream);

enum upstream_answer { UPSTREAM_CONNECTION, UPSTREAM_WAIT, UPSTREAM_FULL };

/* An idle connection at once, or a place in the queue: exchange_connected or exchange_not_connected
 * follows, never from within this call. UPSTREAM_FULL: the queue is as long as it may be. `fresh`
 * wants a connection that was never used. */
[[gnu::warn_unused_result]] enum upstream_answer
upstream_acquire(struct upstream *upstream, struct exchange *exchange, bool fresh,
                 struct upstream_connection **connection);

/* Leaves the queue. */
void upstream_cancel(struct upstream *upstream, struct exchange *exchange);

/* Gives a connection back; closed unless it can take another request. */
void upstream_release(struct upstream_connection *connection, bool reusable);

/* From the dialer. */
void upstream_opened(struct upstream *upstream, int fd);
void upstream_refused(struct upstream *upstream, CURLcode result, int number);

/* Asks for EPOLLOUT where that is not always registered. Call after a send that left bytes. */
void upstream_watch_writable(struct upstream_connection *connection);
