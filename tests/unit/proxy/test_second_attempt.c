/* SPDX-License-Identifier: MIT */
/* An exchange that waits, and its second attempt: whatever ends them, the client gets one whole
 * answer (DESIGN, 5 "Exchange rules"; P6, P7). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "watched.h"

/* How a second attempt ends without a final head. */
static const struct {
    const char *name;
    const char *text; /* what it sends */
    enum { THEN_CLOSE, THEN_RESET, THEN_SILENCE, REFUSE } end;
} second_ends[] = {
    {"closed at once", "", THEN_CLOSE},
    {"reset", "", THEN_RESET},
    {"half a head", "HTTP/1.1 200 OK\r\nContent-Le", THEN_CLOSE},
    {"only an interim head", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", THEN_CLOSE},
    {"malformed", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", THEN_SILENCE},
    {"not HTTP", "220 smtp.test\r\n", THEN_SILENCE},
    {"silent", "", THEN_SILENCE},
    {"silent in its head", "HTTP/1.1 200 OK\r\n", THEN_SILENCE},
    {"refused", "", REFUSE},
};

START_TEST(test_p6_the_first_answer_is_kept_until_the_second_has_a_final_head)
{
    for (enum framing framing = LENGTH; framing <= CLOSE; framing++) {
        scripted_construct(&scripted, OVER_TCP);
        scripted.config.upstream_response_timeout_ms = 700;
        scripted.is_worth_holding = true;
        scripted.answer = HEALING_WAIT;
        scripted_start(&scripted);
        struct peer client = scripted_client(&scripted);
        struct buffer answer = failed_answer(framing, 5000);
        get(&client);
        struct peer *application = next_request();
        peer_send(application, buffer_slice(&answer));
        if (framing == CLOSE || second_ends[_i].end == REFUSE)
            peer_close(application);
        scripted_wait(&scripted, &scripted.submitted, 1);
        if (second_ends[_i].end == REFUSE) {
            scripted_wait_metric(&scripted, "automigrate_upstream_open", 0);
            scripted_stop_listening(&scripted);
        }
        scripted_deliver(&scripted, VERDICT_RETRY);
        if (second_ends[_i].end != REFUSE) {
            application = next_request();
            peer_say(application, second_ends[_i].text);
            if (second_ends[_i].end == THEN_CLOSE)
                peer_close(application);
            else if (second_ends[_i].end == THEN_RESET)
                peer_reset(application);
        }
        expect_first(&client, &answer, framing);
        ck_assert_uint_eq(scripted_count(&scripted, &scripted.told), 1);
        ck_assert_int_eq(scripted.outcome, OUTCOME_NOT_HEALED);
        ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_own_errors_total"), 0);
        buffer_free(&answer);
        if (second_ends[_i].end != REFUSE)
            expect_usable(&client);
        peer_close(&client);
        scripted_destruct(&scripted);
    }
}
END_TEST

START_TEST(test_p6_a_second_failure_is_passed_and_not_tried_again)
{
    scripted_begin(&scripted, OVER_TCP);
    struct peer client = scripted_client(&scripted);
    struct buffer answer = failed_answer(LENGTH, 5000);
    struct message message;
    get(&client);
    peer_send(next_request(), buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 1);
    scripted_deliver(&scripted, VERDICT_RETRY);
    peer_say(next_request(), "HTTP/1.1 500 Again\r\nX-App: two\r\nContent-Length: 5\r\n\r\nagain");
    peer_read(&client, ANSWER, &message);
    ck_assert(slice_equal(buffer_slice(&message.body), SLICE("again")));
    ck_assert_str_eq(message_field(&message, "Proxy-Status"), "");
    scripted_wait(&scripted, &scripted.told, 1);
    ck_assert_int_eq(scripted.outcome, OUTCOME_NOT_HEALED);
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.submitted), 1);
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_healed_total"), 0);
    message_free(&message);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_expose_off_hides_that_it_was_healed)
{
    scripted_construct(&scripted, OVER_TCP);
    scripted.config.expose = false;
    scripted.is_worth_holding = true;
    scripted.answer = HEALING_WAIT;
    scripted_start(&scripted);
    struct peer client = scripted_client(&scripted);
    struct buffer answer = failed_answer(LENGTH, 50);
    struct message message;
    get(&client);
    peer_send(next_request(), buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 1);
    scripted_deliver(&scripted, VERDICT_RETRY);
    peer_send(next_request(), good);
    peer_read(&client, ANSWER, &message);
    ck_assert(slice_equal(buffer_slice(&message.raw), good));
    message_free(&message);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_p7_no_verdict_in_time_passes_the_answer_and_a_late_one_finds_nobody)
{
    scripted_construct(&scripted, OVER_TCP);
    scripted.config.recover_wait_ms = 150;
    scripted.is_worth_holding = true;
    scripted.answer = HEALING_WAIT;
    scripted_start(&scripted);
    struct peer client = scripted_client(&scripted);
    struct buffer answer = failed_answer(CHUNKED, 5000);
    get(&client);
    peer_send(next_request(), buffer_slice(&answer));
    expect_first(&client, &answer, CHUNKED);
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.taken_back), 1);
    ck_assert_uint_eq(scripted.taken.slot_generation, scripted.ticket.slot_generation);
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.told), 1);
    ck_assert_int_eq(scripted.outcome, OUTCOME_TIMED_OUT);
    scripted_deliver(&scripted, VERDICT_RETRY);
    scripted_go_round(&scripted);
    ck_assert(peer_is_quiet(&client));
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_retried_total"), 0);
    expect_usable(&client);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_a_client_that_resets_while_waiting_is_dropped_and_its_verdict_finds_nobody)
{
    scripted_begin(&scripted, _i ? OVER_UNIX : OVER_TCP);
    struct peer gone = scripted_client(&scripted), client = scripted_client(&scripted);
    struct buffer answer = failed_answer(LENGTH, 5000);
    get(&gone);
    peer_send(next_request(), buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 1);
    struct ticket ticket = scripted.ticket;
    peer_reset(&gone);
    scripted_wait(&scripted, &scripted.taken_back, 1);
    ck_assert_uint_eq(scripted.taken.slot, ticket.slot);
    ck_assert_uint_eq(scripted.taken.slot_generation, ticket.slot_generation);
    scripted_wait_metric(&scripted, "automigrate_parked", 0);

    get(&client);
    peer_send(next_request(), buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 2);
    ck_assert_uint_eq(scripted.ticket.slot, ticket.slot); /* the slot was free again */
    ck_assert_uint_ne(scripted.ticket.slot_generation, ticket.slot_generation);
    struct verdict others[] = {
        {ticket, VERDICT_RETRY}, {{0, 1u << 30, 1}, VERDICT_RETRY}, /* nobody's slot */
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert(proxy_deliver(scripted.proxy, &others[i]));
    ck_assert(!proxy_deliver(scripted.proxy, &(struct verdict){{7, 0, 1}, VERDICT_RETRY}));
    scripted_go_round(&scripted);
    ck_assert(peer_is_quiet(&client));
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_parked"), 1);
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_retried_total"), 0);
    scripted_deliver(&scripted, VERDICT_PASS);
    expect_first(&client, &answer, LENGTH);
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.told), 0);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_a_client_that_half_closes_while_waiting_is_answered)
{
    scripted_begin(&scripted, _i & 1 ? OVER_UNIX : OVER_TCP);
    struct peer client = scripted_client(&scripted);
    struct buffer answer = failed_answer(LENGTH, 5000);
    get(&client);
    peer_shut(&client);
    peer_send(next_request(), buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 1);
    scripted_go_round(&scripted);
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.taken_back), 0);
    scripted_deliver(&scripted, _i & 2 ? VERDICT_RETRY : VERDICT_PASS);
    if (_i & 2) {
        peer_send(next_request(), good);
        expect_second(&client);
    } else {
        expect_first(&client, &answer, LENGTH);
    }
    peer_expect_end(&client);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* A client that leaves during the second attempt leaves nothing behind. */
START_TEST(test_a_client_that_leaves_during_the_second_attempt)
{
    scripted_begin(&scripted, OVER_TCP);
    struct peer client = scripted_client(&scripted);
    struct buffer answer = failed_answer(LENGTH, 5000);
    get(&client);
    peer_send(next_request(), buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 1);
    scripted_deliver(&scripted, VERDICT_RETRY);
    struct peer *application = next_request();
    peer_reset(&client);
    peer_expect_end(application); /* its connection is not used for anybody else */
    client = scripted_client(&scripted);
    expect_usable(&client);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* The verdict overtakes the rest of a long answer. _i: TCP, unix. */
static const size_t long_answers[] = {300 * KIB, 3 * MIB};
enum overtaken { PASSED, RETRIED, RETRIED_IN_VAIN, OVERTAKEN_COUNT };

START_TEST(test_p6_a_verdict_before_the_first_answer_was_drained)
{
    scripted_begin(&scripted, _i ? OVER_UNIX : OVER_TCP);
    unsigned submitted = 0;
    for (int each = 0; each < 2 * 3 * OVERTAKEN_COUNT; each++) {
        size_t length = long_answers[each % 2];
        enum framing framing = (enum framing)(each / 2 % 3);
        enum overtaken way = (enum overtaken)(each / 6);
        struct peer client = scripted_client(&scripted);
        struct buffer answer = failed_answer(framing, length);
        const size_t early = 100 * KIB;
        get(&client);
        struct peer *application = next_request(), *second;
        peer_send(application, slice_make(answer.data, early));
        scripted_wait(&scripted, &scripted.submitted, ++submitted);
        ck_assert_uint_lt(scripted.failure.body.length, length);
        ck_assert(peer_is_quiet(&client));
        scripted_deliver(&scripted, way == PASSED ? VERDICT_PASS : VERDICT_RETRY);
        if (way != PASSED) {
            second = next_request();
            ck_assert_ptr_ne(second, application); /* its own is still at the first answer */
            if (way == RETRIED) {
                peer_send(second, good);
                expect_second(&client);
                enum peer_received end = peer_receive(application);
                ck_assert(end == PEER_END || end == PEER_RESET); /* nobody wants the rest */
                peer_close(application);
            } else {
                peer_close(second);
            }
        }
        if (way != RETRIED) {
            struct sender sender;
            sender_start(&sender, application,
                         slice_make(answer.data + early, answer.length - early));
            if (framing == CLOSE)
                peer_receive_all(&client, length - 2 * KIB);
            else
                expect_first(&client, &answer, framing);
            ck_assert(sender_join(&sender));
            end_if_close(application, framing);
            if (framing == CLOSE)
                expect_first(&client, &answer, framing);
        }
        buffer_free(&answer);
        peer_close(&client);
    }
    scripted_destruct(&scripted);
}
END_TEST

/* The application dies within a watched answer. What the client sees must not look whole. */
enum death { WHILE_HELD, WHILE_PARKED, AFTER_PASS, AFTER_A_RETRY_IN_VAIN, DEATH_COUNT };

START_TEST(test_p6_a_watched_answer_that_breaks_off_never_looks_whole)
{
    scripted_begin(&scripted, OVER_TCP);
    unsigned submitted = 0;
    for (int each = 0; each < DEATH_COUNT * 3 * 2; each++) {
        enum death death = (enum death)(each % DEATH_COUNT);
        enum framing framing = (enum framing)(each / DEATH_COUNT % 3);
        bool is_old = each / DEATH_COUNT / 3; /* an HTTP/1.0 client */
        struct peer client = scripted_client(&scripted);
        struct buffer answer = failed_answer(framing, 300 * KIB);
        peer_say(&client, is_old ? "GET / HTTP/1.0\r\n\r\n" : "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        struct peer *application = next_request();
        peer_send(application, slice_make(answer.data, death == WHILE_HELD ? 20 * KIB : 100 * KIB));
        if (death == WHILE_HELD)
            scripted_wait_metric(&scripted, "automigrate_held_total", (uint64_t)each + 1);
        else
            scripted_wait(&scripted, &scripted.submitted, ++submitted);
        if (death == AFTER_PASS) {
            scripted_deliver(&scripted, VERDICT_PASS);
            peer_receive_all(&client, 90 * KIB);
        } else if (death == AFTER_A_RETRY_IN_VAIN) {
            scripted_deliver(&scripted, VERDICT_RETRY);
            peer_close(next_request());
            peer_receive_all(&client, 90 * KIB);
        }
        peer_reset(application);
        if (death == WHILE_PARKED) {
            scripted_wait_metric(&scripted, "automigrate_upstream_open", 0);
            scripted_deliver(&scripted, VERDICT_PASS);
        }
        struct message message;
        peer_read_any(&client, ANSWER, &message);
        ck_assert_msg(!message.whole, "%d: it looks whole", each);
        message_free(&message);
        buffer_free(&answer);
        peer_close(&client);
        scripted_wait_metric(&scripted, "automigrate_upstream_open", 0);
    }
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_p7_an_answer_that_stalls_is_judged_by_what_came)
{
    scripted_construct(&scripted, OVER_TCP);
    scripted.config.hold_timeout_ms = 100;
    scripted.is_worth_holding = true;
    scripted.answer = _i ? HEALING_WAIT : HEALING_PASS;
    scripted_start(&scripted);
    struct peer client = scripted_client(&scripted);
    struct buffer answer = failed_answer(LENGTH, 5000);
    get(&client);
    struct peer *application = next_request();
    peer_send(application, slice_make(answer.data, 1000));
    scripted_wait(&scripted, &scripted.submitted, 1);
    ck_assert_uint_lt(scripted.failure.body.length, 1000);
    ck_assert_uint_gt(scripted.failure.body.length, 800);
    if (_i) {
        ck_assert(peer_is_quiet(&client));
        scripted_deliver(&scripted, VERDICT_PASS);
    }
    peer_receive_all(&client, 1000);
    peer_send(application, slice_make(answer.data + 1000, answer.length - 1000));
    expect_first(&client, &answer, LENGTH);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_an_event_stream_is_never_held)
{
    scripted_begin(&scripted, OVER_TCP);
    struct peer client = scripted_client(&scripted);
    get(&client);
    peer_say(next_request(), "HTTP/1.1 500 No\r\nContent-Type: text/event-stream\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n");
    while (!memmem(client.input.data ? client.input.data : "", client.input.length, "data:", 5))
        ck_assert_int_eq(peer_receive(&client), PEER_BYTES);
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.asked), 0);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_a_failed_head_request_is_retried_and_has_no_body)
{
    scripted_begin(&scripted, OVER_TCP);
    struct peer client = scripted_client(&scripted);
    struct message message;
    for (unsigned i = 0; i < 2; i++) {
        peer_say(&client, "HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n");
        peer_say(next_request(), "HTTP/1.1 500 No\r\nContent-Length: 77\r\n\r\n");
        scripted_wait(&scripted, &scripted.submitted, i + 1);
        ck_assert_uint_eq(scripted.failure.body.length, 0);
        scripted_deliver(&scripted, i ? VERDICT_PASS : VERDICT_RETRY);
        if (i == 0)
            peer_say(next_request(), "HTTP/1.1 200 OK\r\nContent-Length: 88\r\n\r\n");
        peer_read(&client, ANSWER_TO_HEAD, &message);
        ck_assert_uint_eq(message.status, i ? 500 : 200);
        ck_assert_str_eq(message_field(&message, "Content-Length"), i ? "77" : "88");
        message_free(&message);
    }
    expect_usable(&client);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* Requests that were pipelined behind one that waits stay where they are, and follow it. */
START_TEST(test_pipelined_requests_wait_behind_one_that_is_parked)
{
    scripted_begin(&scripted, OVER_TCP);
    struct peer client = scripted_client(&scripted);
    struct buffer answer = failed_answer(LENGTH, 5000), both = request_of("POST", CHUNKED, 2000);
    buffer_append_string(&both, "GET /after HTTP/1.1\r\nHost: app.test\r\n\r\n");
    peer_send(&client, buffer_slice(&both));
    peer_send(next_request(), buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 1);
    scripted_deliver(&scripted, VERDICT_RETRY);
    struct message second;
    struct peer *application = scripted_request(&scripted, &second);
    ck_assert(slice_equal(buffer_slice(&second.body), random_bytes(2000)));
    message_free(&second);
    peer_send(application, good);
    expect_second(&client);
    application = scripted_request(&scripted, &second);
    ck_assert(slice_has_prefix(message_head(&second), SLICE("GET /after HTTP/1.1\r\n")));
    ck_assert_str_eq(message_field(&second, "X-Automigrate-Attempt"), "");
    message_free(&second);
    peer_send(application, good);
    peer_expect(&client, 200, SLICE("good"));
    buffer_free(&answer);
    buffer_free(&both);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* An early 500: the client is still sending its body. Passed, it arrives; retried, the application
 * gets the whole body the second time. */
START_TEST(test_an_early_failure_while_the_body_is_still_being_sent)
{
    scripted_begin(&scripted, _i & 2 ? OVER_UNIX : OVER_TCP);
    bool is_retried = _i & 1;
    struct peer client = scripted_client(&scripted);
    struct buffer request = request_of("POST", LENGTH, 20 * MIB),
                  answer = failed_answer(LENGTH, 5000);
    struct sender sender;
    sender_start(&sender, &client, buffer_slice(&request));
    struct peer *application = scripted_accept(&scripted);
    peer_receive_all(application, 200 * KIB);
    peer_send(application, buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 1);
    ck_assert(scripted.failure.replayable);
    peer_close(application);
    scripted_deliver(&scripted, is_retried ? VERDICT_RETRY : VERDICT_PASS);
    if (is_retried) {
        struct message second;
        application = scripted_request(&scripted, &second);
        ck_assert_str_eq(message_field(&second, "X-Automigrate-Attempt"), "2");
        ck_assert(slice_equal(buffer_slice(&second.body), random_bytes(20 * MIB)));
        ck_assert(sender_join(&sender));
        message_free(&second);
        peer_send(application, good);
        expect_second(&client);
        expect_usable(&client);
    } else {
        struct message message;
        peer_read(&client, ANSWER, &message);
        ck_assert_uint_eq(message.status, 500);
        ck_assert(slice_equal(buffer_slice(&message.body), random_bytes(5000)));
        ck_assert_str_eq(message_field(&message, "Connection"), "close");
        message_free(&message);
        sender_join(&sender);
    }
    buffer_free(&request);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

int main(void)
{
    Suite *suite = suite_create("proxy/second_attempt");
    TCase *tests = tcase_create("second_attempt");
    tcase_add_loop_test(tests, test_p6_the_first_answer_is_kept_until_the_second_has_a_final_head,
                        0, COUNT_OF(second_ends));
    tcase_add_test(tests, test_p6_a_second_failure_is_passed_and_not_tried_again);
    tcase_add_test(tests, test_expose_off_hides_that_it_was_healed);
    tcase_add_test(tests, test_p7_no_verdict_in_time_passes_the_answer_and_a_late_one_finds_nobody);
    tcase_add_loop_test(
        tests, test_a_client_that_resets_while_waiting_is_dropped_and_its_verdict_finds_nobody, 0,
        2);
    tcase_add_loop_test(tests, test_a_client_that_half_closes_while_waiting_is_answered, 0, 4);
    tcase_add_test(tests, test_a_client_that_leaves_during_the_second_attempt);
    tcase_add_loop_test(tests, test_p6_a_verdict_before_the_first_answer_was_drained, 0, 2);
    tcase_add_test(tests, test_p6_a_watched_answer_that_breaks_off_never_looks_whole);
    tcase_add_loop_test(tests, test_p7_an_answer_that_stalls_is_judged_by_what_came, 0, 2);
    tcase_add_test(tests, test_an_event_stream_is_never_held);
    tcase_add_test(tests, test_a_failed_head_request_is_retried_and_has_no_body);
    tcase_add_test(tests, test_pipelined_requests_wait_behind_one_that_is_parked);
    tcase_add_loop_test(tests, test_an_early_failure_while_the_body_is_still_being_sent, 0, 4);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
