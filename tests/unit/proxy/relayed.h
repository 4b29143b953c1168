/* SPDX-License-Identifier: MIT */
/* What the tests of plain exchanges share: a short request, a short answer, and a connection that
 * goes on. One test a process: `scripted` is its own. */
#pragma once

#include "scripted.h"

enum { KIB = 1024, MIB = 1024 * KIB };

extern struct scripted scripted;

/* Construct and start as configured, with healing that says no. */
void begin(enum scripted_sockets sockets);
void get(struct peer *client);
struct peer *next_request(void);
/* 200, "ok". */
void answer_ok(struct peer *application);
/* The client's connection serves another request. */
void expect_usable(struct peer *client);
