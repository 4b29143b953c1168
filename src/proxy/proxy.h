/* SPDX-License-Identifier: MIT */
/* The data plane as the rest of the program sees it: workers that are started, told things, counted
 * and stopped. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"
#include "recover/healing.h"

struct proxy;

/* Opens the listeners and makes the workers; no thread runs yet, so that everything that can be
 * wrong is told before a request is taken. `config` and `healing` (NULL: healing is off) must
 * outlive the proxy. */
[[gnu::warn_unused_result]] struct proxy *
proxy_new(const struct config *config, const struct healing *healing, struct error *error);

/* Starts the threads. */
[[gnu::warn_unused_result]] bool proxy_start(struct proxy *proxy, struct error *error);

/* The address that is listened on, with the port that the kernel gave. */
const char *proxy_address(const struct proxy *proxy);

/* Any thread. A verdict for a ticket; false when the worker's queue is full. */
bool proxy_deliver(struct proxy *proxy, const struct verdict *verdict);

/* Any thread. The schema generation from now on, and whether something is pending or a migration
 * runs. */
void proxy_announce(struct proxy *proxy, uint64_t generation, bool recording);

/* One counter, summed over the workers. Any thread. */
struct proxy_metric {
    const char *name;
    const char *type;
    const char *help;
    uint64_t value;
};

/* Fills up to `most` and returns how many. */
size_t proxy_metrics(const struct proxy *proxy, struct proxy_metric *out, size_t most);

/* Stops accepting, lets what is under way end within limits.drain_timeout, and joins the threads.
 */
void proxy_stop(struct proxy *proxy);
void proxy_free(struct proxy *proxy);
