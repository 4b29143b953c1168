/* SPDX-License-Identifier: MIT */
/* The flags of a transport over real sockets: no event is lost, none is asked for twice. */
#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "peer.h"
#include "proxy/transport.h"

enum { KIB = 1024, MIB = 1024 * KIB };

static struct transport ours;
static struct peer theirs;

static void begin(bool is_unix)
{
    int fds[2];
    if (is_unix) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    } else {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof v4;
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_eq(bind(listener, (struct sockaddr *)&v4, sizeof v4), 0);
        ck_assert_int_eq(listen(listener, 1), 0);
        ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&v4, &length), 0);
        fds[1] = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_eq(connect(fds[1], (struct sockaddr *)&v4, sizeof v4), 0);
        fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        peer_close(&(struct peer){.fd = listener});
    }
    transport_construct(&ours, fds[0], is_unix);
    theirs = peer_make(fds[1]);
}

static void end(void)
{
    transport_destruct(&ours, false);
    peer_close(&theirs);
}

/* Waits until the kernel tells that of our socket, and hands it on as the loop would. */
static void note(short wanted)
{
    struct pollfd waiting = {.fd = ours.fd, .events = wanted};
    ck_assert_int_eq(poll(&waiting, 1, PEER_WAIT_MS), 1);
    uint32_t events = 0;
    events |= waiting.revents & POLLIN ? EPOLLIN : 0;
    events |= waiting.revents & POLLOUT ? EPOLLOUT : 0;
    events |= waiting.revents & POLLRDHUP ? EPOLLRDHUP : 0;
    events |= waiting.revents & POLLHUP ? EPOLLHUP : 0;
    events |= waiting.revents & POLLERR ? EPOLLERR : 0;
    transport_note(&ours, events);
}

START_TEST(test_a_short_read_means_drained)
{
    char data[64];
    size_t received;
    begin(_i);
    ck_assert(!ours.readable);
    ck_assert(ours.writable);
    peer_say(&theirs, "ten bytes.");
    note(POLLIN);
    ck_assert(ours.readable);
    ck_assert_int_eq(transport_receive(&ours, data, 4, &received), TRANSPORT_BYTES);
    ck_assert_uint_eq(received, 4);
    ck_assert(ours.readable); /* all that was asked for: there may be more */
    ck_assert_int_eq(transport_receive(&ours, data, sizeof data, &received), TRANSPORT_BYTES);
    ck_assert_uint_eq(received, 6);
    ck_assert(!ours.readable);
    ck_assert_int_eq(transport_receive(&ours, data, sizeof data, &received), TRANSPORT_AGAIN);
    ck_assert_uint_eq(received, 0);
    end();
}
END_TEST

START_TEST(test_a_full_read_leaves_it_open_and_the_next_says)
{
    char data[10];
    size_t received;
    begin(_i);
    peer_say(&theirs, "ten bytes.");
    note(POLLIN);
    ck_assert_int_eq(transport_receive(&ours, data, sizeof data, &received), TRANSPORT_BYTES);
    ck_assert(ours.readable);
    ck_assert_int_eq(transport_receive(&ours, data, sizeof data, &received), TRANSPORT_AGAIN);
    ck_assert(!ours.readable);
    end();
}
END_TEST

START_TEST(test_a_short_read_with_a_hang_up_is_followed_by_the_end)
{
    char data[64];
    size_t received;
    begin(_i);
    peer_say(&theirs, "last");
    peer_shut(&theirs);
    note(POLLIN | POLLRDHUP);
    while (!ours.peer_closed) /* the bytes may be told before the end */
        note(POLLIN | POLLRDHUP);
    ck_assert_int_eq(transport_receive(&ours, data, sizeof data, &received), TRANSPORT_BYTES);
    ck_assert(ours.readable);
    ck_assert_int_eq(transport_receive(&ours, data, sizeof data, &received), TRANSPORT_END);
    ck_assert(!ours.readable);
    ck_assert(!ours.failed);
    struct iovec answer = {data, 4}; /* a half-closed peer can be answered */
    ck_assert(transport_send(&ours, &answer, 1));
    peer_receive_all(&theirs, 4);
    end();
}
END_TEST

START_TEST(test_a_reset_fails_reading_and_writing)
{
    char data[4];
    size_t received;
    begin(false);
    peer_reset(&theirs);
    note(POLLIN);
    ck_assert(ours.peer_closed);
    ck_assert_int_eq(transport_receive(&ours, data, sizeof data, &received), TRANSPORT_FAILED);
    ck_assert(ours.failed);
    struct iovec slice = {data, sizeof data};
    ck_assert(!transport_send(&ours, &slice, 1));
    ck_assert(!transport_flush(&ours));
    ck_assert(!transport_is_blocked(&ours));
    end();
}
END_TEST

START_TEST(test_what_the_socket_does_not_take_is_kept_in_order)
{
    begin(_i);
    struct slice bytes = random_bytes(16 * MIB);
    size_t pieces[] = {16 * MIB - 2 * KIB, KIB, KIB};
    struct iovec slices[3];
    const char *at = bytes.data;
    for (int i = 0; i < 3; i++) {
        slices[i] = (struct iovec){(char *)(uintptr_t)at, pieces[i]};
        at += pieces[i];
    }
    ck_assert(transport_send(&ours, slices, 2));
    ck_assert(transport_is_blocked(&ours));
    ck_assert(!ours.writable);
    ck_assert_int_eq(transport_wants_writable(&ours), _i);
    ck_assert(transport_events(&ours) & EPOLLOUT);   /* on a unix socket only now */
    ck_assert(transport_send(&ours, slices + 2, 1)); /* behind what waits */
    size_t kept = ours.out.length;
    ck_assert(transport_flush(&ours)); /* nothing was told */
    ck_assert_uint_eq(ours.out.length, kept);
    while (transport_is_blocked(&ours)) {
        struct pollfd waiting[] = {{ours.fd, POLLOUT, 0}, {theirs.fd, POLLIN, 0}};
        ck_assert_int_gt(poll(waiting, 2, PEER_WAIT_MS), 0);
        if (waiting[1].revents)
            ck_assert_int_eq(peer_receive(&theirs), PEER_BYTES);
        if (waiting[0].revents)
            note(POLLOUT);
        ck_assert(transport_flush(&ours));
    }
    ck_assert_uint_eq(ours.out.capacity, 0); /* and given back */
    peer_receive_all(&theirs, bytes.length);
    ck_assert(slice_equal(buffer_slice(&theirs.input), bytes));
    end();
}
END_TEST

START_TEST(test_writing_is_asked_for_from_the_start_but_on_unix_sockets)
{
    begin(_i);
    uint32_t always = EPOLLIN | EPOLLRDHUP | EPOLLET;
    ck_assert_uint_eq(transport_events(&ours), _i ? always : always | EPOLLOUT);
    end();
}
END_TEST

START_TEST(test_nothing_to_send_sends_nothing)
{
    begin(_i);
    struct iovec none[2] = {{NULL, 0}, {NULL, 0}};
    ck_assert(transport_send(&ours, none, 2));
    ck_assert(transport_send(&ours, NULL, 0));
    ck_assert(ours.writable);
    ck_assert(peer_is_quiet(&theirs));
    end();
}
END_TEST

START_TEST(test_an_abort_is_a_reset_and_an_end_is_none)
{
    for (int abort = 0; abort < 2; abort++) {
        begin(false);
        transport_destruct(&ours, abort);
        ck_assert_int_eq(peer_receive(&theirs), abort ? PEER_RESET : PEER_END);
        peer_close(&theirs);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/transport");
    TCase *tests = tcase_create("transport");
    tcase_add_loop_test(tests, test_a_short_read_means_drained, 0, 2);
    tcase_add_loop_test(tests, test_a_full_read_leaves_it_open_and_the_next_says, 0, 2);
    tcase_add_loop_test(tests, test_a_short_read_with_a_hang_up_is_followed_by_the_end, 0, 2);
    tcase_add_test(tests, test_a_reset_fails_reading_and_writing);
    tcase_add_loop_test(tests, test_what_the_socket_does_not_take_is_kept_in_order, 0, 2);
    tcase_add_loop_test(tests, test_writing_is_asked_for_from_the_start_but_on_unix_sockets, 0, 2);
    tcase_add_loop_test(tests, test_nothing_to_send_sends_nothing, 0, 2);
    tcase_add_test(tests, test_an_abort_is_a_reset_and_an_end_is_none);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
