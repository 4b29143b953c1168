/* SPDX-License-Identifier: MIT */
/* An exchange: a watched answer is held, judged, and perhaps the request is sent a second time
 * (DESIGN, 5 "Exchange rules"). Worker's thread only; the verdict comes as a message. */
#include <string.h>

#include "proxy/exchange_parts.h"

enum {
    /* How much of a parked request's answer is drained, so that its connection goes back to the
     * pool; a longer one stays on its connection. */
    PARKED_ANSWER_MAX = 1024 * 1024,
};

static struct ticket ticket_of(const struct exchange *exchange)
{
    return (struct ticket){exchange->worker->index, exchange->slot, exchange->slot_generation};
}

/* The first bytes of an answer, within the budget. False: it says no. */
static bool keep_answer(struct exchange *exchange, struct slice bytes)
{
    struct retry_budget *budget = exchange->worker->budget;
    if (!retry_budget_take(budget, bytes.length))
        return false;
    if (!buffer_append_slice(&exchange->held, bytes)) {
        retry_budget_give(budget, bytes.length);
        exchange->held.failed = false;
        return false;
    }
    exchange->held_charged += bytes.length;
    return true;
}

static void return_room(struct exchange *exchange, size_t size)
{
    retry_budget_give(exchange->worker->budget, size);
    exchange->held_charged -= size;
}

void exchange_drop_held(struct exchange *exchange)
{
    struct upstream_connection *first = exchange->first_connection;
    retry_budget_give(exchange->worker->budget, exchange->held_charged);
    exchange->held_charged = 0;
    retry_budget_give_waiting(exchange->worker->budget, exchange->waiting);
    exchange->waiting = 0;
    retry_buffer_free(&exchange->held_file, exchange->worker->budget);
    buffer_free(&exchange->held);
    exchange->held_head = 0;
    exchange->first_connection = NULL;
    if (first)
        upstream_release(first, false);
}

/* The answer is whole: its connection can serve others while this request waits. */
static void answer_is_whole(struct exchange *exchange)
{
    struct upstream_connection *connection = exchange->connection;
    exchange->held_whole = true;
    exchange->connection = NULL;
    upstream_release(connection, exchange->reusable && exchange->request_sent);
}

/* What was held of the body, without chunk framing: a slice of it, or of `plain`. */
static struct slice held_payload(const struct exchange *exchange, struct buffer *plain)
{
    struct slice raw = slice_make(exchange->held.data + exchange->held_head,
                                  exchange->held.length - exchange->held_head);
    if (exchange->answer_body.framing != FRAMING_CHUNKED)
        return raw;
    struct http_body body;
    struct http_refusal refusal;
    http_body_construct(&body, FRAMING_CHUNKED, 0);
    while (raw.length > 0 && !body.done) {
        struct slice payload;
        size_t taken;
        if (!http_body_next(&body, raw, &taken, &payload, &refusal))
            break;
        buffer_append_slice(plain, payload);
        raw = slice_make(raw.data + taken, raw.length - taken);
    }
    return buffer_slice(plain);
}

/* What waits is bounded in memory by the budget; past it, request body and answer wait in files. */
static void spill_if_too_much_waits(struct exchange *exchange)
{
    struct retry_budget *budget = exchange->worker->budget;
    struct retry_buffer *file = &exchange->held_file;
    uint64_t bytes = exchange->held.length + exchange->kept.memory.length;
    if (retry_budget_take_waiting(budget, bytes)) {
        exchange->waiting = bytes;
        return;
    }
    retry_buffer_spill(&exchange->kept);
    file->memory = exchange->held;
    file->length = exchange->held.length;
    exchange->held = (struct buffer){0};
    if (!retry_buffer_spill(file)) {
        exchange->held = file->memory;
        retry_buffer_construct(file);
    }
}

/* The held answer in memory again. False: it cannot be read back. */
static bool recall(struct exchange *exchange)
{
    struct retry_buffer *file = &exchange->held_file;
    if (file->fd < 0)
        return true;
    bool good = buffer_reserve(&exchange->held, file->length);
    while (good && exchange->held.length < file->length) {
        char *end = exchange->held.data + exchange->held.length;
        struct slice part = retry_buffer_read(file, exchange->held.length, end,
                                              file->length - exchange->held.length);
        exchange->held.length += part.length;
        good = part.length > 0;
    }
    return good;
}

static size_t held_length(const struct exchange *exchange)
{
    return exchange->held.length > 0 ? exchange->held.length : (size_t)exchange->held_file.length;
}

/* Waits for the verdict with what is needed copied to size; the buffers go back. */
static void park(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    struct client *client = exchange->client;
    exchange_set_state(exchange, EXCHANGE_PARKED);
    exchange->parked_ns = worker->now_ns;
    if (exchange->request_copy.length == 0) {
        buffer_append_slice(&exchange->request_copy, exchange_request_bytes(exchange));
        if (exchange->request_copy.failed) {
            buffer_free(&exchange->request_copy); /* then it stays in the input */
        } else {
            buffer_shrink(&exchange->request_copy);
            client_take_input(client, exchange->input_used);
            exchange->input_used = 0;
            worker->request_head_of = NULL;
        }
    }
    buffer_shrink(&exchange->held);
    buffer_shrink(&exchange->kept.memory);
    spill_if_too_much_waits(exchange);
    timer_stop(&client->timer);
    timer_start(&worker->timers, &exchange->timer, TIMER_PARK, worker->now_ns);
}

/* Whether all of the request is here, or the rest can still be read from the client and kept. */
static bool can_be_replayed(const struct exchange *exchange)
{
    return exchange->replayable && (exchange->request_body.done || exchange->keeping);
}

static void judge(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    const struct healing *healing = worker->healing;
    struct buffer plain = {0};
    const struct http_head *head = exchange_request_head(exchange);
    struct failure failure = {.method = exchange->method,
                              .method_text = head->method_text,
                              .target = head->target,
                              .has_idempotency_key = exchange->has_idempotency_key,
                              .replayable = can_be_replayed(exchange),
                              .status = exchange->status,
                              .body = held_payload(exchange, &plain),
                              .generation = exchange->generation,
                              .sent_ns = exchange->sent_ns};
    enum healing_answer answer = healing->submit(healing->context, &failure, ticket_of(exchange));
    buffer_free(&plain);
    if (answer == HEALING_WAIT)
        park(exchange);
    else
        exchange_pass_held(exchange);
}

bool exchange_hold(struct exchange *exchange, const struct http_head *head, struct slice body)
{
    struct worker *worker = exchange->worker;
    struct http_refusal refusal;
    size_t taken;
    struct slice whole = slice_make(body.data - head->length, head->length + body.length);
    if (!http_body_feed(&exchange->answer_body, body, &taken, &refusal)) {
        exchange_fail(exchange, 502, "the application's answer is malformed",
                      SLICE("http_protocol_error"));
        return true;
    }
    if (taken < body.length)
        exchange->reusable = false;
    whole.length = head->length + taken;
    if (!keep_answer(exchange, whole)) {
        /* No room to hold it: it flows on as it would without us, its framing read anew. */
        http_body_construct(&exchange->answer_body, head->framing, head->content_length);
        return false;
    }
    COUNT(&worker->counters, held);
    exchange->held_head = head->length;
    exchange_set_state(exchange, EXCHANGE_HOLDING);
    if (exchange->answer_body.done)
        answer_is_whole(exchange);
    if (exchange->held_whole ||
        exchange->held.length - exchange->held_head >= worker->config->hold_bytes)
        judge(exchange);
    else
        timer_start(&worker->timers, &exchange->timer, TIMER_HOLD, worker->now_ns);
    return true;
}

void exchange_hold_timed_out(struct exchange *exchange)
{
    struct exchange_mark mark = exchange_mark(exchange);
    judge(exchange);
    if (exchange_is_alive(mark))
        exchange_read_answer(exchange);
}

/* Room for `size` more bytes of the answer, within the budget and in memory, before they are read:
 * what was read must never be lost. */
static bool make_room(struct exchange *exchange, size_t size)
{
    struct retry_budget *budget = exchange->worker->budget;
    if (!retry_budget_take(budget, size))
        return false;
    exchange->held_charged += size;
    if (exchange->held_file.fd >= 0 || buffer_reserve(&exchange->held, size))
        return true;
    exchange->held.failed = false;
    return_room(exchange, size);
    return false;
}

/* One read, behind what is held in memory, or through `block` into the file it waits in. */
static enum transport_result read_more(struct exchange *exchange, char *block, size_t size,
                                       size_t *taken)
{
    struct transport *transport = &exchange->connection->transport;
    struct http_refusal refusal;
    bool in_file = exchange->held_file.fd >= 0;
    char *place = in_file ? block : exchange->held.data + exchange->held.length;
    size_t received;
    *taken = 0;
    enum transport_result result = transport_receive(transport, place, size, &received);
    if (result != TRANSPORT_BYTES)
        return result;
    if (!http_body_feed(&exchange->answer_body, slice_make(place, received), taken, &refusal))
        return TRANSPORT_FAILED;
    if (*taken < received)
        exchange->reusable = false;
    if (!in_file)
        exchange->held.length += *taken;
    else if (!retry_buffer_append(&exchange->held_file, exchange->worker->budget,
                                  slice_make(place, *taken), true))
        return TRANSPORT_FAILED; /* what is there goes to the client, and then a reset: never a gap
                                  */
    return result;
}

bool exchange_read_held(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    bool holding = exchange->state == EXCHANGE_HOLDING;
    size_t most = holding ? exchange->held_head + worker->config->hold_bytes : PARKED_ANSWER_MAX;
    if (held_length(exchange) >= most)
        return false;
    size_t size = most - held_length(exchange), taken;
    size = size < BLOCK_BODY ? size : BLOCK_BODY;
    if (!make_room(exchange, size)) {
        if (holding)
            judge(exchange); /* by what there is; the rest stays on its connection */
        return false;
    }
    char *block = blocks_borrow(&worker->bodies);
    enum transport_result result =
        block ? read_more(exchange, block, size, &taken) : TRANSPORT_AGAIN;
    return_room(exchange,
                result == TRANSPORT_BYTES && exchange->held_file.fd < 0 ? size - taken : size);
    blocks_return(&worker->bodies, block);
    if (result == TRANSPORT_END || result == TRANSPORT_FAILED)
        exchange_held_end(exchange, result == TRANSPORT_END);
    if (result != TRANSPORT_BYTES)
        return false;
    if (exchange->answer_body.done)
        answer_is_whole(exchange);
    if (holding && (exchange->held_whole || held_length(exchange) >= most))
        judge(exchange);
    return true;
}

void exchange_held_end(struct exchange *exchange, bool orderly)
{
    struct upstream_connection *connection = exchange->connection;
    exchange->reusable = false;
    exchange->connection = NULL;
    if (orderly && exchange->answer_body.framing == FRAMING_CLOSE) {
        exchange->answer_body.done = true;
        exchange->held_whole = true;
    } else {
        exchange->held_truncated = true;
    }
    upstream_release(connection, false);
    if (exchange->state != EXCHANGE_HOLDING)
        return;
    if (exchange->held_whole)
        judge(exchange);
    else
        exchange_pass_held(exchange);
}

void exchange_pass_held(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    struct http_head *head = &worker->response_head;
    struct http_refusal refusal;
    bool second = exchange->attempt == 2;
    timer_stop(&exchange->timer);
    if (second) {
        struct upstream_connection *connection = exchange->connection;
        exchange->connection = exchange->first_connection;
        exchange->first_connection = NULL;
        exchange->answer_body = exchange->held_body;
        exchange->reusable = false;
        exchange->attempt = 1;
        if (connection)
            upstream_release(connection, false);
    }
    bool readable = recall(exchange);
    struct slice held = buffer_slice(&exchange->held);
    /* These bytes were accepted once; the parser is a pure function. */
    if (!readable ||
        http_parse_response(held, exchange->method, head, &refusal) != HTTP_PARSE_DONE) {
        client_close(exchange->client, true);
        return;
    }
    exchange->status = head->status;
    struct slice body =
        slice_make(held.data + exchange->held_head, held.length - exchange->held_head);
    bool relayed = exchange_relay_head(exchange, head, body, true);
    struct iovec last = {(char *)(uintptr_t) "0\r\n\r\n", 5};
    if (relayed && exchange->held_whole && exchange->framing == RESPONSE_FRAMING_CHUNK)
        relayed = transport_send(&exchange->client->transport, &last, 1);
    exchange_drop_held(exchange);
    if (!relayed || exchange->held_truncated) {
        exchange_fail(exchange, 502, "the answer ended early", SLICE("http_response_incomplete"));
        return;
    }
    struct exchange_mark mark = exchange_mark(exchange);
    exchange_after_relay(exchange);
    if (exchange_is_alive(mark) && exchange->connection)
        worker_resume(worker, &exchange->connection->source);
}

static void retry(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    COUNT(&worker->counters, retried);
    timer_stop(&exchange->timer);
    exchange->attempt = 2;
    exchange->held_body = exchange->answer_body;
    exchange->first_connection = exchange->connection;
    exchange->connection = NULL;
    exchange->reusable = false;
    exchange->request_sent = exchange->stop_sending = false;
    exchange_queue(exchange, false);
}

void exchange_verdict(struct worker *worker, const struct verdict *verdict)
{
    if (verdict->ticket.slot >= worker->slot_count)
        return;
    struct exchange *exchange = worker->slots[verdict->ticket.slot];
    if (exchange->slot_generation != verdict->ticket.slot_generation ||
        exchange->state != EXCHANGE_PARKED)
        return; /* it has given up waiting */
    if (verdict->kind == VERDICT_RETRY && can_be_replayed(exchange))
        retry(exchange);
    else
        exchange_pass_held(exchange);
}

static void tell(struct exchange *exchange, enum healing_outcome outcome)
{
    const struct healing *healing = exchange->worker->healing;
    const struct http_head *head = exchange_request_head(exchange);
    healing->tell_outcome(healing->context, outcome, head->method_text, head->target,
                          exchange->status, exchange->worker->now_ns - exchange->parked_ns);
}

void exchange_tell_outcome(struct exchange *exchange, bool good)
{
    if (exchange->attempt != 2)
        return;
    if (good)
        COUNT(&exchange->worker->counters, healed);
    tell(exchange, good ? OUTCOME_HEALED : OUTCOME_NOT_HEALED);
}

void exchange_park_timed_out(struct exchange *exchange)
{
    const struct healing *healing = exchange->worker->healing;
    healing->take_back(healing->context, ticket_of(exchange));
    tell(exchange, OUTCOME_TIMED_OUT);
    exchange_pass_held(exchange);
}

void exchange_pass_all(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->slot_count; i++) {
        if (worker->slots[i]->state == EXCHANGE_PARKED)
            exchange_park_timed_out(worker->slots[i]);
    }
}
