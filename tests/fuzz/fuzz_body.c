/* SPDX-License-Identifier: MIT */
/* Any bytes as a body: whether it is fed at once, in pieces, or read for its payload, it ends at
 * the same byte, or is refused. The first byte of the input chooses the framing, the second seeds
 * the sizes of the pieces, the third is the length. */
#include <stdint.h>
#include <stdlib.h>

#include "http/body.h"

enum { OPTION_BYTES = 3 };

/* How a body went, in whatever way it was read. */
struct outcome {
    bool is_refused, is_done;
    size_t taken, payload;
    uint64_t hash; /* of the payload */
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t hash_bytes(uint64_t hash, struct slice bytes)
{
    for (size_t i = 0; i < bytes.length; i++)
        hash = (hash ^ (unsigned char)bytes.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Pieces of 1 to 16 bytes by a small generator; `seed` 0: all at once. */
static size_t next_piece(uint32_t *seed, size_t left)
{
    if (*seed == 0)
        return left;
    *seed = *seed * 1664525u + 1013904223u;
    if (*seed == 0)
        *seed = 1;
    size_t piece = (*seed >> 24) % 16 + 1;
    return piece < left ? piece : left;
}

static struct outcome feed(enum http_framing framing, uint64_t length, struct slice bytes,
                           uint32_t seed)
{
    struct outcome outcome = {0};
    struct http_body body;
    struct http_refusal refusal;
    http_body_construct(&body, framing, length);
    while (bytes.length > 0 && !body.done && !outcome.is_refused) {
        size_t piece = next_piece(&seed, bytes.length), taken;
        outcome.is_refused =
            !http_body_feed(&body, slice_make(bytes.data, piece), &taken, &refusal);
        check(outcome.is_refused || taken == piece || body.done);
        outcome.taken += taken;
        bytes = slice_make(bytes.data + piece, bytes.length - piece);
    }
    outcome.is_done = body.done;
    return outcome;
}

static struct outcome read_payload(enum http_framing framing, uint64_t length, struct slice bytes,
                                   uint32_t seed)
{
    struct outcome outcome = {0};
    struct http_body body;
    struct http_refusal refusal;
    http_body_construct(&body, framing, length);
    while (bytes.length > 0 && !body.done && !outcome.is_refused) {
        size_t piece = next_piece(&seed, bytes.length), taken;
        struct slice payload;
        outcome.is_refused =
            !http_body_next(&body, slice_make(bytes.data, piece), &taken, &payload, &refusal);
        check(taken > 0 && taken <= piece && payload.length <= taken);
        outcome.taken += taken;
        outcome.payload += payload.length;
        outcome.hash = hash_bytes(outcome.hash, payload);
        bytes = slice_make(bytes.data + taken, bytes.length - taken);
    }
    outcome.is_done = body.done;
    return outcome;
}

static void check_equal(const struct outcome *a, const struct outcome *b)
{
    check(a->is_refused == b->is_refused && a->taken == b->taken && a->is_done == b->is_done);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < OPTION_BYTES)
        return 0;
    enum http_framing framing = data[0] & 4 ? FRAMING_CHUNKED : (enum http_framing)(data[0] & 3);
    uint32_t seed = data[1] + 1u;
    uint64_t length = data[2];
    struct slice bytes = slice_make((const char *)data + OPTION_BYTES, size - OPTION_BYTES);
    struct outcome whole = feed(framing, length, bytes, 0);
    struct outcome pieces = feed(framing, length, bytes, seed);
    struct outcome payload = read_payload(framing, length, bytes, 0);
    struct outcome payload_pieces = read_payload(framing, length, bytes, seed);
    check_equal(&whole, &pieces);
    check_equal(&whole, &payload);
    check_equal(&whole, &payload_pieces);
    check(whole.is_refused ||
          (payload.payload == payload_pieces.payload && payload.hash == payload_pieces.hash));
    if (framing == FRAMING_LENGTH)
        check(whole.taken == (bytes.length < length ? bytes.length : length));
    return 0;
}
