/* SPDX-License-Identifier: MIT */
/* Where the operators' server listens, and under which names it may be addressed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum { ADMIN_HOST_SIZE = 256 };

struct admin_address {
    char host[ADMIN_HOST_SIZE]; /* as configured, without brackets; "" for every address */
    char unix_path[128];        /* or "" */
    uint16_t port;              /* as the kernel gave it */
};

/* Binds and listens; the descriptor is the caller's, -1 on failure. A unix socket that nobody
 * listens on any more is replaced. */
[[gnu::warn_unused_result]] int admin_address_listen(struct admin_address *address,
                                                     const char *text, struct error *error);

/* Removes the unix socket's file. */
void admin_address_leave(const struct admin_address *address);

/* Whether a Host field may stand on a connection that arrived at `connection_fd`. A page in an
 * operator's browser can point a name of its own at this server (DNS rebinding), but cannot make
 * the browser send another name than that: so only addresses of this machine, localhost, its host
 * name and the configured name are taken. Ports are not compared: tunnels and containers map them,
 * and they prove nothing. */
bool admin_address_allows_host(const struct admin_address *address, int connection_fd,
                               struct slice host);
