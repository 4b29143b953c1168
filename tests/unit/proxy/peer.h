/* SPDX-License-Identifier: MIT */
/* A raw end of a connection, client's or application's, for tests that hold both ends of the proxy
 * in one thread. Everything waits with a bound and fails the test past it; nothing sleeps. It reads
 * messages with a parser of its own, so that it does not believe what it tests. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

enum { PEER_WAIT_MS = 20000 };

struct peer {
    int fd;
    struct buffer input; /* received, and not taken by a message yet */
};

struct peer peer_make(int fd);

/* To "host:port" of the loopback, or "unix:/path". */
struct peer peer_connect(const char *address);

/* As peer_connect, with a receive buffer of about that size. */
struct peer peer_connect_narrow(const char *address, int bytes);
void peer_close(struct peer *peer);
/* The other end sees a reset. */
void peer_reset(struct peer *peer);
void peer_shut(struct peer *peer);

void peer_send(struct peer *peer, struct slice bytes);
void peer_say(struct peer *peer, const char *text);

/* Receives more into `input`: bytes, the end, or a reset. */
enum peer_received { PEER_BYTES, PEER_END, PEER_RESET };
enum peer_received peer_receive(struct peer *peer);

/* Receives until `length` bytes are in `input`. */
void peer_receive_all(struct peer *peer, size_t length);

/* Whether nothing has arrived. */
bool peer_is_quiet(struct peer *peer);

/* Reads on until the end, which must not come within a message. */
void peer_expect_end(struct peer *peer);

struct message {
    struct buffer raw; /* head and body as they came */
    size_t head_length;
    struct buffer body; /* without chunk framing */
    unsigned status;    /* of an answer */
    bool whole;         /* false: the connection ended or was reset before */
};

enum message_kind { REQUEST, ANSWER, ANSWER_TO_HEAD };

/* Reads one message; check message->whole, or let peer_read do it. */
void peer_read_any(struct peer *peer, enum message_kind kind, struct message *message);
void peer_read(struct peer *peer, enum message_kind kind, struct message *message);

/* Reads an answer, checks status and body, and frees it. */
void peer_expect(struct peer *peer, unsigned status, struct slice body);

void message_free(struct message *message);
struct slice message_head(const struct message *message);
/* The value of a field as a string that lives until the next call; "" when it is not there. */
const char *message_field(const struct message *message, const char *name);

/* Sends in a thread of its own, for what does not fit the sockets' buffers. */
struct sender {
    pthread_t thread;
    int fd;
    struct slice bytes;
    _Atomic size_t sent;
    _Atomic bool is_over; /* all of it was sent, or no more can be */
    bool done;            /* all of it was sent */
};
void sender_start(struct sender *sender, struct peer *peer, struct slice bytes);
/* As sender_start, and gives up when the other end takes nothing for a second. */
void sender_start_impatient(struct sender *sender, struct peer *peer, struct slice bytes);
/* Whether all was sent. */
bool sender_join(struct sender *sender);

/* What a test sends. */
enum framing { LENGTH, CHUNKED, CLOSE };
struct slice random_bytes(size_t length); /* the same ones for the same length; never freed */
/* Puts `start_line`, `fields` (each with its CRLF), framing fields and the body behind what is in
 * the buffer. */
void compose(struct buffer *buffer, const char *start_line, const char *fields,
             enum framing framing, struct slice body);
