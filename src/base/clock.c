/* SPDX-License-Identifier: MIT */
/* Time, read through the vDSO: no system call. Any thread. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#include "base/slice.h"

uint64_t clock_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

int64_t clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

char *clock_format(int64_t wall_ms, char out[CLOCK_TEXT_SIZE])
{
    int ms = (int)(wall_ms % 1000);
    time_t seconds = (time_t)(wall_ms / 1000);
    if (ms < 0) { /* before 1970 */
        ms += 1000;
        seconds--;
    }
    struct tm utc;
    char text[24];
    /* A year that has no four digits is a broken clock, which must not break more. */
    if (!gmtime_r(&seconds, &utc) || utc.tm_year + 1900 < 1000 || utc.tm_year + 1900 > 9999)
        slice_copy(SLICE("0000-01-01T00:00:00"), text, sizeof text);
    else
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out, CLOCK_TEXT_SIZE, "%s.%03dZ", text, ms);
    return out;
}
