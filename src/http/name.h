/* SPDX-License-Identifier: MIT */
/* Field names: from text to token. A name is looked up by its length and first letter, which
 * differ between any two names that the proxy knows, so that most names cost one load and no
 * comparison. Pure, any thread. */
#pragma once

#include "http/head.h"

/* The names, in lower case, with their first letter and flags. Beside RFC 9110, 7.6.1:
 * Proxy-Authenticate and Proxy-Authorization are meant for a proxy that asks for them (11.7), which
 * this one does not; a body goes on framed as it came, so Transfer-Encoding stays with it. */
// clang-format off
#define NAME_TABLE(X) \
    X(FIELD_CONNECTION, "connection", 'c', FIELD_HOP_BY_HOP) \
    X(FIELD_CONTENT_ENCODING, "content-encoding", 'c', 0) \
    X(FIELD_CONTENT_LENGTH, "content-length", 'c', FIELD_FRAMING | FIELD_SINGLETON) \
    X(FIELD_CONTENT_TYPE, "content-type", 'c', 0) \
    X(FIELD_EXPECT, "expect", 'e', 0) \
    X(FIELD_FORWARDED, "forwarded", 'f', FIELD_OURS) \
    X(FIELD_HOST, "host", 'h', FIELD_SINGLETON) \
    X(FIELD_IDEMPOTENCY_KEY, "idempotency-key", 'i', 0) \
    X(FIELD_KEEP_ALIVE, "keep-alive", 'k', FIELD_HOP_BY_HOP) \
    X(FIELD_PROXY_AUTHENTICATE, "proxy-authenticate", 'p', 0) \
    X(FIELD_PROXY_AUTHORIZATION, "proxy-authorization", 'p', 0) \
    X(FIELD_PROXY_CONNECTION, "proxy-connection", 'p', FIELD_HOP_BY_HOP) \
    X(FIELD_PROXY_STATUS, "proxy-status", 'p', 0) \
    X(FIELD_TE, "te", 't', FIELD_HOP_BY_HOP) \
    X(FIELD_TRAILER, "trailer", 't', 0) \
    X(FIELD_TRANSFER_ENCODING, "transfer-encoding", 't', FIELD_FRAMING | FIELD_SINGLETON) \
    X(FIELD_UPGRADE, "upgrade", 'u', FIELD_HOP_BY_HOP) \
    X(FIELD_X_FORWARDED_FOR, "x-forwarded-for", 'x', FIELD_OURS) \
    X(FIELD_X_FORWARDED_HOST, "x-forwarded-host", 'x', FIELD_OURS) \
    X(FIELD_X_FORWARDED_PROTO, "x-forwarded-proto", 'x', FIELD_OURS) \
    X(FIELD_X_AUTOMIGRATE, "x-automigrate-", 'x', FIELD_OURS) \
    X(FIELD_LOOKALIKE, "", 0, FIELD_OURS)
// clang-format on

/* A set of names is a word of bits. */
#define NAME_BIT(name) (UINT32_C(1) << (name))
_Static_assert(FIELD_NAME_COUNT <= 32, "a set of field names is 32 bits");

#define X(name, text, letter, flags) | ((flags)&FIELD_HOP_BY_HOP ? NAME_BIT(name) : 0)
static const uint32_t http_names_hop_by_hop = 0 NAME_TABLE(X);
#undef X

#define X(name, text, letter, flags) | ((flags)&FIELD_OURS ? NAME_BIT(name) : 0)
static const uint32_t http_names_ours = 0 NAME_TABLE(X);
#undef X

enum {
    NAME_LENGTH_MAX = sizeof("proxy-authorization") - 1,
    NAME_PREFIX_LENGTH = sizeof("x-automigrate-") - 1,
    NAME_SLOTS = (NAME_LENGTH_MAX + 1) * 32,
};

/* Where a name of this length and first letter is, in either case. */
#define NAME_SLOT(length, letter) ((length)*32u + ((unsigned char)(letter)&31u))

/* The token that a name can be, by its slot; FIELD_OTHER when there is none. */
extern const uint8_t http_name_slots[NAME_SLOTS];

/* The token of a name that may be `candidate` or begin with X-Automigrate-. */
enum http_field_name http_name_confirm(struct slice name, enum http_field_name candidate);

/* The token of a field name, which is a non-empty RFC 9110 token. */
static inline enum http_field_name http_name_find(struct slice name)
{
    unsigned candidate = FIELD_OTHER;
    if (name.length <= NAME_LENGTH_MAX)
        candidate = http_name_slots[NAME_SLOT(name.length, name.data[0])];
    bool may_be_ours = (name.data[0] | 0x20) == 'x' && name.length >= NAME_PREFIX_LENGTH;
    if (candidate == FIELD_OTHER && !may_be_ours)
        return FIELD_OTHER;
    return http_name_confirm(name, (enum http_field_name)candidate);
}
