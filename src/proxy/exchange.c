/* SPDX-License-Identifier: MIT */
/* An exchange: its states, and the way of the request up to the application. Worker's thread only;
 * its memory goes back to the worker's free list. */
#include "proxy/exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/exchange_parts.h"
#include "proxy/page.h"

#define TO(state) (1u << EXCHANGE_##state)

/* The picture in exchange.h as a table: from each state, where to. */
static const unsigned permitted[] = {
    [EXCHANGE_FREE] = TO(READING),
    [EXCHANGE_READING] = TO(QUEUED) | TO(ENDED),
    [EXCHANGE_QUEUED] = TO(AWAITING) | TO(RELAYING) | TO(ENDED),
    [EXCHANGE_AWAITING] = TO(QUEUED) | TO(HOLDING) | TO(RELAYING) | TO(ENDED),
    [EXCHANGE_HOLDING] = TO(PARKED) | TO(RELAYING) | TO(ENDED),
    [EXCHANGE_PARKED] = TO(QUEUED) | TO(RELAYING) | TO(ENDED),
    [EXCHANGE_RELAYING] = TO(ENDED),
    [EXCHANGE_ENDED] = TO(FREE),
};

void exchange_set_state(struct exchange *exchange, enum exchange_state state)
{
    assert(permitted[exchange->state] & (1u << state));
    struct counters *counters = &exchange->worker->counters;
    if (state == EXCHANGE_PARKED) {
        COUNT(counters, parked);
        COUNT(counters, parked_now);
    } else if (exchange->state == EXCHANGE_PARKED) {
        COUNT_BY(counters, parked_now, -1);
    }
    exchange->state = state;
}

static void timed_out(struct timer *timer)
{
    struct exchange *exchange = LIST_ENTRY(timer, struct exchange, timer);
    switch (timer->kind) {
    case TIMER_QUEUE:
        exchange_fail(exchange, 503, "no connection to the application became free in time",
                      SLICE("connection_limit_reached"));
        break;
    case TIMER_HOLD:
        exchange_hold_timed_out(exchange);
        break;
    case TIMER_PARK:
        exchange_park_timed_out(exchange);
        break;
    default:
        exchange_fail(exchange, 504, "the application did not answer in time",
                      SLICE("http_response_timeout"));
        break;
    }
}

static struct exchange *new_exchange(struct worker *worker)
{
    enum { SLOTS_AT_A_TIME = 64 };
    if (!list_is_empty(&worker->free_exchanges)) {
        struct exchange *exchange = LIST_ENTRY(worker->free_exchanges.next, struct exchange, link);
        list_remove(&exchange->link);
        return exchange;
    }
    if (worker->slot_count % SLOTS_AT_A_TIME == 0) {
        size_t size = (worker->slot_count + SLOTS_AT_A_TIME) * sizeof *worker->slots;
        struct exchange **slots = realloc(worker->slots, size);
        if (!slots)
            return NULL;
        worker->slots = slots;
    }
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    list_construct(&exchange->link);
    exchange->worker = worker;
    exchange->slot = worker->slot_count;
    exchange->slot_generation = 1;
    timer_construct(&exchange->timer, timed_out);
    retry_buffer_construct(&exchange->kept);
    retry_buffer_construct(&exchange->held_file);
    worker->slots[worker->slot_count++] = exchange;
    return exchange;
}

void exchange_free_all(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->slot_count; i++)
        free(worker->slots[i]);
    free(worker->slots);
    worker->slots = NULL;
    worker->slot_count = 0;
}

void exchange_release(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    if (exchange->state == EXCHANGE_QUEUED && !list_is_empty(&exchange->link))
        upstream_cancel(&worker->upstream, exchange);
    timer_stop(&exchange->timer);
    struct upstream_connection *connection = exchange->connection;
    bool reusable = exchange->reusable && exchange->request_sent && exchange->answer_body.done;
    exchange->connection = NULL;
    exchange_drop_held(exchange);
    retry_buffer_free(&exchange->kept, worker->budget);
    buffer_free(&exchange->request_copy);
    blocks_return(&worker->bodies, exchange->block);
    exchange->block = NULL;
    exchange_set_state(exchange, EXCHANGE_ENDED);
    exchange_set_state(exchange, EXCHANGE_FREE);
    exchange->slot_generation++;
    exchange->client = NULL;
    if (worker->request_head_of == exchange)
        worker->request_head_of = NULL;
    list_prepend(&worker->free_exchanges, &exchange->link);
    if (connection)
        upstream_release(connection, reusable);
}

void exchange_finish(struct exchange *exchange)
{
    struct client *client = exchange->client;
    bool body_left = !exchange->request_body.done;
    bool close = exchange->close_client || body_left;
    size_t used = exchange->input_used;
    exchange_release(exchange);
    client_exchange_ended(client, used, close, body_left);
}

static void reset_client(struct exchange *exchange)
{
    struct client *client = exchange->client;
    exchange->reusable = false;
    exchange_release(exchange);
    client->exchange = NULL;
    client_close(client, true);
}

void exchange_fail(struct exchange *exchange, unsigned status, const char *reason,
                   struct slice proxy_error)
{
    exchange->reusable = false;
    if (exchange->answer_started) {
        reset_client(exchange); /* a truncated answer must not look whole */
        return;
    }
    if (exchange->state == EXCHANGE_QUEUED && !list_is_empty(&exchange->link))
        upstream_cancel(&exchange->worker->upstream, exchange);
    if (exchange->held_head > 0) {
        exchange_tell_outcome(exchange, false);
        exchange_pass_held(exchange);
        return;
    }
    if (status >= 502)
        COUNT(&exchange->worker->counters, own_errors);
    else
        COUNT(&exchange->worker->counters, refused);
    exchange->close_client = exchange->close_client || !exchange->client_keep_alive || status < 502;
    bool close = exchange->close_client || !exchange->request_body.done;
    if (!page_send(&exchange->client->transport, status, reason, exchange->method == METHOD_HEAD,
                   close, proxy_error)) {
        reset_client(exchange);
        return;
    }
    client_watch_writable(exchange->client);
    exchange_finish(exchange);
}

struct slice exchange_request_bytes(const struct exchange *exchange)
{
    if (exchange->request_copy.length > 0)
        return buffer_slice(&exchange->request_copy);
    return slice_make(exchange->client->input + exchange->client->input_start,
                      exchange->head_length + exchange->inline_length);
}

const struct http_head *exchange_request_head(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    if (worker->request_head_of != exchange) {
        struct http_refusal refusal;
        /* These bytes were accepted once; the parser is a pure function. */
        enum http_parse parsed =
            http_parse_request(exchange_request_bytes(exchange), &worker->request_head, &refusal);
        assert(parsed == HTTP_PARSE_DONE);
        (void)parsed;
        worker->request_head_of = exchange;
    }
    return &worker->request_head;
}

/* One read of the body into `block`. *bytes is what belongs to the body; what was read behind its
 * end goes back. */
enum body_read { BODY_BYTES, BODY_AGAIN, BODY_GONE, BODY_BAD };

static enum body_read read_body(struct exchange *exchange, char *block, struct slice *bytes,
                                struct http_refusal *refusal)
{
    struct client *client = exchange->client;
    struct http_body *body = &exchange->request_body;
    size_t size = BLOCK_BODY, received, taken;
    if (body->framing == FRAMING_LENGTH && body->remaining < size)
        size = (size_t)body->remaining;
    if (!client_is_readable(client))
        return BODY_AGAIN;
    switch (client_read(client, block, size, &received)) {
    case TRANSPORT_BYTES:
        break;
    case TRANSPORT_AGAIN:
        return BODY_AGAIN;
    default:
        return BODY_GONE;
    }
    if (!http_body_feed(body, slice_make(block, received), &taken, refusal))
        return BODY_BAD;
    *bytes = slice_make(block, taken);
    return client_unread(client, slice_make(block + taken, received - taken)) ? BODY_BYTES
                                                                              : BODY_GONE;
}

static void wait_for_body(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    timer_stop(&exchange->timer);
    timer_start(&worker->timers, &exchange->client->timer, TIMER_BODY, worker->now_ns);
}

/* The client has gone, or sent what is no body: the request can not be completed. */
static void give_up_body(struct exchange *exchange, enum body_read result,
                         const struct http_refusal *refusal)
{
    exchange->reusable = false;
    if (result == BODY_GONE) {
        client_close(exchange->client, false);
        return;
    }
    exchange->close_client = true;
    if (exchange->held_head > 0)
        exchange_drop_held(exchange);
    exchange_fail(exchange, refusal->status, refusal->reason, (struct slice){"", 0});
}

/* Collects a small body before an upstream connection is taken, so that a slow client does not hold
 * one. */
static void collect(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    struct http_refusal refusal;
    struct slice bytes;
    char *block = blocks_borrow(&worker->bodies);
    enum body_read result = block ? BODY_BYTES : BODY_GONE;
    while (result == BODY_BYTES && !exchange->request_body.done &&
           exchange->kept.length + exchange->inline_length <
               worker->config->request_buffering_bytes) {
        result = read_body(exchange, block, &bytes, &refusal);
        if (result == BODY_BYTES &&
            !retry_buffer_append(&exchange->kept, worker->budget, bytes, true))
            result = BODY_GONE;
    }
    blocks_return(&worker->bodies, block);
    if (result == BODY_AGAIN) {
        wait_for_body(exchange);
    } else if (result == BODY_BYTES) {
        timer_stop(&exchange->client->timer);
        exchange_queue(exchange, false);
    } else {
        give_up_body(exchange, result, &refusal);
    }
}

struct exchange *exchange_begin(struct client *client)
{
    struct worker *worker = client->worker;
    const struct http_head *head = &worker->request_head;
    struct exchange *exchange = new_exchange(worker);
    if (!exchange)
        return NULL;
    exchange_set_state(exchange, EXCHANGE_READING);
    exchange->client = client;
    exchange->method = head->method;
    exchange->minor = head->minor;
    exchange->client_keep_alive = head->keep_alive;
    exchange->has_idempotency_key = http_head_field(head, FIELD_IDEMPOTENCY_KEY) != NULL;
    exchange->head_length = (uint32_t)head->length;
    exchange->keeping = false;
    exchange->replayable = true;
    exchange->sent = 0;
    exchange->request_sent = exchange->stop_sending = false;
    exchange->attempt = 1;
    exchange->tries = 0;
    exchange->answer_started = exchange->reusable = false;
    exchange->close_client = !head->keep_alive;
    exchange->block_length = 0;
    exchange->held_whole = exchange->held_truncated = false;
    client->exchange = exchange;
    worker->request_head_of = exchange;

    struct http_refusal refusal;
    size_t taken = 0, behind = client->input_end - client->input_start - head->length;
    http_body_construct(&exchange->request_body, head->framing, head->content_length);
    if (!exchange->request_body.done &&
        !http_body_feed(&exchange->request_body,
                        slice_make(client->input + client->input_start + head->length, behind),
                        &taken, &refusal)) {
        exchange->inline_length = 0;
        exchange->input_used = exchange->head_length;
        give_up_body(exchange, BODY_BAD, &refusal);
        return exchange;
    }
    exchange->inline_length = (uint32_t)taken;
    exchange->input_used = exchange->head_length + exchange->inline_length;
    if (exchange->request_body.done) {
        exchange_queue(exchange, false);
        return exchange;
    }
    if (head->expects_continue && taken == 0) {
        struct iovec go_on = {(char *)(uintptr_t) "HTTP/1.1 100 Continue\r\n\r\n", 25};
        if (!transport_send(&client->transport, &go_on, 1)) {
            client_close(client, true);
            return exchange;
        }
        client_watch_writable(client);
    }
    if (head->framing == FRAMING_LENGTH &&
        head->content_length > worker->config->request_buffering_bytes)
        exchange_queue(exchange, false);
    else
        collect(exchange);
    return exchange;
}

void exchange_queue(struct exchange *exchange, bool fresh)
{
    struct worker *worker = exchange->worker;
    struct upstream_connection *connection = NULL;
    exchange_set_state(exchange, EXCHANGE_QUEUED);
    switch (upstream_acquire(&worker->upstream, exchange, fresh, &connection)) {
    case UPSTREAM_CONNECTION:
        exchange_connected(exchange, connection);
        return;
    case UPSTREAM_WAIT:
        timer_start(&worker->timers, &exchange->timer, TIMER_QUEUE, worker->now_ns);
        return;
    case UPSTREAM_FULL:
        exchange_fail(exchange, 503, "too many requests wait for the application",
                      SLICE("connection_limit_reached"));
        return;
    }
}

struct list *exchange_queue_link(struct exchange *exchange)
{
    return &exchange->link;
}

struct exchange *exchange_from_queue(struct list *link)
{
    return LIST_ENTRY(link, struct exchange, link);
}

void exchange_not_connected(struct exchange *exchange, CURLcode result, int number)
{
    (void)number;
    timer_stop(&exchange->timer);
    if (result == CURLE_OPERATION_TIMEDOUT)
        exchange_fail(exchange, 504, "no connection to the application within the time limit",
                      SLICE("connection_timeout"));
    else if (result == CURLE_COULDNT_RESOLVE_HOST)
        exchange_fail(exchange, 502, "the application's host name cannot be resolved",
                      SLICE("dns_error"));
    else
        exchange_fail(exchange, 502, "no connection to the application",
                      SLICE("connection_refused"));
}

static void send_failed(struct exchange *exchange)
{
    /* The upstream does not read any more; it may have answered before (EPIPE): its answer counts.
     */
    struct worker *worker = exchange->worker;
    exchange->stop_sending = true;
    exchange->connection->transport.readable = true;
    if (exchange->state == EXCHANGE_AWAITING)
        timer_start(&worker->timers, &exchange->timer, TIMER_RESPONSE, worker->now_ns);
    worker_resume(worker, &exchange->connection->source);
}

void exchange_connected(struct exchange *exchange, struct upstream_connection *connection)
{
    struct worker *worker = exchange->worker;
    exchange->connection = connection;
    exchange_set_state(exchange, EXCHANGE_AWAITING);
    exchange->tries++;
    exchange->generation = worker->generation;
    exchange->sent_ns = worker->now_ns;
    exchange->keeping = worker->recording && exchange->replayable;
    exchange->sent = 0;
    exchange->block_length = 0;

    const struct http_head *head = exchange_request_head(exchange);
    struct http_edit *edit = &worker->edit;
    struct http_request_edit rules = {.peer = slice_from_string(exchange->client->address),
                                      .protocol = SLICE("http"),
                                      .expect_removed = true,
                                      .attempt = exchange->attempt};
    http_edit_request(edit, head, &rules, worker->edit_scratch);
    if (exchange->inline_length > 0) {
        struct slice bytes = exchange_request_bytes(exchange);
        edit->slices[edit->count++] = (struct iovec){
            (char *)(uintptr_t)bytes.data + exchange->head_length, exchange->inline_length};
    }
    if (!transport_send(&connection->transport, edit->slices, edit->count)) {
        send_failed(exchange);
        return;
    }
    if (exchange->request_body.done && exchange->kept.length == 0 &&
        !transport_is_blocked(&connection->transport)) {
        exchange->request_sent = true;
        timer_start(&worker->timers, &exchange->timer, TIMER_RESPONSE, worker->now_ns);
        return;
    }
    exchange_pump(exchange);
}

static bool send_up(struct exchange *exchange, struct slice bytes)
{
    struct iovec slice = {(char *)(uintptr_t)bytes.data, bytes.length};
    if (transport_send(&exchange->connection->transport, &slice, 1))
        return true;
    send_failed(exchange);
    return false;
}

/* Bytes of the body as they come: kept if they are to be, and sent. */
static bool pass_body(struct exchange *exchange, struct slice bytes)
{
    struct worker *worker = exchange->worker;
    if (exchange->keeping && !retry_buffer_append(&exchange->kept, worker->budget, bytes, false))
        exchange->keeping = false;
    if (!exchange->keeping) {
        exchange->replayable = false;
        retry_buffer_free(&exchange->kept, worker->budget);
    }
    exchange->sent = exchange->kept.length;
    return send_up(exchange, bytes);
}

void exchange_pump(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    struct transport *transport = &exchange->connection->transport;
    struct http_refusal refusal;
    enum body_read result = BODY_BYTES;
    char *block = blocks_borrow(&worker->bodies);
    if (!block) {
        exchange_fail(exchange, 503, "out of memory", (struct slice){"", 0});
        return;
    }
    for (int i = 0; result == BODY_BYTES && !exchange->request_sent && !exchange->stop_sending &&
                    !transport_is_blocked(transport);
         i++) {
        struct slice bytes;
        if (i == BLOCKS_A_TURN) {
            worker_resume(worker, &exchange->connection->source);
            break;
        }
        if (exchange->sent < exchange->kept.length) {
            bytes = retry_buffer_read(&exchange->kept, exchange->sent, block, BLOCK_BODY);
            if (bytes.length == 0) {
                blocks_return(&worker->bodies, block);
                exchange_fail(exchange, 502, "the kept request body cannot be read back",
                              (struct slice){"", 0});
                return;
            }
            exchange->sent += bytes.length;
            send_up(exchange, bytes);
        } else if (exchange->request_body.done) {
            exchange->request_sent = true;
        } else {
            result = read_body(exchange, block, &bytes, &refusal);
            if (result == BODY_BYTES)
                pass_body(exchange, bytes);
        }
    }
    blocks_return(&worker->bodies, block);
    if (result == BODY_AGAIN) {
        wait_for_body(exchange);
    } else if (result != BODY_BYTES) {
        give_up_body(exchange, result, &refusal);
    } else {
        timer_stop(&exchange->client->timer);
        if (exchange->state == EXCHANGE_AWAITING)
            timer_start(&worker->timers, &exchange->timer, TIMER_RESPONSE, worker->now_ns);
        upstream_watch_writable(exchange->connection);
    }
}

static bool is_sending(const struct exchange *exchange)
{
    return exchange->connection && !exchange->request_sent && !exchange->stop_sending &&
           (exchange->state == EXCHANGE_AWAITING || exchange->state == EXCHANGE_RELAYING);
}

void exchange_client_readable(struct exchange *exchange)
{
    if (exchange->state == EXCHANGE_READING)
        collect(exchange);
    else if (is_sending(exchange) && !transport_is_blocked(&exchange->connection->transport))
        exchange_pump(exchange);
}

void exchange_client_writable(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    if (exchange->client->timer.kind == TIMER_SEND)
        timer_stop(&exchange->client->timer);
    if ((exchange->state != EXCHANGE_RELAYING && exchange->state != EXCHANGE_AWAITING) ||
        !exchange->connection)
        return;
    if (exchange->state == EXCHANGE_RELAYING || exchange->request_sent)
        timer_start(&worker->timers, &exchange->timer, TIMER_RESPONSE, worker->now_ns);
    exchange_read_answer(exchange);
}

void exchange_body_timed_out(struct exchange *exchange)
{
    give_up_body(exchange, BODY_BAD,
                 &(struct http_refusal){408, "the request body did not come in time"});
}

void exchange_client_gone(struct exchange *exchange)
{
    const struct healing *healing = exchange->worker->healing;
    if (exchange->state == EXCHANGE_PARKED)
        healing->take_back(
            healing->context,
            (struct ticket){exchange->worker->index, exchange->slot, exchange->slot_generation});
    exchange->reusable = false;
    exchange_release(exchange);
}

void exchange_upstream_ready(struct exchange *exchange, struct upstream_connection *connection)
{
    struct exchange_mark mark = exchange_mark(exchange);
    if (connection != exchange->connection)
        return; /* the first attempt's, paused: its flags are read when it goes on */
    if (transport_is_blocked(&connection->transport) && !connection->transport.failed) {
        if (!transport_flush(&connection->transport))
            send_failed(exchange);
        else
            upstream_watch_writable(connection);
    }
    if (is_sending(exchange) && !transport_is_blocked(&connection->transport))
        exchange_pump(exchange);
    if (exchange_is_alive(mark) && exchange->connection == connection)
        exchange_read_answer(exchange);
}
