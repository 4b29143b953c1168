/* SPDX-License-Identifier: MIT */
/* Bodies: where they end, what of them is payload, and which chunks are refused; each in every two
 * pieces and byte by byte, in memory of exactly its size. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/body.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

enum verdict { ENDS, WANTS_MORE, REFUSED };

struct vector {
    struct slice bytes;
    enum verdict verdict;
    const char *payload; /* unless refused */
    size_t left;         /* bytes behind the end of the body */
};

static const struct vector chunked[] = {
    {BYTES("0\r\n\r\n"), ENDS, "", 0},
    {BYTES("0\r\n\r\nGET"), ENDS, "", 3},
    {BYTES("5\r\nhello\r\n0\r\n\r\n"), ENDS, "hello", 0},
    {BYTES("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), ENDS, "hello world", 0},
    {BYTES("a\r\n0123456789\r\n0\r\n\r\n"), ENDS, "0123456789", 0},
    {BYTES("A\r\n0123456789\r\n0\r\n\r\n"), ENDS, "0123456789", 0},
    {BYTES("00a\r\n0123456789\r\n000\r\n\r\n"), ENDS, "0123456789", 0},
    {BYTES("000000000000001\r\nx\r\n0\r\n\r\n"), ENDS, "x", 0},
    {BYTES("4\r\n\r\n\r\n\r\n0\r\n\r\n"), ENDS, "\r\n\r\n", 0},
    {BYTES("5;a\r\nhello\r\n0\r\n\r\n"), ENDS, "hello", 0},
    {BYTES("5;a=b;c=\"d e\"\r\nhello\r\n0;x\r\n\r\n"), ENDS, "hello", 0},
    {BYTES("5; a = \"\xc3\xa9\"\r\nhello\r\n0\r\n\r\n"), ENDS, "hello", 0},
    {BYTES("0\r\nX: y\r\n\r\n"), ENDS, "", 0},
    {BYTES("0\r\nX:\r\nY-Z: a\tb \xff\r\n\r\nrest"), ENDS, "", 4},
    {BYTES("1\r\nx\r\n0\r\nDigest: a=b\r\n\r\n"), ENDS, "x", 0},
    {BYTES(""), WANTS_MORE, "", 0},
    {BYTES("5"), WANTS_MORE, "", 0},
    {BYTES("5\r\nhel"), WANTS_MORE, "hel", 0},
    {BYTES("5\r\nhello"), WANTS_MORE, "hello", 0},
    {BYTES("5\r\nhello\r\n"), WANTS_MORE, "hello", 0},
    {BYTES("0\r\n"), WANTS_MORE, "", 0},
    {BYTES("0\r\n\r"), WANTS_MORE, "", 0},
    {BYTES("0\r\nX: y\r\n"), WANTS_MORE, "", 0},
    {BYTES("fffffffffffffff\r\nx"), WANTS_MORE, "x", 0},
    /* Sizes. */
    {BYTES("\r\n"), REFUSED, NULL, 0},
    {BYTES("\n"), REFUSED, NULL, 0},
    {BYTES("g\r\n"), REFUSED, NULL, 0},
    {BYTES("+5\r\n"), REFUSED, NULL, 0},
    {BYTES("-1\r\n"), REFUSED, NULL, 0},
    {BYTES("0x5\r\n"), REFUSED, NULL, 0},
    {BYTES(" 5\r\n"), REFUSED, NULL, 0},
    {BYTES("5 \r\nhello"), REFUSED, NULL, 0},
    {BYTES("5 ;a\r\nhello"), REFUSED, NULL, 0},
    {BYTES("5\t;a\r\nhello"), REFUSED, NULL, 0},
    {BYTES("5_0\r\n"), REFUSED, NULL, 0},
    {BYTES("5.0\r\n"), REFUSED, NULL, 0},
    {BYTES("5,5\r\n"), REFUSED, NULL, 0},
    {BYTES(";a\r\n"), REFUSED, NULL, 0},
    {BYTES("0000000000000005\r\nhello"), REFUSED, NULL, 0},
    {BYTES("10000000000000000\r\n"), REFUSED, NULL, 0},
    {BYTES("ffffffffffffffff\r\n"), REFUSED, NULL, 0},
    {BYTES("5\0\r\nhello"), REFUSED, NULL, 0},
    /* Line ends. */
    {BYTES("5\nhello\r\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5\rhello\r\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5\r\r\nhello\r\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5\r\nhello\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5\r\nhello\r0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5\r\nhello0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5\r\nhello!\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5\r\nhello!\r\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5\r\nhell\r\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("0\r\n\n"), REFUSED, NULL, 0},
    {BYTES("0\r\n\rX"), REFUSED, NULL, 0},
    {BYTES("0\n\r\n"), REFUSED, NULL, 0},
    /* Extensions. */
    {BYTES("5;a\nhello\r\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5;a\rb\r\nhello\r\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5;a\tb\r\nhello\r\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5;a\0b\r\nhello\r\n0\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("5;a\x7f\r\nhello\r\n0\r\n\r\n"), REFUSED, NULL, 0},
    /* Trailers. */
    {BYTES("0\r\n: y\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("0\r\n X: y\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("0\r\nX : y\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("0\r\nX\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("0\r\nX: y\n\r\n"), REFUSED, NULL, 0},
    {BYTES("0\r\nX: y\rz\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("0\r\nX: y\r\n z\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("0\r\nX: a\0b\r\n\r\n"), REFUSED, NULL, 0},
    {BYTES("0\r\nGET / HTTP/1.1\r\n\r\n"), REFUSED, NULL, 0},
};

/* A body as it is being read: what has come of it. */
struct reading {
    struct http_body body;
    bool is_refused;
    size_t left;
    size_t length;
    char payload[256];
};

static void begin(struct reading *reading, enum http_framing framing, uint64_t content_length)
{
    memset(reading, 0x5a, sizeof(*reading));
    http_body_construct(&reading->body, framing, content_length);
    reading->is_refused = false;
    reading->left = reading->length = 0;
}

static void read_piece(struct reading *reading, struct slice bytes)
{
    if (reading->is_refused)
        return;
    char *exact = malloc(bytes.length + !bytes.length);
    ck_assert_ptr_nonnull(exact);
    if (bytes.length > 0)
        memcpy(exact, bytes.data, bytes.length);
    struct slice rest = slice_make(exact, bytes.length), payload;
    struct http_refusal refusal = {0, NULL};
    size_t taken;
    while (rest.length > 0 && !reading->body.done && !reading->is_refused) {
        reading->is_refused = !http_body_next(&reading->body, rest, &taken, &payload, &refusal);
        ck_assert_uint_le(taken, rest.length);
        ck_assert_uint_gt(taken, 0);
        rest = slice_make(rest.data + taken, rest.length - taken);
        ck_assert_uint_le(reading->length + payload.length, sizeof(reading->payload));
        memcpy(reading->payload + reading->length, payload.data, payload.length);
        reading->length += payload.length;
    }
    reading->left += rest.length;
    if (reading->is_refused) {
        ck_assert_uint_eq(refusal.status, 400);
        ck_assert_ptr_nonnull(refusal.reason);
    }
    free(exact);
}

static void check_reading(const struct reading *reading, const struct vector *vector)
{
    const char *text = vector->bytes.data;
    ck_assert_msg(reading->is_refused == (vector->verdict == REFUSED), "refused %d: %s",
                  reading->is_refused, text);
    if (vector->verdict == REFUSED)
        return;
    ck_assert_msg(reading->body.done == (vector->verdict == ENDS), "done %d: %s",
                  reading->body.done, text);
    ck_assert_uint_eq(reading->left, vector->left);
    ck_assert_msg(slice_equal(slice_make(reading->payload, reading->length),
                              slice_from_string(vector->payload)),
                  "payload %.*s: %s", (int)reading->length, reading->payload, text);
}

START_TEST(test_p11_chunks_are_taken_or_refused_wherever_they_are_cut)
{
    const struct vector *vector = &chunked[_i];
    struct reading reading;
    for (size_t cut = 0; cut <= vector->bytes.length; cut++) {
        begin(&reading, FRAMING_CHUNKED, 0);
        read_piece(&reading, slice_make(vector->bytes.data, cut));
        read_piece(&reading, slice_make(vector->bytes.data + cut, vector->bytes.length - cut));
        check_reading(&reading, vector);
    }
    begin(&reading, FRAMING_CHUNKED, 0);
    for (size_t at = 0; at < vector->bytes.length; at++)
        read_piece(&reading, slice_make(vector->bytes.data + at, 1));
    check_reading(&reading, vector);
}
END_TEST

START_TEST(test_feeding_takes_what_reading_takes)
{
    const struct vector *vector = &chunked[_i];
    for (size_t cut = 0; cut <= vector->bytes.length; cut++) {
        struct http_body body;
        struct http_refusal refusal;
        http_body_construct(&body, FRAMING_CHUNKED, 0);
        size_t first = 0, second = 0;
        bool is_right =
            http_body_feed(&body, slice_make(vector->bytes.data, cut), &first, &refusal);
        if (is_right)
            is_right = http_body_feed(
                &body, slice_make(vector->bytes.data + cut, vector->bytes.length - cut), &second,
                &refusal);
        ck_assert_int_eq(is_right, vector->verdict != REFUSED);
        if (is_right) {
            ck_assert_int_eq(body.done, vector->verdict == ENDS);
            ck_assert_uint_eq(first + second, vector->bytes.length - vector->left);
        }
    }
}
END_TEST

static const struct {
    enum http_framing framing;
    uint64_t content_length;
    struct vector vector;
} others[] = {
    {FRAMING_NONE, 0, {BYTES("abc"), ENDS, "", 3}},
    {FRAMING_NONE, 7, {BYTES("abc"), ENDS, "", 3}},
    {FRAMING_LENGTH, 0, {BYTES("abc"), ENDS, "", 3}},
    {FRAMING_LENGTH, 2, {BYTES("abc"), ENDS, "ab", 1}},
    {FRAMING_LENGTH, 3, {BYTES("abc"), ENDS, "abc", 0}},
    {FRAMING_LENGTH, 4, {BYTES("abc"), WANTS_MORE, "abc", 0}},
    {FRAMING_LENGTH, INT64_MAX, {BYTES("abc"), WANTS_MORE, "abc", 0}},
    {FRAMING_CLOSE, 0, {BYTES("abc"), WANTS_MORE, "abc", 0}},
};

START_TEST(test_bodies_that_are_not_chunked_end_where_they_say)
{
    const struct vector *vector = &others[_i].vector;
    for (size_t cut = 0; cut <= vector->bytes.length; cut++) {
        struct reading reading;
        begin(&reading, others[_i].framing, others[_i].content_length);
        read_piece(&reading, slice_make(vector->bytes.data, cut));
        read_piece(&reading, slice_make(vector->bytes.data + cut, vector->bytes.length - cut));
        check_reading(&reading, vector);
    }
}
END_TEST

/* `head`, then `count` times `filler`, then `tail`. */
static bool feed_repeated(const char *head, const char *filler, unsigned count, const char *tail)
{
    struct http_body body;
    struct http_refusal refusal;
    size_t taken;
    http_body_construct(&body, FRAMING_CHUNKED, 0);
    if (!http_body_feed(&body, slice_from_string(head), &taken, &refusal))
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (!http_body_feed(&body, slice_from_string(filler), &taken, &refusal))
            return false;
    }
    return http_body_feed(&body, slice_from_string(tail), &taken, &refusal) && body.done;
}

START_TEST(test_p11_extensions_and_trailers_are_bounded)
{
    const unsigned extension_max = HTTP_CHUNK_LINE_MAX - sizeof("0;\r") + 1;
    ck_assert(feed_repeated("0;", "a", extension_max, "\r\n\r\n"));
    ck_assert(!feed_repeated("0;", "a", extension_max + 1, "\r\n\r\n"));
    ck_assert(feed_repeated("0\r\n", "X:yz56\r\n", HTTP_TRAILERS_MAX / 8 - 1, "\r\n"));
    ck_assert(!feed_repeated("0\r\n", "X:yz56\r\n", HTTP_TRAILERS_MAX / 8, "\r\n"));
    ck_assert(!feed_repeated("0\r\n", "a", HTTP_TRAILERS_MAX, ":\r\n\r\n"));
    /* Each chunk has a line of its own. */
    ck_assert(feed_repeated("", "1;abcdefghij\r\nx\r\n", 1000, "0\r\n\r\n"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http/body");
    TCase *cases = tcase_create("body");
    tcase_add_loop_test(cases, test_p11_chunks_are_taken_or_refused_wherever_they_are_cut, 0,
                        COUNT(chunked));
    tcase_add_loop_test(cases, test_feeding_takes_what_reading_takes, 0, COUNT(chunked));
    tcase_add_loop_test(cases, test_bodies_that_are_not_chunked_end_where_they_say, 0,
                        COUNT(others));
    tcase_add_test(cases, test_p11_extensions_and_trailers_are_bounded);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
