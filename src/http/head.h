/* SPDX-License-Identifier: MIT */
/* The head of an HTTP/1.1 message (RFC 9112, 2-5), parsed once into slices of the bytes it came in.
 * Field names are looked up once in a table whose flags say what a proxy does with a field; nothing
 * is copied, nothing allocated. Strict: what could be read in two ways is refused. Pure, any
 * thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    HTTP_FIELDS_MAX = 128,
    HTTP_EMPTY_LINES_MAX = 4,        /* before a request line */
    HTTP_CONNECTION_OPTIONS_MAX = 64 /* in one head: each may be compared with each field */
};

/* Fields that the proxy knows; every other one is FIELD_OTHER. */
enum http_field_name {
    FIELD_OTHER,
    FIELD_CONNECTION,
    FIELD_CONTENT_ENCODING,
    FIELD_CONTENT_LENGTH,
    FIELD_CONTENT_TYPE,
    FIELD_EXPECT,
    FIELD_FORWARDED,
    FIELD_HOST,
    FIELD_IDEMPOTENCY_KEY,
    FIELD_KEEP_ALIVE,
    FIELD_PROXY_AUTHENTICATE,
    FIELD_PROXY_AUTHORIZATION,
    FIELD_PROXY_CONNECTION,
    FIELD_PROXY_STATUS,
    FIELD_TE,
    FIELD_TRAILER,
    FIELD_TRANSFER_ENCODING,
    FIELD_UPGRADE,
    FIELD_X_FORWARDED_FOR,
    FIELD_X_FORWARDED_HOST,
    FIELD_X_FORWARDED_PROTO,
    FIELD_X_AUTOMIGRATE, /* any name that begins with X-Automigrate- */
    FIELD_LOOKALIKE, /* one of the X- names above with '_' for '-': servers that fold the two (CGI,
                        WSGI) would take it for ours */
    FIELD_NAME_COUNT
};

enum http_field_flag {
    FIELD_HOP_BY_HOP = 1, /* RFC 9110, 7.6.1: never forwarded */
    FIELD_FRAMING = 2,    /* says where the message ends */
    FIELD_SINGLETON = 4,  /* more than one is an error, or makes the message ambiguous */
    FIELD_OURS = 8,       /* removed from what a client sends: ours to set */
};

/* Flags of a name: one table. */
unsigned http_field_flags(enum http_field_name name);

struct http_field {
    enum http_field_name token;
    bool nominated;     /* named in Connection, and not FIELD_HOP_BY_HOP anyway: hop-by-hop for this
                           message (RFC 9110, 7.6.1) */
    struct slice name;  /* as written */
    struct slice value; /* without white space around it */
    struct slice line;  /* the whole field line with its CRLF */
};

enum http_method {
    METHOD_OTHER,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_PATCH,
    METHOD_TRACE,
    METHOD_CONNECT,
};

/* RFC 9110, 9.2.2 */
bool http_method_is_idempotent(enum http_method method);

/* How the body is framed (RFC 9112, 6.3). */
enum http_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

struct http_head {
    size_t length; /* bytes of the head, its empty line included (and empty lines before a request
                      line) */
    struct slice start_line; /* with its CRLF */
    enum http_method method;
    struct slice method_text;
    struct slice target; /* as written */
    struct slice path;   /* of the target: its path and query, all of it in origin form. In absolute
                            form what follows the authority, which may lack the leading slash */
    unsigned status;     /* of a response */
    unsigned minor;      /* HTTP/1.minor: 0 or 1 */
    enum http_framing framing;
    uint64_t content_length; /* with FRAMING_LENGTH */
    bool keep_alive;         /* what the sender said or its version implies (RFC 9112, 9.3) */
    bool expects_continue;   /* Expect: 100-continue from an HTTP/1.1 client */
    bool upgrade;            /* Connection names upgrade, and there is an Upgrade field */
    struct slice host;       /* of a request: of the target in absolute form, else of Host */
    uint16_t field_count;
    int16_t first[FIELD_NAME_COUNT]; /* index of the first field of that name, or -1; undefined for
                                        FIELD_OTHER */
    struct http_field fields[HTTP_FIELDS_MAX];
};

enum http_parse {
    HTTP_PARSE_DONE,
    HTTP_PARSE_MORE, /* the head is not complete; call again with more bytes. Refusals come as early
                        as possible */
    HTTP_PARSE_BAD,
};

/* Why a message is refused, and the status a client gets for it; for an upstream's answer the
 * status is always 502. */
struct http_refusal {
    unsigned status;    /* 400, 405, 413, 414, 417, 431, 501, 505 */
    const char *reason; /* static: "Content-Length beside Transfer-Encoding" */
};

/* Parses a request head at the start of `bytes`; *head is whole only after DONE. Refuses, with 400
 * unless said: Content-Length beside Transfer-Encoding (RFC 9112, 6.1), differing, repeated or
 * malformed lengths, a Transfer-Encoding other than exactly chunked (501 when it is well-formed but
 * unknown), or any in HTTP/1.0; obsolete line folding (5.2); white space before the colon (5.1);
 * empty names; bare CR or bare LF, NUL and control bytes; a method that is no token; a malformed
 * target; not exactly one Host in HTTP/1.1 or a malformed one (3.2); a Connection that names Host
 * or a framing field; more than HTTP_CONNECTION_OPTIONS_MAX of its options; CONNECT (405); any
 * version but 1.0 and 1.1 (505); more than HTTP_FIELDS_MAX fields (431). Up to HTTP_EMPTY_LINES_MAX
 * empty lines (CRLF) before the request line are skipped (2.2). A target is origin form, http or
 * https in absolute form, or * for OPTIONS. On BAD *refusal is filled. */
enum http_parse http_parse_request(struct slice bytes, struct http_head *head,
                                   struct http_refusal *refusal);

/* Parses a response head; `request_method` decides whether there is a body (HEAD; RFC 9112, 6.3).
 * 1xx heads are parsed like others: the caller goes on to the next. Same strictness about what
 * could be read in two ways; a missing reason phrase is not refused, and a Connection that names
 * Host or a framing field is believed in all but that. */
enum http_parse http_parse_response(struct slice bytes, enum http_method request_method,
                                    struct http_head *head, struct http_refusal *refusal);

/* The first field of a name, or NULL. */
static inline const struct http_field *http_head_field(const struct http_head *head,
                                                       enum http_field_name name)
{
    return head->first[name] < 0 ? NULL : &head->fields[head->first[name]];
}
