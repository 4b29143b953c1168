/* SPDX-License-Identifier: MIT */
/* Where clients connect. TCP: one socket a worker with SO_REUSEPORT; unix: one shared socket with
 * EPOLLEXCLUSIVE. The address is probed first, so that an address in use is an error and never a
 * share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/error.h"
#include "proxy/source.h"
#include "proxy/timers.h"

struct worker;

enum { ADDRESS_TEXT_SIZE = 160 };

struct listen_address {
    struct sockaddr_storage address;
    socklen_t length;
    bool is_unix;
    char text[ADDRESS_TEXT_SIZE]; /* as it is printed: 127.0.0.1:8080, [::1]:8080, unix:/path */
};

/* Parses host:port, [v6]:port, :port (all IPv4 and IPv6 addresses) and unix:/path. Host names are
 * resolved once. */
[[gnu::warn_unused_result]] bool
listen_address_parse(const char *text, struct listen_address *address, struct error *error);

/* Finds out that nobody has the address, and, for port 0, which port the kernel gives; a stale unix
 * socket file that nobody listens on is removed. */
[[gnu::warn_unused_result]] bool listen_address_probe(struct listen_address *address,
                                                      struct error *error);

struct listener {
    struct source source;
    struct worker *worker;
    struct timer timer;
    int fd;
    bool is_unix;
    bool is_paused; /* too many connections, or no descriptors */
    bool is_closed;
    uint64_t told_ns; /* when it was last told that descriptors are short */
};

/* Opens the worker's own socket (share < 0), or a descriptor of its own of the shared one. */
[[gnu::warn_unused_result]] bool listener_construct(struct listener *listener,
                                                    struct worker *worker,
                                                    const struct listen_address *address, int share,
                                                    struct error *error);
void listener_close(struct listener *listener);

/* A client has gone: goes on accepting if that was the matter. */
void listener_room(struct listener *listener);
