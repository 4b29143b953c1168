/* SPDX-License-Identifier: MIT */
/* The inside of an exchange, shared by the three files that make it: exchange.c (states, the
 * request's way up), exchange_answer.c (the answer's way down), exchange_heal.c (holding, parking,
 * the second attempt). Nobody else includes this. Every function marked "may end it" may have ended
 * the exchange when it returns; callers look at exchange_is. */
#pragma once

#include "http/body.h"
#include "http/edit.h"
#include "proxy/client.h"
#include "proxy/exchange.h"
#include "proxy/retry_buffer.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

enum { BLOCKS_A_TURN = 32 }; /* 2 MiB of one body, then others have their turn */

struct exchange {
    struct list link; /* in the upstream's queue, or on the worker's free list */
    enum exchange_state state;
    struct worker *worker;
    struct client *client;
    struct upstream_connection *connection; /* of the current attempt */
    struct upstream_connection
        *first_connection; /* of the first attempt, paused: its answer is not whole yet */
    struct timer timer;
    uint32_t slot; /* for life */
    uint64_t slot_generation;

    /* The request. Its head, and the body bytes that came with it, stay in the client's input until
     * they are copied. */
    enum http_method method;
    unsigned minor;
    bool client_keep_alive;
    bool has_idempotency_key;
    uint32_t head_length;
    uint32_t inline_length;     /* body bytes behind the head */
    uint32_t input_used;        /* bytes of the client's input that are this request's */
    struct buffer request_copy; /* head and inline bytes, once parked */
    struct http_body request_body;
    struct retry_buffer kept; /* body bytes behind the inline ones */
    bool keeping;             /* bytes that come are appended to `kept` */
    bool replayable;          /* inline and kept bytes are all that was read of the body */
    uint64_t sent;            /* of `kept`, in this attempt */
    bool request_sent;        /* all of it was handed to the transport */
    bool stop_sending;        /* an early answer, or the upstream does not read any more */
    unsigned attempt;         /* 1, or 2 after a verdict */
    unsigned tries;      /* how often it was sent so that the application could have processed it */
    uint64_t generation; /* schema generation at send */
    uint64_t sent_ns;
    uint64_t parked_ns;

    /* The answer. */
    unsigned status;
    struct http_body answer_body;
    enum http_response_framing framing;
    bool answer_started; /* a byte of the final answer went to the client */
    bool reusable;       /* the connection, by what the answer said */
    bool close_client;   /* the client's connection ends behind this answer */
    char *block;         /* BLOCK_BODY bytes with a head that is not whole, or NULL */
    size_t block_length;

    /* The first attempt's answer, while it is held. */
    struct buffer held;            /* head and body as they came; empty while they wait in a file */
    size_t held_head;              /* bytes of the head; 0: none is held */
    struct retry_buffer held_file; /* when too much waits in memory */
    uint64_t waiting;              /* bytes taken of the budget's waiting memory */
    uint64_t held_charged;
    bool held_whole;
    bool held_truncated;
    struct http_body held_body; /* its framing, where it stopped */
};

/* Identity over a call that may end the exchange. */
struct exchange_mark {
    const struct exchange *exchange;
    uint64_t slot_generation;
};

static inline struct exchange_mark exchange_mark(const struct exchange *exchange)
{
    return (struct exchange_mark){exchange, exchange->slot_generation};
}

static inline bool exchange_is_alive(struct exchange_mark mark)
{
    return mark.exchange->slot_generation == mark.slot_generation;
}

/* exchange.c */
void exchange_set_state(struct exchange *exchange, enum exchange_state state);

/* The head and inline bytes, wherever they are. */
struct slice exchange_request_bytes(const struct exchange *exchange);

/* The parsed request head: in worker->request_head, parsed again if another message was there
 * since. */
const struct http_head *exchange_request_head(struct exchange *exchange);

/* Asks for an upstream connection. May end it. */
void exchange_queue(struct exchange *exchange, bool fresh);

/* Sends on what there is of the request. May end it. */
void exchange_pump(struct exchange *exchange);

/* Gives everything back, but the client. */
void exchange_release(struct exchange *exchange);

/* The answer is out: gives everything back and lets the client go on. */
void exchange_finish(struct exchange *exchange);

/* Cannot go on: our own answer, the first attempt's answer if there is one, or a reset when bytes
 * went out. Ends it, or relays the first answer. */
void exchange_fail(struct exchange *exchange, unsigned status, const char *reason,
                   struct slice proxy_error);

/* exchange_answer.c */

/* Reads what the upstream sent. May end it. */
void exchange_read_answer(struct exchange *exchange);

/* Sends an answer's head and the body bytes that are there. `counted`: the body's framing has seen
 * them already. Does not end the exchange. False: the stream to the client, or the answer, is
 * broken. */
bool exchange_relay_head(struct exchange *exchange, const struct http_head *head, struct slice body,
                         bool counted);

/* After a head or body bytes were relayed: finishes if that was all, or watches the client. May end
 * it. */
void exchange_after_relay(struct exchange *exchange);

/* exchange_heal.c */

/* Holds a watched answer. False: it is not to be held. May end it when true. */
bool exchange_hold(struct exchange *exchange, const struct http_head *head, struct slice body);

/* Reads on while held or parked. False: nothing more to read, or it must wait. May end it. */
bool exchange_read_held(struct exchange *exchange);

/* The upstream's end while held or parked. May end it. */
/* x */
void exchange_held_end(struct exchange *exchange, bool orderly);
void exchange_hold_timed_out(struct exchange *exchange);
void exchange_park_timed_out(struct exchange *exchange);

/* Gives the client the answer that is held. May end it. */
void exchange_pass_held(struct exchange *exchange);

/* The second attempt got a final head, or none: tells it, and lets the first answer go. */
void exchange_tell_outcome(struct exchange *exchange, bool good);
void exchange_drop_held(struct exchange *exchange);
