/* SPDX-License-Identifier: MIT */
/* An exchange whose answer is watched: what is held, judged, passed, kept and sent again (DESIGN, 5
 * "Exchange rules"; P1, P6, P7). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "watched.h"

START_TEST(test_p1_an_unwatched_answer_asks_healing_nothing)
{
    static const char *const lines[] = {"200 OK", "204 No Content", "302 Found", "404 Not Found",
                                        "499 Odd"};
    scripted_begin(&scripted, OVER_TCP);
    struct peer client = scripted_client(&scripted);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char answer[128];
        get(&client);
        snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\n%s\r\n", lines[i],
                 i == 1 ? "" : "Content-Length: 0\r\n");
        peer_say(next_request(), answer);
        struct message message;
        peer_read(&client, ANSWER, &message);
        ck_assert(slice_equal(buffer_slice(&message.raw), slice_from_string(answer)));
        message_free(&message);
    }
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.asked), 0);
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.submitted), 0);
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_held_total"), 0);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_p1_a_failure_with_nothing_pending_is_passed_without_a_look)
{
    scripted_construct(&scripted, OVER_TCP);
    scripted_start(&scripted);
    struct peer client = scripted_client(&scripted);
    for (unsigned i = 1; i <= 3; i++) {
        enum framing framing = i == 1 ? LENGTH : CHUNKED;
        struct buffer answer = failed_answer(framing, 100 * KIB);
        get(&client);
        struct peer *application = next_request();
        /* Not delayed for an end that has not come. */
        peer_send(application, slice_make(answer.data, 1000));
        peer_receive_all(&client, 1000);
        peer_send(application, slice_make(answer.data + 1000, answer.length - 1000));
        expect_first(&client, &answer, framing);
        ck_assert_uint_eq(scripted_count(&scripted, &scripted.asked), i);
        buffer_free(&answer);
    }
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.submitted), 0);
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_held_total"), 0);
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_failures_passed_total"), 3);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

static const size_t answer_sizes[] = {0, 1, 300, 64 * KIB - 1, 64 * KIB, 200 * KIB, 3 * MIB};

/* _i: 0 TCP and 1 unix sockets, times whether the verdict comes at once or later. */
START_TEST(test_p6_a_passed_answer_is_the_applications_byte_for_byte)
{
    scripted_begin(&scripted, _i & 1 ? OVER_UNIX : OVER_TCP);
    bool waits = _i & 2;
    scripted.answer = waits ? HEALING_WAIT : HEALING_PASS;
    struct peer client = scripted_client(&scripted);
    unsigned submitted = 0;
    for (enum framing framing = LENGTH; framing <= CLOSE; framing++) {
        for (size_t i = 0; i < sizeof answer_sizes / sizeof *answer_sizes; i++) {
            struct buffer answer = failed_answer(framing, answer_sizes[i]);
            struct sender sender;
            get(&client);
            struct peer *application = next_request();
            sender_start(&sender, application, buffer_slice(&answer));
            if (answer_sizes[i] <= 64 * KIB) {
                ck_assert(sender_join(&sender));
                end_if_close(application, framing);
            }
            scripted_wait(&scripted, &scripted.submitted, ++submitted);
            ck_assert_uint_eq(scripted.failure.status, 500);
            ck_assert_int_eq(scripted.failure.method, METHOD_GET);
            ck_assert(slice_equal(scripted.failure.target, SLICE("/cards")));
            ck_assert(scripted.failure.replayable);
            if (answer_sizes[i] <= 64 * KIB && framing != CHUNKED)
                ck_assert_uint_eq(scripted.failure.body.length, answer_sizes[i]);
            ck_assert_int_eq(memcmp(scripted.failure.body.data, random_bytes(answer_sizes[i]).data,
                                    scripted.failure.body.length),
                             0);
            if (waits)
                scripted_deliver(&scripted, VERDICT_PASS);
            if (answer_sizes[i] > 64 * KIB && framing == CLOSE) {
                /* Its end comes behind what the client may have to read first. */
                struct message message;
                peer_receive_all(&client, answer_sizes[i] - 64 * KIB);
                ck_assert(sender_join(&sender));
                end_if_close(application, framing);
                peer_read(&client, ANSWER, &message);
                ck_assert(slice_equal(buffer_slice(&message.body), random_bytes(answer_sizes[i])));
                message_free(&message);
            } else {
                expect_first(&client, &answer, framing);
                if (answer_sizes[i] > 64 * KIB)
                    ck_assert(sender_join(&sender));
            }
            buffer_free(&answer);
        }
    }
    expect_usable(&client);
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.told), 0);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_p6_an_answer_in_many_small_pieces_is_passed_whole)
{
    scripted_begin(&scripted, OVER_TCP);
    scripted.answer = _i & 1 ? HEALING_WAIT : HEALING_PASS;
    struct peer client = scripted_client(&scripted);
    for (enum framing framing = LENGTH; framing <= CLOSE; framing++) {
        struct buffer answer = failed_answer(framing, 700);
        get(&client);
        struct peer *application = next_request();
        for (size_t i = 0; i < answer.length; i++)
            peer_send(application, slice_make(answer.data + i, 1));
        end_if_close(application, framing);
        scripted_wait(&scripted, &scripted.submitted, (unsigned)framing + 1);
        ck_assert(slice_equal(scripted.failure.body, random_bytes(700)));
        scripted_deliver(&scripted, VERDICT_PASS); /* to nobody, when it was passed at once */
        expect_first(&client, &answer, framing);
        buffer_free(&answer);
    }
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* What was sent first and what was sent then differ in one field. */
static void expect_same_request(const struct message *first, const struct message *second)
{
    static const char attempt[] = "X-Automigrate-Attempt: 2\r\n";
    const size_t length = sizeof attempt - 1;
    const char *at = memmem(second->raw.data, second->head_length, attempt, length);
    ck_assert_msg(at != NULL, "%.*s", (int)second->head_length, second->raw.data);
    size_t before = (size_t)(at - second->raw.data);
    ck_assert_uint_eq(first->raw.length + length, second->raw.length);
    ck_assert_int_eq(memcmp(first->raw.data, second->raw.data, before), 0);
    ck_assert_int_eq(memcmp(first->raw.data + before, at + length, first->raw.length - before), 0);
}

static const struct {
    size_t length;
    uint64_t memory_total; /* 1: what waits goes to files */
} kept_bodies[] = {
    {0, 256 * MIB},
    {1, 256 * MIB},
    {10 * KIB, 256 * MIB},
    {60 * KIB, 256 * MIB},
    {MIB, 256 * MIB},
    {20 * MIB, 256 * MIB},
    {0, 1},
    {60 * KIB, 1},
    {900 * KIB, 1},
    {2 * MIB, 1},
};

START_TEST(test_p6_a_retry_is_the_same_request_and_the_client_gets_only_its_answer)
{
    scripted_construct(&scripted, _i & 1 ? OVER_UNIX : OVER_TCP);
    scripted.config.retry_memory_total_bytes = kept_bodies[_i].memory_total;
    scripted.is_worth_holding = true;
    scripted.answer = HEALING_WAIT;
    scripted_start(&scripted);
    scripted_announce(&scripted, 5, true);
    struct peer client = scripted_client(&scripted);
    for (enum framing framing = LENGTH; framing <= CHUNKED; framing++) {
        size_t length = kept_bodies[_i].length;
        struct buffer request = request_of("POST", framing, length);
        struct message first, second;
        struct sender sender;
        sender_start(&sender, &client, buffer_slice(&request));
        struct peer *application = scripted_request(&scripted, &first);
        ck_assert(sender_join(&sender));
        ck_assert(slice_equal(buffer_slice(&first.body), random_bytes(length)));
        ck_assert_str_eq(message_field(&first, "X-Automigrate-Attempt"), "");

        struct buffer answer = failed_answer(framing, 80 * KIB);
        peer_send(application, buffer_slice(&answer));
        scripted_wait(&scripted, &scripted.submitted, (unsigned)framing + 1);
        ck_assert(scripted.failure.replayable);
        ck_assert(!scripted.failure.has_idempotency_key);
        ck_assert_int_eq(scripted.failure.method, METHOD_POST);
        ck_assert_uint_eq(scripted.failure.generation, 5);
        scripted_deliver(&scripted, VERDICT_RETRY);

        application = scripted_request(&scripted, &second);
        expect_same_request(&first, &second);
        ck_assert_uint_eq(scripted_count(&scripted, &scripted.told), (unsigned)framing);
        peer_send(application, good);
        expect_second(&client);
        scripted_wait(&scripted, &scripted.told, (unsigned)framing + 1);
        ck_assert_int_eq(scripted.outcome, OUTCOME_HEALED);
        ck_assert(slice_equal(buffer_slice(&scripted.outcome_target), SLICE("/cards?id=7")));
        ck_assert(slice_equal(buffer_slice(&scripted.outcome_method), SLICE("POST")));
        message_free(&first);
        message_free(&second);
        buffer_free(&request);
        buffer_free(&answer);
    }
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_retried_total"), 2);
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_healed_total"), 2);
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_parked"), 0);
    expect_usable(&client);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* When too much waits in memory, held answers wait in files and come back the same. */
START_TEST(test_p6_an_answer_that_waited_in_a_file_is_passed_byte_for_byte)
{
    scripted_construct(&scripted, OVER_TCP);
    scripted.config.retry_memory_total_bytes = 1;
    scripted.is_worth_holding = true;
    scripted.answer = HEALING_WAIT;
    scripted_start(&scripted);
    struct peer client = scripted_client(&scripted);
    static const size_t sizes[] = {0, 300, 64 * KIB, 500 * KIB, 3 * MIB};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buffer answer = failed_answer(i % 2 ? CHUNKED : LENGTH, sizes[i]);
        struct sender sender;
        get(&client);
        struct peer *application = next_request();
        sender_start(&sender, application, buffer_slice(&answer));
        scripted_wait(&scripted, &scripted.submitted, i + 1);
        if (sizes[i] <= 500 * KIB)
            ck_assert(sender_join(&sender));
        scripted_deliver(&scripted, VERDICT_PASS);
        expect_first(&client, &answer, LENGTH);
        if (sizes[i] > 500 * KIB)
            ck_assert(sender_join(&sender));
        buffer_free(&answer);
    }
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_a_large_body_is_not_kept_when_nothing_is_recorded)
{
    scripted_begin(&scripted, OVER_TCP);
    scripted_announce(&scripted, 1, false);
    struct peer client = scripted_client(&scripted);
    for (unsigned i = 0; i < 4; i++) {
        bool is_small = i >= 2;
        struct buffer request =
            request_of("PUT", i % 2 ? CHUNKED : LENGTH, is_small ? 10 * KIB : MIB);
        struct buffer answer = failed_answer(LENGTH, 1000);
        struct sender sender;
        sender_start(&sender, &client, buffer_slice(&request));
        struct peer *application = next_request();
        ck_assert(sender_join(&sender));
        peer_send(application, buffer_slice(&answer));
        scripted_wait(&scripted, &scripted.submitted, i + 1);
        ck_assert_int_eq(scripted.failure.replayable, is_small);
        scripted_deliver(&scripted, VERDICT_RETRY);
        if (is_small) {
            peer_send(next_request(), good);
            expect_second(&client);
        } else {
            expect_first(&client, &answer, LENGTH);
            ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_retried_total"), 0);
        }
        buffer_free(&request);
        buffer_free(&answer);
    }
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_a_body_past_the_limit_is_sent_on_and_not_kept)
{
    scripted_construct(&scripted, OVER_TCP);
    if (_i == 0)
        scripted.config.retry_max_body_bytes = 500 * KIB;
    else
        scripted.config.retry_budget_bytes = 500 * KIB;
    scripted.is_worth_holding = true;
    scripted.answer = HEALING_WAIT;
    scripted_start(&scripted);
    scripted_announce(&scripted, 1, true);
    struct peer client = scripted_client(&scripted);
    struct buffer request = request_of("PUT", LENGTH, MIB), answer = failed_answer(LENGTH, 1000);
    struct message first;
    struct sender sender;
    sender_start(&sender, &client, buffer_slice(&request));
    struct peer *application = scripted_request(&scripted, &first);
    ck_assert(sender_join(&sender));
    ck_assert(slice_equal(buffer_slice(&first.body), random_bytes(MIB)));
    peer_send(application, buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 1);
    ck_assert(!scripted.failure.replayable);
    scripted_deliver(&scripted, VERDICT_RETRY);
    expect_first(&client, &answer, LENGTH);
    message_free(&first);
    buffer_free(&request);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* P7: a budget that is used up costs the answer nothing. _i: what is left of it. */
static const uint64_t budgets[] = {0, 600, 20 * KIB, 100 * KIB};

START_TEST(test_p7_an_answer_past_the_budget_flows_on_whole)
{
    for (enum framing framing = LENGTH; framing <= CLOSE; framing++) {
        scripted_construct(&scripted, OVER_TCP);
        scripted.config.retry_budget_bytes = budgets[_i];
        scripted.is_worth_holding = true;
        scripted.answer = HEALING_WAIT;
        scripted_start(&scripted);
        struct peer client = scripted_client(&scripted);
        struct buffer answer = failed_answer(framing, 300 * KIB);
        struct sender sender;
        get(&client);
        struct peer *application = next_request();
        peer_send(application, slice_make(answer.data, 500)); /* this much there may be room for */
        if (budgets[_i] > 500)
            scripted_wait_metric(&scripted, "automigrate_held_total", 1);
        sender_start(&sender, application, slice_make(answer.data + 500, answer.length - 500));
        if (budgets[_i] > 500) {
            scripted_wait(&scripted, &scripted.submitted, 1);
            scripted_deliver(&scripted, VERDICT_PASS);
        }
        peer_receive_all(&client, 290 * KIB);
        ck_assert(sender_join(&sender));
        end_if_close(application, framing);
        expect_first(&client, &answer, framing);
        peer_close(&client);
        buffer_free(&answer);
        scripted_destruct(&scripted);
    }
}
END_TEST

START_TEST(test_the_generation_is_the_one_the_request_was_sent_under)
{
    scripted_begin(&scripted, OVER_TCP);
    scripted_announce(&scripted, 41, true);
    struct peer client = scripted_client(&scripted);
    get(&client);
    struct peer *application = next_request();
    scripted_announce(&scripted, 42, true);
    struct buffer answer = failed_answer(LENGTH, 10);
    peer_send(application, buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 1);
    ck_assert_uint_eq(scripted.asked_generation, 41);
    ck_assert_uint_eq(scripted.failure.generation, 41);
    scripted_deliver(&scripted, VERDICT_PASS);
    expect_first(&client, &answer, LENGTH);
    get(&client);
    peer_send(next_request(), buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 2);
    ck_assert_uint_eq(scripted.failure.generation, 42);
    scripted_deliver(&scripted, VERDICT_PASS);
    expect_first(&client, &answer, LENGTH);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

int main(void)
{
    Suite *suite = suite_create("proxy/exchange");
    TCase *tests = tcase_create("exchange");
    tcase_add_test(tests, test_p1_an_unwatched_answer_asks_healing_nothing);
    tcase_add_test(tests, test_p1_a_failure_with_nothing_pending_is_passed_without_a_look);
    tcase_add_loop_test(tests, test_p6_a_passed_answer_is_the_applications_byte_for_byte, 0, 4);
    tcase_add_loop_test(tests, test_p6_an_answer_in_many_small_pieces_is_passed_whole, 0, 2);
    tcase_add_loop_test(tests,
                        test_p6_a_retry_is_the_same_request_and_the_client_gets_only_its_answer, 0,
                        COUNT_OF(kept_bodies));
    tcase_add_test(tests, test_p6_an_answer_that_waited_in_a_file_is_passed_byte_for_byte);
    tcase_add_test(tests, test_a_large_body_is_not_kept_when_nothing_is_recorded);
    tcase_add_loop_test(tests, test_a_body_past_the_limit_is_sent_on_and_not_kept, 0, 2);
    tcase_add_loop_test(tests, test_p7_an_answer_past_the_budget_flows_on_whole, 0,
                        COUNT_OF(budgets));
    tcase_add_test(tests, test_the_generation_is_the_one_the_request_was_sent_under);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
