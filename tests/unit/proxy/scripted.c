/* SPDX-License-Identifier: MIT */
/* The data plane with a scripted table of healing functions; its counts are shared under one lock.
 */
#include "scripted.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static bool is_worth_holding(void *context, uint64_t generation)
{
    struct scripted *scripted = context;
    pthread_mutex_lock(&scripted->lock);
    bool answer = scripted->is_worth_holding;
    scripted->asked++;
    scripted->asked_generation = generation;
    pthread_cond_broadcast(&scripted->changed);
    pthread_mutex_unlock(&scripted->lock);
    return answer;
}

static struct slice remember(struct buffer *buffer, struct slice text)
{
    buffer_clear(buffer);
    buffer_append_slice(buffer, text);
    return buffer_slice(buffer);
}

static enum healing_answer submit(void *context, const struct failure *failure,
                                  struct ticket ticket)
{
    struct scripted *scripted = context;
    pthread_mutex_lock(&scripted->lock);
    enum healing_answer answer = scripted->answer;
    scripted->submitted++;
    scripted->ticket = ticket;
    scripted->failure = *failure;
    scripted->failure.method_text = remember(&scripted->method, failure->method_text);
    scripted->failure.target = remember(&scripted->target, failure->target);
    scripted->failure.body = remember(&scripted->body, failure->body);
    pthread_cond_broadcast(&scripted->changed);
    pthread_mutex_unlock(&scripted->lock);
    return answer;
}

static void take_back(void *context, struct ticket ticket)
{
    struct scripted *scripted = context;
    pthread_mutex_lock(&scripted->lock);
    scripted->taken_back++;
    scripted->taken = ticket;
    pthread_cond_broadcast(&scripted->changed);
    pthread_mutex_unlock(&scripted->lock);
}

static void tell_outcome(void *context, enum healing_outcome outcome, struct slice method,
                         struct slice target, unsigned status, uint64_t waited_ns)
{
    struct scripted *scripted = context;
    (void)status;
    (void)waited_ns;
    pthread_mutex_lock(&scripted->lock);
    scripted->told++;
    scripted->outcome = outcome;
    remember(&scripted->outcome_method, method);
    remember(&scripted->outcome_target, target);
    pthread_cond_broadcast(&scripted->changed);
    pthread_mutex_unlock(&scripted->lock);
}

static void listen_for_proxy(struct scripted *scripted, enum scripted_sockets sockets)
{
    int fd = socket(sockets == OVER_UNIX ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    if (sockets == OVER_UNIX) {
        struct sockaddr_un local = {.sun_family = AF_UNIX};
        snprintf(local.sun_path, sizeof local.sun_path, "%s/app.sock", scripted->directory);
        snprintf(scripted->upstream, sizeof scripted->upstream, "unix:%s", local.sun_path);
        snprintf(scripted->listen, sizeof scripted->listen, "unix:%s/front.sock",
                 scripted->directory);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&local, sizeof local), 0);
    } else {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof v4;
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&v4, sizeof v4), 0);
        ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&v4, &length), 0);
        snprintf(scripted->upstream, sizeof scripted->upstream, "http://127.0.0.1:%u",
                 ntohs(v4.sin_port));
        snprintf(scripted->listen, sizeof scripted->listen, "127.0.0.1:0");
    }
    ck_assert_int_eq(listen(fd, 128), 0);
    scripted->listener = fd;
}

void scripted_construct(struct scripted *scripted, enum scripted_sockets sockets)
{
    enum { LONG_MS = 60000, KIB = 1024, MIB = 1024 * KIB };
    memset(scripted, 0, sizeof *scripted);
    snprintf(scripted->directory, sizeof scripted->directory, "/tmp/automigrate-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(scripted->directory));
    listen_for_proxy(scripted, sockets);
    scripted->config = (struct config){
        .listen = scripted->listen,
        .upstream = scripted->upstream,
        .workers = 1,
        .upstream_max_connections = 64,
        .upstream_connect_timeout_ms = LONG_MS,
        .upstream_response_timeout_ms = LONG_MS,
        .upstream_idle_timeout_ms = LONG_MS,
        .upstream_queue_timeout_ms = LONG_MS,
        .upstream_queue_length = 1000,
        .client_header_timeout_ms = LONG_MS,
        .client_body_timeout_ms = LONG_MS,
        .client_send_timeout_ms = LONG_MS,
        .client_idle_timeout_ms = LONG_MS,
        .max_connections = 1000,
        .drain_timeout_ms = LONG_MS,
        .request_buffering_bytes = 64 * KIB,
        .detect_status_first = 500,
        .detect_status_last = 599,
        .hold_bytes = 64 * KIB,
        .hold_timeout_ms = LONG_MS,
        .recover_wait_ms = LONG_MS,
        .retry_max_body_bytes = 64 * MIB,
        .retry_memory_bytes = MIB,
        .retry_budget_bytes = 1024u * MIB,
        .retry_memory_total_bytes = 256u * MIB,
        .expose = true,
    };
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&scripted->lock, NULL);
    pthread_cond_init(&scripted->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    scripted->healing =
        (struct healing){scripted, is_worth_holding, submit, take_back, tell_outcome};
}

void scripted_start(struct scripted *scripted)
{
    struct error error = {0};
    scripted->proxy = proxy_new(&scripted->config, &scripted->healing, &error);
    ck_assert_msg(scripted->proxy != NULL, "%s", error.message);
    ck_assert_msg(proxy_start(scripted->proxy, &error), "%s", error.message);
}

void scripted_begin(struct scripted *scripted, enum scripted_sockets sockets)
{
    scripted_construct(scripted, sockets);
    scripted->is_worth_holding = true;
    scripted->answer = HEALING_WAIT;
    scripted_start(scripted);
    scripted_announce(scripted, 1, true);
}

void scripted_stop_listening(struct scripted *scripted)
{
    if (scripted->listener >= 0)
        close(scripted->listener);
    scripted->listener = -1;
}

void scripted_destruct(struct scripted *scripted)
{
    char path[128];
    for (unsigned i = 0; i < scripted->peer_count; i++) {
        peer_close(scripted->peers[i]);
        free(scripted->peers[i]);
    }
    scripted_stop_listening(scripted);
    if (scripted->proxy)
        proxy_stop(scripted->proxy);
    proxy_free(scripted->proxy);
    snprintf(path, sizeof path, "%s/app.sock", scripted->directory);
    unlink(path);
    ck_assert_msg(rmdir(scripted->directory) == 0, "%s: %s", scripted->directory, strerror(errno));
    pthread_mutex_destroy(&scripted->lock);
    pthread_cond_destroy(&scripted->changed);
    buffer_free(&scripted->method);
    buffer_free(&scripted->target);
    buffer_free(&scripted->body);
    buffer_free(&scripted->outcome_method);
    buffer_free(&scripted->outcome_target);
}

struct peer scripted_client(struct scripted *scripted)
{
    return peer_connect(proxy_address(scripted->proxy));
}

static struct peer *accept_one(struct scripted *scripted)
{
    int fd = accept4(scripted->listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_uint_lt(scripted->peer_count, SCRIPTED_PEERS);
    struct peer *peer = malloc(sizeof *peer);
    ck_assert_ptr_nonnull(peer);
    *peer = peer_make(fd);
    scripted->peers[scripted->peer_count++] = peer;
    return peer;
}

struct peer *scripted_accept(struct scripted *scripted)
{
    struct pollfd waiting = {.fd = scripted->listener, .events = POLLIN};
    ck_assert_msg(poll(&waiting, 1, PEER_WAIT_MS) == 1, "the proxy did not connect");
    return accept_one(scripted);
}

bool scripted_nobody_connects(struct scripted *scripted)
{
    struct pollfd waiting = {.fd = scripted->listener, .events = POLLIN};
    return poll(&waiting, 1, 0) == 0;
}

/* Waits for a connection with bytes on it; an end on one is passed over. NULL: none in time. */
static struct peer *wait_for_bytes(struct scripted *scripted, int ms)
{
    for (;;) {
        struct pollfd waiting[SCRIPTED_PEERS + 1] = {{scripted->listener, POLLIN, 0}};
        unsigned count = scripted->peer_count;
        for (unsigned i = 0; i < count; i++) {
            if (scripted->peers[i]->input.length > 0)
                return scripted->peers[i];
            waiting[i + 1] = (struct pollfd){scripted->peers[i]->fd, POLLIN, 0};
        }
        if (poll(waiting, count + 1, ms) <= 0)
            return NULL;
        if (waiting[0].revents)
            accept_one(scripted);
        for (unsigned i = 0; i < count; i++) {
            if (waiting[i + 1].revents && peer_receive(scripted->peers[i]) != PEER_BYTES)
                peer_close(scripted->peers[i]);
        }
    }
}

struct peer *scripted_arrival(struct scripted *scripted)
{
    struct peer *peer = wait_for_bytes(scripted, PEER_WAIT_MS);
    ck_assert_msg(peer != NULL, "no request came");
    return peer;
}

struct peer *scripted_request_within(struct scripted *scripted, struct message *request, int ms)
{
    struct peer *peer = wait_for_bytes(scripted, ms);
    if (peer)
        peer_read(peer, REQUEST, request);
    return peer;
}

struct peer *scripted_request(struct scripted *scripted, struct message *request)
{
    struct peer *peer = scripted_request_within(scripted, request, PEER_WAIT_MS);
    ck_assert_msg(peer != NULL, "no request came");
    return peer;
}

void scripted_go_round(struct scripted *scripted)
{
    struct peer peer = scripted_client(scripted);
    struct message message;
    peer_say(&peer, "NONSENSE\r\n\r\n");
    peer_shut(&peer);
    peer_read(&peer, ANSWER, &message);
    ck_assert_uint_eq(message.status, 400);
    message_free(&message);
    peer_close(&peer);
}

void scripted_announce(struct scripted *scripted, uint64_t generation, bool recording)
{
    proxy_announce(scripted->proxy, generation, recording);
    scripted_go_round(scripted);
}

unsigned scripted_count(struct scripted *scripted, const unsigned *count)
{
    pthread_mutex_lock(&scripted->lock);
    unsigned value = *count;
    pthread_mutex_unlock(&scripted->lock);
    return value;
}

void scripted_wait(struct scripted *scripted, const unsigned *count, unsigned least)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PEER_WAIT_MS / 1000;
    int result = 0;
    pthread_mutex_lock(&scripted->lock);
    while (*count < least && result == 0)
        result = pthread_cond_timedwait(&scripted->changed, &scripted->lock, &until);
    pthread_mutex_unlock(&scripted->lock);
    ck_assert_msg(result == 0, "what was waited for did not happen");
}

void scripted_deliver(struct scripted *scripted, enum verdict_kind kind)
{
    struct verdict verdict = {scripted->ticket, kind};
    ck_assert(proxy_deliver(scripted->proxy, &verdict));
}

uint64_t scripted_metric(struct scripted *scripted, const char *name)
{
    struct proxy_metric metrics[64];
    size_t count = proxy_metrics(scripted->proxy, metrics, 64);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(metrics[i].name, name) == 0)
            return metrics[i].value;
    }
    ck_abort_msg("no metric %s", name);
    return 0;
}

void scripted_wait_metric(struct scripted *scripted, const char *name, uint64_t value)
{
    for (int i = 0; scripted_metric(scripted, name) != value; i++) {
        ck_assert_msg(i < 5000, "%s did not become %lu", name, (unsigned long)value);
        scripted_go_round(scripted);
    }
}
