/* SPDX-License-Identifier: MIT */
/* Time. Inside the program times are monotonic nanoseconds; only what people read is wall-clock
 * time, in UTC as RFC 3339 writes it. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { CLOCK_TEXT_SIZE = 32 };

static const uint64_t NS_PER_MS = 1000000u;
static const uint64_t NS_PER_SECOND = 1000000000u;

/* Monotonic, since an arbitrary start. */
uint64_t clock_monotonic_ns(void);

/* Wall clock: milliseconds since 1970-01-01T00:00:00Z. */
int64_t clock_wall_ms(void);

/* "2026-11-21T02:46:04.123Z" for such milliseconds; returns `out`. */
char *clock_format(int64_t wall_ms, char out[CLOCK_TEXT_SIZE]);
