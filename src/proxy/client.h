/* SPDX-License-Identifier: MIT */
/* A client connection: reads request heads, has at most one exchange at a time, and goes on with
 * the next request when that one has ended. An idle one holds no buffer.
 *
 *   OPEN ──► FLUSHING ──► LINGERING ──► CLOSED
 *     └──────────┴─────────────┴───────────▲
 *
 * OPEN: between requests, or with an exchange. FLUSHING: the last answer is being written.
 * LINGERING: our side is shut down and what the client still sends is read and dropped, so that the
 * answer arrives (RFC 9112, 9.6). */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "http/head.h"
#include "proxy/source.h"
#include "proxy/timers.h"
#include "proxy/transport.h"

struct worker;
struct exchange;

enum client_state { CLIENT_OPEN, CLIENT_FLUSHING, CLIENT_LINGERING, CLIENT_CLOSED };

struct client {
    struct source source;
    struct list link; /* on worker->clients */
    struct worker *worker;
    struct transport transport;
    struct timer timer;
    struct exchange *exchange;
    char *input; /* a borrowed block of BLOCK_HEAD bytes, or NULL */
    uint32_t input_start;
    uint32_t input_end;
    struct buffer ahead; /* read behind the end of a body: the next requests */
    size_t ahead_start;
    enum client_state state;
    bool linger; /* when FLUSHING ends */
    char address[INET6_ADDRSTRLEN];
};

/* Takes over an accepted socket. */
void client_open(struct worker *worker, int fd, const struct sockaddr_storage *peer, bool is_unix);

/* The exchange has ended and its answer was handed to the transport; `input_used` bytes of input
 * were its request. With `close`, the connection ends once the answer is written; with `linger`, it
 * is read on for a while. */
void client_exchange_ended(struct client *client, size_t input_used, bool close, bool linger);

/* The first `used` bytes of input are not needed any more; the block goes back when nothing is left
 * in it. */
void client_take_input(struct client *client, size_t used);

/* Ends it, whatever the reason; with `abort` the client sees a reset. */
void client_close(struct client *client, bool abort);

/* Reads up to `size` bytes of a request body: what was read ahead first. */
enum transport_result client_read(struct client *client, void *data, size_t size, size_t *received);

/* Gives back bytes that were read behind the end of a body. False: memory is out. */
[[gnu::warn_unused_result]] bool client_unread(struct client *client, struct slice bytes);

/* Whether bytes may be there to be read. */
bool client_is_readable(const struct client *client);

/* Asks for EPOLLOUT where that is not always registered. Call after a send that left bytes. */
void client_watch_writable(struct client *client);

/* Ends idle connections at once, others after their exchange: the worker drains. */
void client_drain(struct client *client);
