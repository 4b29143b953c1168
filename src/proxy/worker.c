/* SPDX-License-Identifier: MIT */
/* The loop of a worker. Its thread alone touches what is in struct worker, but for the inbox and
 * the counters. */
#include "proxy/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "proxy/client.h"
#include "proxy/exchange.h"

enum {
    EVENTS_A_TURN = 256,
    MESSAGES_A_TURN = 256,
    INBOX_CAPACITY = 1 << 17,
    HEADS_KEPT = 256,
    BODIES_KEPT = 64,
};

static const uint64_t BACKOFF_NS = 20000000, LINGER_NS = 2000000000, LAST_WRITE_NS = 500000000;

bool worker_watch(struct worker *worker, int fd, uint32_t events, struct source *source)
{
    return epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd,
                     &(struct epoll_event){.events = events, .data.ptr = source}) == 0;
}

bool worker_rewatch(struct worker *worker, int fd, uint32_t events, struct source *source)
{
    return epoll_ctl(worker->epoll, EPOLL_CTL_MOD, fd,
                     &(struct epoll_event){.events = events, .data.ptr = source}) == 0;
}

void worker_resume(struct worker *worker, struct source *source)
{
    if (!source->release && list_is_empty(&source->link))
        list_append(&worker->resumes, &source->link);
}

static void ignore(struct source *source, uint32_t events)
{
    (void)source;
    (void)events;
}

void worker_bury(struct worker *worker, struct source *source,
                 void (*release)(struct source *source))
{
    list_remove(&source->link);
    source->ready = ignore;
    source->release = release;
    list_append(&worker->graveyard, &source->link);
}

static void run_resumes(struct worker *worker)
{
    struct list turn; /* what is resumed again waits for the next turn */
    list_construct(&turn);
    while (!list_is_empty(&worker->resumes)) {
        struct list *link = worker->resumes.next;
        list_remove(link);
        list_append(&turn, link);
    }
    while (!list_is_empty(&turn)) {
        struct source *source = LIST_ENTRY(turn.next, struct source, link);
        list_remove(&source->link);
        source->ready(source, 0);
    }
}

static void empty_graveyard(struct worker *worker)
{
    while (!list_is_empty(&worker->graveyard)) {
        struct source *source = LIST_ENTRY(worker->graveyard.next, struct source, link);
        list_remove(&source->link);
        source->release(source);
    }
}

static void begin_drain(struct worker *worker)
{
    worker->draining = true;
    worker->drain_until_ns = worker->now_ns + worker->config->drain_timeout_ms * NS_PER_MS;
    listener_close(&worker->listener);
    struct list *next;
    for (struct list *link = worker->clients.next; link != &worker->clients; link = next) {
        next = link->next;
        client_drain(LIST_ENTRY(link, struct client, link));
    }
}

static void close_clients(struct worker *worker)
{
    while (!list_is_empty(&worker->clients))
        client_close(LIST_ENTRY(worker->clients.next, struct client, link), true);
}

static void read_inbox(struct source *source, uint32_t events)
{
    (void)events;
    struct worker *worker = LIST_ENTRY(source, struct worker, inbox_source);
    struct message messages[MESSAGES_A_TURN];
    size_t count = queue_pop(&worker->inbox, messages, MESSAGES_A_TURN);
    for (size_t i = 0; i < count; i++) {
        switch (messages[i].kind) {
        case MESSAGE_VERDICT:
            exchange_verdict(worker, &messages[i].verdict);
            break;
        case MESSAGE_SCHEMA:
            worker->generation = messages[i].generation;
            worker->recording = messages[i].recording;
            break;
        case MESSAGE_DRAIN:
            if (!worker->draining)
                begin_drain(worker);
            break;
        }
    }
}

bool worker_tell(struct worker *worker, const struct message *message)
{
    return queue_push(&worker->inbox, message);
}

static int timeout_of(struct worker *worker, uint64_t wait_ns)
{
    if (!list_is_empty(&worker->resumes))
        return 0;
    if (worker->draining && worker->drain_until_ns > worker->now_ns &&
        worker->drain_until_ns - worker->now_ns < wait_ns)
        wait_ns = worker->drain_until_ns - worker->now_ns;
    if (wait_ns == UINT64_MAX)
        return -1;
    uint64_t ms = (wait_ns + NS_PER_MS - 1) / NS_PER_MS;
    return ms > 60000 ? 60000 : (int)ms;
}

/* One turn: wait, sockets, messages (a socket like others), timers, what goes on, the dead. */
static void turn(struct worker *worker, int timeout_ms)
{
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(worker->epoll, events, EVENTS_A_TURN, timeout_ms);
    worker->now_ns = clock_monotonic_ns();
    for (int i = 0; i < count; i++) {
        struct source *source = events[i].data.ptr;
        source->ready(source, events[i].events);
    }
    run_resumes(worker);
    empty_graveyard(worker);
}

/* Ends when nobody is left, or the time is over: then who waits gets an answer, and a moment to
 * read it. */
static void drain_on(struct worker *worker)
{
    if (list_is_empty(&worker->clients)) {
        worker->done = true;
    } else if (worker->now_ns >= worker->drain_until_ns) {
        worker->done = worker->drain_is_over;
        worker->drain_is_over = true;
        worker->drain_until_ns = worker->now_ns + LAST_WRITE_NS;
        exchange_pass_all(worker);
        empty_graveyard(worker);
        worker->done = worker->done || list_is_empty(&worker->clients);
    }
}

static void *work(void *context)
{
    struct worker *worker = context;
    uint64_t wait_ns = 0;
    while (!worker->done) {
        turn(worker, timeout_of(worker, wait_ns));
        /* The dialer first: what it opens starts timers. What the timers dial is due at once. */
        dialer_run(&worker->upstream.dialer, worker->now_ns);
        wait_ns = timers_run(&worker->timers, worker->now_ns);
        uint64_t dialer_ns = dialer_due(&worker->upstream.dialer, worker->now_ns);
        if (dialer_ns < wait_ns)
            wait_ns = dialer_ns;
        empty_graveyard(worker);
        if (worker->draining)
            drain_on(worker);
    }
    close_clients(worker);
    empty_graveyard(worker);
    return NULL;
}

static void set_durations(struct worker *worker)
{
    const struct config *config = worker->config;
    uint64_t *durations = worker->timers.duration_ns;
    durations[TIMER_IDLE] = config->client_idle_timeout_ms * NS_PER_MS;
    durations[TIMER_HEADER] = config->client_header_timeout_ms * NS_PER_MS;
    durations[TIMER_BODY] = config->client_body_timeout_ms * NS_PER_MS;
    durations[TIMER_SEND] = config->client_send_timeout_ms * NS_PER_MS;
    durations[TIMER_LINGER] = LINGER_NS;
    durations[TIMER_QUEUE] = config->upstream_queue_timeout_ms * NS_PER_MS;
    durations[TIMER_RESPONSE] = config->upstream_response_timeout_ms * NS_PER_MS;
    durations[TIMER_HOLD] = config->hold_timeout_ms * NS_PER_MS;
    durations[TIMER_PARK] = config->recover_wait_ms * NS_PER_MS;
    durations[TIMER_POOL] = config->upstream_idle_timeout_ms * NS_PER_MS;
    durations[TIMER_BACKOFF] = BACKOFF_NS;
}

bool worker_construct(struct worker *worker, uint32_t index, const struct config *config,
                      const struct healing *healing, struct retry_budget *budget,
                      struct error *error)
{
    memset(worker, 0, sizeof *worker);
    worker->index = index;
    worker->config = config;
    worker->healing = healing;
    worker->budget = budget;
    worker->listener.fd = worker->inbox.fd = -1;
    worker->now_ns = clock_monotonic_ns();
    list_construct(&worker->clients);
    list_construct(&worker->resumes);
    list_construct(&worker->graveyard);
    list_construct(&worker->free_exchanges);
    timers_construct(&worker->timers);
    set_durations(worker);
    blocks_construct(&worker->heads, BLOCK_HEAD, HEADS_KEPT);
    blocks_construct(&worker->bodies, BLOCK_BODY, BODIES_KEPT);
    for (uint64_t status = config->detect_status_first;
         healing && status <= config->detect_status_last; status++)
        worker->watched[status] = true;
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot make an epoll instance");
    if (!queue_construct(&worker->inbox, sizeof(struct message), INBOX_CAPACITY, error))
        return false;
    source_construct(&worker->inbox_source, read_inbox);
    if (!worker_watch(worker, worker->inbox.fd, EPOLLIN, &worker->inbox_source))
        return error_set_errno(error, ERROR_IO, errno, "cannot wait for messages");
    return upstream_construct(&worker->upstream, worker, error);
}

void worker_destruct(struct worker *worker)
{
    close_clients(worker);
    listener_close(&worker->listener);
    upstream_destruct(&worker->upstream);
    empty_graveyard(worker);
    exchange_free_all(worker);
    queue_destruct(&worker->inbox);
    if (worker->epoll >= 0)
        close(worker->epoll);
    blocks_destruct(&worker->heads);
    blocks_destruct(&worker->bodies);
}

bool worker_start(struct worker *worker, struct error *error)
{
    int result = pthread_create(&worker->thread, NULL, work, worker);
    if (result != 0)
        return error_set_errno(error, ERROR_IO, result, "cannot start a worker thread");
    worker->started = true;
    return true;
}

void worker_join(struct worker *worker)
{
    if (worker->started)
        pthread_join(worker->thread, NULL);
    worker->started = false;
}
