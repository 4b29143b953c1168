/* SPDX-License-Identifier: MIT */
/* The pool of upstream connections and its queue. Worker's thread only. */
#include "proxy/upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "proxy/exchange.h"
#include "proxy/worker.h"

static void release_connection(struct source *source)
{
    free(LIST_ENTRY(source, struct upstream_connection, source));
}

static void connection_close(struct upstream_connection *connection)
{
    if (connection->is_closed)
        return;
    struct upstream *upstream = connection->upstream;
    connection->is_closed = true;
    timer_stop(&connection->timer);
    list_remove(&connection->link);
    transport_destruct(&connection->transport, false);
    upstream->count--;
    COUNT_BY(&upstream->worker->counters, upstream_open, -1);
    worker_bury(upstream->worker, &connection->source, release_connection);
}

static void connection_ready(struct source *source, uint32_t events)
{
    struct upstream_connection *connection = LIST_ENTRY(source, struct upstream_connection, source);
    transport_note(&connection->transport, events);
    if (connection->exchange)
        exchange_upstream_ready(connection->exchange, connection);
    else if (connection->transport.readable)
        connection_close(connection); /* nothing is expected on an idle connection */
}

static void pool_timeout(struct timer *timer)
{
    connection_close(LIST_ENTRY(timer, struct upstream_connection, timer));
}

static struct exchange *take_first(struct upstream *upstream)
{
    if (list_is_empty(&upstream->waiting))
        return NULL;
    struct exchange *exchange = exchange_from_queue(upstream->waiting.next);
    upstream_cancel(upstream, exchange);
    return exchange;
}

static void give(struct upstream_connection *connection, struct exchange *exchange)
{
    connection->exchange = exchange;
    exchange_connected(exchange, connection);
}

/* Opens as many connections as requests wait for and the bound allows. */
static void dial_for_waiting(struct upstream *upstream)
{
    while (!timer_is_running(&upstream->redial) &&
           upstream->dialer.dial_count < upstream->waiting_count &&
           upstream->count < upstream->most) {
        if (!dialer_dial(&upstream->dialer, &upstream->address,
                         upstream->worker->config->upstream_connect_timeout_ms)) {
            timer_start(&upstream->worker->timers, &upstream->redial, TIMER_BACKOFF,
                        upstream->worker->now_ns);
            return;
        }
        upstream->count++;
    }
}

static void redial(struct timer *timer)
{
    dial_for_waiting(LIST_ENTRY(timer, struct upstream, redial));
}

void upstream_opened(struct upstream *upstream, int fd)
{
    struct worker *worker = upstream->worker;
    struct upstream_connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        transport_destruct(&(struct transport){.fd = fd}, false);
        upstream_refused(upstream, CURLE_OUT_OF_MEMORY, ENOMEM);
        return;
    }
    connection->upstream = upstream;
    source_construct(&connection->source, connection_ready);
    list_construct(&connection->link);
    timer_construct(&connection->timer, pool_timeout);
    transport_construct(&connection->transport, fd, upstream->address.is_unix);
    COUNT(&worker->counters, upstream_opened);
    COUNT(&worker->counters, upstream_open);
    if (!worker_watch(worker, fd, transport_events(&connection->transport), &connection->source)) {
        connection_close(connection);
        upstream->count++; /* upstream_refused takes it off again */
        upstream_refused(upstream, CURLE_COULDNT_CONNECT, errno);
        return;
    }
    struct exchange *exchange = take_first(upstream);
    if (exchange)
        give(connection, exchange);
    else
        upstream_release(connection, true);
}

void upstream_refused(struct upstream *upstream, CURLcode result, int number)
{
    upstream->count--;
    /* connect(2) to a unix socket with a full backlog says EAGAIN: the application is there, and
     * busy. libcurl takes that for a connection under way and then fails without an error number.
     */
    bool is_busy = upstream->address.is_unix && result == CURLE_COULDNT_CONNECT &&
                   (number == EAGAIN || number == 0);
    if (is_busy && upstream->waiting_count > 0) {
        timer_start(&upstream->worker->timers, &upstream->redial, TIMER_BACKOFF,
                    upstream->worker->now_ns);
        return;
    }
    COUNT(&upstream->worker->counters, upstream_failed);
    struct exchange *exchange = take_first(upstream);
    if (exchange)
        exchange_not_connected(exchange, result, number);
    dial_for_waiting(upstream);
}

enum upstream_answer upstream_acquire(struct upstream *upstream, struct exchange *exchange,
                                      bool fresh, struct upstream_connection **connection)
{
    /* Who waits beside idle connections wants a fresh one: nobody is overtaken. */
    if (!fresh && !list_is_empty(&upstream->idle)) {
        *connection = LIST_ENTRY(upstream->idle.next, struct upstream_connection, link);
        list_remove(&(*connection)->link);
        timer_stop(&(*connection)->timer);
        (*connection)->exchange = exchange;
        return UPSTREAM_CONNECTION;
    }
    if (upstream->waiting_count >= upstream->waiting_most)
        return UPSTREAM_FULL;
    if (fresh && upstream->count == upstream->most && !list_is_empty(&upstream->idle))
        connection_close(LIST_ENTRY(upstream->idle.previous, struct upstream_connection, link));
    list_append(&upstream->waiting, exchange_queue_link(exchange));
    upstream->waiting_count++;
    COUNT(&upstream->worker->counters, upstream_waiting);
    dial_for_waiting(upstream);
    return UPSTREAM_WAIT;
}

void upstream_cancel(struct upstream *upstream, struct exchange *exchange)
{
    list_remove(exchange_queue_link(exchange));
    upstream->waiting_count--;
    COUNT_BY(&upstream->worker->counters, upstream_waiting, -1);
}

/* Whether nothing is there to be read: no byte, no end. A read that filled its block exactly leaves
 * that open. */
static bool is_quiet(struct transport *transport)
{
    char byte;
    size_t received;
    if (transport->failed || transport->peer_closed)
        return false;
    return !transport->readable ||
           transport_receive(transport, &byte, 1, &received) == TRANSPORT_AGAIN;
}

void upstream_release(struct upstream_connection *connection, bool reusable)
{
    struct upstream *upstream = connection->upstream;
    struct transport *transport = &connection->transport;
    connection->exchange = NULL;
    if (!reusable || transport_is_blocked(transport) || !is_quiet(transport)) {
        connection_close(connection);
        dial_for_waiting(upstream);
        return;
    }
    connection->uses++;
    struct exchange *exchange = take_first(upstream);
    if (exchange) {
        give(connection, exchange);
        return;
    }
    list_prepend(&upstream->idle, &connection->link);
    timer_start(&upstream->worker->timers, &connection->timer, TIMER_POOL,
                upstream->worker->now_ns);
}

void upstream_watch_writable(struct upstream_connection *connection)
{
    if (transport_wants_writable(&connection->transport))
        worker_rewatch(connection->upstream->worker, connection->transport.fd,
                       transport_events(&connection->transport), &connection->source);
}

static unsigned share_of(uint64_t all, uint64_t workers)
{
    uint64_t share = all / workers;
    return share > 0 ? (unsigned)share : 1;
}

bool upstream_construct(struct upstream *upstream, struct worker *worker, struct error *error)
{
    const struct config *config = worker->config;
    *upstream =
        (struct upstream){.worker = worker,
                          .most = share_of(config->upstream_max_connections, config->workers),
                          .waiting_most = share_of(config->upstream_queue_length, config->workers)};
    upstream->dialer.epoll = -1;
    list_construct(&upstream->idle);
    list_construct(&upstream->waiting);
    timer_construct(&upstream->redial, redial);
    return upstream_address_parse(config->upstream, &upstream->address, error) &&
           dialer_construct(&upstream->dialer, worker, upstream, error);
}

void upstream_destruct(struct upstream *upstream)
{
    if (!upstream->worker)
        return;
    while (!list_is_empty(&upstream->idle))
        connection_close(LIST_ENTRY(upstream->idle.next, struct upstream_connection, link));
    dialer_destruct(&upstream->dialer);
}
