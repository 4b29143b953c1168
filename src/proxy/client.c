/* SPDX-License-Identifier: MIT */
/* Client connections. Worker's thread only; freed at the end of the turn in which they were closed.
 */
#include "proxy/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/exchange.h"
#include "proxy/page.h"
#include "proxy/worker.h"

static void release_client(struct source *source)
{
    free(LIST_ENTRY(source, struct client, source));
}

static void drop_input(struct client *client)
{
    blocks_return(&client->worker->heads, client->input);
    client->input = NULL;
    client->input_start = client->input_end = 0;
}

void client_close(struct client *client, bool abort)
{
    if (client->state == CLIENT_CLOSED)
        return;
    struct worker *worker = client->worker;
    client->state = CLIENT_CLOSED;
    if (client->exchange)
        exchange_client_gone(client->exchange);
    client->exchange = NULL;
    timer_stop(&client->timer);
    list_remove(&client->link);
    drop_input(client);
    buffer_free(&client->ahead);
    transport_destruct(&client->transport, abort);
    COUNT_BY(&worker->counters, open_connections, -1);
    worker_bury(worker, &client->source, release_client);
    if (!worker->draining)
        listener_room(&worker->listener);
}

void client_watch_writable(struct client *client)
{
    if (transport_wants_writable(&client->transport))
        worker_rewatch(client->worker, client->transport.fd, transport_events(&client->transport),
                       &client->source);
}

/* The answer is out: our side is shut, theirs read on for a while, so that no reset overtakes the
 * answer. */
static void linger_or_close(struct client *client)
{
    if (!client->linger || client->transport.peer_closed) {
        client_close(client, false);
        return;
    }
    client->state = CLIENT_LINGERING;
    shutdown(client->transport.fd, SHUT_WR);
    timer_start(&client->worker->timers, &client->timer, TIMER_LINGER, client->worker->now_ns);
    worker_resume(client->worker, &client->source);
}

static void finish_writing(struct client *client)
{
    client->state = CLIENT_FLUSHING;
    drop_input(client);
    buffer_free(&client->ahead);
    if (transport_is_blocked(&client->transport)) {
        timer_start(&client->worker->timers, &client->timer, TIMER_SEND, client->worker->now_ns);
        client_watch_writable(client);
        return;
    }
    linger_or_close(client);
}

static void linger_read(struct client *client)
{
    enum { READS_A_TURN = 16 };
    char dropped[16 * 1024];
    size_t received;
    for (int i = 0; client->transport.readable; i++) {
        if (i == READS_A_TURN) {
            worker_resume(client->worker, &client->source);
            return;
        }
        switch (transport_receive(&client->transport, dropped, sizeof dropped, &received)) {
        case TRANSPORT_BYTES:
        case TRANSPORT_AGAIN:
            break;
        case TRANSPORT_END:
        case TRANSPORT_FAILED:
            client_close(client, false);
            return;
        }
    }
}

static void refuse(struct client *client, const struct http_refusal *refusal)
{
    COUNT(&client->worker->counters, refused);
    timer_stop(&client->timer);
    if (!page_send(&client->transport, refusal->status, refusal->reason, false, true,
                   (struct slice){"", 0})) {
        client_close(client, false);
        return;
    }
    client->linger = true;
    finish_writing(client);
}

bool client_is_readable(const struct client *client)
{
    return client->ahead.length > client->ahead_start || client->transport.readable;
}

enum transport_result client_read(struct client *client, void *data, size_t size, size_t *received)
{
    size_t left = client->ahead.length - client->ahead_start;
    if (left == 0)
        return transport_receive(&client->transport, data, size, received);
    *received = left < size ? left : size;
    memcpy(data, client->ahead.data + client->ahead_start, *received);
    client->ahead_start += *received;
    if (client->ahead_start == client->ahead.length) {
        buffer_free(&client->ahead);
        client->ahead_start = 0;
    }
    return TRANSPORT_BYTES;
}

bool client_unread(struct client *client, struct slice bytes)
{
    if (bytes.length == 0)
        return true;
    struct buffer joined = {0};
    buffer_append_slice(&joined, bytes);
    buffer_append(&joined, client->ahead.data + client->ahead_start,
                  client->ahead.length - client->ahead_start);
    buffer_free(&client->ahead);
    client->ahead = joined;
    client->ahead_start = 0;
    return !joined.failed;
}

/* Reads more of a head. False: nothing more for now, or the connection has ended. */
static bool fill(struct client *client)
{
    if (!client->input) {
        client->input = blocks_borrow(&client->worker->heads);
        if (!client->input) {
            client_close(client, true);
            return false;
        }
    } else if (client->input_start > 0) {
        memmove(client->input, client->input + client->input_start,
                client->input_end - client->input_start);
        client->input_end -= client->input_start;
        client->input_start = 0;
    }
    size_t received;
    switch (client_read(client, client->input + client->input_end, BLOCK_HEAD - client->input_end,
                        &received)) {
    case TRANSPORT_BYTES:
        client->input_end += (uint32_t)received;
        return true;
    case TRANSPORT_AGAIN:
        return false;
    case TRANSPORT_END:
    case TRANSPORT_FAILED:
        break;
    }
    client_close(client, false);
    return false;
}

static void wait_for_head(struct client *client)
{
    struct worker *worker = client->worker;
    if (client->input_end > client->input_start) {
        if (!timer_is_running(&client->timer) || client->timer.kind != TIMER_HEADER)
            timer_start(&worker->timers, &client->timer, TIMER_HEADER, worker->now_ns);
        return;
    }
    drop_input(client);
    bool is_blocked = transport_is_blocked(&client->transport);
    bool is_sending = timer_is_running(&client->timer) && client->timer.kind == TIMER_SEND;
    if (worker->draining)
        finish_writing(client);
    else if (is_blocked || is_sending || !timer_is_running(&client->timer))
        timer_start(&worker->timers, &client->timer, is_blocked ? TIMER_SEND : TIMER_IDLE,
                    worker->now_ns);
}

/* Begins exchanges as long as there are whole heads and none is under way. */
static void next_request(struct client *client)
{
    struct worker *worker = client->worker;
    while (client->state == CLIENT_OPEN && !client->exchange) {
        enum http_parse parsed = HTTP_PARSE_MORE;
        struct http_refusal refusal = {431, "the request head is larger than 16 KiB"};
        if (transport_is_blocked(&client->transport)) {
            /* A client that pipelines must read its answers, too. */
            timer_start(&worker->timers, &client->timer, TIMER_SEND, worker->now_ns);
            client_watch_writable(client);
            return;
        }
        worker->request_head_of = NULL;
        if (client->input_end > client->input_start)
            parsed = http_parse_request(slice_make(client->input + client->input_start,
                                                   client->input_end - client->input_start),
                                        &worker->request_head, &refusal);
        if (parsed == HTTP_PARSE_MORE && client->input_end - client->input_start < BLOCK_HEAD) {
            if (client_is_readable(client) && fill(client))
                continue;
            if (client->state == CLIENT_OPEN)
                wait_for_head(client);
            return;
        }
        if (parsed != HTTP_PARSE_DONE) {
            refuse(client, &refusal);
            return;
        }
        timer_stop(&client->timer);
        COUNT(&worker->counters, requests);
        if (!exchange_begin(client)) {
            client_close(client, true);
            return;
        }
    }
}

static void client_ready(struct source *source, uint32_t events)
{
    struct client *client = LIST_ENTRY(source, struct client, source);
    struct transport *transport = &client->transport;
    bool was_blocked = transport_is_blocked(transport);
    transport_note(transport, events);
    if (events & (EPOLLHUP | EPOLLERR)) {
        client_close(client, false); /* reset, or gone in both directions */
        return;
    }
    if (was_blocked && !transport_flush(transport)) {
        client_close(client, false);
        return;
    }
    bool unblocked = was_blocked && !transport_is_blocked(transport);
    if (was_blocked && !unblocked) {
        client_watch_writable(client);
        if ((events & EPOLLOUT) && client->timer.kind == TIMER_SEND)
            timer_start(&client->worker->timers, &client->timer, TIMER_SEND,
                        client->worker->now_ns);
    }
    switch (client->state) {
    case CLIENT_OPEN:
        if (client->exchange && unblocked)
            exchange_client_writable(client->exchange);
        if (client->exchange && client_is_readable(client))
            exchange_client_readable(client->exchange);
        else if (client->state == CLIENT_OPEN && !client->exchange)
            next_request(client);
        break;
    case CLIENT_FLUSHING:
        if (!transport_is_blocked(transport))
            linger_or_close(client);
        else if (events & EPOLLOUT)
            timer_start(&client->worker->timers, &client->timer, TIMER_SEND,
                        client->worker->now_ns);
        break;
    case CLIENT_LINGERING:
        linger_read(client);
        break;
    case CLIENT_CLOSED:
        break;
    }
}

static void client_timeout(struct timer *timer)
{
    struct client *client = LIST_ENTRY(timer, struct client, timer);
    if (timer->kind == TIMER_HEADER)
        refuse(client, &(struct http_refusal){408, "the request head did not come in time"});
    else if (timer->kind == TIMER_BODY && client->exchange)
        exchange_body_timed_out(client->exchange);
    else
        client_close(client, timer->kind == TIMER_SEND);
}

void client_exchange_ended(struct client *client, size_t input_used, bool close, bool linger)
{
    client->exchange = NULL;
    if (client->state == CLIENT_CLOSED)
        return;
    client_take_input(client, input_used);
    if (close || client->worker->draining) {
        /* Bytes that are not read, too, would make a reset of the end. */
        client->linger = linger || client->transport.readable;
        finish_writing(client);
        return;
    }
    if (client_is_readable(client) || client->input_end > client->input_start)
        worker_resume(client->worker,
                      &client->source); /* not from here: pipelined requests must not nest */
    else
        wait_for_head(client);
}

void client_take_input(struct client *client, size_t used)
{
    client->input_start += (uint32_t)used;
    if (client->input_start == client->input_end)
        drop_input(client);
}

void client_drain(struct client *client)
{
    if (client->state == CLIENT_OPEN && !client->exchange &&
        client->input_start == client->input_end && !client->transport.readable)
        finish_writing(client);
}

void client_open(struct worker *worker, int fd, const struct sockaddr_storage *peer, bool is_unix)
{
    struct client *client = calloc(1, sizeof *client);
    if (!client) {
        close(fd);
        return;
    }
    client->worker = worker;
    source_construct(&client->source, client_ready);
    timer_construct(&client->timer, client_timeout);
    transport_construct(&client->transport, fd, is_unix);
    if (peer->ss_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)peer)->sin_addr,
                  client->address, sizeof client->address);
    else if (peer->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr,
                  client->address, sizeof client->address);
    list_append(&worker->clients, &client->link);
    COUNT(&worker->counters, connections);
    COUNT(&worker->counters, open_connections);
    if (!worker_watch(worker, fd, transport_events(&client->transport), &client->source)) {
        client_close(client, true);
        return;
    }
    timer_start(&worker->timers, &client->timer, TIMER_HEADER, worker->now_ns);
}
