/* SPDX-License-Identifier: MIT */
/* A head as it goes on: slices of the received head with fields left out, and extra slices added,
 * ready for sendmsg. Adjacent field lines that stay are one slice. The bytes stay the owners' and
 * must live until they are sent. Pure. */
#pragma once

#include <sys/uio.h>

#include "http/head.h"

enum { HTTP_EDIT_SLICES_MAX = HTTP_FIELDS_MAX + 16 };

struct http_edit {
    unsigned count;
    bool overflow; /* more slices than there is room for; cannot happen with one parsed head and 16
                      extras */
    size_t length; /* of all slices */
    struct iovec slices[HTTP_EDIT_SLICES_MAX];
};

struct http_request_edit {
    struct slice peer;         /* the client's address as text, appended to X-Forwarded-For */
    bool peer_is_trusted;      /* its X-Forwarded-* are extended; otherwise they are replaced */
    struct slice protocol;     /* http or https, for X-Forwarded-Proto */
    bool expect_removed;       /* Expect is left out (second attempt, or the 100 has been sent) */
    unsigned attempt;          /* 2 adds X-Automigrate-Attempt: 2 */
    bool forward_upgrade;      /* keeps Upgrade and says Connection: upgrade */
    struct slice default_host; /* the Host for an HTTP/1.0 client that sent none; may be empty */
};

/* The request head towards the upstream: request line (origin form, when the target came in
 * absolute form, with Host from the target: RFC 9112, 3.2.2), HTTP/1.1; without hop-by-hop fields,
 * those that Connection names and X-Automigrate- ones; framing fields kept as they came;
 * X-Forwarded-For, -Proto, -Host set or extended; a Host added if an HTTP/1.0 client sent none;
 * then the empty line. `scratch` (HTTP_EDIT_SCRATCH bytes, living as long as the edit) takes what
 * has to be formatted. */
enum { HTTP_EDIT_SCRATCH = 256 };
void http_edit_request(struct http_edit *edit, const struct http_head *head,
                       const struct http_request_edit *rules, char scratch[HTTP_EDIT_SCRATCH]);

enum http_response_framing {
    RESPONSE_FRAMING_KEEP,   /* as it came */
    RESPONSE_FRAMING_CHUNK,  /* close-delimited made chunked: adds Transfer-Encoding: chunked */
    RESPONSE_FRAMING_UNCHUNK /* chunked made close-delimited for an HTTP/1.0 client: drops
                                Transfer-Encoding, Trailer */
};

struct http_response_edit {
    enum http_response_framing framing;
    bool close;                /* says Connection: close */
    bool keep_alive_1_0;       /* says Connection: keep-alive, to an HTTP/1.0 client that asked */
    bool forward_upgrade;      /* 101: keeps Upgrade and says Connection: upgrade */
    struct slice proxy_status; /* the value of a Proxy-Status field (RFC 9209) to add, or empty */
};

/* The response head towards the client: status line with our own version HTTP/1.1 and the
 * upstream's status and reason; the same removals; Date, Server and all else as they came. */
void http_edit_response(struct http_edit *edit, const struct http_head *head,
                        const struct http_response_edit *rules);
