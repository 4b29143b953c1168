/* SPDX-License-Identifier: MIT */
/* An exchange: the way of the answer down to the client. Worker's thread only. On the happy path a
 * head and a small body arrive with one recv and leave with one sendmsg, from the block they came
 * in. */
#include <stdio.h>
#include <string.h>

#include "proxy/exchange_parts.h"

enum {
    CHUNK_HEAD_SIZE = 24,
};

static void count_answer(struct exchange *exchange)
{
    struct counters *counters = &exchange->worker->counters;
    switch (exchange->status / 100) {
    case 2:
        COUNT(counters, answers_2xx);
        break;
    case 3:
        COUNT(counters, answers_3xx);
        break;
    case 4:
        COUNT(counters, answers_4xx);
        break;
    default:
        COUNT(counters, answers_5xx);
        break;
    }
}

static void put(struct http_edit *edit, const char *data, size_t length)
{
    if (length > 0)
        edit->slices[edit->count++] = (struct iovec){(char *)(uintptr_t)data, length};
}

/* For an HTTP/1.0 client: the payload alone. Sends what the edit holds first. */
static bool send_unchunked(struct exchange *exchange, struct http_body *body,
                           struct http_edit *edit, struct slice bytes, size_t *taken)
{
    struct transport *transport = &exchange->client->transport;
    struct http_refusal refusal;
    *taken = 0;
    if (!transport_send(transport, edit->slices, edit->count))
        return false;
    while (*taken < bytes.length && !body->done) {
        struct slice payload;
        size_t step;
        if (!http_body_next(body, slice_make(bytes.data + *taken, bytes.length - *taken), &step,
                            &payload, &refusal))
            return false;
        *taken += step;
        struct iovec slice = {(char *)(uintptr_t)payload.data, payload.length};
        if (!transport_send(transport, &slice, 1))
            return false;
    }
    return true;
}

/* Sends what the edit holds and `bytes` of the body behind it. */
static bool send_body(struct exchange *exchange, struct http_edit *edit, struct slice bytes,
                      bool counted)
{
    struct http_body *body = &exchange->answer_body;
    struct http_refusal refusal;
    size_t taken = bytes.length;
    char chunk_head[CHUNK_HEAD_SIZE];
    if (exchange->framing == RESPONSE_FRAMING_UNCHUNK) {
        struct http_body again;
        http_body_construct(&again, FRAMING_CHUNKED, 0);
        if (!send_unchunked(exchange, counted ? &again : body, edit, bytes, &taken))
            return false;
    } else {
        if (!counted && !http_body_feed(body, bytes, &taken, &refusal))
            return false;
        bool chunk = exchange->framing == RESPONSE_FRAMING_CHUNK && taken > 0;
        if (chunk)
            put(edit, chunk_head,
                (size_t)snprintf(chunk_head, sizeof chunk_head, "%zx\r\n", taken));
        put(edit, bytes.data, taken);
        if (chunk)
            put(edit, "\r\n", 2);
        if (!transport_send(&exchange->client->transport, edit->slices, edit->count))
            return false;
    }
    if (taken < bytes.length)
        exchange->reusable = false; /* bytes behind the end: the connection cannot be trusted */
    return true;
}

bool exchange_relay_head(struct exchange *exchange, const struct http_head *head, struct slice body,
                         bool counted)
{
    struct worker *worker = exchange->worker;
    struct http_edit *edit = &worker->edit;
    exchange->framing = RESPONSE_FRAMING_KEEP;
    if (head->framing == FRAMING_CLOSE) {
        if (exchange->minor == 0)
            exchange->close_client = true;
        else
            exchange->framing = RESPONSE_FRAMING_CHUNK;
    } else if (head->framing == FRAMING_CHUNKED && exchange->minor == 0) {
        exchange->framing = RESPONSE_FRAMING_UNCHUNK;
        exchange->close_client = true;
    }
    if (exchange->stop_sending || worker->draining)
        exchange->close_client = true;
    struct http_response_edit rules = {.framing = exchange->framing,
                                       .close = exchange->close_client,
                                       .keep_alive_1_0 =
                                           exchange->minor == 0 && !exchange->close_client};
    if (exchange->attempt == 2 && worker->config->expose && !worker->watched[head->status])
        rules.proxy_status =
            SLICE("automigrate; details=\"healed: sent a second time after a schema error\"");
    http_edit_response(edit, head, &rules);
    exchange->answer_started = true;
    exchange_set_state(exchange, EXCHANGE_RELAYING);
    return send_body(exchange, edit, body, counted);
}

void exchange_after_relay(struct exchange *exchange)
{
    struct client *client = exchange->client;
    struct worker *worker = exchange->worker;
    if (exchange->answer_body.done) {
        client_watch_writable(client);
        exchange_finish(exchange);
        return;
    }
    if (transport_is_blocked(&client->transport)) {
        timer_stop(&exchange->timer);
        timer_start(&worker->timers, &client->timer, TIMER_SEND, worker->now_ns);
        client_watch_writable(client);
    } else {
        timer_start(&worker->timers, &exchange->timer, TIMER_RESPONSE, worker->now_ns);
    }
}

/* A 1xx head goes on to the client, but for 100: that one was answered by us (RFC 9110, 15.2). */
static bool relay_interim(struct exchange *exchange, const struct http_head *head)
{
    struct http_edit *edit = &exchange->worker->edit;
    if (head->status == 100 || exchange->minor == 0 || exchange->attempt == 2)
        return true;
    http_edit_response(edit, head, &(struct http_response_edit){.framing = RESPONSE_FRAMING_KEEP});
    if (!transport_send(&exchange->client->transport, edit->slices, edit->count))
        return false;
    client_watch_writable(exchange->client);
    return true;
}

static bool is_event_stream(const struct http_head *head)
{
    const struct http_field *type = http_head_field(head, FIELD_CONTENT_TYPE);
    return type && slice_has_prefix_ignore_case(type->value, SLICE("text/event-stream"));
}

/* The final head of an attempt. May end the exchange. */
static void final_head(struct exchange *exchange, const struct http_head *head, struct slice body)
{
    struct worker *worker = exchange->worker;
    const struct healing *healing = worker->healing;
    exchange->status = head->status;
    exchange->reusable = head->keep_alive && head->framing != FRAMING_CLOSE;
    http_body_construct(&exchange->answer_body, head->framing, head->content_length);
    count_answer(exchange);
    if (head->status >= 400 && !exchange->request_sent)
        exchange->stop_sending = true; /* an early answer */
    if (worker->watched[head->status]) {
        if (exchange->attempt == 1 && exchange->tries == 1 && !is_event_stream(head)) {
            if (!healing->is_worth_holding(healing->context, exchange->generation))
                COUNT(&worker->counters, failures_passed);
            else if (exchange_hold(exchange, head, body))
                return;
        }
    }
    bool relayed = exchange_relay_head(exchange, head, body, false);
    if (exchange->attempt == 2) {
        exchange_tell_outcome(exchange, !worker->watched[head->status]);
        exchange_drop_held(exchange);
    }
    if (relayed)
        exchange_after_relay(exchange);
    else
        exchange_fail(exchange, 502, "the answer cannot be passed on",
                      SLICE("http_protocol_error"));
}

/* Takes heads out of the block, until the final one. False: the exchange waits for more, has moved
 * on, or has ended. */
static void parse_heads(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    for (;;) {
        struct http_refusal refusal;
        struct http_head *head = &worker->response_head;
        struct slice bytes = slice_make(exchange->block, exchange->block_length);
        enum http_parse parsed = http_parse_response(bytes, exchange->method, head, &refusal);
        if (parsed == HTTP_PARSE_MORE && exchange->block_length < BLOCK_BODY)
            return;
        if (parsed != HTTP_PARSE_DONE || head->status == 101) {
            exchange_fail(exchange, 502, "the application's answer is malformed",
                          SLICE("http_protocol_error"));
            return;
        }
        if (head->status >= 200) {
            char *block = exchange->block;
            exchange->block = NULL;
            final_head(exchange, head,
                       slice_make(bytes.data + head->length, bytes.length - head->length));
            blocks_return(&worker->bodies, block);
            return;
        }
        if (!relay_interim(exchange, head)) {
            client_close(exchange->client, true);
            return;
        }
        exchange->block_length -= head->length;
        memmove(exchange->block, exchange->block + head->length, exchange->block_length);
    }
}

/* A pooled connection that the application closed just when it was used costs an idempotent request
 * nothing (RFC 9110, 9.2.2): nothing of an answer came, and all of the request is still here. */
static bool was_stale(const struct exchange *exchange)
{
    return exchange->connection->uses > 0 && exchange->block_length == 0 && exchange->tries == 1 &&
           exchange->replayable && exchange->request_body.done &&
           http_method_is_idempotent(exchange->method);
}

static void upstream_ended(struct exchange *exchange, bool orderly)
{
    struct worker *worker = exchange->worker;
    exchange->reusable = false;
    switch (exchange->state) {
    case EXCHANGE_AWAITING:
        if (was_stale(exchange)) {
            struct upstream_connection *connection = exchange->connection;
            exchange->connection = NULL;
            exchange->request_sent = exchange->stop_sending = false;
            blocks_return(&worker->bodies, exchange->block);
            exchange->block = NULL;
            timer_stop(&exchange->timer);
            upstream_release(connection, false);
            exchange_queue(exchange, true);
            return;
        }
        exchange_fail(exchange, 502, "the application closed the connection without an answer",
                      SLICE("connection_terminated"));
        return;
    case EXCHANGE_HOLDING:
    case EXCHANGE_PARKED:
        exchange_held_end(exchange, orderly);
        return;
    default:
        break;
    }
    if (!orderly || exchange->answer_body.framing != FRAMING_CLOSE) {
        exchange_fail(exchange, 502, "the answer ended early", SLICE("http_response_incomplete"));
        return;
    }
    exchange->answer_body.done = true;
    struct iovec last = {(char *)(uintptr_t) "0\r\n\r\n", 5};
    if (exchange->framing == RESPONSE_FRAMING_CHUNK &&
        !transport_send(&exchange->client->transport, &last, 1)) {
        client_close(exchange->client, true);
        return;
    }
    exchange_after_relay(exchange);
}

/* Reads once and passes on. May end the exchange. */
static void relay_some(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    struct http_edit *edit = &worker->edit;
    size_t received;
    char *block = blocks_borrow(&worker->bodies);
    if (!block) {
        exchange_fail(exchange, 502, "out of memory", (struct slice){"", 0});
        return;
    }
    enum transport_result result =
        transport_receive(&exchange->connection->transport, block, BLOCK_BODY, &received);
    if (result == TRANSPORT_BYTES) {
        edit->count = 0;
        if (send_body(exchange, edit, slice_make(block, received), false))
            exchange_after_relay(exchange);
        else
            exchange_fail(exchange, 502, "the answer cannot be passed on",
                          SLICE("http_protocol_error"));
    } else if (result != TRANSPORT_AGAIN) {
        upstream_ended(exchange, result == TRANSPORT_END);
    }
    blocks_return(&worker->bodies, block);
}

/* Reads more of a head. May end the exchange. */
static void read_head(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    size_t received;
    if (!exchange->block) {
        exchange->block = blocks_borrow(&worker->bodies);
        exchange->block_length = 0;
    }
    if (!exchange->block) {
        exchange_fail(exchange, 502, "out of memory", (struct slice){"", 0});
        return;
    }
    enum transport_result result = transport_receive(
        &exchange->connection->transport, exchange->block + exchange->block_length,
        BLOCK_BODY - exchange->block_length, &received);
    if (result == TRANSPORT_BYTES) {
        exchange->block_length += received;
        parse_heads(exchange);
    } else if (result != TRANSPORT_AGAIN) {
        upstream_ended(exchange, result == TRANSPORT_END);
    }
}

void exchange_read_answer(struct exchange *exchange)
{
    struct exchange_mark mark = exchange_mark(exchange);
    for (int i = 0; exchange_is_alive(mark) && exchange->connection &&
                    exchange->connection->transport.readable;
         i++) {
        if (i == BLOCKS_A_TURN) {
            worker_resume(exchange->worker, &exchange->connection->source);
            return;
        }
        switch (exchange->state) {
        case EXCHANGE_AWAITING:
            if (transport_is_blocked(&exchange->client->transport))
                return; /* by interim answers */
            read_head(exchange);
            break;
        case EXCHANGE_HOLDING:
        case EXCHANGE_PARKED:
            if (!exchange_read_held(exchange))
                return;
            break;
        case EXCHANGE_RELAYING:
            if (transport_is_blocked(&exchange->client->transport))
                return;
            relay_some(exchange);
            break;
        default:
            return;
        }
    }
}
