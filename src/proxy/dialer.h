/* SPDX-License-Identifier: MIT */
/* Opens upstream connections through libcurl (names, IPv4/IPv6 racing, unix sockets):
 * CURLOPT_CONNECT_ONLY in a multi handle; the descriptor is taken over and the handle freed.
 * libcurl's own descriptors live in an epoll of their own, nested in the worker's, so that they
 * never mix with ours. One a worker. */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/list.h"
#include "proxy/source.h"
#include "proxy/timers.h"

struct worker;
struct upstream;

/* Where to: of one configured URL. */
struct upstream_address {
    bool is_unix;
    char url[512];  /* what libcurl is given */
    char path[108]; /* of the unix socket */
};

/* Parses http://host[:port] and unix:/path. */
[[gnu::warn_unused_result]] bool
upstream_address_parse(const char *text, struct upstream_address *address, struct error *error);

struct dialer {
    struct source source; /* of the nested epoll */
    struct worker *worker;
    struct upstream *upstream;
    CURLM *multi;
    int epoll;
    struct list dials;
    unsigned dial_count;
    uint64_t due_ns; /* when libcurl wants to be called; 0: now; UINT64_MAX: never */
};

[[gnu::warn_unused_result]] bool dialer_construct(struct dialer *dialer, struct worker *worker,
                                                  struct upstream *upstream, struct error *error);
void dialer_destruct(struct dialer *dialer);

/* Begins to open one connection. Its end is told by upstream_opened or upstream_refused, never from
 * within this call. False: it could not even begin. */
[[gnu::warn_unused_result]] bool
dialer_dial(struct dialer *dialer, const struct upstream_address *address, uint64_t timeout_ms);

/* Calls libcurl if its time has come; at every turn. */
void dialer_run(struct dialer *dialer, uint64_t now_ns);

/* Nanoseconds until then, UINT64_MAX if never. */
uint64_t dialer_due(const struct dialer *dialer, uint64_t now_ns);
