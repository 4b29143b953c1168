/* SPDX-License-Identifier: MIT */
/* An exchange: one request of a client and its answer, over at most two attempts that the
 * application could have processed (P6). Its states, and what moves it:
 *
 *   READING ──► QUEUED ──► AWAITING ──────────────► RELAYING ──► ENDED
 *   (a small    (for an    (sent or being sent,        ▲
 *    body is    upstream    no final head yet)         │ not a schema error, or no verdict in time
 *    collected) connection)     │                      │
 *                  ▲            └────► HOLDING ──► PARKED
 *                  └─ verdict: retry ─────────────────┘
 *
 * A watched answer is HELD until 64 KiB, its end or hold_timeout; then it is judged, and PARKED if
 * a verdict will come. The request waits there with its bytes copied to size and its buffers
 * returned; the rest of the answer is drained, so that the upstream connection goes back to its
 * pool. Any state may go to ENDED: the client has gone, or we answer. */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "recover/healing.h"

struct client;
struct worker;
struct exchange;
struct upstream_connection;

enum exchange_state {
    EXCHANGE_FREE,
    EXCHANGE_READING,
    EXCHANGE_QUEUED,
    EXCHANGE_AWAITING,
    EXCHANGE_HOLDING,
    EXCHANGE_PARKED,
    EXCHANGE_RELAYING,
    EXCHANGE_ENDED,
};

/* Begins with the head in worker->request_head, whose bytes are at client->input + input_start.
 * NULL: memory is out. */
[[gnu::warn_unused_result]] struct exchange *exchange_begin(struct client *client);

/* What the client's side tells: bytes or an end may be read; bytes may be written; it has gone. */
void exchange_client_readable(struct exchange *exchange);
void exchange_client_writable(struct exchange *exchange);
/* No byte of the request body came for as long as configured. */
void exchange_body_timed_out(struct exchange *exchange);
void exchange_client_gone(struct exchange *exchange);

/* What the upstream's side tells. */
struct exchange *exchange_from_queue(struct list *link);
struct list *exchange_queue_link(struct exchange *exchange);
void exchange_connected(struct exchange *exchange, struct upstream_connection *connection);
void exchange_not_connected(struct exchange *exchange, CURLcode result, int number);
void exchange_upstream_ready(struct exchange *exchange, struct upstream_connection *connection);

/* A verdict from another thread; late ones find nobody and are dropped. */
void exchange_verdict(struct worker *worker, const struct verdict *verdict);

/* Gives everyone who waits for a verdict the application's answer: the worker ends. */
void exchange_pass_all(struct worker *worker);

/* Frees the worker's exchanges; none may be under way. */
void exchange_free_all(struct worker *worker);
