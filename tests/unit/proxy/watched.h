/* SPDX-License-Identifier: MIT */
/* What the tests of watched answers share: a failed answer, a good one, and what the client is to
 * see of them. One test a process: `scripted` is its own. */
#pragma once

#include "scripted.h"

enum { KIB = 1024, MIB = 1024 * KIB };

extern struct scripted scripted;

/* The second attempt's answer: 200, X-App: two, "good". */
extern const struct slice good;

struct buffer failed_answer(enum framing framing, size_t length);
struct buffer request_of(const char *method, enum framing framing, size_t length);
void get(struct peer *client);
/* The client reads what the application sent: byte for byte, but for close-delimited framing, which
 * becomes chunks. */
void expect_first(struct peer *client, const struct buffer *answer, enum framing framing);
void expect_second(struct peer *client);
struct peer *next_request(void);
void end_if_close(struct peer *application, enum framing framing);
/* The connection goes on as if nothing had been. */
void expect_usable(struct peer *client);
