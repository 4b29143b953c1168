/* SPDX-License-Identifier: MIT */
/* Timers of a worker and its blocks: order, restart, reuse. */
#include <check.h>
#include <stdlib.h>

#include "proxy/timers.h"

enum { MOST = 16 };

static struct timers timers;
static struct probe {
    struct timer timer;
    void (*then)(struct probe *probe);
} probes[MOST];
static int order[MOST], expired_count;

static void expired(struct timer *timer)
{
    struct probe *probe = LIST_ENTRY(timer, struct probe, timer);
    ck_assert(!timer_is_running(timer));
    order[expired_count++] = (int)(probe - probes);
    if (probe->then)
        probe->then(probe);
}

static void begin(void)
{
    timers_construct(&timers);
    expired_count = 0;
    for (int i = 0; i < MOST; i++) {
        timer_construct(&probes[i].timer, expired);
        probes[i].then = NULL;
    }
    for (int kind = 0; kind < TIMER_KIND_COUNT; kind++)
        timers.duration_ns[kind] = 100;
    timers.duration_ns[TIMER_IDLE] = 1000;
}

static void start(int i, enum timer_kind kind, uint64_t now_ns)
{
    timer_start(&timers, &probes[i].timer, kind, now_ns);
}

START_TEST(test_timers_expire_when_due_and_in_order)
{
    begin();
    ck_assert_uint_eq(timers_run(&timers, 5), UINT64_MAX);
    start(0, TIMER_SEND, 10);
    start(1, TIMER_SEND, 20);
    start(2, TIMER_SEND, 20);
    start(3, TIMER_IDLE, 0);
    ck_assert_uint_eq(timers_run(&timers, 50), 60);
    ck_assert_int_eq(expired_count, 0);
    ck_assert_uint_eq(timers_run(&timers, 110), 10);
    ck_assert_int_eq(expired_count, 1);
    ck_assert_uint_eq(timers_run(&timers, 130), 870);
    ck_assert_int_eq(expired_count, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(order[i], i);
    ck_assert_uint_eq(timers_run(&timers, 5000), UINT64_MAX);
    ck_assert_int_eq(expired_count, 4);
}
END_TEST

START_TEST(test_a_stopped_timer_does_not_expire_and_a_restarted_one_does_so_later)
{
    begin();
    start(0, TIMER_SEND, 0);
    start(1, TIMER_SEND, 0);
    start(2, TIMER_SEND, 0);
    timer_stop(&probes[0].timer);
    timer_stop(&probes[0].timer);
    start(1, TIMER_SEND, 50);
    start(2, TIMER_IDLE, 50); /* of another kind now */
    ck_assert(!timer_is_running(&probes[0].timer));
    ck_assert_uint_eq(timers_run(&timers, 100), 50);
    ck_assert_uint_eq(timers_run(&timers, 150), 900);
    ck_assert_int_eq(expired_count, 1);
    ck_assert_int_eq(order[0], 1);
    timers_run(&timers, 1050);
    ck_assert_int_eq(order[1], 2);
}
END_TEST

static void stop_the_next(struct probe *probe)
{
    timer_stop(&probe[1].timer);
}

START_TEST(test_one_that_expires_may_stop_another_that_is_due)
{
    begin();
    start(0, TIMER_SEND, 0);
    start(1, TIMER_SEND, 0);
    start(2, TIMER_SEND, 0);
    probes[0].then = stop_the_next;
    timers_run(&timers, 100);
    ck_assert_int_eq(expired_count, 2);
    ck_assert_int_eq(order[1], 2);
}
END_TEST

static void go_idle(struct probe *probe)
{
    timer_start(&timers, &probe->timer, TIMER_IDLE, 100);
    probe->then = NULL;
}

/* As a connection that becomes idle because of a time-out: nothing else would wake the worker. */
START_TEST(test_a_timer_that_is_started_by_another_is_counted_whatever_its_kind)
{
    for (int kind = 0; kind < TIMER_KIND_COUNT; kind++) {
        if (kind == TIMER_IDLE)
            continue;
        begin();
        start(0, (enum timer_kind)kind, 0);
        probes[0].then = go_idle;
        ck_assert_uint_eq(timers_run(&timers, 100), 1000);
        ck_assert_uint_eq(timers_run(&timers, 1100), UINT64_MAX);
        ck_assert_int_eq(expired_count, 2);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/timers");
    TCase *tests = tcase_create("timers");
    tcase_add_test(tests, test_timers_expire_when_due_and_in_order);
    tcase_add_test(tests, test_a_stopped_timer_does_not_expire_and_a_restarted_one_does_so_later);
    tcase_add_test(tests, test_one_that_expires_may_stop_another_that_is_due);
    tcase_add_test(tests, test_a_timer_that_is_started_by_another_is_counted_whatever_its_kind);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
