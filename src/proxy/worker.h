/* SPDX-License-Identifier: MIT */
/* A worker: one thread, one epoll, its own listener, clients and pool of upstream connections.
 * Nothing is shared on the happy path. One turn of its loop: wait; sockets; messages from other
 * threads; timers; what was left to go on; free what ended. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/list.h"
#include "base/queue.h"
#include "config/config.h"
#include "http/edit.h"
#include "http/head.h"
#include "proxy/blocks.h"
#include "proxy/counters.h"
#include "proxy/listener.h"
#include "proxy/retry_buffer.h"
#include "proxy/source.h"
#include "proxy/timers.h"
#include "proxy/upstream.h"
#include "recover/healing.h"

struct exchange;

/* What other threads tell a worker. */
struct message {
    enum { MESSAGE_VERDICT, MESSAGE_SCHEMA, MESSAGE_DRAIN } kind;
    struct verdict verdict;
    uint64_t generation; /* MESSAGE_SCHEMA: the schema generation from now on */
    bool recording; /* MESSAGE_SCHEMA: something is pending, or a migration runs: large bodies are
                       kept */
};

struct worker {
    uint32_t index;
    pthread_t thread;
    bool started;
    int epoll;
    const struct config *config;   /* of the process */
    const struct healing *healing; /* NULL: healing is off */
    struct retry_budget *budget;
    struct queue inbox;
    struct source inbox_source;

    uint64_t now_ns;     /* read once a turn */
    uint64_t generation; /* its copy of the schema generation */
    bool recording;
    bool draining;
    bool done;
    uint64_t drain_until_ns;
    bool drain_is_over; /* what waited was answered; a last moment for writing */

    struct listener listener;
    struct upstream upstream;
    struct list clients;
    struct list resumes;   /* sources that stopped to let others run: struct source.link */
    struct list graveyard; /* sources whose memory is freed at the end of the turn */
    struct timers timers;
    struct blocks heads;  /* BLOCK_HEAD */
    struct blocks bodies; /* BLOCK_BODY */
    struct counters counters;

    struct exchange **slots; /* by slot number, for verdicts; grows */
    uint32_t slot_count;
    struct list free_exchanges;

    bool watched[600]; /* by status: the one look-up that healing costs on the happy path */

    /* Scratch for one message at a time; valid until the next parse. */
    struct http_head request_head;
    const struct exchange *request_head_of; /* whose request that is */
    struct http_head response_head;
    struct http_edit edit;
    char edit_scratch[HTTP_EDIT_SCRATCH];
};

/* Makes everything but the listener's sockets and the thread. */
[[gnu::warn_unused_result]] bool worker_construct(struct worker *worker, uint32_t index,
                                                  const struct config *config,
                                                  const struct healing *healing,
                                                  struct retry_budget *budget, struct error *error);
void worker_destruct(struct worker *worker);

[[gnu::warn_unused_result]] bool worker_start(struct worker *worker, struct error *error);
void worker_join(struct worker *worker);

/* Any thread. False: the queue is full; whoever waits times out by itself. */
[[gnu::warn_unused_result]] bool worker_tell(struct worker *worker, const struct message *message);

/* Registers a source's descriptor, or changes what it waits for. */
[[gnu::warn_unused_result]] bool worker_watch(struct worker *worker, int fd, uint32_t events,
                                              struct source *source);
bool worker_rewatch(struct worker *worker, int fd, uint32_t events, struct source *source);

/* Calls source->ready(source, 0) again in this turn's end: for sources that stopped so that others
 * can run. */
void worker_resume(struct worker *worker, struct source *source);

/* Frees the object that holds `source` by calling `release` at the end of the turn; until then its
 * events are ignored. */
void worker_bury(struct worker *worker, struct source *source,
                 void (*release)(struct source *source));
