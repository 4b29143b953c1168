/* SPDX-License-Identifier: MIT */
/* Body framing: lengths are counted down, chunks go through a state machine that takes framing byte
 * by byte and payload in runs (RFC 9112, 7.1). Pure, any thread; struct http_body is the caller's.
 *
 *   SIZE_FIRST ─► SIZE ─┬───────────► SIZE_LF ─┬─► DATA ─► DATA_CR ─► DATA_LF ─► SIZE_FIRST
 *                       └► EXTENSION ─┘        └► LINE_FIRST ─► NAME ─► VALUE ─► VALUE_LF ─┐
 *                                                      ▲ └► END_LF ─► done                 │
 *                                                      └───────────────────────────────────┘
 */
#include "http/body.h"

#include "http/syntax.h"

enum chunk_state {
    CHUNK_SIZE_FIRST, /* a chunk line must begin */
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_LINE_FIRST, /* a trailer line, or the empty line */
    CHUNK_NAME,
    CHUNK_VALUE,
    CHUNK_VALUE_LF,
    CHUNK_END_LF,
};

enum { CHUNK_SIZE_DIGITS_MAX = 15 };

void http_body_construct(struct http_body *body, enum http_framing framing, uint64_t content_length)
{
    *body = (struct http_body){.framing = framing, .state = CHUNK_SIZE_FIRST};
    if (framing == FRAMING_LENGTH)
        body->remaining = content_length;
    body->done = framing == FRAMING_NONE || (framing == FRAMING_LENGTH && content_length == 0);
}

static unsigned hex_value(char byte)
{
    return byte <= '9' ? (unsigned)(byte - '0') : (unsigned)((byte | 0x20) - 'a' + 10);
}

/* These take one byte of framing in their state, or say why it cannot be there. */
static const char *take_size(struct http_body *body, char byte)
{
    if (http_byte_is(byte, BYTE_HEX)) {
        if (++body->digits > CHUNK_SIZE_DIGITS_MAX)
            return "a chunk size of too many digits";
        body->remaining = body->remaining * 16 + hex_value(byte);
        return NULL;
    }
    if (byte == '\r')
        body->state = CHUNK_SIZE_LF;
    else if (byte == ';')
        body->state = CHUNK_EXTENSION;
    else
        return "a malformed chunk size";
    return NULL;
}

static const char *take_size_first(struct http_body *body, char byte)
{
    if (!http_byte_is(byte, BYTE_HEX))
        return "a malformed chunk size";
    body->state = CHUNK_SIZE;
    body->digits = 0;
    body->line = 0;
    body->remaining = 0;
    return take_size(body, byte);
}

static const char *take_extension(struct http_body *body, char byte)
{
    if (byte == '\r')
        body->state = CHUNK_SIZE_LF;
    else if (!http_byte_is(byte, BYTE_VALUE) || byte == '\t')
        return "a control byte in a chunk extension";
    return NULL;
}

static const char *take_line_first(struct http_body *body, char byte)
{
    if (byte == '\r')
        body->state = CHUNK_END_LF;
    else if (http_byte_is(byte, BYTE_TOKEN))
        body->state = CHUNK_NAME;
    else
        return "a malformed trailer field";
    return NULL;
}

static const char *take_name(struct http_body *body, char byte)
{
    if (byte == ':')
        body->state = CHUNK_VALUE;
    else if (!http_byte_is(byte, BYTE_TOKEN))
        return "a malformed trailer field";
    return NULL;
}

static const char *take_value(struct http_body *body, char byte)
{
    if (byte == '\r')
        body->state = CHUNK_VALUE_LF;
    else if (!http_byte_is(byte, BYTE_VALUE))
        return "a control byte in a trailer field";
    return NULL;
}

/* Takes the second byte of a CRLF. */
static const char *take_line_feed(struct http_body *body, char byte, enum chunk_state next)
{
    if (byte != '\n')
        return "a bare CR in chunk framing";
    body->state = (uint8_t)next;
    return NULL;
}

/* Takes one byte of framing in any state but CHUNK_DATA. */
static const char *take_framing(struct http_body *body, char byte)
{
    switch ((enum chunk_state)body->state) {
    case CHUNK_SIZE_FIRST:
        return take_size_first(body, byte);
    case CHUNK_SIZE:
        return take_size(body, byte);
    case CHUNK_EXTENSION:
        return take_extension(body, byte);
    case CHUNK_SIZE_LF:
        return take_line_feed(body, byte, body->remaining ? CHUNK_DATA : CHUNK_LINE_FIRST);
    case CHUNK_DATA_CR:
        body->state = CHUNK_DATA_LF;
        return byte == '\r' ? NULL : "a chunk that is longer than its size";
    case CHUNK_DATA_LF:
        return take_line_feed(body, byte, CHUNK_SIZE_FIRST);
    case CHUNK_LINE_FIRST:
        return take_line_first(body, byte);
    case CHUNK_NAME:
        return take_name(body, byte);
    case CHUNK_VALUE:
        return take_value(body, byte);
    case CHUNK_VALUE_LF:
        return take_line_feed(body, byte, CHUNK_LINE_FIRST);
    case CHUNK_END_LF:
        body->done = byte == '\n';
        return body->done ? NULL : "a bare CR in chunk framing";
    case CHUNK_DATA:
        break;
    }
    return "a malformed chunk";
}

/* Counts a byte of framing against the bound of the part that it is in. */
static const char *count_framing(struct http_body *body)
{
    if (body->state >= CHUNK_LINE_FIRST)
        return ++body->trailers > HTTP_TRAILERS_MAX ? "a trailer section that is too large" : NULL;
    if (body->state <= CHUNK_SIZE_LF)
        return ++body->line > HTTP_CHUNK_LINE_MAX ? "a chunk extension that is too long" : NULL;
    return NULL;
}

/* Moves over framing up to the next payload, the end of the body or of the bytes. */
static bool next_chunked(struct http_body *body, struct slice bytes, size_t *taken,
                         struct http_refusal *refusal)
{
    size_t at = 0;
    const char *reason = NULL;
    while (at < bytes.length && body->state != CHUNK_DATA && !body->done && !reason) {
        reason = take_framing(body, bytes.data[at]);
        if (!reason)
            reason = count_framing(body);
        at++;
    }
    *taken = at;
    if (reason)
        *refusal = (struct http_refusal){400, reason};
    return !reason;
}

/* The run of payload at the start of `bytes`, of at most body->remaining. */
static struct slice take_payload(struct http_body *body, struct slice bytes)
{
    if (bytes.length > body->remaining)
        bytes.length = (size_t)body->remaining;
    body->remaining -= bytes.length;
    return bytes;
}

bool http_body_next(struct http_body *body, struct slice bytes, size_t *taken,
                    struct slice *payload, struct http_refusal *refusal)
{
    *taken = 0;
    *payload = slice_make(bytes.data, 0);
    if (body->done)
        return true;
    switch (body->framing) {
    case FRAMING_NONE:
        break;
    case FRAMING_CLOSE:
        *payload = bytes;
        *taken = bytes.length;
        break;
    case FRAMING_LENGTH:
        *payload = take_payload(body, bytes);
        *taken = payload->length;
        body->done = body->remaining == 0;
        break;
    case FRAMING_CHUNKED:
        if (!next_chunked(body, bytes, taken, refusal))
            return false;
        if (body->state == CHUNK_DATA) {
            bytes.data += *taken;
            bytes.length -= *taken;
            *payload = take_payload(body, bytes);
            *taken += payload->length;
            if (body->remaining == 0)
                body->state = CHUNK_DATA_CR;
        }
        break;
    }
    return true;
}

bool http_body_feed(struct http_body *body, struct slice bytes, size_t *taken,
                    struct http_refusal *refusal)
{
    *taken = 0;
    while (*taken < bytes.length && !body->done) {
        struct slice rest = slice_make(bytes.data + *taken, bytes.length - *taken);
        struct slice payload;
        size_t step;
        bool is_well_formed = http_body_next(body, rest, &step, &payload, refusal);
        *taken += step;
        if (!is_well_formed)
            return false;
    }
    return true;
}
