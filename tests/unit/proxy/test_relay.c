/* SPDX-License-Identifier: MIT */
/* The relay with nothing watched: order, framing, interim answers, early answers, fairness
 * (DESIGN, 5 "Semantics"; RFC 9110, 9112). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "relayed.h"

START_TEST(test_pipelined_requests_in_one_segment_are_answered_in_order)
{
    enum { COUNT = 50 };
    begin(_i ? OVER_UNIX : OVER_TCP);
    struct peer client = scripted_client(&scripted);
    struct buffer requests = {0};
    for (int i = 0; i < COUNT; i++) {
        if (i % 3 == 0)
            buffer_printf(&requests, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
        else if (i % 3 == 1)
            buffer_printf(&requests,
                          "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfives", i);
        else
            buffer_printf(&requests,
                          "PUT /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "3\r\nabc\r\n0\r\n\r\n",
                          i);
    }
    peer_send(&client, buffer_slice(&requests));
    for (int i = 0; i < COUNT; i++) {
        struct message request;
        char answer[64], path[16];
        struct peer *application = scripted_request(&scripted, &request);
        snprintf(path, sizeof path, " /%d ", i);
        ck_assert_ptr_nonnull(memmem(request.raw.data, 20, path, strlen(path)));
        ck_assert_uint_eq(request.body.length, i % 3 == 0 ? 0 : i % 3 == 1 ? 5 : 3);
        message_free(&request);
        snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d",
                 i < 10 ? 1 : 2, i);
        peer_say(application, answer);
    }
    for (int i = 0; i < COUNT; i++) {
        char body[16];
        snprintf(body, sizeof body, "%d", i);
        peer_expect(&client, 200, slice_from_string(body));
    }
    ck_assert_uint_eq(scripted.peer_count, 1);
    buffer_free(&requests);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_100_continue_is_answered_at_once_and_not_sent_on)
{
    begin(_i ? OVER_UNIX : OVER_TCP);
    static const size_t sizes[] = {10, 10 * KIB, 300 * KIB};
    struct peer client = scripted_client(&scripted);
    for (size_t i = 0; i < 3; i++) {
        struct buffer request = {0};
        struct message message;
        compose(&request, "POST / HTTP/1.1", "Host: a\r\nExpect: 100-continue\r\n", LENGTH,
                random_bytes(sizes[i]));
        size_t head = request.length - sizes[i];
        peer_send(&client, slice_make(request.data, head));
        peer_read(&client, ANSWER, &message);
        ck_assert_uint_eq(message.status, 100);
        message_free(&message);
        peer_send(&client, slice_make(request.data + head, sizes[i]));
        struct peer *application = scripted_request(&scripted, &message);
        ck_assert_str_eq(message_field(&message, "Expect"), "");
        ck_assert(slice_equal(buffer_slice(&message.body), random_bytes(sizes[i])));
        message_free(&message);
        peer_say(application, "HTTP/1.1 100 Continue\r\n\r\n"); /* some do so all the same */
        answer_ok(application);
        peer_expect(&client, 200, SLICE("ok"));
        buffer_free(&request);
    }
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_an_interim_answer_is_passed_to_an_http_1_1_client_only)
{
    begin(OVER_TCP);
    static const char hints[] = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    for (int old = 0; old < 2; old++) {
        struct peer client = scripted_client(&scripted);
        struct message message;
        peer_say(&client, old ? "GET / HTTP/1.0\r\n\r\n" : "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        struct peer *application = next_request();
        peer_say(application, hints);
        if (!old) { /* before the answer is there */
            peer_read(&client, ANSWER, &message);
            ck_assert(slice_equal(buffer_slice(&message.raw), slice_from_string(hints)));
            message_free(&message);
        }
        answer_ok(application);
        peer_expect(&client, 200, SLICE("ok"));
        peer_close(&client);
    }
    scripted_destruct(&scripted);
}
END_TEST

/* Interim answers to a client that does not read them stop at a bound. */
START_TEST(test_interim_answers_to_a_client_that_does_not_read_do_not_pile_up)
{
    enum { LENGTH_OF_ALL = 32 * MIB };
    begin(_i ? OVER_UNIX : OVER_TCP);
    struct peer client = peer_connect_narrow(proxy_address(scripted.proxy), 4 * KIB);
    struct buffer all = {0};
    static const char hints[] = "HTTP/1.1 103 Early Hints\r\nLink: </a/long/name.css>\r\n\r\n";
    while (all.length < LENGTH_OF_ALL)
        ck_assert(buffer_append(&all, hints, sizeof hints - 1));
    get(&client);
    struct peer *application = next_request();
    struct sender sender;
    sender_start_impatient(&sender, application, buffer_slice(&all));
    ck_assert_msg(!sender_join(&sender), "the proxy took in all of it");
    /* And it goes on when the client does. */
    for (int i = 0; i < 1000; i++) {
        struct message message;
        peer_read(&client, ANSWER, &message);
        ck_assert_uint_eq(message.status, 103);
        message_free(&message);
    }
    buffer_free(&all);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_framing_is_what_the_client_understands)
{
    begin(OVER_TCP);
    static const size_t sizes[] = {0, 5, 100 * KIB};
    for (int each = 0; each < 2 * 3 * 3; each++) {
        bool is_old = each & 1;
        enum framing framing = (enum framing)(each / 2 % 3);
        struct slice body = random_bytes(sizes[each / 6]);
        struct peer client = scripted_client(&scripted);
        struct buffer answer = {0};
        struct message message;
        compose(&answer, "HTTP/1.1 200 OK", "X-App: yes\r\n", framing, body);
        peer_say(&client, is_old ? "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
                                 : "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        struct peer *application = next_request();
        peer_send(application, buffer_slice(&answer));
        if (framing == CLOSE)
            peer_close(application);
        peer_read(&client, ANSWER, &message);
        ck_assert(slice_equal(buffer_slice(&message.body), body));
        ck_assert_str_eq(message_field(&message, "Transfer-Encoding"),
                         framing == LENGTH || is_old ? "" : "chunked");
        if (is_old && framing == LENGTH)
            ck_assert_str_eq(message_field(&message, "Connection"), "keep-alive");
        if (is_old && framing != LENGTH)
            ck_assert_str_eq(message_field(&message, "Connection"), "close");
        else
            expect_usable(&client);
        message_free(&message);
        buffer_free(&answer);
        peer_close(&client);
    }
    scripted_destruct(&scripted);
}
END_TEST

/* _i: 413 with an open or a closed connection behind it; over TCP and unix sockets. */
START_TEST(test_an_early_answer_arrives_while_the_body_is_still_being_sent)
{
    begin(_i & 1 ? OVER_UNIX : OVER_TCP);
    struct peer client = scripted_client(&scripted);
    struct buffer request = {0};
    struct message message;
    struct sender sender;
    compose(&request, "POST / HTTP/1.1", "Host: a\r\n", LENGTH, random_bytes(20 * MIB));
    sender_start(&sender, &client, buffer_slice(&request));
    struct peer *application = scripted_accept(&scripted);
    peer_receive_all(application, 100 * KIB);
    peer_say(application, "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge");
    if (_i & 2)
        peer_close(application);
    if (_i & 4)
        ck_assert(sender_join(&sender)); /* a client that reads only when all is sent */
    peer_read(&client, ANSWER, &message);
    ck_assert_uint_eq(message.status, 413);
    ck_assert(slice_equal(buffer_slice(&message.body), SLICE("large")));
    ck_assert_str_eq(message_field(&message, "Connection"), "close");
    message_free(&message);
    if (!(_i & 4))
        sender_join(&sender);
    peer_close(&client);
    client = scripted_client(&scripted);
    buffer_free(&request);
    get(&client);
    if (!(_i & 2)) { /* that connection was not used again */
        buffer_free(&application->input);
        while (peer_receive(application) == PEER_BYTES)
            buffer_free(&application->input);
        peer_close(application);
    }
    answer_ok(next_request());
    peer_expect(&client, 200, SLICE("ok"));
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_an_answer_that_begins_early_flows_while_the_body_still_goes_up)
{
    begin(_i ? OVER_UNIX : OVER_TCP);
    enum { LENGTH_OF_ALL = 4 * MIB, FIRST = 200 * KIB };
    struct peer client = scripted_client(&scripted);
    struct buffer request = {0};
    struct slice body = random_bytes(LENGTH_OF_ALL);
    compose(&request, "POST / HTTP/1.1", "Host: a\r\n", LENGTH, body);
    size_t head = request.length - body.length;
    peer_send(&client, slice_make(request.data, head + FIRST));
    struct peer *application = scripted_accept(&scripted);
    peer_receive_all(application, FIRST);
    char answer[96];
    snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LENGTH_OF_ALL);
    peer_say(application, answer);
    peer_receive_all(&client, strlen(answer)); /* long before the request is whole */
    /* Now an echo: each piece comes back before the next goes up. */
    for (size_t at = 0; at < LENGTH_OF_ALL;) {
        size_t piece = at + FIRST < LENGTH_OF_ALL ? FIRST : LENGTH_OF_ALL - at;
        peer_send(application, slice_make(body.data + at, piece));
        at += piece;
        peer_receive_all(&client, strlen(answer) + at);
        size_t next = at + FIRST < LENGTH_OF_ALL ? FIRST : LENGTH_OF_ALL - at;
        if (next == 0)
            break;
        peer_send(&client, slice_make(body.data + at, next));
        peer_receive_all(application, at + next);
    }
    peer_expect(&client, 200, body);
    struct message message;
    peer_read(application, REQUEST, &message);
    ck_assert(slice_equal(buffer_slice(&message.body), body));
    message_free(&message);
    expect_usable(&client);
    ck_assert_uint_eq(scripted.peer_count, 1);
    buffer_free(&request);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* What is refused, and how the connection ends. A client that goes on sending is cut off in the end
 * and holds nobody else up. */
START_TEST(test_p7_a_refused_client_that_goes_on_sending_holds_nobody_up)
{
    begin(_i ? OVER_UNIX : OVER_TCP);
    struct peer flood = scripted_client(&scripted), client;
    struct buffer much = {0};
    ck_assert(buffer_append_string(&much, "NONSENSE\r\n\r\n"));
    ck_assert(buffer_reserve(&much, 256u * MIB)); /* more than can pass in the time there is */
    memset(much.data + much.length, 'x', 256u * MIB - 64);
    much.length += 256u * MIB - 64;
    struct sender sender;
    sender_start(&sender, &flood, buffer_slice(&much));
    struct message message;
    peer_read(&flood, ANSWER, &message);
    ck_assert_uint_eq(message.status, 400);
    message_free(&message);
    client = scripted_client(&scripted);
    expect_usable(&client);
    ck_assert_msg(sender.sent < much.length, "nobody was served while the flood lasted");
    shutdown(flood.fd, SHUT_RDWR);
    sender_join(&sender);
    buffer_free(&much);
    peer_close(&flood);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* An upload as fast as both sides can, and a request beside it. */
START_TEST(test_p7_a_fast_upload_and_a_small_request_share_a_worker)
{
    begin(OVER_UNIX);
    struct peer upload = scripted_client(&scripted), client = scripted_client(&scripted);
    struct buffer request = {0};
    compose(&request, "PUT / HTTP/1.1", "Host: a\r\n", LENGTH, random_bytes(64 * MIB));
    struct sender sender;
    sender_start(&sender, &upload, buffer_slice(&request));
    struct peer *application = scripted_accept(&scripted);
    peer_receive_all(application, MIB);
    get(&client);
    while (scripted_nobody_connects(&scripted)) {
        ck_assert_int_eq(peer_receive(application), PEER_BYTES);
        ck_assert_uint_lt(application->input.length, 32 * MIB);
    }
    struct peer *other = scripted_accept(&scripted);
    struct message message;
    peer_read(other, REQUEST, &message);
    message_free(&message);
    answer_ok(other);
    peer_expect(&client, 200, SLICE("ok"));
    peer_read(application, REQUEST, &message);
    ck_assert(sender_join(&sender));
    ck_assert_uint_eq(message.body.length, 64 * MIB);
    message_free(&message);
    answer_ok(application);
    peer_expect(&upload, 200, SLICE("ok"));
    buffer_free(&request);
    peer_close(&upload);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* The answer to the last request arrives although more was sent behind it. */
START_TEST(test_the_last_answer_arrives_although_the_client_sent_more)
{
    begin(OVER_TCP);
    struct peer client = scripted_client(&scripted);
    struct slice body = random_bytes(MIB);
    struct buffer answer = {0};
    struct sender sender;
    compose(&answer, "HTTP/1.1 200 OK", "", LENGTH, body);
    peer_say(&client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    struct peer *application = next_request();
    peer_send(&client, random_bytes(100 * KIB));
    sender_start(&sender, application, buffer_slice(&answer));
    ck_assert(sender_join(&sender));
    peer_expect(&client, 200, body);
    peer_expect_end(&client);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/relay");
    TCase *tests = tcase_create("relay");
    tcase_add_loop_test(tests, test_pipelined_requests_in_one_segment_are_answered_in_order, 0, 2);
    tcase_add_loop_test(tests, test_100_continue_is_answered_at_once_and_not_sent_on, 0, 2);
    tcase_add_test(tests, test_an_interim_answer_is_passed_to_an_http_1_1_client_only);
    tcase_add_loop_test(tests, test_interim_answers_to_a_client_that_does_not_read_do_not_pile_up,
                        0, 2);
    tcase_add_test(tests, test_framing_is_what_the_client_understands);
    tcase_add_loop_test(tests, test_an_early_answer_arrives_while_the_body_is_still_being_sent, 0,
                        8);
    tcase_add_loop_test(tests, test_an_answer_that_begins_early_flows_while_the_body_still_goes_up,
                        0, 2);
    tcase_add_loop_test(tests, test_p7_a_refused_client_that_goes_on_sending_holds_nobody_up, 0, 2);
    tcase_add_test(tests, test_p7_a_fast_upload_and_a_small_request_share_a_worker);
    tcase_add_test(tests, test_the_last_answer_arrives_although_the_client_sent_more);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
