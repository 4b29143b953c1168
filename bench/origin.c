/* SPDX-License-Identifier: MIT */
/* The origin: the application's part in bench/load, made so cheap that the proxy before it is what
 * is measured.
 *
 * One thread, one epoll, HTTP/1.1 with keep-alive and pipelining. Request bodies by Content-Length
 * are read and thrown away. Nothing is checked: only the proxies of a benchmark talk to it.
 *
 *   /small     200, a JSON object of 131 bytes, as a small API answers
 *   /size/N    200, N bytes of a repeated alphabet, N up to 1 GiB
 *   /count     200, how many requests for the two above were received so far; not counted itself
 *   /head      200, the request's head as it arrived, so that bench/load can see what a proxy has
 * made of it else       404
 *
 * Ownership: a connection is freed where it is closed; epoll reports each descriptor at most once
 * in a batch.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    INPUT_BYTES = 16 * 1024,
    OUTPUT_BYTES = INPUT_BYTES + 512, /* a head of ours and, for /head, the whole input */
    PATTERN_BYTES = 1024 * 1024,
    EVENTS_AT_ONCE = 256,
    LISTEN_BACKLOG = 1024,
};

static const uint64_t largest_body_bytes = UINT64_C(1) << 30;

/* The date stands still: a proxy passes it on all the same, and the origin saves a clock. */
#define FIELDS                                                                                     \
    "Server: origin\r\n"                                                                           \
    "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
#define SMALL_BODY                                                                                 \
    "{\"id\":4711,\"title\":\"Order more printer paper\",\"state\":\"open\","                      \
    "\"position\":12,\"assignee\":\"maria\",\"updated_at\":\"2026-01-01T00:00:00Z\"}\n"

struct connection {
    int fd;
    bool writable;
    size_t input_length;
    uint64_t discard; /* bytes of a request's body still to come */
    size_t output_start;
    size_t output_end;
    uint64_t body_offset; /* of the pattern, which follows the output */
    uint64_t body_left;
    char input[INPUT_BYTES];
    char output[OUTPUT_BYTES];
};

struct origin {
    int epoll_fd;
    int listen_fd;
    uint64_t requests;
    char *pattern;
};

[[gnu::noreturn, gnu::format(printf, 1, 2)]] static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("origin: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

static void connection_close(struct connection *connection)
{
    close(connection->fd);
    free(connection);
}

static bool has_output(const struct connection *connection)
{
    return connection->output_start < connection->output_end || connection->body_left > 0;
}

/* Sends what is pending; false if the connection has failed. */
static bool flush(const struct origin *origin, struct connection *connection)
{
    while (connection->writable && has_output(connection)) {
        size_t offset = (size_t)(connection->body_offset % PATTERN_BYTES);
        size_t body = PATTERN_BYTES - offset;
        if (body > connection->body_left)
            body = (size_t)connection->body_left;
        size_t head = connection->output_end - connection->output_start;
        struct iovec parts[] = {{connection->output + connection->output_start, head},
                                {origin->pattern + offset, body}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = body > 0 ? 2 : 1};
        ssize_t sent = sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            connection->writable = false;
            return true;
        }
        if (sent < 0)
            return false;
        size_t of_head = (size_t)sent < head ? (size_t)sent : head;
        connection->output_start += of_head;
        connection->body_offset += (size_t)sent - of_head;
        connection->body_left -= (size_t)sent - of_head;
        connection->writable = (size_t)sent == head + body;
    }
    return true;
}

[[gnu::format(printf, 2, 3)]] static void answer(struct connection *connection, const char *format,
                                                 ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(connection->output, OUTPUT_BYTES, format, arguments);
    va_end(arguments);
    connection->output_start = 0;
    connection->output_end = length < OUTPUT_BYTES ? (size_t)length : OUTPUT_BYTES - 1;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Formats nothing for /small: the answer is copied as it stands. */
static void answer_small(struct connection *connection)
{
    static const char small[] = "HTTP/1.1 200 OK\r\n" FIELDS "Content-Type: application/json\r\n"
                                "Content-Length: 131\r\n\r\n" SMALL_BODY;
    static_assert(sizeof SMALL_BODY - 1 == 131, "Content-Length above");
    memcpy(connection->output, small, sizeof small - 1);
    connection->output_start = 0;
    connection->output_end = sizeof small - 1;
}

static void answer_size(struct connection *connection, uint64_t size)
{
    answer(connection,
           "HTTP/1.1 200 OK\r\n" FIELDS "Content-Type: text/plain\r\nContent-Length: %llu\r\n\r\n",
           (unsigned long long)size);
    connection->body_offset = 0;
    connection->body_left = size;
}

static void answer_text(struct connection *connection, const char *status, const char *text,
                        size_t length)
{
    answer(connection,
           "HTTP/1.1 %s\r\n" FIELDS "Content-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%.*s",
           status, length, (int)length, text);
}

static void answer_request(struct origin *origin, struct connection *connection, size_t head_length)
{
    const char *path = memchr(connection->input, ' ', head_length);
    path = path == NULL ? "" : path + 1;
    if (has_prefix(path, "/small ")) {
        origin->requests++;
        answer_small(connection);
    } else if (has_prefix(path, "/size/")) {
        char *end;
        uint64_t size = strtoull(path + 6, &end, 10);
        if (*end != ' ' || size > largest_body_bytes) {
            answer_text(connection, "404 Not Found", "no such size\n", 13);
            return;
        }
        origin->requests++;
        answer_size(connection, size);
    } else if (has_prefix(path, "/count ")) {
        char text[32];
        int length = snprintf(text, sizeof text, "%llu\n", (unsigned long long)origin->requests);
        answer_text(connection, "200 OK", text, (size_t)length);
    } else if (has_prefix(path, "/head ")) {
        answer_text(connection, "200 OK", connection->input, head_length);
    } else {
        answer_text(connection, "404 Not Found", "no such page\n", 13);
    }
}

static uint64_t content_length(const char *head, const char *head_end)
{
    static const char name[] = "content-length:";
    for (const char *line = head; line < head_end;) {
        if ((line[0] | 0x20) == 'c' && strncasecmp(line, name, sizeof name - 1) == 0)
            return strtoull(line + sizeof name - 1, NULL, 10);
        line = (const char *)memchr(line, '\n', (size_t)(head_end + 2 - line)) + 1;
    }
    return 0;
}

static void drop_input(struct connection *connection, size_t length)
{
    connection->input_length -= length;
    memmove(connection->input, connection->input + length, connection->input_length);
}

/* Answers the requests that lie complete in the input, until one answer cannot be sent at once. */
static bool answer_input(struct origin *origin, struct connection *connection)
{
    while (!has_output(connection) && connection->input_length > 0) {
        if (connection->discard > 0) {
            size_t length = connection->input_length;
            if (length > connection->discard)
                length = (size_t)connection->discard;
            connection->discard -= length;
            drop_input(connection, length);
            continue;
        }
        const char *head_end = memmem(connection->input, connection->input_length, "\r\n\r\n", 4);
        if (head_end == NULL)
            return connection->input_length < INPUT_BYTES;
        size_t head_length = (size_t)(head_end + 4 - connection->input);
        connection->discard = content_length(connection->input, head_end);
        answer_request(origin, connection, head_length);
        drop_input(connection, head_length);
        if (!flush(origin, connection))
            return false;
    }
    return true;
}

/* False if the connection has ended. */
static bool connection_event(struct origin *origin, struct connection *connection, uint32_t events)
{
    if (events & (EPOLLHUP | EPOLLERR))
        return false;
    if (events & EPOLLOUT)
        connection->writable = true;
    if (!flush(origin, connection) || !answer_input(origin, connection))
        return false;
    while (!has_output(connection)) {
        size_t room = INPUT_BYTES - connection->input_length;
        ssize_t received =
            recv(connection->fd, connection->input + connection->input_length, room, MSG_DONTWAIT);
        if (received < 0 && errno == EAGAIN)
            return true;
        if (received <= 0)
            return false;
        connection->input_length += (size_t)received;
        if (!answer_input(origin, connection))
            return false;
        if ((size_t)received < room && !(events & EPOLLRDHUP))
            return true;
    }
    return true;
}

static void accept_connections(struct origin *origin)
{
    for (;;) {
        int fd = accept4(origin->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = calloc(1, sizeof *connection);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                    .data.ptr = connection};
        if (connection == NULL || epoll_ctl(origin->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
            free(connection);
            close(fd);
            continue;
        }
        connection->fd = fd;
        connection->writable = true;
    }
}

static void origin_open(struct origin *origin, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    origin->pattern = malloc(PATTERN_BYTES);
    if (origin->pattern == NULL)
        die("no memory for the answers' bytes");
    for (size_t i = 0; i < PATTERN_BYTES; i++)
        origin->pattern[i] = (char)('a' + i % 26);
    origin->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    origin->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (origin->epoll_fd < 0 || origin->listen_fd < 0)
        die("no socket or epoll: %s", strerror(errno));
    setsockopt(origin->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(origin->listen_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(origin->listen_fd, LISTEN_BACKLOG) != 0)
        die("cannot listen on 127.0.0.1:%u: %s; choose another port", port, strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(origin->epoll_fd, EPOLL_CTL_ADD, origin->listen_fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static uint16_t port_argument(const char *text)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    if (*end != '\0' || port == 0 || port > UINT16_MAX)
        die("\"%s\" is not a port; give a number from 1 to 65535", text);
    return (uint16_t)port;
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 2)
        die("usage: origin PORT (on 127.0.0.1)");
    struct origin origin = {0};
    origin_open(&origin, port_argument(arguments[1]));
    for (;;) {
        struct epoll_event events[EVENTS_AT_ONCE];
        int count = epoll_wait(origin.epoll_fd, events, EVENTS_AT_ONCE, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL)
                accept_connections(&origin);
            else if (!connection_event(&origin, connection, events[i].events))
                connection_close(connection);
        }
    }
}
