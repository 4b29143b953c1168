/* SPDX-License-Identifier: MIT */
/* Edited heads, compared as whole texts; and how few slices they are made of. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/edit.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))
#define TEXT(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
#define FORWARDED                                                                                  \
    "X-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.example\r\n"
#define PEER                                                                                       \
    {"10.1.2.3", 8}, false,                                                                        \
    {                                                                                              \
        "http", 4                                                                                  \
    }
#define TRUSTED                                                                                    \
    {"10.1.2.3", 8}, true,                                                                         \
    {                                                                                              \
        "http", 4                                                                                  \
    }
#define GET "GET / HTTP/1.1\r\nHost: a.example\r\n"
#define OK  "HTTP/1.1 200 OK\r\n"

static struct http_head head;

/* The slices as one text, which the caller frees; they must add up to edit->length. */
static char *join(const struct http_edit *edit)
{
    char *text = malloc(edit->length + 1);
    ck_assert_ptr_nonnull(text);
    size_t length = 0;
    for (unsigned i = 0; i < edit->count; i++) {
        ck_assert_uint_gt(edit->slices[i].iov_len, 0);
        ck_assert_uint_le(length + edit->slices[i].iov_len, edit->length);
        memcpy(text + length, edit->slices[i].iov_base, edit->slices[i].iov_len);
        length += edit->slices[i].iov_len;
    }
    ck_assert_uint_eq(length, edit->length);
    text[length] = '\0';
    return text;
}

static void check_text(const struct http_edit *edit, const char *expected, unsigned slices_max)
{
    ck_assert(!edit->overflow);
    char *text = join(edit);
    ck_assert_str_eq(text, expected);
    free(text);
    ck_assert_msg(edit->count <= slices_max, "%u slices: %s", edit->count, expected);
}

static const struct {
    const char *head;
    struct http_request_edit rules;
    const char *edited;
    unsigned slices_max;
} requests[] = {
    {GET "\r\n", {PEER, false, 0, false, {0}}, GET FORWARDED "\r\n", 2},
    {GET "\r\n",
     {{"", 0}, false, {"", 0}, false, 0, false, {0}},
     GET "X-Forwarded-Host: a.example\r\n\r\n",
     2},
    {"\r\n\r\n" GET "\r\n", {PEER, false, 0, false, {0}}, GET FORWARDED "\r\n", 2},
    /* What a browser sends. */
    {GET "User-Agent: x\r\nAccept: y\r\nConnection: keep-alive\r\nCookie: z\r\n\r\n",
     {PEER, false, 0, false, {0}},
     GET "User-Agent: x\r\nAccept: y\r\nCookie: z\r\n" FORWARDED "\r\n",
     3},
    /* Hop-by-hop, and what Connection names. */
    {GET "Connection: close, X-A\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers\r\n"
         "X-A: 1\r\nUpgrade: h2c\r\nx-a: 2\r\nProxy-Authorization: p\r\nTrailer: t\r\n\r\n",
     {PEER, false, 0, false, {0}},
     GET "Proxy-Authorization: p\r\nTrailer: t\r\n" FORWARDED "\r\n",
     3},
    {GET "Connection: X-Forwarded-For, X-Automigrate-Attempt\r\n\r\n",
     {PEER, false, 2, false, {0}},
     GET FORWARDED "X-Automigrate-Attempt: 2\r\n\r\n",
     2},
    /* Framing goes on as it came. */
    {GET "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
     {PEER, false, 0, false, {0}},
     GET "Transfer-Encoding: chunked\r\nTrailer: X\r\n" FORWARDED "\r\n",
     2},
    {GET "Content-Length: 5\r\n\r\n",
     {PEER, false, 0, false, {0}},
     GET "Content-Length: 5\r\n" FORWARDED "\r\n",
     2},
    /* Whom to believe. */
    {GET "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n"
         "Forwarded: for=1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\nX-Automigrate-Attempt: 2\r\n"
         "X_Automigrate_Attempt: 2\r\n\r\n",
     {PEER, false, 0, false, {0}},
     GET FORWARDED "\r\n",
     2},
    {GET "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n"
         "Forwarded: for=1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\nX-Automigrate-Attempt: 2\r\n\r\n",
     {TRUSTED, false, 0, false, {0}},
     GET "X-Forwarded-For: 1.1.1.1, 10.1.2.3\r\nX-Forwarded-Proto: https\r\n"
         "X-Forwarded-Host: b\r\nForwarded: for=1.1.1.1\r\n\r\n",
     4},
    {GET "X-Forwarded-For: 1.1.1.1 \r\nA: b\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\n"
         "X-Forwarded-For:\r\n\r\n",
     {TRUSTED, false, 0, false, {0}},
     GET "X-Forwarded-For: 1.1.1.1 \r\nA: b\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3, 10.1.2.3\r\n"
         "X-Forwarded-For:\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.example\r\n\r\n",
     4},
    {GET "X-Forwarded-For:\r\n\r\n", {TRUSTED, false, 0, false, {0}}, GET FORWARDED "\r\n", 2},
    {GET "Connection: x-forwarded-for\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
     {TRUSTED, false, 0, false, {0}},
     GET FORWARDED "\r\n",
     2},
    {GET "X-Forwarded-For: 1.1.1.1\r\n\r\n",
     {{"", 0}, true, {"", 0}, false, 0, false, {0}},
     GET "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: a.example\r\n\r\n",
     2},
    /* Expect, the second attempt, upgrades. */
    {GET "Expect: 100-continue\r\n\r\n",
     {PEER, false, 0, false, {0}},
     GET "Expect: 100-continue\r\n" FORWARDED "\r\n",
     2},
    {GET "Expect: 100-continue\r\n\r\n",
     {PEER, true, 2, false, {0}},
     GET FORWARDED "X-Automigrate-Attempt: 2\r\n\r\n",
     2},
    {GET "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
     {PEER, false, 0, true, {0}},
     GET "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n" FORWARDED "Connection: upgrade\r\n\r\n",
     3},
    /* Absolute form: RFC 9112, 3.2.2 and 3.2.4. */
    {"GET http://a.example/x?y HTTP/1.1\r\nHost: evil.example\r\nA: b\r\n\r\n",
     {PEER, false, 0, false, {0}},
     "GET /x?y HTTP/1.1\r\nHost: a.example\r\nA: b\r\n" FORWARDED "\r\n",
     4},
    {"GET https://a.example?y HTTP/1.1\r\nHost: a.example\r\n\r\n",
     {PEER, false, 0, false, {0}},
     "GET /?y HTTP/1.1\r\nHost: a.example\r\n" FORWARDED "\r\n",
     2},
    {"GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n",
     {PEER, false, 0, false, {0}},
     "GET / HTTP/1.1\r\nHost: a.example\r\n" FORWARDED "\r\n",
     2},
    {"OPTIONS http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n",
     {PEER, false, 0, false, {0}},
     "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n" FORWARDED "\r\n",
     2},
    {"OPTIONS http://a.example?y HTTP/1.1\r\nHost: a.example\r\n\r\n",
     {PEER, false, 0, false, {0}},
     "OPTIONS /?y HTTP/1.1\r\nHost: a.example\r\n" FORWARDED "\r\n",
     2},
    {"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
     {PEER, false, 0, false, {0}},
     "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n" FORWARDED "\r\n",
     2},
    /* HTTP/1.0 clients. */
    {"GET /x HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
     {PEER, false, 0, false, {0}},
     "GET /x HTTP/1.1\r\nHost: a.example\r\n" FORWARDED "\r\n",
     4},
    {"GET /x HTTP/1.0\r\nA: b\r\n\r\n",
     {{"", 0}, false, {"http", 4}, false, 0, false, {0}},
     "GET /x HTTP/1.1\r\nHost: \r\nA: b\r\nX-Forwarded-Proto: http\r\n\r\n",
     4},
    {"GET /x HTTP/1.0\r\n\r\n",
     {PEER, false, 0, false, {"up:80", 5}},
     "GET /x HTTP/1.1\r\nHost: up:80\r\nX-Forwarded-For: 10.1.2.3\r\n"
     "X-Forwarded-Proto: http\r\n\r\n",
     2},
    {"GET /x HTTP/1.1\r\nHost:\r\n\r\n",
     {PEER, false, 0, false, {"up:80", 5}},
     "GET /x HTTP/1.1\r\nHost:\r\nX-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: http\r\n\r\n",
     2},
};

START_TEST(test_requests_go_on_as_they_should)
{
    struct http_refusal refusal;
    struct http_edit edit;
    char scratch[HTTP_EDIT_SCRATCH];
    ck_assert_int_eq(http_parse_request(slice_from_string(requests[_i].head), &head, &refusal),
                     HTTP_PARSE_DONE);
    http_edit_request(&edit, &head, &requests[_i].rules, scratch);
    check_text(&edit, requests[_i].edited, requests[_i].slices_max);
}
END_TEST

static const struct {
    const char *head;
    struct http_response_edit rules;
    const char *edited;
    unsigned slices_max;
} responses[] = {
    {OK "Date: d\r\nServer: s\r\nContent-Length: 5\r\n\r\n",
     {0, false, false, false, {0}},
     OK "Date: d\r\nServer: s\r\nContent-Length: 5\r\n\r\n",
     1},
    {OK "Content-Length: 5\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nA: b\r\n\r\n",
     {0, false, false, false, {0}},
     OK "Content-Length: 5\r\nA: b\r\n\r\n",
     2},
    {OK "Connection: close\r\n\r\n", {0, false, false, false, {0}}, OK "\r\n", 2},
    {OK "Connection: x-a\r\nX-A: 1\r\nX-Automigrate-Status: s\r\nUpgrade: h2\r\n"
        "Proxy-Authenticate: p\r\n\r\n",
     {0, false, false, false, {0}},
     OK "Proxy-Authenticate: p\r\n\r\n",
     2},
    {OK "Connection: content-length\r\nContent-Length: 5\r\n\r\n",
     {0, false, false, false, {0}},
     OK "Content-Length: 5\r\n\r\n",
     2},
    {OK "A: b\r\n\r\n", {0, true, false, false, {0}}, OK "A: b\r\nConnection: close\r\n\r\n", 2},
    {OK "A: b\r\n\r\n",
     {0, false, true, false, {0}},
     OK "A: b\r\nConnection: keep-alive\r\n\r\n",
     2},
    {OK "A: b\r\n\r\n", {0, true, true, false, {0}}, OK "A: b\r\nConnection: close\r\n\r\n", 2},
    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
     {0, false, false, true, {0}},
     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
     2},
    {OK "\r\n",
     {RESPONSE_FRAMING_CHUNK, false, false, false, {0}},
     OK "Transfer-Encoding: chunked\r\n\r\n",
     2},
    {OK "A: b\r\nConnection: close\r\n\r\n",
     {RESPONSE_FRAMING_CHUNK, true, false, false, {0}},
     OK "A: b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
     2},
    {"HTTP/1.0 200 OK\r\nA: b\r\n\r\n",
     {RESPONSE_FRAMING_CHUNK, false, true, false, {0}},
     OK "A: b\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n",
     3},
    {OK "Transfer-Encoding: chunked\r\nTrailer: X\r\nA: b\r\n\r\n",
     {RESPONSE_FRAMING_UNCHUNK, true, false, false, {0}},
     OK "A: b\r\nConnection: close\r\n\r\n",
     3},
    {OK "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
     {0, false, false, false, {0}},
     OK "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
     1},
    {OK "Proxy-Status: up\r\n\r\n",
     {0, false, false, false, {"automigrate", 11}},
     OK "Proxy-Status: up\r\nProxy-Status: automigrate\r\n\r\n",
     5},
    {"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n",
     {0, false, false, false, {0}},
     "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
     2},
    {"HTTP/1.1 200\r\nA: b\r\n\r\n",
     {0, false, false, false, {0}},
     "HTTP/1.1 200 \r\nA: b\r\n\r\n",
     3},
    {"HTTP/1.0 200\r\n\r\n", {0, false, false, false, {0}}, "HTTP/1.1 200 \r\n\r\n", 4},
    {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nA: b\r\n\r\n",
     {0, false, false, false, {0}},
     "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
     2},
    {"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\nLink: l\r\n\r\n",
     {0, false, false, false, {0}},
     "HTTP/1.1 103 Early Hints\r\nLink: l\r\n\r\n",
     2},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
     {0, false, false, false, {0}},
     "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
     1},
};

START_TEST(test_responses_go_on_as_they_should)
{
    struct http_refusal refusal;
    struct http_edit edit;
    ck_assert_int_eq(
        http_parse_response(slice_from_string(responses[_i].head), METHOD_GET, &head, &refusal),
        HTTP_PARSE_DONE);
    http_edit_response(&edit, &head, &responses[_i].rules);
    check_text(&edit, responses[_i].edited, responses[_i].slices_max);
}
END_TEST

/* Every second field goes, and nothing fits the scratch. */
START_TEST(test_the_worst_head_fits_the_slices)
{
    enum { LONG = 300 };
    static char text[16384], long_host[LONG + 1];
    memset(long_host, 'h', LONG);
    size_t length = (size_t)snprintf(text, sizeof(text), "GET http://%s?q HTTP/1.0\r\n", long_host);
    for (unsigned i = 0; i < HTTP_FIELDS_MAX; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s: y\r\n",
                                   i % 2 ? "TE" : "X-Forwarded-For");
    length += (size_t)snprintf(text + length, sizeof(text) - length, "\r\n");
    struct http_refusal refusal;
    ck_assert_int_eq(http_parse_request(slice_make(text, length), &head, &refusal),
                     HTTP_PARSE_DONE);
    struct slice large = slice_make(long_host, LONG);
    struct http_request_edit rules = {large, true, large, false, 2, true, {0}};
    struct http_edit edit;
    char scratch[HTTP_EDIT_SCRATCH];
    http_edit_request(&edit, &head, &rules, scratch);
    ck_assert(!edit.overflow);
    char *joined = join(&edit);
    ck_assert_ptr_nonnull(
        strstr(joined, "X-Automigrate-Attempt: 2\r\nConnection: upgrade\r\n\r\n"));
    ck_assert_ptr_null(strstr(joined, "TE: y"));
    free(joined);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http/edit");
    TCase *cases = tcase_create("edit");
    tcase_add_loop_test(cases, test_requests_go_on_as_they_should, 0, COUNT(requests));
    tcase_add_loop_test(cases, test_responses_go_on_as_they_should, 0, COUNT(responses));
    tcase_add_test(cases, test_the_worst_head_fits_the_slices);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
