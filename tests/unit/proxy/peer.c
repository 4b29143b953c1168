/* SPDX-License-Identifier: MIT */
/* A socket that a test speaks through, blocking with a bound; owned by the test's thread. */
#include "peer.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct peer peer_make(int fd)
{
    struct timeval bound = {.tv_sec = PEER_WAIT_MS / 1000};
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound), 0);
    return (struct peer){.fd = fd};
}

struct peer peer_connect_narrow(const char *address, int bytes)
{
    struct sockaddr_storage to = {0};
    socklen_t length;
    if (strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un *local = (struct sockaddr_un *)(void *)&to;
        local->sun_family = AF_UNIX;
        snprintf(local->sun_path, sizeof local->sun_path, "%s", address + 5);
        length = sizeof *local;
    } else {
        struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&to;
        const char *colon = strrchr(address, ':');
        ck_assert_ptr_nonnull(colon);
        v4->sin_family = AF_INET;
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        v4->sin_port = htons((uint16_t)atoi(colon + 1));
        length = sizeof *v4;
    }
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct peer peer = peer_make(fd);
    if (bytes > 0)
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, length), 0);
    return peer;
}

struct peer peer_connect(const char *address)
{
    return peer_connect_narrow(address, 0);
}

void peer_close(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    buffer_free(&peer->input);
    peer->fd = -1;
}

void peer_reset(struct peer *peer)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    ck_assert_int_eq(setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    peer_close(peer);
}

void peer_shut(struct peer *peer)
{
    ck_assert_int_eq(shutdown(peer->fd, SHUT_WR), 0);
}

static bool send_all(int fd, struct slice bytes, _Atomic size_t *total)
{
    while (bytes.length > 0) {
        ssize_t sent = send(fd, bytes.data, bytes.length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes = slice_make(bytes.data + sent, bytes.length - (size_t)sent);
        if (total)
            *total += (size_t)sent;
    }
    return true;
}

void peer_send(struct peer *peer, struct slice bytes)
{
    ck_assert_msg(send_all(peer->fd, bytes, NULL), "cannot send: %s", strerror(errno));
}

void peer_say(struct peer *peer, const char *text)
{
    peer_send(peer, slice_from_string(text));
}

enum peer_received peer_receive(struct peer *peer)
{
    enum { AT_A_TIME = 256 * 1024 };
    struct pollfd waiting = {.fd = peer->fd, .events = POLLIN};
    ck_assert_msg(poll(&waiting, 1, PEER_WAIT_MS) == 1, "nothing arrived in time");
    ck_assert(buffer_reserve(&peer->input, AT_A_TIME));
    ssize_t result = recv(peer->fd, peer->input.data + peer->input.length, AT_A_TIME, 0);
    if (result < 0)
        return PEER_RESET;
    peer->input.length += (size_t)result;
    return result > 0 ? PEER_BYTES : PEER_END;
}

void peer_receive_all(struct peer *peer, size_t length)
{
    while (peer->input.length < length)
        ck_assert_int_eq(peer_receive(peer), PEER_BYTES);
}

bool peer_is_quiet(struct peer *peer)
{
    struct pollfd waiting = {.fd = peer->fd, .events = POLLIN};
    return peer->input.length == 0 && poll(&waiting, 1, 0) == 0;
}

void peer_expect_end(struct peer *peer)
{
    ck_assert_uint_eq(peer->input.length, 0);
    ck_assert_int_eq(peer_receive(peer), PEER_END);
}

void message_free(struct message *message)
{
    buffer_free(&message->raw);
    buffer_free(&message->body);
    *message = (struct message){0};
}

struct slice message_head(const struct message *message)
{
    return slice_make(message->raw.data, message->head_length);
}

const char *message_field(const struct message *message, const char *name)
{
    static char value[512];
    struct slice rest = message_head(message);
    value[0] = '\0';
    while (rest.length > 0) {
        struct slice line = slice_split(&rest, '\n'), left = line;
        if (slice_equal_ignore_case(slice_split(&left, ':'), slice_from_string(name)))
            return slice_copy(slice_trim_space(left), value, sizeof value);
    }
    return value;
}

/* Moves the first bytes of the input to the message, receiving them if need be. */
static bool take_bytes(struct peer *peer, struct message *message, size_t length, bool payload)
{
    while (length > 0) {
        if (peer->input.length == 0 && peer_receive(peer) != PEER_BYTES)
            return false;
        size_t part = length < peer->input.length ? length : peer->input.length;
        ck_assert(buffer_append(&message->raw, peer->input.data, part));
        if (payload)
            ck_assert(buffer_append(&message->body, peer->input.data, part));
        memmove(peer->input.data, peer->input.data + part, peer->input.length - part);
        peer->input.length -= part;
        length -= part;
    }
    return true;
}

/* Moves everything up to and with `end`; *from is where it begins in the message. */
static bool take_through(struct peer *peer, struct message *message, const char *end, size_t *from)
{
    *from = message->raw.length;
    for (;;) {
        char *found = peer->input.length == 0
                          ? NULL
                          : memmem(peer->input.data, peer->input.length, end, strlen(end));
        if (found)
            return take_bytes(peer, message, (size_t)(found - peer->input.data) + strlen(end),
                              false);
        if (peer_receive(peer) != PEER_BYTES)
            return false;
    }
}

static bool take_chunks(struct peer *peer, struct message *message)
{
    for (;;) {
        size_t from;
        if (!take_through(peer, message, "\r\n", &from))
            return false;
        char *end;
        size_t size = strtoul(message->raw.data + from, &end, 16);
        ck_assert_ptr_ne(end, message->raw.data + from);
        if (size == 0)
            break;
        if (!take_bytes(peer, message, size, true) || !take_through(peer, message, "\r\n", &from))
            return false;
    }
    for (;;) { /* trailers */
        size_t from;
        if (!take_through(peer, message, "\r\n", &from))
            return false;
        if (message->raw.length - from == 2)
            return true;
    }
}

static bool take_until_end(struct peer *peer, struct message *message)
{
    enum peer_received received = PEER_BYTES;
    while (received == PEER_BYTES) {
        if (!take_bytes(peer, message, peer->input.length, true))
            return false;
        received = peer_receive(peer);
    }
    return received == PEER_END;
}

static bool read_message(struct peer *peer, enum message_kind kind, struct message *message)
{
    size_t from;
    if (!take_through(peer, message, "\r\n\r\n", &from))
        return false;
    message->head_length = message->raw.length;
    if (kind != REQUEST) {
        ck_assert_msg(memcmp(message->raw.data, "HTTP/1.1 ", 9) == 0, "not an answer: %.*s",
                      (int)message->raw.length, message->raw.data);
        message->status = (unsigned)atoi(message->raw.data + 9);
        if (kind == ANSWER_TO_HEAD || message->status < 200 || message->status == 204 ||
            message->status == 304)
            return true;
    }
    if (strcasecmp(message_field(message, "Transfer-Encoding"), "chunked") == 0)
        return take_chunks(peer, message);
    const char *length = message_field(message, "Content-Length");
    if (*length)
        return take_bytes(peer, message, strtoul(length, NULL, 10), true);
    return kind == REQUEST || take_until_end(peer, message);
}

void peer_read_any(struct peer *peer, enum message_kind kind, struct message *message)
{
    *message = (struct message){0};
    message->whole = read_message(peer, kind, message);
}

void peer_read(struct peer *peer, enum message_kind kind, struct message *message)
{
    peer_read_any(peer, kind, message);
    ck_assert_msg(message->whole, "the message ended early, after %zu bytes: %.*s",
                  message->raw.length, (int)(message->raw.length < 300 ? message->raw.length : 300),
                  message->raw.data ? message->raw.data : "");
}

void peer_expect(struct peer *peer, unsigned status, struct slice body)
{
    struct message message;
    peer_read(peer, ANSWER, &message);
    ck_assert_msg(message.status == status, "%u, not %u: %.*s", message.status, status,
                  (int)message.raw.length, message.raw.data);
    ck_assert(slice_equal(buffer_slice(&message.body), body));
    message_free(&message);
}

static void *run_sender(void *context)
{
    struct sender *sender = context;
    sender->done = send_all(sender->fd, sender->bytes, &sender->sent);
    sender->is_over = true;
    return NULL;
}

void sender_start(struct sender *sender, struct peer *peer, struct slice bytes)
{
    *sender = (struct sender){.fd = peer->fd, .bytes = bytes};
    ck_assert_int_eq(pthread_create(&sender->thread, NULL, run_sender, sender), 0);
}

void sender_start_impatient(struct sender *sender, struct peer *peer, struct slice bytes)
{
    struct timeval patience = {.tv_sec = 1};
    ck_assert_int_eq(setsockopt(peer->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
    sender_start(sender, peer, bytes);
}

bool sender_join(struct sender *sender)
{
    ck_assert_int_eq(pthread_join(sender->thread, NULL), 0);
    return sender->done;
}

struct slice random_bytes(size_t length)
{
    static char *bytes;
    static size_t made;
    if (made < length || !bytes) {
        uint64_t state = 88172645463325252u;
        bytes = realloc(bytes, length + 8);
        ck_assert_ptr_nonnull(bytes);
        for (made = 0; made < length; made += 8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            memcpy(bytes + made, &state, 8);
        }
    }
    return slice_make(bytes, length);
}

void compose(struct buffer *buffer, const char *start_line, const char *fields,
             enum framing framing, struct slice body)
{
    enum { CHUNK = 10007 };
    buffer_printf(buffer, "%s\r\n%s", start_line, fields);
    if (framing == LENGTH)
        buffer_printf(buffer, "Content-Length: %zu\r\n\r\n", body.length);
    else
        buffer_printf(buffer, framing == CHUNKED ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
    if (framing == CHUNKED) {
        while (body.length > 0) {
            size_t part = body.length < CHUNK ? body.length : CHUNK;
            buffer_printf(buffer, "%zx\r\n", part);
            buffer_append(buffer, body.data, part);
            buffer_append_string(buffer, "\r\n");
            body = slice_make(body.data + part, body.length - part);
        }
        buffer_append_string(buffer, "0\r\n\r\n");
    } else {
        buffer_append_slice(buffer, body);
    }
    ck_assert(!buffer->failed);
}
