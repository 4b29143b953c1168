/* SPDX-License-Identifier: MIT */
/* Heads: which are accepted, which are refused with what status, and what is read from them. Each
 * is parsed in memory of exactly its size, so that a sanitizer sees a byte read too far. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/head.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
#define HOST "Host: a.example\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST
#define OK   "HTTP/1.1 200 OK\r\n"

static struct http_head head;
static struct http_refusal refusal;

/* A response is parsed as the answer to `method`; METHOD_OTHER with is_request for a request. */
static enum http_parse parse(bool is_request, struct slice bytes, enum http_method method)
{
    char *exact = malloc(bytes.length + !bytes.length);
    ck_assert_ptr_nonnull(exact);
    if (bytes.length > 0)
        memcpy(exact, bytes.data, bytes.length);
    struct slice copy = slice_make(exact, bytes.length);
    refusal = (struct http_refusal){0, NULL};
    memset(&head, 0x5a, sizeof(head)); /* whatever was there before must not matter */
    enum http_parse result = is_request ? http_parse_request(copy, &head, &refusal)
                                        : http_parse_response(copy, method, &head, &refusal);
    free(exact);
    return result;
}

struct vector {
    struct slice bytes;
    unsigned status; /* of the refusal, or 0: accepted as a whole */
};

static const struct vector requests[] = {
    /* The request line. */
    {BYTES(GET "\r\n"), 0},
    {BYTES(POST "\r\n"), 0},
    {BYTES("HEAD /a?b=c&d HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("PROPFIND /dav HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("get / HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("!#$%&'*+-.^_`|~09 / HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("GET /caf\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("GET /\"<>\\^`{|} HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("GET //a.example/ HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("GET http://b.example/x HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("GET HTTPS://b.example:8443?x HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("OPTIONS http://b.example HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("GET http://[::1]:80/ HTTP/1.1\r\n" HOST "\r\n"), 0},
    {BYTES("\r\n\r\n\r\n\r\n" GET "\r\n"), 0},
    {BYTES("\r\n\r\n\r\n\r\n\r\n" GET "\r\n"), 400},
    {BYTES("\n" GET "\r\n"), 400},
    {BYTES("\r" GET "\r\n"), 400},
    {BYTES(" " GET "\r\n"), 400},
    {BYTES(" / HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET  HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("\x16\x03\x01\x02"), 400},
    {BYTES("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET  / HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /  HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET / HTTP/1.1 \r\n" HOST "\r\n"), 400},
    {BYTES("GET / HTTP/1.1\n" HOST "\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r" HOST "\r\n"), 400},
    {BYTES("G(T / HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("G\xc3T / HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("G\0T / HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /\r\n"), 400},
    {BYTES("GET\r\n"), 400},
    {BYTES("GET /a b HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /a\tb HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /a\rb HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /a\nb HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /a\0b HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /a\x7f HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /a\x01 HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET a HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET a.example:80 HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET ?x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET * HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("OPTIONS *x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET ftp://a.example/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http:///x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http:/a.example/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http://u@a.example/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http://u:p@a.example/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http://a.example:x/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http://a.example\\b/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http://a.example/ HTTP/1.1\r\n\r\n"), 400},
    {BYTES("CONNECT a.example:443 HTTP/1.1\r\n" HOST "\r\n"), 405},
    {BYTES("CONNECT / HTTP/1.1\r\n" HOST "\r\n"), 405},
    /* Versions. */
    {BYTES("GET / HTTP/1.0\r\n\r\n"), 0},
    {BYTES("GET / HTTP/1.0\r\n" HOST "\r\n"), 0},
    {BYTES("GET / HTTP/1.2\r\n" HOST "\r\n"), 505},
    {BYTES("GET / HTTP/2.0\r\n" HOST "\r\n"), 505},
    {BYTES("GET / HTTP/0.9\r\n" HOST "\r\n"), 505},
    {BYTES("GET / HTTP/3.1\r\n" HOST "\r\n"), 505},
    {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505},
    {BYTES("GET / HTTP/2\r\n" HOST "\r\n"), 400},
    {BYTES("GET / HTTP/1.10\r\n" HOST "\r\n"), 400},
    {BYTES("GET / HTTP/11.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET / HTTP/1,1\r\n" HOST "\r\n"), 400},
    {BYTES("GET / HTTP/a.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET / http/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET / HTTPS/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET / XTTP/1.1\r\n" HOST "\r\n"), 400},
    /* Host. */
    {BYTES("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 0},
    {BYTES("GET / HTTP/1.1\r\nhOST: a.example:8080\r\n\r\n"), 0},
    {BYTES("GET / HTTP/1.1\r\nHost: a.example:\r\n\r\n"), 0},
    {BYTES("GET / HTTP/1.1\r\nHost: [2001:db8::7]:80\r\n\r\n"), 0},
    {BYTES("GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n"), 0},
    {BYTES("GET / HTTP/1.1\r\nHost: a%20b_c-d~e\r\n\r\n"), 0},
    {BYTES("GET / HTTP/1.1\r\n\r\n"), 400},
    {BYTES(GET HOST "\r\n"), 400},
    {BYTES(GET "host: b.example\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.0\r\n" HOST HOST "\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a?b\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a#b\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: <a>\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: caf\xc3\xa9\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a%2\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: []\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\nHost: [g::1]\r\n\r\n"), 400},
    /* Lengths. */
    {BYTES(POST "Content-Length: 0\r\n\r\n"), 0},
    {BYTES(POST "content-length:\t12 \t\r\n\r\n"), 0},
    {BYTES(POST "Content-Length: 0012\r\n\r\n"), 0},
    {BYTES(POST "Content-Length: 9223372036854775807\r\n\r\n"), 0},
    {BYTES(POST "Content-Length: 9223372036854775808\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 18446744073709551617\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 00000000000000000001\r\n\r\n"), 400},
    {BYTES(POST "Content-Length:\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: +1\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: -1\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 1 1\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 1, 1\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 1,\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 0x10\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 1.0\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 1\xa0\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 1\r\nContent-Length: 3\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 1\r\ncontent-length: 1\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), 400},
    /* Transfer codings. */
    {BYTES(POST "Transfer-Encoding: chunked\r\n\r\n"), 0},
    {BYTES(POST "transfer-ENCODING: cHuNkEd \r\n\r\n"), 0},
    {BYTES("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: identity\r\n\r\n"), 501},
    {BYTES(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"), 501},
    {BYTES(POST "Transfer-Encoding: xchunked\r\n\r\n"), 501},
    {BYTES(POST "Transfer-Encoding: chunke\r\n\r\n"), 501},
    {BYTES(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: chunked, gzip\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: ,chunked\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: chunked,\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: chunked;q=1\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: \"chunked\"\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: \x0b"
                "chunked\r\n\r\n"),
     400},
    {BYTES(POST "Transfer-Encoding:\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding : chunked\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding\t: chunked\r\n\r\n"), 400},
    {BYTES(POST " Transfer-Encoding: chunked\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: chunked\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding\0: chunked\r\n\r\n"), 400},
    {BYTES(POST "X: y\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {BYTES(POST "X: y\rTransfer-Encoding: chunked\r\n\r\n"), 400},
    /* Field lines. */
    {BYTES(GET "X:\r\n\r\n"), 0},
    {BYTES(GET "X:y\r\n\r\n"), 0},
    {BYTES(GET "X: a\tb\t\r\n\r\n"), 0},
    {BYTES(GET "X: \x80\xff\r\n\r\n"), 0},
    {BYTES(GET "X: : ;\"'(),/:;<=>?@[\\]{}\r\n\r\n"), 0},
    {BYTES(GET "!#$%&'*+-.^_`|~09: y\r\n\r\n"), 0},
    {BYTES(GET "Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n"), 0},
    {BYTES(GET ": v\r\n\r\n"), 400},
    {BYTES(GET "X : y\r\n\r\n"), 400},
    {BYTES(GET "X y: z\r\n\r\n"), 400},
    {BYTES(GET "X\r\n\r\n"), 400},
    {BYTES(GET "X\x80: y\r\n\r\n"), 400},
    {BYTES(GET "X(: y\r\n\r\n"), 400},
    {BYTES(GET "X\0: y\r\n\r\n"), 400},
    {BYTES(GET "X: a\0b\r\n\r\n"), 400},
    {BYTES(GET "X: a\rb\r\n\r\n"), 400},
    {BYTES(GET "X: a\nb\r\n\r\n"), 400},
    {BYTES(GET "X: a\x01"
               "b\r\n\r\n"),
     400},
    {BYTES(GET "X: a\x1f"
               "b\r\n\r\n"),
     400},
    {BYTES(GET "X: a\x7f"
               "b\r\n\r\n"),
     400},
    {BYTES(GET "X: abcdefgh\x7fijklmnop\r\n\r\n"), 400},
    {BYTES(GET "X: abcdefghijklmnop\tq\x1b[31mr\r\n\r\n"), 400},
    {BYTES(GET "X: one\r\n two\r\n\r\n"), 400},
    {BYTES(GET "X: one\r\n\ttwo\r\n\r\n"), 400},
    {BYTES(GET "X: one\r\n \r\n\r\n"), 400},
    {BYTES(GET "Content-: 3\r\n Length\r\n\r\n"), 400},
    {BYTES("GET / HTTP/1.1\r\n X: y\r\n" HOST "\r\n"), 400},
    {BYTES(GET "X: y\r\r\n\r\n"), 400},
    {BYTES(GET "\n"), 400},
    {BYTES(GET "\r\r\n"), 400},
    {BYTES(GET "\rX: y\r\n\r\n"), 400},
    /* Connection. */
    {BYTES(GET "Connection:\r\n\r\n"), 0},
    {BYTES(GET "Connection: ,, a b, \"c\" ,keep-alive,\r\n\r\n"), 0},
    {BYTES(GET "Connection: close, content-length\r\n\r\n"), 0},
    {BYTES(POST "Connection: close, content-length\r\nContent-Length: 1\r\n\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n\r\n"), 400},
    {BYTES(GET "Connection: host\r\n\r\n"), 400},
};

static const struct vector responses[] = {
    {BYTES(OK "\r\n"), 0},
    {BYTES("HTTP/1.1 200 \r\n\r\n"), 0},
    {BYTES("HTTP/1.1 200\r\n\r\n"), 0},
    {BYTES("HTTP/1.0 200 OK\r\n\r\n"), 0},
    {BYTES("HTTP/1.1 404 Not\tFound \xe9\r\n\r\n"), 0},
    {BYTES("HTTP/1.1 100 Continue\r\n\r\n"), 0},
    {BYTES("HTTP/1.1 599 x\r\n\r\n"), 0},
    {BYTES(OK "Host: a b\r\nHost: c\r\n\r\n"), 0},
    {BYTES(OK "Content-Length: 5\r\n\r\n"), 0},
    {BYTES(OK "Transfer-Encoding: Chunked\r\n\r\n"), 0},
    {BYTES(OK "Connection: Content-Length\r\nContent-Length: 5\r\n\r\n"), 0},
    {BYTES("HTTP/1.1 099 x\r\n\r\n"), 502},
    {BYTES("HTTP/1.1 600 x\r\n\r\n"), 502},
    {BYTES("HTTP/1.1 20 OK\r\n\r\n"), 502},
    {BYTES("HTTP/1.1 2000 OK\r\n\r\n"), 502},
    {BYTES("HTTP/1.1 200OK\r\n\r\n"), 502},
    {BYTES("HTTP/1.1  200 OK\r\n\r\n"), 502},
    {BYTES("HTTP/1.1\t200 OK\r\n\r\n"), 502},
    {BYTES("HTTP/1.1 2x0 OK\r\n\r\n"), 502},
    {BYTES("HTTP/1.1 -20 OK\r\n\r\n"), 502},
    {BYTES("HTTP/1.1\r\n\r\n"), 502},
    {BYTES("HTTP/1.2 200 OK\r\n\r\n"), 502},
    {BYTES("HTTP/2 200\r\n\r\n"), 502},
    {BYTES("ICY 200 OK\r\n\r\n"), 502},
    {BYTES("\r\n" OK "\r\n"), 502},
    {BYTES("<html>"), 502},
    {BYTES("HTTP/1.1 200 O\0K\r\n\r\n"), 502},
    {BYTES("HTTP/1.1 200 O\x7fK\r\n\r\n"), 502},
    {BYTES("HTTP/1.1 200 OK\n\r\n"), 502},
    {BYTES("HTTP/1.1 200 O\rK\r\n\r\n"), 502},
    {BYTES(OK "X: one\r\n two\r\n\r\n"), 502},
    {BYTES(OK ": v\r\n\r\n"), 502},
    {BYTES(OK "X : v\r\n\r\n"), 502},
    {BYTES(OK "X: a\0b\r\n\r\n"), 502},
    {BYTES(OK "\n"), 502},
    {BYTES(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), 502},
    {BYTES(OK "Content-Length: 5, 5\r\n\r\n"), 502},
    {BYTES(OK "Content-Length: -5\r\n\r\n"), 502},
    {BYTES(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), 502},
    {BYTES(OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), 502},
    {BYTES(OK "Transfer-Encoding: gzip\r\n\r\n"), 502},
    {BYTES(OK "Transfer-Encoding: gzip, chunked\r\n\r\n"), 502},
    {BYTES(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), 502},
    {BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), 502},
};

static void check_vector(bool is_request, const struct vector *vector)
{
    enum http_parse result = parse(is_request, vector->bytes, METHOD_GET);
    const char *text = vector->bytes.data;
    if (vector->status != 0) {
        ck_assert_msg(result == HTTP_PARSE_BAD, "accepted: %s", text);
        ck_assert_msg(refusal.status == vector->status, "%u %s: %s", refusal.status, refusal.reason,
                      text);
        ck_assert_ptr_nonnull(refusal.reason);
    } else {
        ck_assert_msg(result == HTTP_PARSE_DONE, "%u %s: %s", refusal.status,
                      refusal.reason ? refusal.reason : "incomplete", text);
        ck_assert_uint_eq(head.length, vector->bytes.length);
    }
}

START_TEST(test_p11_request_heads_are_accepted_or_refused_with_the_right_status)
{
    check_vector(true, &requests[_i]);
}
END_TEST

START_TEST(test_p11_response_heads_are_accepted_or_refused)
{
    check_vector(false, &responses[_i]);
}
END_TEST

/* However little has come: never another verdict, never one that is taken back; and what follows
 * the head changes nothing. */
static void check_every_cut(bool is_request, const struct vector *vector)
{
    bool is_refused = false;
    for (size_t length = 0; length < vector->bytes.length; length++) {
        enum http_parse result =
            parse(is_request, slice_make(vector->bytes.data, length), METHOD_GET);
        ck_assert_msg(result != HTTP_PARSE_DONE, "done after %zu of: %s", length,
                      vector->bytes.data);
        ck_assert_msg(!is_refused || result == HTTP_PARSE_BAD, "taken back at %zu: %s", length,
                      vector->bytes.data);
        if (result == HTTP_PARSE_BAD) {
            ck_assert_uint_ne(vector->status, 0);
            ck_assert_uint_eq(refusal.status, vector->status);
            is_refused = true;
        }
    }
    if (vector->status != 0)
        return;
    char more[4096];
    memcpy(more, vector->bytes.data, vector->bytes.length);
    memset(more + vector->bytes.length, '\0', 16);
    ck_assert_int_eq(parse(is_request, slice_make(more, vector->bytes.length + 16), METHOD_GET),
                     HTTP_PARSE_DONE);
    ck_assert_uint_eq(head.length, vector->bytes.length);
}

START_TEST(test_every_cut_of_a_request_gives_the_same_verdict)
{
    check_every_cut(true, &requests[_i]);
}
END_TEST

START_TEST(test_every_cut_of_a_response_gives_the_same_verdict)
{
    check_every_cut(false, &responses[_i]);
}
END_TEST

/* Bytes after which nothing could make the head right: the refusal must not wait for more. */
static const struct vector early[] = {
    {BYTES("\x16"), 400},
    {BYTES("GET /\x7f"), 400},
    {BYTES("GET / X"), 400},
    {BYTES("GET / HTTP/2.0"), 505},
    {BYTES("CONNECT "), 405},
    {BYTES("GET x HTTP/1.1"), 400},
    {BYTES(GET ":"), 400},
    {BYTES(GET " "), 400},
    {BYTES(GET "X "), 400},
    {BYTES(GET "X: \x01"), 400},
    {BYTES(GET "X: y\n"), 400},
    {BYTES(GET "X: y\rz"), 400},
    {BYTES(GET HOST), 400},
    {BYTES(POST "Content-Length: x\r\n"), 400},
    {BYTES(POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400},
    {BYTES(POST "Transfer-Encoding: gzip\r\n"), 501},
};

START_TEST(test_p11_a_head_that_cannot_become_right_is_refused_at_once)
{
    check_vector(true, &early[_i]);
}
END_TEST

/* What a request says about its body and its connection. */
static const struct {
    struct slice bytes;
    enum http_framing framing;
    uint64_t content_length;
    bool keep_alive, expects_continue, upgrade;
} request_meanings[] = {
    {BYTES(GET "\r\n"), FRAMING_NONE, 0, true, false, false},
    {BYTES(GET "Connection: close\r\n\r\n"), FRAMING_NONE, 0, false, false, false},
    {BYTES(GET "Connection: Keep-Alive, CLOSE\r\n\r\n"), FRAMING_NONE, 0, false, false, false},
    {BYTES(GET "Connection: x\r\nConnection: close\r\n\r\n"), FRAMING_NONE, 0, false, false, false},
    {BYTES(GET "Proxy-Connection: close\r\n\r\n"), FRAMING_NONE, 0, true, false, false},
    {BYTES("GET / HTTP/1.0\r\n\r\n"), FRAMING_NONE, 0, false, false, false},
    {BYTES("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), FRAMING_NONE, 0, true, false,
     false},
    {BYTES("GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n"), FRAMING_NONE, 0, false,
     false, false},
    {BYTES("GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n"), FRAMING_NONE, 0, false, false,
     false},
    {BYTES("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), FRAMING_NONE, 0, false,
     false, false},
    {BYTES(GET "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"), FRAMING_NONE, 0,
     true, false, true},
    {BYTES(GET "Connection: Upgrade\r\n\r\n"), FRAMING_NONE, 0, true, false, false},
    {BYTES(GET "Upgrade: websocket\r\n\r\n"), FRAMING_NONE, 0, true, false, false},
    {BYTES(POST "Content-Length: 0\r\n\r\n"), FRAMING_LENGTH, 0, true, false, false},
    {BYTES(POST "Content-Length: 9223372036854775807\r\n\r\n"), FRAMING_LENGTH, INT64_MAX, true,
     false, false},
    {BYTES(POST "Transfer-Encoding: chunked\r\n\r\n"), FRAMING_CHUNKED, 0, true, false, false},
    {BYTES(POST "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n"), FRAMING_LENGTH, 3, true, true,
     false},
    {BYTES("POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"), FRAMING_LENGTH,
     3, false, false, false},
    {BYTES(POST "Expect: 200-ok\r\n\r\n"), FRAMING_NONE, 0, true, false, false},
};

START_TEST(test_what_a_request_says_about_its_body_and_connection)
{
    ck_assert_int_eq(parse(true, request_meanings[_i].bytes, METHOD_OTHER), HTTP_PARSE_DONE);
    ck_assert_int_eq(head.framing, request_meanings[_i].framing);
    ck_assert_uint_eq(head.content_length, request_meanings[_i].content_length);
    ck_assert_int_eq(head.keep_alive, request_meanings[_i].keep_alive);
    ck_assert_int_eq(head.expects_continue, request_meanings[_i].expects_continue);
    ck_assert_int_eq(head.upgrade, request_meanings[_i].upgrade);
}
END_TEST

static const struct {
    struct slice bytes;
    enum http_method method;
    unsigned status;
    enum http_framing framing;
    bool keep_alive;
} response_meanings[] = {
    {BYTES(OK "Content-Length: 5\r\n\r\n"), METHOD_GET, 200, FRAMING_LENGTH, true},
    {BYTES(OK "Content-Length: 5\r\n\r\n"), METHOD_HEAD, 200, FRAMING_NONE, true},
    {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n"), METHOD_HEAD, 200, FRAMING_NONE, true},
    {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n"), METHOD_POST, 200, FRAMING_CHUNKED, true},
    {BYTES(OK "\r\n"), METHOD_GET, 200, FRAMING_CLOSE, true},
    {BYTES(OK "\r\n"), METHOD_HEAD, 200, FRAMING_NONE, true},
    {BYTES("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"), METHOD_GET, 200, FRAMING_LENGTH, false},
    {BYTES("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n"), METHOD_GET,
     200, FRAMING_LENGTH, true},
    {BYTES("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"), METHOD_GET, 204, FRAMING_NONE,
     true},
    {BYTES("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), METHOD_GET, 304, FRAMING_NONE,
     true},
    {BYTES("HTTP/1.1 103 Early Hints\r\n\r\n"), METHOD_GET, 103, FRAMING_NONE, true},
    {BYTES("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
     METHOD_GET, 101, FRAMING_NONE, true},
    {BYTES("HTTP/1.1 500\r\nConnection: close\r\n\r\n"), METHOD_GET, 500, FRAMING_CLOSE, false},
};

START_TEST(test_what_a_response_says_about_its_body_and_connection)
{
    ck_assert_int_eq(parse(false, response_meanings[_i].bytes, response_meanings[_i].method),
                     HTTP_PARSE_DONE);
    ck_assert_uint_eq(head.status, response_meanings[_i].status);
    ck_assert_int_eq(head.framing, response_meanings[_i].framing);
    ck_assert_int_eq(head.keep_alive, response_meanings[_i].keep_alive);
}
END_TEST

static void check_slice(struct slice slice, const char *text)
{
    ck_assert_msg(slice_equal(slice, slice_from_string(text)), "%.*s, not %s", (int)slice.length,
                  slice.data, text);
}

START_TEST(test_the_parts_of_a_request_are_slices_of_it)
{
    static const char text[] = "\r\nDELETE http://B.example:81/x?y HTTP/1.1\r\nHost: a\r\n"
                               "X-Empty:\r\nAccept:  text/html \t\r\n\r\nbody";
    ck_assert_int_eq(http_parse_request(slice_from_string(text), &head, &refusal), HTTP_PARSE_DONE);
    ck_assert_uint_eq(head.length, sizeof(text) - 1 - 4);
    ck_assert_int_eq(head.method, METHOD_DELETE);
    ck_assert_uint_eq(head.minor, 1);
    check_slice(head.method_text, "DELETE");
    check_slice(head.target, "http://B.example:81/x?y");
    check_slice(head.path, "/x?y");
    check_slice(head.host, "B.example:81");
    check_slice(head.start_line, "DELETE http://B.example:81/x?y HTTP/1.1\r\n");
    ck_assert_uint_eq(head.field_count, 3);
    check_slice(head.fields[1].name, "X-Empty");
    check_slice(head.fields[1].value, "");
    check_slice(head.fields[2].name, "Accept");
    check_slice(head.fields[2].value, "text/html");
    check_slice(head.fields[2].line, "Accept:  text/html \t\r\n");
    ck_assert_ptr_eq(http_head_field(&head, FIELD_HOST), &head.fields[0]);
    ck_assert_ptr_null(http_head_field(&head, FIELD_TE));
}
END_TEST

/* Each name that the proxy knows, and names that nearly are one. */
static const struct {
    const char *name;
    enum http_field_name token;
    unsigned flags;
} names[] = {
    {"Connection", FIELD_CONNECTION, FIELD_HOP_BY_HOP},
    {"Content-Encoding", FIELD_CONTENT_ENCODING, 0},
    {"Content-Length", FIELD_CONTENT_LENGTH, FIELD_FRAMING | FIELD_SINGLETON},
    {"Content-Type", FIELD_CONTENT_TYPE, 0},
    {"Expect", FIELD_EXPECT, 0},
    {"Forwarded", FIELD_FORWARDED, FIELD_OURS},
    {"Host", FIELD_HOST, FIELD_SINGLETON},
    {"Idempotency-Key", FIELD_IDEMPOTENCY_KEY, 0},
    {"Keep-Alive", FIELD_KEEP_ALIVE, FIELD_HOP_BY_HOP},
    {"Proxy-Authenticate", FIELD_PROXY_AUTHENTICATE, 0},
    {"Proxy-Authorization", FIELD_PROXY_AUTHORIZATION, 0},
    {"Proxy-Connection", FIELD_PROXY_CONNECTION, FIELD_HOP_BY_HOP},
    {"Proxy-Status", FIELD_PROXY_STATUS, 0},
    {"TE", FIELD_TE, FIELD_HOP_BY_HOP},
    {"Trailer", FIELD_TRAILER, 0},
    {"Transfer-Encoding", FIELD_TRANSFER_ENCODING, FIELD_FRAMING | FIELD_SINGLETON},
    {"Upgrade", FIELD_UPGRADE, FIELD_HOP_BY_HOP},
    {"X-Forwarded-For", FIELD_X_FORWARDED_FOR, FIELD_OURS},
    {"X-Forwarded-Host", FIELD_X_FORWARDED_HOST, FIELD_OURS},
    {"X-Forwarded-Proto", FIELD_X_FORWARDED_PROTO, FIELD_OURS},
    {"X-Automigrate-", FIELD_X_AUTOMIGRATE, FIELD_OURS},
    {"X-Automigrate-A", FIELD_X_AUTOMIGRATE, FIELD_OURS},
    {"X-Automigrate-Attempt-And-More", FIELD_X_AUTOMIGRATE, FIELD_OURS},
    {"X_Forwarded_For", FIELD_LOOKALIKE, FIELD_OURS},
    {"X-Forwarded_Proto", FIELD_LOOKALIKE, FIELD_OURS},
    {"X_Automigrate_Attempt", FIELD_LOOKALIKE, FIELD_OURS},
    {"X-Automigrate", FIELD_OTHER, 0},
    {"X-Automigrat-Attempt", FIELD_OTHER, 0},
    {"Content_Length", FIELD_OTHER, 0},
    {"Content-Lengti", FIELD_OTHER, 0},
    {"Contend-Length", FIELD_OTHER, 0},
    {"Hosu", FIELD_OTHER, 0},
    {"T", FIELD_OTHER, 0},
    {"Access-Control-Allow-Credentials", FIELD_OTHER, 0},
};

START_TEST(test_names_are_known_in_any_case)
{
    char text[256];
    for (int upper = 0; upper < 3; upper++) {
        int prefix = snprintf(text, sizeof(text), OK);
        snprintf(text + prefix, sizeof(text) - (size_t)prefix, "%s: 1\r\n\r\n", names[_i].name);
        for (char *at = text + prefix; upper > 0 && *at != ':'; at++) {
            if ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'z')
                *at = (char)(upper == 1 ? *at & ~0x20 : *at | 0x20);
        }
        if (names[_i].token == FIELD_TRANSFER_ENCODING)
            snprintf(strchr(text + prefix, ':'), 16, ":chunked\r\n\r\n");
        ck_assert_int_eq(http_parse_response(slice_from_string(text), METHOD_GET, &head, &refusal),
                         HTTP_PARSE_DONE);
        ck_assert_int_eq(head.fields[0].token, names[_i].token);
        ck_assert_uint_eq(http_field_flags(head.fields[0].token), names[_i].flags);
    }
}
END_TEST

START_TEST(test_connection_nominates_what_is_not_hop_by_hop_anyway)
{
    static const char text[] = GET "X-One: 1\r\nConnection: x-one,X-Two , upgrade\r\nX-Two: 2\r\n"
                                   "X-Three: 3\r\nx-one: 4\r\nUpgrade: x\r\n\r\n";
    static const bool nominated[] = {false, true, false, true, false, true, false};
    ck_assert_int_eq(http_parse_request(slice_from_string(text), &head, &refusal), HTTP_PARSE_DONE);
    ck_assert_uint_eq(head.field_count, COUNT(nominated));
    for (int i = 0; i < COUNT(nominated); i++)
        ck_assert_int_eq(head.fields[i].nominated, nominated[i]);
}
END_TEST

/* A head with `fields` fields beside Host, or with a Connection of `options` options. */
static struct slice make_large(char *text, size_t size, unsigned fields, unsigned options)
{
    size_t length = (size_t)snprintf(text, size, GET);
    for (unsigned i = 0; i < fields; i++)
        length += (size_t)snprintf(text + length, size - length, "X-%u: y\r\n", i);
    if (options > 0)
        length += (size_t)snprintf(text + length, size - length, "Connection: a");
    for (unsigned i = 1; i < options; i++)
        length += (size_t)snprintf(text + length, size - length, ",a");
    if (options > 0)
        length += (size_t)snprintf(text + length, size - length, "\r\n");
    length += (size_t)snprintf(text + length, size - length, "\r\n");
    return slice_make(text, length);
}

START_TEST(test_p11_bounds_are_kept)
{
    char text[8192];
    ck_assert_int_eq(parse(true, make_large(text, sizeof(text), HTTP_FIELDS_MAX - 1, 0), 0),
                     HTTP_PARSE_DONE);
    ck_assert_uint_eq(head.field_count, HTTP_FIELDS_MAX);
    ck_assert_int_eq(parse(true, make_large(text, sizeof(text), HTTP_FIELDS_MAX, 0), 0),
                     HTTP_PARSE_BAD);
    ck_assert_uint_eq(refusal.status, 431);
    struct slice most = make_large(text, sizeof(text), 0, HTTP_CONNECTION_OPTIONS_MAX);
    ck_assert_int_eq(parse(true, most, 0), HTTP_PARSE_DONE);
    most = make_large(text, sizeof(text), 0, HTTP_CONNECTION_OPTIONS_MAX + 1);
    ck_assert_int_eq(parse(true, most, 0), HTTP_PARSE_BAD);
    ck_assert_uint_eq(refusal.status, 400);
}
END_TEST

/* The grammars say for each byte where it may stand; the parser is asked about all 256. */
START_TEST(test_p11_each_byte_stands_only_where_the_grammar_has_it)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    unsigned char byte = (unsigned char)_i;
    bool is_alpha_or_digit = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                             (byte >= 'A' && byte <= 'Z');
    bool is_token = is_alpha_or_digit || (byte && strchr(marks, byte));
    bool is_visible = byte > 0x20 && byte != 0x7f;
    char in_name[] = GET "Xx-y: z\r\n\r\n", in_target[] = "GET /_ HTTP/1.1\r\n" HOST "\r\n";
    char in_value[] = GET "X: abcdefghijk\r\n\r\n", in_method[] = "G_T / HTTP/1.1\r\n" HOST "\r\n";
    in_name[sizeof(GET)] = (char)byte;
    in_target[5] = (char)byte;
    in_method[1] = (char)byte;
    bool name_is_right =
        parse(true, slice_make(in_name, sizeof(in_name) - 1), 0) == HTTP_PARSE_DONE;
    ck_assert_int_eq(name_is_right, is_token || byte == ':');
    bool target_is_right =
        parse(true, slice_make(in_target, sizeof(in_target) - 1), 0) == HTTP_PARSE_DONE;
    ck_assert_int_eq(target_is_right, is_visible && byte != '#');
    bool method_is_right =
        parse(true, slice_make(in_method, sizeof(in_method) - 1), 0) == HTTP_PARSE_DONE;
    ck_assert_int_eq(method_is_right, is_token);
    for (size_t at = 3; at < 14; at++) { /* in each place of a word of eight */
        memcpy(in_value, GET "X: abcdefghijk\r\n\r\n", sizeof(in_value));
        in_value[sizeof(GET) - 1 + at] = (char)byte;
        bool value_is_right =
            parse(true, slice_make(in_value, sizeof(in_value) - 1), 0) == HTTP_PARSE_DONE;
        ck_assert_int_eq(value_is_right, is_visible || byte == ' ' || byte == '\t');
    }
}
END_TEST

static const struct {
    enum http_method method;
    const char *text;
    bool is_idempotent;
} methods[] = {
    {METHOD_OTHER, "PROPFIND", false}, {METHOD_GET, "GET", true},
    {METHOD_HEAD, "HEAD", true},       {METHOD_POST, "POST", false},
    {METHOD_PUT, "PUT", true},         {METHOD_DELETE, "DELETE", true},
    {METHOD_OPTIONS, "OPTIONS", true}, {METHOD_PATCH, "PATCH", false},
    {METHOD_TRACE, "TRACE", true},     {METHOD_OTHER, "get", false},
};

START_TEST(test_methods_are_case_sensitive_and_some_are_idempotent)
{
    char text[64];
    snprintf(text, sizeof(text), "%s / HTTP/1.1\r\n" HOST "\r\n", methods[_i].text);
    ck_assert_int_eq(parse(true, slice_from_string(text), 0), HTTP_PARSE_DONE);
    ck_assert_int_eq(head.method, methods[_i].method);
    ck_assert_int_eq(http_method_is_idempotent(head.method), methods[_i].is_idempotent);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http/head");
    TCase *cases = tcase_create("head");
    tcase_add_loop_test(cases, test_p11_request_heads_are_accepted_or_refused_with_the_right_status,
                        0, COUNT(requests));
    tcase_add_loop_test(cases, test_p11_response_heads_are_accepted_or_refused, 0,
                        COUNT(responses));
    tcase_add_loop_test(cases, test_every_cut_of_a_request_gives_the_same_verdict, 0,
                        COUNT(requests));
    tcase_add_loop_test(cases, test_every_cut_of_a_response_gives_the_same_verdict, 0,
                        COUNT(responses));
    tcase_add_loop_test(cases, test_p11_a_head_that_cannot_become_right_is_refused_at_once, 0,
                        COUNT(early));
    tcase_add_loop_test(cases, test_what_a_request_says_about_its_body_and_connection, 0,
                        COUNT(request_meanings));
    tcase_add_loop_test(cases, test_what_a_response_says_about_its_body_and_connection, 0,
                        COUNT(response_meanings));
    tcase_add_test(cases, test_the_parts_of_a_request_are_slices_of_it);
    tcase_add_loop_test(cases, test_names_are_known_in_any_case, 0, COUNT(names));
    tcase_add_test(cases, test_connection_nominates_what_is_not_hop_by_hop_anyway);
    tcase_add_test(cases, test_p11_bounds_are_kept);
    tcase_add_loop_test(cases, test_p11_each_byte_stands_only_where_the_grammar_has_it, 0, 256);
    tcase_add_loop_test(cases, test_methods_are_case_sensitive_and_some_are_idempotent, 0,
                        COUNT(methods));
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
