/* SPDX-License-Identifier: MIT */
/* Listening and accepting. Level-triggered; a turn accepts a bounded number. Worker's thread, but
 * for opening. */
#include "proxy/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/client.h"
#include "proxy/worker.h"

enum { ACCEPTS_A_TURN = 64, BACKLOG = 4096 };

static const uint64_t TELL_AGAIN_NS = 60 * NS_PER_SECOND;

static void describe(struct listen_address *address)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (address->is_unix) {
        const struct sockaddr_un *local =
            (const struct sockaddr_un *)(const void *)&address->address;
        snprintf(address->text, sizeof address->text, "unix:%s", local->sun_path);
    } else if (address->address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 =
            (const struct sockaddr_in6 *)(const void *)&address->address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(address->text, sizeof address->text, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address->address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(address->text, sizeof address->text, "%s:%u", host, ntohs(v4->sin_port));
    }
}

static bool parse_unix(const char *path, struct listen_address *address, struct error *error)
{
    struct sockaddr_un *local = (struct sockaddr_un *)(void *)&address->address;
    if (!*path || strlen(path) >= sizeof local->sun_path)
        return error_set(error, ERROR_USAGE, "listen: unix:%s: a socket path has 1 to %zu bytes",
                         path, sizeof local->sun_path - 1);
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, path, strlen(path) + 1);
    address->length = sizeof *local;
    address->is_unix = true;
    return true;
}

bool listen_address_parse(const char *text, struct listen_address *address, struct error *error)
{
    memset(address, 0, sizeof *address);
    struct slice whole = slice_from_string(text);
    if (slice_has_prefix(whole, SLICE("unix:"))) {
        if (!parse_unix(text + 5, address, error))
            return false;
        describe(address);
        return true;
    }
    const char *colon = strrchr(text, ':');
    uint64_t port;
    /* getaddrinfo would take any number, cut to 16 bits. */
    if (!colon || !slice_to_uint64(slice_from_string(colon + 1), &port) || port > UINT16_MAX)
        return error_set(error, ERROR_USAGE,
                         "listen: \"%s\" is not an address: write HOST:PORT, :PORT or unix:/PATH",
                         text);
    struct slice host = slice_make(text, (size_t)(colon - text));
    if (host.length >= 2 && host.data[0] == '[' && host.data[host.length - 1] == ']')
        host = slice_make(host.data + 1, host.length - 2);
    char name[256];
    slice_copy(host, name, sizeof name);
    struct addrinfo hints = {.ai_family = host.length ? AF_UNSPEC : AF_INET6,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int result = getaddrinfo(host.length ? name : "::", colon + 1, &hints, &found);
    if (result != 0)
        return error_set(error, ERROR_USAGE,
                         "listen: \"%s\": %s: write HOST:PORT, :PORT or unix:/PATH", text,
                         gai_strerror(result));
    memcpy(&address->address, found->ai_addr, found->ai_addrlen);
    address->length = found->ai_addrlen;
    freeaddrinfo(found);
    describe(address);
    return true;
}

static bool in_use(const struct listen_address *address, int number, struct error *error)
{
    if (number == EADDRINUSE)
        return error_set(
            error, ERROR_ADDRESS,
            "cannot listen on %s: the address is in use: stop the program that has it, or choose "
            "another with --listen",
            address->text);
    return error_set_errno(error, ERROR_ADDRESS, number, "cannot listen on %s (see --listen)",
                           address->text);
}

static int open_socket(const struct listen_address *address)
{
    int fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, off = 0;
    if (fd < 0 || address->is_unix)
        return fd;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    if (address->address.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    return fd;
}

/* A socket file that nobody answers on was left by a process that died. */
static bool clear_stale_file(const struct listen_address *address, struct error *error)
{
    const struct sockaddr_un *local = (const struct sockaddr_un *)(const void *)&address->address;
    struct stat status;
    if (lstat(local->sun_path, &status) != 0)
        return true;
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, ERROR_ADDRESS,
                         "cannot listen on %s: a file of that name is no socket: remove it",
                         address->text);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return in_use(address, errno, error);
    int result = connect(fd, (const struct sockaddr *)&address->address, address->length);
    int number = errno;
    close(fd);
    if (result == 0 || number != ECONNREFUSED)
        return in_use(address, EADDRINUSE, error);
    unlink(local->sun_path);
    return true;
}

bool listen_address_probe(struct listen_address *address, struct error *error)
{
    if (address->is_unix)
        return clear_stale_file(address, error);
    int fd = open_socket(address);
    if (fd < 0)
        return in_use(address, errno, error);
    bool done = bind(fd, (struct sockaddr *)&address->address, address->length) == 0 &&
                listen(fd, 1) == 0 &&
                getsockname(fd, (struct sockaddr *)&address->address, &address->length) == 0;
    int number = errno;
    close(fd);
    if (!done)
        return in_use(address, number, error);
    describe(address);
    return true;
}

static void pause_accepting(struct listener *listener)
{
    listener->is_paused = true;
    /* Taken out, not modified: EPOLL_CTL_MOD refuses a descriptor with EPOLLEXCLUSIVE. */
    epoll_ctl(listener->worker->epoll, EPOLL_CTL_DEL, listener->fd, NULL);
}

static uint32_t listener_events(const struct listener *listener)
{
    return EPOLLIN | (listener->is_unix ? EPOLLEXCLUSIVE : 0);
}

static void go_on(struct listener *listener)
{
    if (!listener->is_paused || listener->is_closed)
        return;
    listener->is_paused = false;
    if (!worker_watch(listener->worker, listener->fd, listener_events(listener), &listener->source))
        timer_start(&listener->worker->timers, &listener->timer, TIMER_BACKOFF,
                    listener->worker->now_ns);
}

static void backoff_over(struct timer *timer)
{
    go_on(LIST_ENTRY(timer, struct listener, timer));
}

void listener_room(struct listener *listener)
{
    if (!timer_is_running(&listener->timer))
        go_on(listener);
}

static uint64_t most_clients(const struct worker *worker)
{
    uint64_t share = worker->config->max_connections / worker->config->workers;
    return share > 0 ? share : 1;
}

/* Once an interval: it lasts, and each back-off would tell it. */
static void tell_shortage(struct listener *listener, int number)
{
    uint64_t now_ns = listener->worker->now_ns;
    if (listener->told_ns != 0 && now_ns - listener->told_ns < TELL_AGAIN_NS)
        return;
    listener->told_ns = now_ns;
    LOG(LOG_WARNING, "accept",
        "no descriptors left for new connections: raise the limit (ulimit -n) or lower "
        "limits.max_connections",
        log_text("reason", strerror(number)));
}

static void accept_clients(struct source *source, uint32_t events)
{
    (void)events;
    struct listener *listener = LIST_ENTRY(source, struct listener, source);
    struct worker *worker = listener->worker;
    for (int i = 0; i < ACCEPTS_A_TURN && !listener->is_closed; i++) {
        if (worker->counters.open_connections >= most_clients(worker)) {
            pause_accepting(listener);
            return;
        }
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        int fd =
            accept4(listener->fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            client_open(worker, fd, &peer, listener->is_unix);
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            tell_shortage(listener, errno);
            pause_accepting(listener);
            timer_start(&worker->timers, &listener->timer, TIMER_BACKOFF, worker->now_ns);
            return;
        }
        /* Any other error belongs to the one connection that failed (accept(2)). */
    }
}

bool listener_construct(struct listener *listener, struct worker *worker,
                        const struct listen_address *address, int share, struct error *error)
{
    *listener = (struct listener){.worker = worker, .fd = -1, .is_unix = address->is_unix};
    source_construct(&listener->source, accept_clients);
    timer_construct(&listener->timer, backoff_over);
    if (share >= 0) {
        /* Its own, so that no worker closes a number that another still waits on. */
        listener->fd = fcntl(share, F_DUPFD_CLOEXEC, 0);
        if (listener->fd < 0)
            return in_use(address, errno, error);
    } else {
        int on = 1;
        listener->fd = open_socket(address);
        if (listener->fd < 0)
            return in_use(address, errno, error);
        if (!address->is_unix)
            setsockopt(listener->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
        if (bind(listener->fd, (const struct sockaddr *)&address->address, address->length) != 0 ||
            listen(listener->fd, BACKLOG) != 0)
            return in_use(address, errno, error);
    }
    if (!worker_watch(worker, listener->fd, listener_events(listener), &listener->source))
        return in_use(address, errno, error);
    return true;
}

void listener_close(struct listener *listener)
{
    if (listener->is_closed || listener->fd < 0)
        return;
    listener->is_closed = true;
    timer_stop(&listener->timer);
    epoll_ctl(listener->worker->epoll, EPOLL_CTL_DEL, listener->fd, NULL);
    close(listener->fd);
    listener->fd = -1;
}
