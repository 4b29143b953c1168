/* SPDX-License-Identifier: MIT */
/* Where a message body ends (RFC 9112, 6-7). A body is fed the bytes as they arrive, in any pieces,
 * and says how many belong to it; they are passed on as they are. Chunked framing is checked
 * strictly: hexadecimal size without sign or space of at most 15 digits, CRLF only, no control
 * bytes in extensions, bounded extension and trailer sizes, and trailer lines that are well-formed
 * field lines. Pure, any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "http/head.h"

enum { HTTP_CHUNK_LINE_MAX = 1024, HTTP_TRAILERS_MAX = 8192 };

struct http_body {
    enum http_framing framing;
    bool done;          /* the end has been seen */
    uint8_t state;      /* of the chunk parser */
    uint8_t digits;     /* of the size that is being read */
    uint16_t line;      /* bytes of the chunk line so far */
    uint32_t trailers;  /* bytes of the trailer section so far */
    uint64_t remaining; /* bytes left of the body (FRAMING_LENGTH) or of the chunk */
};

/* FRAMING_NONE is done at once, and so is a length of 0. */
void http_body_construct(struct http_body *body, enum http_framing framing,
                         uint64_t content_length);

/* How many of the first bytes of `bytes` belong to the body; body->done when the last of them ends
 * it. False: malformed chunks, *refusal is filled and the message must not be trusted further.
 * FRAMING_CLOSE takes everything and is done only when the caller says so. */
[[gnu::warn_unused_result]] bool http_body_feed(struct http_body *body, struct slice bytes,
                                                size_t *taken, struct http_refusal *refusal);

/* As http_body_feed, but stops behind the next run of payload: *payload is that run (empty when
 * there was only framing). For recipients that cannot have chunks (HTTP/1.0) and for reading a
 * chunked body. Call until all is taken. */
[[gnu::warn_unused_result]] bool http_body_next(struct http_body *body, struct slice bytes,
                                                size_t *taken, struct slice *payload,
                                                struct http_refusal *refusal);
