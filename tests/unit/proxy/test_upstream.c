/* SPDX-License-Identifier: MIT */
/* Connections to the application: pooled, stale, refused, misused (DESIGN, 5 "Upstreams"; P6). */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "relayed.h"

/* _i: the method; how often it is sent when the application closes its pooled connection instead of
 * answering, and the new one too. */
static const struct {
    const char *request;
    bool is_resent;
} stale[] = {
    {"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", true},
    {"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", true},
    {"DELETE /a HTTP/1.1\r\nHost: a\r\n\r\n", true},
    {"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", false},
    {"PATCH /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", false},
};

START_TEST(test_p6_a_stale_pooled_connection_costs_an_idempotent_request_nothing)
{
    for (int resets = 0; resets < 2; resets++) {
        begin(resets ? OVER_UNIX : OVER_TCP);
        struct peer client = scripted_client(&scripted);
        for (int fails_again = 0; fails_again < 2; fails_again++) {
            struct message first, second;
            expect_usable(&client);
            peer_say(&client, stale[_i].request);
            struct peer *application = scripted_request(&scripted, &first);
            if (resets)
                peer_reset(application);
            else
                peer_close(application);
            if (stale[_i].is_resent) {
                application = scripted_request(&scripted, &second);
                ck_assert(slice_equal(buffer_slice(&first.raw), buffer_slice(&second.raw)));
                message_free(&second);
                if (!fails_again)
                    answer_ok(application);
                else
                    peer_close(application);
            }
            message_free(&first);
            if (stale[_i].is_resent && !fails_again) {
                peer_expect(&client, 200, SLICE("ok"));
            } else {
                peer_read(&client, ANSWER, &first);
                ck_assert_uint_eq(first.status, 502);
                ck_assert_str_eq(message_field(&first, "Proxy-Status"),
                                 "automigrate; error=connection_terminated");
                message_free(&first);
                scripted_go_round(&scripted);
                ck_assert(scripted_nobody_connects(&scripted)); /* never a third time */
            }
        }
        expect_usable(&client);
        peer_close(&client);
        scripted_destruct(&scripted);
    }
}
END_TEST

/* A request that waits for a new connection does not keep others from those that are there. */
START_TEST(test_a_request_that_wants_a_new_connection_does_not_block_the_pool)
{
    begin(OVER_UNIX);
    struct peer first = scripted_client(&scripted), second = scripted_client(&scripted);
    get(&first);
    struct peer *application = next_request();
    get(&second);
    struct peer *other = next_request();
    ck_assert_ptr_ne(application, other);
    answer_ok(other);
    peer_expect(&second, 200, SLICE("ok"));
    answer_ok(application);
    peer_expect(&first, 200, SLICE("ok"));

    /* No more connections: the backlog is full. */
    ck_assert_int_eq(listen(scripted.listener, 0), 0);
    struct peer full = peer_connect(scripted.upstream);
    struct message request;
    get(&first);
    peer_read(application, REQUEST, &request); /* and accept nobody */
    message_free(&request);
    peer_close(application);
    scripted_wait_metric(&scripted, "automigrate_upstream_waiting", 1);
    get(&second);
    peer_read(other, REQUEST, &request);
    message_free(&request);
    answer_ok(other);
    peer_expect(&second, 200, SLICE("ok"));
    peer_close(&full);
    peer_close(&first);
    peer_close(&second);
    scripted_destruct(&scripted);
}
END_TEST

/* A request that lost its pooled connection, and then gets one that somebody else gives back: that
 * is its second, whatever becomes of it. */
START_TEST(test_p6_a_request_is_never_sent_a_third_time)
{
    begin(OVER_UNIX);
    struct peer first = scripted_client(&scripted), second = scripted_client(&scripted);
    struct message message;
    get(&first);
    struct peer *application = next_request();
    get(&second);
    struct peer *other = next_request();
    answer_ok(application);
    peer_expect(&first, 200, SLICE("ok"));
    ck_assert_int_eq(listen(scripted.listener, 0), 0);
    struct peer full = peer_connect(scripted.upstream);
    get(&first);
    peer_read(application, REQUEST, &message);
    message_free(&message);
    peer_close(application);
    scripted_wait_metric(&scripted, "automigrate_upstream_waiting", 1);
    answer_ok(other);
    peer_expect(&second, 200, SLICE("ok"));
    peer_read(other, REQUEST, &message);
    message_free(&message);
    peer_close(other);
    peer_read(&first, ANSWER, &message);
    ck_assert_uint_eq(message.status, 502);
    message_free(&message);
    peer_close(&full);
    peer_close(&first);
    peer_close(&second);
    scripted_destruct(&scripted);
}
END_TEST

/* A unix socket with a full backlog: the application is there, and busy. */
START_TEST(test_a_full_unix_backlog_is_dialled_again)
{
    begin(OVER_UNIX);
    struct peer client = scripted_client(&scripted);
    ck_assert_int_eq(listen(scripted.listener, 0), 0);
    struct peer full = peer_connect(scripted.upstream);
    get(&client);
    scripted_wait_metric(&scripted, "automigrate_upstream_waiting", 1);
    for (int i = 0; i < 100; i++)
        scripted_go_round(&scripted);
    ck_assert(peer_is_quiet(&client));
    scripted_accept(&scripted); /* that one: there is room again */
    answer_ok(next_request());
    peer_expect(&client, 200, SLICE("ok"));
    peer_close(&full);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

START_TEST(test_bytes_behind_an_answer_or_on_an_idle_connection_close_it)
{
    begin(OVER_TCP);
    struct peer client = scripted_client(&scripted);
    get(&client);
    struct peer *application = next_request();
    peer_say(application,
             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 Evil\r\n\r\n");
    peer_expect(&client, 200, SLICE("ok"));
    enum peer_received end = peer_receive(application);
    ck_assert(end == PEER_END || end == PEER_RESET);
    get(&client);
    application = next_request();
    answer_ok(application);
    peer_expect(&client, 200, SLICE("ok"));
    peer_say(application, "HTTP/1.1 200 Evil\r\nContent-Length: 0\r\n\r\n");
    scripted_wait_metric(&scripted, "automigrate_upstream_open", 0);
    expect_usable(&client);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

static uint64_t cpu_ms(void)
{
    struct timespec used;
    ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    return (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
}

/* An application that shuts its reading side and answers slowly: its worker waits, and does not go
 * round and round. */
START_TEST(test_p7_an_application_that_stops_reading_costs_no_time)
{
    enum { PAUSE_MS = 500 };
    begin(OVER_UNIX);
    struct peer client = scripted_client(&scripted);
    struct buffer request = {0};
    struct message message;
    struct sender sender;
    compose(&request, "POST / HTTP/1.1", "Host: a\r\n", LENGTH, random_bytes(20 * MIB));
    sender_start(&sender, &client, buffer_slice(&request));
    struct peer *application = scripted_accept(&scripted);
    peer_receive_all(application, 100 * KIB);
    ck_assert_int_eq(shutdown(application->fd, SHUT_RD), 0);
    while (peer_receive(application) == PEER_BYTES) /* what is there makes room, and that a try */
        buffer_clear(&application->input);
    scripted_go_round(&scripted);
    uint64_t before = cpu_ms();
    struct pollfd nothing = {.fd = client.fd, .events = POLLIN};
    ck_assert_int_eq(poll(&nothing, 1, PAUSE_MS), 0);
    ck_assert_uint_lt(cpu_ms() - before, PAUSE_MS / 2);
    peer_say(application, "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge");
    peer_read(&client, ANSWER, &message);
    ck_assert_uint_eq(message.status, 413);
    message_free(&message);
    sender_join(&sender);
    buffer_free(&request);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

/* A command migration's child must not hold connections open. */
START_TEST(test_no_socket_is_inherited_by_a_child)
{
    begin(OVER_TCP);
    struct peer client = scripted_client(&scripted);
    expect_usable(&client);
    DIR *directory = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(directory);
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        int fd = atoi(entry->d_name), type;
        socklen_t length = sizeof type;
        if (entry->d_name[0] == '.' || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &type, &length) != 0 ||
            type != AF_INET) /* libcurl has socket pairs of its own */
            continue;
        ck_assert_msg(fcntl(fd, F_GETFD) & FD_CLOEXEC, "descriptor %d is inherited", fd);
    }
    closedir(directory);
    peer_close(&client);
    scripted_destruct(&scripted);
}
END_TEST

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

int main(void)
{
    Suite *suite = suite_create("proxy/upstream");
    TCase *tests = tcase_create("upstream");
    tcase_add_loop_test(tests,
                        test_p6_a_stale_pooled_connection_costs_an_idempotent_request_nothing, 0,
                        COUNT_OF(stale));
    tcase_add_test(tests, test_a_request_that_wants_a_new_connection_does_not_block_the_pool);
    tcase_add_test(tests, test_p6_a_request_is_never_sent_a_third_time);
    tcase_add_test(tests, test_a_full_unix_backlog_is_dialled_again);
    tcase_add_test(tests, test_bytes_behind_an_answer_or_on_an_idle_connection_close_it);
    tcase_add_test(tests, test_p7_an_application_that_stops_reading_costs_no_time);
    tcase_add_test(tests, test_no_socket_is_inherited_by_a_child);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
