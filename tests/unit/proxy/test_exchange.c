/* SPDX-License-Identifier: MIT */
/* An exchange whose answer is watched: what is held, judged, passed, and sent a second time
 * (DESIGN, 5 "Exchange rules"; P1, P6, P7). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripted.h"

enum { KIB = 1024, MIB = 1024 * KIB };

static const char failed_line[] = "HTTP/1.1 500 Internal Server Error";
static const char failed_fields[] = "Content-Type: text/html\r\nX-App: one\r\n";
static const struct slice good = {
    "HTTP/1.1 200 OK\r\nX-App: two\r\nContent-Length: 4\r\n\r\ngood",
    sizeof "HTTP/1.1 200 OK\r\nX-App: two\r\nContent-Length: 4\r\n\r\ngood" - 1};

static struct scripted scripted;

static struct buffer failed_answer(enum framing framing, size_t length)
{
    struct buffer answer = {0};
    compose(&answer, failed_line, failed_fields, framing, random_bytes(length));
    return answer;
}

static struct buffer request_of(const char *method, enum framing framing, size_t length)
{
    struct buffer request = {0};
    char line[64];
    snprintf(line, sizeof line, "%s /cards?id=7 HTTP/1.1", method);
    compose(&request, line, "Host: app.test\r\nCookie: a=b\r\n", framing, random_bytes(length));
    return request;
}

static void get(struct peer *client)
{
    peer_say(client, "GET /cards HTTP/1.1\r\nHost: app.test\r\n\r\n");
}

/* The client reads what the application sent: byte for byte, but for close-delimited framing, which
 * becomes chunks. */
static void expect_first(struct peer *client, const struct buffer *answer, enum framing framing)
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

static void expect_second(struct peer *client)
{
    struct message message;
    peer_read(client, ANSWER, &message);
    ck_assert_uint_eq(message.status, 200);
    ck_assert_str_eq(message_field(&message, "X-App"), "two");
    ck_assert(slice_equal(buffer_slice(&message.body), SLICE("good")));
    ck_assert(strncmp(message_field(&message, "Proxy-Status"), "automigrate;", 12) == 0);
    message_free(&message);
}

static struct peer *next_request(void)
{
    struct message request;
    struct peer *peer = scripted_request(&scripted, &request);
    message_free(&request);
    return peer;
}

static void end_if_close(struct peer *application, enum framing framing)
{
    if (framing == CLOSE)
        peer_shut(application);
}

/* The connection goes on as if nothing had been. */
static void expect_usable(struct peer *client)
{
    get(client);
    peer_send(next_request(), good);
    peer_expect(client, 200, SLICE("good"));
}

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
