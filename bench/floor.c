/* SPDX-License-Identifier: MIT */
/* The floor: the least that a relay between two TCP sockets can cost, as the yardstick for
 * bench/load.
 *
 * One thread, one epoll. A request costs four system calls (recv, send, recv, send) and the
 * smallest parse that still makes it a proxy: where the head ends, and how long the body is.
 * Upstream connections are pooled; one is taken when a request's head is complete and returned when
 * the answer has ended. Nothing is checked, added or taken away, and what is not framed by
 * Content-Length (chunked, HEAD, 1xx, 204, 304) ends the connection: this is a measure, not
 * something to put before an application. It shares no code with the proxy it is compared with.
 *
 * Ownership: `struct relay` owns every connection; one that has been closed is freed after the
 * batch of events in which it ended, because later events of that batch may still point to it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 64 * 1024,
    EVENTS_AT_ONCE = 256,
    LISTEN_BACKLOG = 1024,
};

/* HEAD ── head complete ──► BODY ── last byte sent ──► DONE ── answer's end (client), reuse
 * (upstream) ──► HEAD */
enum phase { PHASE_HEAD, PHASE_BODY, PHASE_DONE };

enum side { SIDE_CLIENT, SIDE_UPSTREAM };

struct connection {
    int fd;
    enum side side;
    enum phase phase;
    bool readable;
    bool writable;
    bool ended; /* the other side has sent all it will: reads go on until they say so */
    bool closed;
    struct connection *peer; /* the other end of the exchange under way, or NULL */
    struct connection *next; /* in the pool, or among the closed */
    uint64_t message_left;   /* bytes of the message under way that are still to be sent on */
    size_t start;            /* bytes[start, end) were received from fd and not yet sent on */
    size_t end;
    char bytes[BUFFER_BYTES];
};

struct relay {
    int epoll_fd;
    int listen_fd;
    uint16_t upstream_port;
    struct connection *idle; /* pooled upstream connections, the last used first */
    struct connection *closed;
};

[[gnu::noreturn, gnu::format(printf, 1, 2)]] static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("floor: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static struct connection *connection_add(struct relay *relay, int fd, enum side side)
{
    struct connection *connection = malloc(sizeof *connection);
    if (connection == NULL)
        return NULL;
    /* The buffer is left as it is: clearing 64 KiB for each connection would be the dearest thing
     * here. */
    memset(connection, 0, offsetof(struct connection, bytes));
    connection->fd = fd;
    connection->side = side;
    connection->writable = true;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = connection};
    if (epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(connection);
        return NULL;
    }
    return connection;
}

static void connection_close(struct relay *relay, struct connection *connection)
{
    if (connection == NULL || connection->closed)
        return;
    for (struct connection **link = &relay->idle; *link != NULL; link = &(*link)->next) {
        if (*link == connection) {
            *link = connection->next;
            break;
        }
    }
    close(connection->fd);
    connection->closed = true;
    connection->next = relay->closed;
    relay->closed = connection;
    struct connection *peer = connection->peer;
    connection->peer = NULL;
    if (peer != NULL) {
        peer->peer = NULL;
        connection_close(relay, peer);
    }
}

static void free_closed(struct relay *relay)
{
    while (relay->closed != NULL) {
        struct connection *connection = relay->closed;
        relay->closed = connection->next;
        free(connection);
    }
}

/* Opening blocks: the origin is on loopback, and connections are opened while warming up only. */
static struct connection *upstream_open(struct relay *relay)
{
    struct sockaddr_in address = loopback(relay->upstream_port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    struct connection *upstream = NULL;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        upstream = connection_add(relay, fd, SIDE_UPSTREAM);
    if (upstream == NULL)
        close(fd);
    return upstream;
}

static bool upstream_take(struct relay *relay, struct connection *client)
{
    struct connection *upstream = relay->idle;
    if (upstream != NULL)
        relay->idle = upstream->next;
    else
        upstream = upstream_open(relay);
    if (upstream == NULL)
        return false;
    upstream->next = NULL;
    upstream->phase = PHASE_HEAD;
    upstream->peer = client;
    client->peer = upstream;
    return true;
}

static void upstream_return(struct relay *relay, struct connection *upstream)
{
    upstream->peer->peer = NULL;
    upstream->peer = NULL;
    upstream->next = relay->idle;
    relay->idle = upstream;
}

/* The length of the message whose head lies at `bytes`, head and body; 0 if the head is not
 * complete yet. Sets `has_length` if a Content-Length was there. */
static uint64_t message_length(const char *bytes, size_t length, bool *has_length)
{
    static const char name[] = "content-length:";
    const size_t name_length = sizeof name - 1;
    *has_length = false;
    const char *head_end = memmem(bytes, length, "\r\n\r\n", 4);
    if (head_end == NULL)
        return 0;
    uint64_t body = 0;
    const char *line = bytes;
    while (line < head_end) {
        if ((line[0] | 0x20) == 'c' && strncasecmp(line, name, name_length) == 0) {
            body = strtoull(line + name_length, NULL, 10);
            *has_length = true;
        }
        /* "\r\n\r\n" follows, so a line's end is always found. */
        line = (const char *)memchr(line, '\n', (size_t)(head_end + 2 - line)) + 1;
    }
    return (uint64_t)(head_end + 4 - bytes) + body;
}

enum progress { PROGRESS_ON, PROGRESS_WAIT, PROGRESS_FAILED };

static enum progress receive(struct connection *from)
{
    if (from->start == from->end)
        from->start = from->end = 0;
    if (from->end == BUFFER_BYTES)
        return PROGRESS_FAILED;
    if (!from->readable)
        return PROGRESS_WAIT;
    size_t room = BUFFER_BYTES - from->end;
    ssize_t received = recv(from->fd, from->bytes + from->end, room, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        from->readable = false;
        return PROGRESS_WAIT;
    }
    if (received <= 0)
        return PROGRESS_FAILED;
    /* A short read has emptied the socket, unless an end was reported with the bytes: that edge has
     * been used up. */
    from->readable = (size_t)received == room || from->ended;
    from->end += (size_t)received;
    return PROGRESS_ON;
}

static enum progress begin_message(struct relay *relay, struct connection *from)
{
    bool has_length;
    uint64_t length =
        message_length(from->bytes + from->start, from->end - from->start, &has_length);
    if (length == 0)
        return receive(from);
    if (from->side == SIDE_UPSTREAM && !has_length)
        return PROGRESS_FAILED;
    if (from->side == SIDE_CLIENT && !upstream_take(relay, from))
        return PROGRESS_FAILED;
    from->message_left = length;
    from->phase = PHASE_BODY;
    return PROGRESS_ON;
}

static enum progress send_on(struct connection *from)
{
    if (from->start == from->end)
        return receive(from);
    if (!from->peer->writable)
        return PROGRESS_WAIT;
    size_t length = from->end - from->start;
    if (length > from->message_left)
        length = (size_t)from->message_left;
    ssize_t sent =
        send(from->peer->fd, from->bytes + from->start, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return PROGRESS_FAILED;
    if (sent < (ssize_t)length)
        from->peer->writable = false;
    if (sent > 0) {
        from->start += (size_t)sent;
        from->message_left -= (uint64_t)sent;
    }
    if (from->message_left == 0)
        from->phase = PHASE_DONE;
    return PROGRESS_ON;
}

/* Moves what `from` has for its peer until one of the two sockets has to be waited for. */
static void pump(struct relay *relay, struct connection *from)
{
    enum progress progress = PROGRESS_ON;
    while (progress == PROGRESS_ON && from->phase != PHASE_DONE) {
        progress = from->phase == PHASE_HEAD ? begin_message(relay, from) : send_on(from);
    }
    if (progress == PROGRESS_FAILED) {
        connection_close(relay, from);
        return;
    }
    if (from->side == SIDE_UPSTREAM && from->phase == PHASE_DONE) {
        struct connection *client = from->peer;
        /* An answer that ends before its request did, or bytes after its end: neither connection
         * can be kept. */
        if (client->phase != PHASE_DONE || from->start != from->end) {
            connection_close(relay, from);
            return;
        }
        upstream_return(relay, from);
        client->phase = PHASE_HEAD;
        if (client->start != client->end || client->readable)
            pump(relay, client);
    }
}

static void connection_event(struct relay *relay, struct connection *connection, uint32_t events)
{
    if (connection->closed)
        return;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        connection->readable = true;
    if (events & EPOLLRDHUP)
        connection->ended = true;
    if (events & EPOLLOUT)
        connection->writable = true;
    bool has_gone = (events & (EPOLLHUP | EPOLLERR)) != 0;
    bool is_idle_upstream = connection->side == SIDE_UPSTREAM && connection->peer == NULL;
    if (has_gone || (is_idle_upstream && (events & (EPOLLIN | EPOLLRDHUP)))) {
        connection_close(relay, connection);
        return;
    }
    if (is_idle_upstream)
        return;
    /* A client that closes while its answer is on the way wants nothing more; the answer's send
     * says so. */
    struct connection *waiting = (events & EPOLLOUT) ? connection->peer : NULL;
    pump(relay, connection);
    if (waiting != NULL && waiting->peer == connection && waiting->start != waiting->end)
        pump(relay, waiting);
}

static void accept_clients(struct relay *relay)
{
    for (;;) {
        int fd = accept4(relay->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (connection_add(relay, fd, SIDE_CLIENT) == NULL)
            close(fd);
    }
}

static void relay_open(struct relay *relay, uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int on = 1;
    relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    relay->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (relay->epoll_fd < 0 || relay->listen_fd < 0)
        die("no socket or epoll: %s", strerror(errno));
    setsockopt(relay->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(relay->listen_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(relay->listen_fd, LISTEN_BACKLOG) != 0)
        die("cannot listen on 127.0.0.1:%u: %s; choose another port", port, strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, relay->listen_fd, &event) != 0)
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
    if (argument_count != 3)
        die("usage: floor PORT UPSTREAM_PORT (both on 127.0.0.1)");
    struct relay relay = {.upstream_port = port_argument(arguments[2])};
    relay_open(&relay, port_argument(arguments[1]));
    for (;;) {
        struct epoll_event events[EVENTS_AT_ONCE];
        int count = epoll_wait(relay.epoll_fd, events, EVENTS_AT_ONCE, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                accept_clients(&relay);
            else
                connection_event(&relay, events[i].data.ptr, events[i].events);
        }
        free_closed(&relay);
    }
}
