/* SPDX-License-Identifier: MIT */
/* Watched answers and what becomes of them; owned by the test's process. */
#include "watched.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static const char failed_line[] = "HTTP/1.1 500 Internal Server Error";
static const char failed_fields[] = "Content-Type: text/html\r\nX-App: one\r\n";
const struct slice good = {"HTTP/1.1 200 OK\r\nX-App: two\r\nContent-Length: 4\r\n\r\ngood",
                           sizeof "HTTP/1.1 200 OK\r\nX-App: two\r\nContent-Length: 4\r\n\r\ngood" -
                               1};

struct scripted scripted;

struct buffer failed_answer(enum framing framing, size_t length)
{
    struct buffer answer = {0};
    compose(&answer, failed_line, failed_fields, framing, random_bytes(length));
    return answer;
}

struct buffer request_of(const char *method, enum framing framing, size_t length)
{
    struct buffer request = {0};
    char line[64];
    snprintf(line, sizeof line, "%s /cards?id=7 HTTP/1.1", method);
    compose(&request, line, "Host: app.test\r\nCookie: a=b\r\n", framing, random_bytes(length));
    return request;
}

void get(struct peer *client)
{
    peer_say(client, "GET /cards HTTP/1.1\r\nHost: app.test\r\n\r\n");
}

/* The client reads what the application sent: byte for byte, but for close-delimited framing, which
 * becomes chunks. */
void expect_first(struct peer *client, const struct buffer *answer, enum framing framing)
{
    struct message message;
    peer_read(client, ANSWER, &message);
    if (framing != CLOSE) {
        ck_assert(slice_equal(buffer_slice(&message.raw), buffer_slice(answer)));
    } else {
        const char *body = memmem(answer->data, answer->length, "\r\n\r\n", 4);
        ck_assert_uint_eq(message.status, 500);
        ck_assert_str_eq(message_field(&message, "X-App"), "one");
        ck_assert_str_eq(message_field(&message, "Transfer-Encoding"), "chunked");
        ck_assert(
            slice_equal(buffer_slice(&message.body),
                        slice_make(body + 4, answer->length - (size_t)(body + 4 - answer->data))));
    }
    message_free(&message);
}

void expect_second(struct peer *client)
{
    struct message message;
    peer_read(client, ANSWER, &message);
    ck_assert_uint_eq(message.status, 200);
    ck_assert_str_eq(message_field(&message, "X-App"), "two");
    ck_assert(slice_equal(buffer_slice(&message.body), SLICE("good")));
    ck_assert(strncmp(message_field(&message, "Proxy-Status"), "automigrate;", 12) == 0);
    message_free(&message);
}

struct peer *next_request(void)
{
    struct message request;
    struct peer *peer = scripted_request(&scripted, &request);
    message_free(&request);
    return peer;
}

void end_if_close(struct peer *application, enum framing framing)
{
    if (framing == CLOSE)
        peer_shut(application);
}

/* The connection goes on as if nothing had been. */
void expect_usable(struct peer *client)
{
    get(client);
    peer_send(next_request(), good);
    peer_expect(client, 200, SLICE("good"));
}
