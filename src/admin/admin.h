/* SPDX-License-Identifier: MIT */
/* The operators' server, on libmicrohttpd: health, metrics, API and a page to look at. It only
 * reads (GET and HEAD); nothing here changes state, and nothing here is reachable through the
 * proxy's port (P10). It runs on threads of its own, which inherit the caller's signal mask: block
 * signals first. What it reports of migrations is read from the database and the files each time
 * (P12). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct admin;

/* One sample of /metrics. Samples of one name follow each other; the first one's help and type are
 * told. */
struct admin_metric {
    const char *name;   /* "automigrate_requests_total" */
    const char *help;   /* one sentence */
    const char *type;   /* "counter" or "gauge" */
    const char *labels; /* as they stand between the braces, values escaped; NULL: none */
    double value;
};

/* What the server tells; strings are borrowed until admin_stop. The functions are called on the
 * server's threads, several at a time, and must not block. */
struct admin_sources {
    void *context;
    size_t (*metrics)(void *context, struct admin_metric *out, size_t most); /* how many */
    bool (*ready)(void *context, char reason[128]); /* false: reason says what is missing */
    const char *database;
    const char *migrations;
    const char *state_directory;
    const char *mode;
    const char *environment;
    const char *version;
    uint64_t rehearsal_timeout_ms;
};

enum { ADMIN_METRICS_MOST = 256 };

/* `address`: host:port, [v6]:port, :port or unix:/path (mode 0600), not "off". ERROR_ADDRESS names
 * the address and the way out. */
[[gnu::warn_unused_result]] struct admin *
admin_start(const char *address, const struct admin_sources *sources, struct error *error);

/* The port that it listens on, as the kernel gave it for port 0; 0 for a unix socket. */
uint16_t admin_port(const struct admin *admin);

/* Waits for answers that are being made. NULL is fine. */
void admin_stop(struct admin *admin);
