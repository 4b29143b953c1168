/* SPDX-License-Identifier: MIT */
/* Opening upstream connections. Worker's thread only; each connection's easy handle lives until it
 * is open. */
#include "proxy/dialer.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

struct dial {
    struct list link;
    CURL *easy;
    int taken_fd; /* the socket that is ours from now on, or -1 */
};

bool upstream_address_parse(const char *text, struct upstream_address *address, struct error *error)
{
    memset(address, 0, sizeof *address);
    struct slice rest = slice_from_string(text);
    if (slice_has_prefix(rest, SLICE("unix:"))) {
        struct slice path = slice_make(rest.data + 5, rest.length - 5);
        if (path.length == 0 || path.length >= sizeof address->path)
            return error_set(error, ERROR_USAGE,
                             "upstream: \"%s\": a socket path has 1 to %zu bytes", text,
                             sizeof address->path - 1);
        address->is_unix = true;
        slice_copy(path, address->path, sizeof address->path);
        slice_copy(SLICE("http://localhost/"), address->url, sizeof address->url);
        return true;
    }
    if (slice_has_prefix_ignore_case(rest, SLICE("https://")))
        return error_set(error, ERROR_USAGE,
                         "upstream: \"%s\": TLS towards the application is not supported yet: "
                         "write http://HOST:PORT",
                         text);
    if (!slice_has_prefix_ignore_case(rest, SLICE("http://")) ||
        rest.length >= sizeof address->url - 1)
        return error_set(error, ERROR_USAGE,
                         "upstream: \"%s\" is not an address: write http://HOST:PORT or unix:/PATH",
                         text);
    CURLU *url = curl_url();
    char *path = NULL, *user = NULL, *query = NULL, *fragment = NULL, *clean = NULL;
    bool good = url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
                strcmp(path, "/") == 0 &&
                curl_url_get(url, CURLUPART_USER, &user, 0) != CURLUE_OK &&
                curl_url_get(url, CURLUPART_QUERY, &query, 0) != CURLUE_OK &&
                curl_url_get(url, CURLUPART_FRAGMENT, &fragment, 0) != CURLUE_OK &&
                curl_url_get(url, CURLUPART_URL, &clean, 0) == CURLUE_OK &&
                strlen(clean) < sizeof address->url;
    if (good)
        slice_copy(slice_from_string(clean), address->url, sizeof address->url);
    curl_free(path);
    curl_free(user);
    curl_free(query);
    curl_free(fragment);
    curl_free(clean);
    curl_url_cleanup(url);
    if (!good)
        error_set(error, ERROR_USAGE,
                  "upstream: \"%s\" is not an address of a server: write http://HOST:PORT without "
                  "path, or unix:/PATH",
                  text);
    return good;
}

/* libcurl would let children inherit it. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)context;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* libcurl closes what it opened, but for the socket that was taken over. */
static int close_socket(void *context, curl_socket_t fd)
{
    struct dial *dial = context;
    if (fd == dial->taken_fd)
        return 0;
    return close(fd);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *registered)
{
    (void)easy;
    struct dialer *dialer = context;
    struct epoll_event event = {.data.fd = fd};
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(dialer->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        event.events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        event.events |= EPOLLOUT;
    if (epoll_ctl(dialer->epoll, registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0 &&
        errno == ENOENT)
        epoll_ctl(dialer->epoll, EPOLL_CTL_ADD, fd, &event);
    curl_multi_assign(dialer->multi, fd, dialer);
    return 0;
}

static int set_timeout(CURLM *multi, long timeout_ms, void *context)
{
    (void)multi;
    struct dialer *dialer = context;
    if (timeout_ms < 0)
        dialer->due_ns = UINT64_MAX;
    else if (timeout_ms == 0) /* in this turn, whose time was read a little earlier */
        dialer->due_ns = 0;
    else
        dialer->due_ns = clock_monotonic_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    return 0;
}

static void dial_end(struct dialer *dialer, struct dial *dial, CURLcode result)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    long number = 0;
    if (result == CURLE_OK &&
        curl_easy_getinfo(dial->easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK &&
        fd != CURL_SOCKET_BAD)
        dial->taken_fd = fd;
    curl_easy_getinfo(dial->easy, CURLINFO_OS_ERRNO, &number);
    epoll_ctl(dialer->epoll, EPOLL_CTL_DEL, dial->taken_fd, NULL);
    curl_multi_remove_handle(dialer->multi, dial->easy);
    curl_easy_cleanup(dial->easy);
    list_remove(&dial->link);
    dialer->dial_count--;
    int taken = dial->taken_fd;
    free(dial);
    if (taken >= 0)
        upstream_opened(dialer->upstream, taken);
    else
        upstream_refused(dialer->upstream, result, (int)number);
}

static void collect(struct dialer *dialer)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(dialer->multi, &left)) != NULL) {
        struct dial *dial = NULL;
        CURLcode result = message->data.result;
        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&dial) == CURLE_OK)
            dial_end(dialer, dial, result);
    }
}

static void sockets_ready(struct source *source, uint32_t events)
{
    (void)events;
    struct dialer *dialer = LIST_ENTRY(source, struct dialer, source);
    struct epoll_event ready[32];
    int count = epoll_wait(dialer->epoll, ready, sizeof ready / sizeof *ready, 0), running;
    for (int i = 0; i < count; i++) {
        int mask = (ready[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                   (ready[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (ready[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(dialer->multi, ready[i].data.fd, mask, &running);
    }
    collect(dialer);
}

void dialer_run(struct dialer *dialer, uint64_t now_ns)
{
    /* Twice at most: what libcurl asks for at once, it gets in this turn. */
    for (int i = 0; i < 2 && dialer->due_ns <= now_ns; i++) {
        int running;
        dialer->due_ns = UINT64_MAX;
        curl_multi_socket_action(dialer->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        collect(dialer);
    }
}

uint64_t dialer_due(const struct dialer *dialer, uint64_t now_ns)
{
    if (dialer->due_ns == UINT64_MAX)
        return UINT64_MAX;
    return dialer->due_ns > now_ns ? dialer->due_ns - now_ns : 0;
}

bool dialer_dial(struct dialer *dialer, const struct upstream_address *address, uint64_t timeout_ms)
{
    struct dial *dial = calloc(1, sizeof *dial);
    CURL *easy = dial ? curl_easy_init() : NULL;
    if (!easy) {
        free(dial);
        return false;
    }
    dial->easy = easy;
    dial->taken_fd = -1;
    bool set =
        curl_easy_setopt(easy, CURLOPT_URL, address->url) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, dial) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_PRIVATE, dial) == CURLE_OK;
    if (set && address->is_unix)
        set = curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, address->path) == CURLE_OK;
    if (!set || curl_multi_add_handle(dialer->multi, easy) != CURLM_OK) {
        curl_easy_cleanup(easy);
        free(dial);
        return false;
    }
    list_append(&dialer->dials, &dial->link);
    dialer->dial_count++;
    return true;
}

bool dialer_construct(struct dialer *dialer, struct worker *worker, struct upstream *upstream,
                      struct error *error)
{
    *dialer =
        (struct dialer){.worker = worker, .upstream = upstream, .epoll = -1, .due_ns = UINT64_MAX};
    list_construct(&dialer->dials);
    source_construct(&dialer->source, sockets_ready);
    dialer->epoll = epoll_create1(EPOLL_CLOEXEC);
    dialer->multi = curl_multi_init();
    if (dialer->epoll < 0 || !dialer->multi)
        return error_set_errno(error, ERROR_IO, errno, "cannot prepare for upstream connections");
    curl_multi_setopt(dialer->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(dialer->multi, CURLMOPT_SOCKETDATA, dialer);
    curl_multi_setopt(dialer->multi, CURLMOPT_TIMERFUNCTION, set_timeout);
    curl_multi_setopt(dialer->multi, CURLMOPT_TIMERDATA, dialer);
    if (!worker_watch(worker, dialer->epoll, EPOLLIN, &dialer->source))
        return error_set_errno(error, ERROR_IO, errno, "cannot prepare for upstream connections");
    return true;
}

void dialer_destruct(struct dialer *dialer)
{
    while (dialer->multi && !list_is_empty(&dialer->dials)) {
        struct dial *dial = LIST_ENTRY(dialer->dials.next, struct dial, link);
        list_remove(&dial->link);
        curl_multi_remove_handle(dialer->multi, dial->easy);
        curl_easy_cleanup(dial->easy);
        free(dial);
    }
    curl_multi_cleanup(dialer->multi);
    if (dialer->epoll >= 0)
        close(dialer->epoll);
}
