/* SPDX-License-Identifier: MIT */
/* What the data plane bounds: queues, times, memory, connections; and how it ends (P7, P11). */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relayed.h"

/* Our own answer: its status, the token in Proxy-Status, and a connection that goes on. */
static void expect_own(struct peer *client, unsigned status, const char *token)
{
    struct message message;
    char field[64];
    peer_read(client, ANSWER, &message);
    ck_assert_msg(message.status == status, "%.*s", (int)message.raw.length, message.raw.data);
    snprintf(field, sizeof field, "automigrate; error=%s", token);
    ck_assert_str_eq(message_field(&message, "Proxy-Status"), field);
    ck_assert_str_eq(message_field(&message, "Connection"), "");
    ck_assert_str_eq(message_field(&message, "Retry-After"), status == 503 ? "1" : "");
    message_free(&message);
}

START_TEST(test_p11_a_queue_that_is_full_is_503)
{
    scripted_construct(&scripted, _i ? OVER_UNIX : OVER_TCP);
    scripted.config.upstream_max_connections = 1;
    scripted.config.upstream_queue_length = 1;
    scripted_start(&scripted);
    struct peer clients[3];
    for (int i = 0; i < 3; i++)
        clients[i] = scripted_client(&scripted);
    get(&clients[0]);
    struct peer *application = next_request();
    get(&clients[1]);
    scripted_wait_metric(&scripted, "automigrate_upstream_waiting", 1);
    get(&clients[2]);
    expect_own(&clients[2], 503, "connection_limit_reached");
    answer_ok(application);
    peer_expect(&clients[0], 200, SLICE("ok"));
    answer_ok(next_request());
    peer_expect(&clients[1], 200, SLICE("ok"));
    for (int i = 0; i < 3; i++) {
        expect_usable(&clients[i]);
        peer_close(&clients[i]);
    }
    ck_assert_uint_eq(scripted.peer_count, 1);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_p11_no_free_connection_in_time_is_503)
{
    scripted_construct(&scripted, OVER_TCP);
    scripted.config.upstream_max_connections = 1;
    scripted.config.upstream_queue_timeout_ms = 150;
    scripted_start(&scripted);
    struct peer first = scripted_client(&scripted), second = scripted_client(&scripted);
    get(&first);
    struct peer *application = next_request();
    get(&second);
    expect_own(&second, 503, "connection_limit_reached");
    answer_ok(application);
    peer_expect(&first, 200, SLICE("ok"));
    expect_usable(&second);
    peer_close(&first);
    peer_close(&second);
    scripted_destruct(&scripted);
}
END_TEST

/* The time is the configured one although every other is long: nothing wakes the worker else. */
START_TEST(test_p11_a_silent_application_is_504)
{
    scripted_construct(&scripted, _i ? OVER_UNIX : OVER_TCP);
    scripted.config.upstream_response_timeout_ms = 150;
    scripted_start(&scripted);
    struct peer client = scripted_client(&scripted);
    for (int i = 0; i < 2; i++) {
        get(&client);
        struct peer *application = next_request();
        expect_own(&client, 504, "http_response_timeout");
        peer_close(application);
        expect_usable(&client);
    }
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_p11_an_application_that_refuses_is_502)
{
    scripted_construct(&scripted, _i ? OVER_UNIX : OVER_TCP);
    scripted_start(&scripted);
    scripted_stop_listening(&scripted);
    struct peer client = scripted_client(&scripted);
    for (int i = 0; i < 3; i++) {
        get(&client);
        expect_own(&client, 502, "connection_refused");
    }
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

static const struct {
    const char *name, *text;
} unfinished[] = {
    {"nothing", ""},
    {"a head", "GET / HTTP/1.1\r\nHost: a\r\n"},
    {"a small body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"},
    {"chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"},
    {"a large body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc"},
};

START_TEST(test_p11_a_request_that_does_not_go_on_is_408)
{
    scripted_construct(&scripted, OVER_TCP);
    scripted.config.client_header_timeout_ms = scripted.config.client_body_timeout_ms = 150;
    scripted_start(&scripted);
    struct peer client = scripted_client(&scripted);
    struct message message;
    peer_say(&client, unfinished[_i].text);
    peer_read(&client, ANSWER, &message);
    ck_assert_uint_eq(message.status, 408);
    ck_assert_str_eq(message_field(&message, "Connection"), "close");
    peer_expect_end(&client);
    message_free(&message);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* A client with a whole answer before it that is more than its socket takes: no exchange is under
 * way any more, and the rest of the answer is in the proxy. */
static void begin_unread_answer(struct peer *client, struct slice request)
{
    struct buffer answer = {0};
    compose(&answer, "HTTP/1.1 500 No", "", LENGTH, random_bytes(900 * KIB));
    peer_send(client, request);
    struct peer *application = next_request();
    peer_send(application, buffer_slice(&answer));
    scripted_wait(&scripted, &scripted.submitted, 1);
    answer_ok(application); /* behind the end: its close tells that all was read */
    while (peer_receive(application) == PEER_BYTES)
        continue;
    scripted_deliver(&scripted, VERDICT_PASS);
    scripted_wait_metric(&scripted, "automigrate_parked", 0);
    buffer_free(&answer);
}

/* A client that does not read is cut off in time. One that read late, but all, is not: it is idle
 * then, and idle connections have a longer time. */
START_TEST(test_a_client_that_does_not_read_is_cut_off_and_one_that_was_slow_is_not)
{
    scripted_construct(&scripted, OVER_UNIX);
    scripted.config.client_send_timeout_ms = 400;
    scripted.is_worth_holding = true;
    scripted.answer = HEALING_WAIT;
    scripted_start(&scripted);
    struct peer slow = scripted_client(&scripted), never = scripted_client(&scripted);
    struct buffer request = {0}, answer = {0};
    struct sender sender;
    compose(&request, "POST / HTTP/1.1", "Host: a\r\n", LENGTH, random_bytes(60 * KIB));
    compose(&answer, "HTTP/1.1 200 OK", "", LENGTH, random_bytes(16 * MIB));
    begin_unread_answer(&slow, buffer_slice(&request));
    peer_expect(&slow, 500, random_bytes(900 * KIB));
    scripted_go_round(&scripted);

    get(&never);
    struct peer *application = next_request();
    sender_start(&sender, application, buffer_slice(&answer));
    ck_assert_msg(!sender_join(&sender), "the answer was taken in whole");
    peer_close(application);
    scripted_wait_metric(&scripted, "automigrate_connections_open", 2); /* slow, and who asks */
    expect_usable(&slow);
    buffer_free(&request);
    buffer_free(&answer);
    peer_close(&slow);
    peer_close(&never);
    scripted_destruct(&scripted);
}
END_TEST

static size_t resident_bytes(void)
{
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt((int)read(fd, text, sizeof text - 1), 0);
    close(fd);
    const char *second = strchr(text, ' ');
    ck_assert_ptr_nonnull(second);
    return strtoul(second, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* The sanitizers keep what was freed: there only what is taken in is looked at. */
static void expect_resident_below(size_t bytes)
{
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    size_t now = resident_bytes();
    ck_assert_msg(now < bytes, "%zu MiB, not below %zu", now / MIB, bytes / MIB);
#else
    (void)bytes;
#endif
}

START_TEST(test_a_slow_reader_of_a_large_answer_costs_no_memory)
{
    /* The kernel lets a socket grow to tens of MiB. */
    enum { WHOLE = 64 * MIB, IN_SOCKETS = 48 * MIB, STEP = MIB };
    scripted_construct(&scripted, _i ? OVER_UNIX : OVER_TCP);
    scripted_start(&scripted);
    struct slice body = random_bytes(WHOLE);
    struct peer client = scripted_client(&scripted);
    char head[96], *piece = malloc(STEP);
    struct sender sender;
    size_t taken = 0, before = resident_bytes();
    get(&client);
    struct peer *application = next_request();
    int length =
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", WHOLE);
    peer_say(application, head);
    sender_start(&sender, application, body);
    peer_receive_all(&client, (size_t)length);
    taken = client.input.length - (size_t)length;
    ck_assert_int_eq(memcmp(client.input.data + length, body.data, taken), 0);
    buffer_free(&client.input);
    while (taken < WHOLE) {
        ssize_t received = recv(client.fd, piece, STEP, 0);
        ck_assert_int_gt((int)received, 0);
        ck_assert_int_eq(memcmp(piece, body.data + taken, (size_t)received), 0);
        taken += (size_t)received;
        scripted_go_round(&scripted);
        size_t sent = sender.sent;
        ck_assert_msg(sent < taken + IN_SOCKETS, "%zu MiB ahead", (sent - taken) / MIB);
        expect_resident_below(before + 8 * MIB);
    }
    ck_assert(sender_join(&sender));
    free(piece);
    expect_usable(&client);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_a_pipelining_client_that_does_not_read_is_not_read_either)
{
    static const char request[] = "GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n";
    scripted_construct(&scripted, _i ? OVER_UNIX : OVER_TCP);
    scripted_start(&scripted);
    struct peer client = peer_connect_narrow(proxy_address(scripted.proxy), 4 * KIB);
    struct buffer requests = {0}, answer = {0};
    size_t count = 0, answered = 0;
    for (; requests.length < 32 * MIB; count++)
        ck_assert(buffer_append(&requests, request, sizeof request - 1));
    compose(&answer, "HTTP/1.1 200 OK", "", LENGTH, random_bytes(10 * KIB));
    struct sender sender;
    size_t before = resident_bytes();
    sender_start_impatient(&sender, &client, buffer_slice(&requests));
    while (!sender.is_over) {
        struct message message;
        struct peer *application = scripted_request_within(&scripted, &message, 100);
        if (!application)
            continue;
        message_free(&message);
        peer_send(application, buffer_slice(&answer));
        answered++;
    }
    ck_assert_msg(!sender_join(&sender), "all requests were taken in");
    ck_assert_uint_lt(answered, 3000);
    expect_resident_below(before + 8 * MIB);
    for (size_t i = 0; i < answered; i++)
        peer_expect(&client, 200, random_bytes(10 * KIB));
    buffer_free(&requests);
    buffer_free(&answer);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_connections_past_the_limit_wait_for_their_turn)
{
    scripted_construct(&scripted, _i ? OVER_UNIX : OVER_TCP);
    scripted.config.max_connections = 2;
    scripted_start(&scripted);
    struct peer clients[3];
    for (int i = 0; i < 3; i++)
        clients[i] = scripted_client(&scripted);
    expect_usable(&clients[0]);
    expect_usable(&clients[1]);
    get(&clients[2]);
    expect_usable(&clients[0]);
    ck_assert(peer_is_quiet(&clients[2]));
    ck_assert_uint_eq(scripted_metric(&scripted, "automigrate_connections_open"), 2);
    peer_close(&clients[0]);
    answer_ok(next_request());
    peer_expect(&clients[2], 200, SLICE("ok"));
    peer_close(&clients[1]);
    peer_close(&clients[2]);
    scripted_destruct(&scripted);
}
END_TEST

static void *stop(void *context)
{
    proxy_stop(context);
    return NULL;
}

/* _i: sockets; one worker, or two. */
START_TEST(test_a_drain_lets_what_is_under_way_end)
{
    scripted_construct(&scripted, _i & 1 ? OVER_UNIX : OVER_TCP);
    scripted.config.workers = _i & 2 ? 2 : 1;
    scripted.is_worth_holding = true;
    scripted.answer = HEALING_WAIT;
    scripted_start(&scripted);
    enum { IDLE, AWAITING, PARKED, UPLOADING, READING, HALF, COUNT, FIRST = 100 * KIB };
    struct peer clients[COUNT];
    struct peer *applications[COUNT] = {NULL};
    struct buffer upload = {0}, large = {0};
    struct sender sender;
    struct message message;
    compose(&upload, "PUT / HTTP/1.1", "Host: a\r\n", LENGTH, random_bytes(MIB));
    compose(&large, "HTTP/1.1 200 OK", "", LENGTH, random_bytes(8 * MIB));
    for (int i = 0; i < COUNT; i++)
        clients[i] = i == READING ? peer_connect_narrow(proxy_address(scripted.proxy), 4 * KIB)
                                  : scripted_client(&scripted);
    get(&clients[AWAITING]);
    applications[AWAITING] = next_request();
    get(&clients[PARKED]);
    peer_say(next_request(), "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno");
    scripted_wait(&scripted, &scripted.submitted, 1);
    get(&clients[READING]);
    applications[READING] = next_request();
    sender_start(&sender, applications[READING], buffer_slice(&large));
    peer_receive_all(&clients[READING], 1000);
    expect_usable(&clients[HALF]);
    expect_usable(&clients[IDLE]);
    peer_say(&clients[HALF], "GET / HT");
    peer_send(&clients[UPLOADING], slice_make(upload.data, FIRST));
    applications[UPLOADING] = scripted_arrival(&scripted);
    peer_receive_all(applications[UPLOADING], FIRST);
    struct buffer begun = applications[UPLOADING]->input; /* aside: it is no request yet */
    applications[UPLOADING]->input = (struct buffer){0};

    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, stop, scripted.proxy), 0);
    peer_expect_end(&clients[IDLE]);
    peer_say(&clients[HALF], "TP/1.1\r\nHost: a\r\n\r\n");
    answer_ok(next_request());
    peer_read(&clients[HALF], ANSWER, &message);
    ck_assert_uint_eq(message.status, 200);
    ck_assert_str_eq(message_field(&message, "Connection"), "close");
    message_free(&message);
    peer_expect_end(&clients[HALF]);

    answer_ok(applications[AWAITING]);
    peer_expect(&clients[AWAITING], 200, SLICE("ok"));
    peer_expect_end(&clients[AWAITING]);
    scripted_deliver(&scripted, VERDICT_RETRY);
    answer_ok(next_request());
    peer_expect(&clients[PARKED], 200, SLICE("ok"));
    peer_expect_end(&clients[PARKED]);
    struct sender rest;
    sender_start(&rest, &clients[UPLOADING],
                 slice_make(upload.data + FIRST, upload.length - FIRST));
    applications[UPLOADING]->input = begun;
    peer_read(applications[UPLOADING], REQUEST, &message);
    ck_assert(slice_equal(buffer_slice(&message.body), random_bytes(MIB)));
    message_free(&message);
    ck_assert(sender_join(&rest));
    answer_ok(applications[UPLOADING]);
    peer_expect(&clients[UPLOADING], 200, SLICE("ok"));
    peer_expect_end(&clients[UPLOADING]);
    peer_expect(&clients[READING], 200, random_bytes(8 * MIB));
    peer_expect_end(&clients[READING]);
    ck_assert(sender_join(&sender));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    for (int i = 0; i < COUNT; i++)
        peer_close(&clients[i]);
    buffer_free(&upload);
    buffer_free(&large);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_a_drain_lets_the_last_answer_be_read)
{
    scripted_begin(&scripted, OVER_UNIX);
    struct peer client = scripted_client(&scripted), idle = scripted_client(&scripted);
    expect_usable(&idle);
    begin_unread_answer(&client, SLICE("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, stop, scripted.proxy), 0);
    peer_expect_end(&idle); /* it has begun */
    peer_expect(&client, 500, random_bytes(900 * KIB));
    peer_expect_end(&client);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    peer_close(&client);
    peer_close(&idle);
    scripted_destruct(&scripted);
}
END_TEST

/* When the time for a drain is over, whoever waits for a verdict gets the application's answer. */
START_TEST(test_a_drain_that_takes_too_long_passes_what_waits)
{
    scripted_construct(&scripted, OVER_TCP);
    scripted.config.drain_timeout_ms = 100;
    scripted.is_worth_holding = true;
    scripted.answer = HEALING_WAIT;
    scripted_start(&scripted);
    struct peer client = scripted_client(&scripted), silent = scripted_client(&scripted);
    get(&client);
    peer_say(next_request(), "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno");
    scripted_wait(&scripted, &scripted.submitted, 1);
    get(&silent);
    next_request();
    proxy_stop(scripted.proxy);
    peer_expect(&client, 500, SLICE("no"));
    peer_expect_end(&client);
    ck_assert_int_eq(peer_receive(&silent), PEER_RESET);
    ck_assert_uint_eq(scripted_count(&scripted, &scripted.taken_back), 1);
    peer_close(&client);
    peer_close(&silent);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_p11_what_cannot_be_served_is_told_before_anything_runs)
{
    static const char *const upstreams[] = {"", "ftp://a", "https://a", "http://a/path", "unix:"};
    for (size_t i = 0; i < sizeof upstreams / sizeof *upstreams; i++) {
        struct error error = {0};
        scripted_construct(&scripted, _i ? OVER_UNIX : OVER_TCP);
        snprintf(scripted.upstream, sizeof scripted.upstream, "%s", upstreams[i]);
        scripted.proxy = proxy_new(&scripted.config, &scripted.healing, &error);
        ck_assert_ptr_null(scripted.proxy);
        ck_assert_ptr_nonnull(strstr(error.message, "upstream"));
        ck_assert_msg(fcntl(0, F_GETFD) >= 0, "standard input was closed");
        scripted_destruct(&scripted);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/bounds");
    TCase *tests = tcase_create("bounds");
    tcase_add_loop_test(tests, test_p11_a_queue_that_is_full_is_503, 0, 2);
    tcase_add_test(tests, test_p11_no_free_connection_in_time_is_503);
    tcase_add_loop_test(tests, test_p11_a_silent_application_is_504, 0, 2);
    tcase_add_loop_test(tests, test_p11_an_application_that_refuses_is_502, 0, 2);
    tcase_add_loop_test(tests, test_p11_a_request_that_does_not_go_on_is_408, 0,
                        (int)(sizeof unfinished / sizeof *unfinished));
    tcase_add_test(tests, test_a_client_that_does_not_read_is_cut_off_and_one_that_was_slow_is_not);
    tcase_add_loop_test(tests, test_a_slow_reader_of_a_large_answer_costs_no_memory, 0, 2);
    tcase_add_loop_test(tests, test_a_pipelining_client_that_does_not_read_is_not_read_either, 0,
                        2);
    tcase_add_loop_test(tests, test_connections_past_the_limit_wait_for_their_turn, 0, 2);
    tcase_add_loop_test(tests, test_a_drain_lets_what_is_under_way_end, 0, 4);
    tcase_add_test(tests, test_a_drain_lets_the_last_answer_be_read);
    tcase_add_test(tests, test_a_drain_that_takes_too_long_passes_what_waits);
    tcase_add_loop_test(tests, test_p11_what_cannot_be_served_is_told_before_anything_runs, 0, 2);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
