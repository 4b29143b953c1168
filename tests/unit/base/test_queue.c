/* SPDX-License-Identifier: MIT */
/* The queue between threads: its bound, its order, and its one wake-up a batch. */
#include "base/queue.h"

#include <check.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

enum { PRODUCERS = 4, EACH = 20000, WAIT_MS = 20000 };

static struct queue queue;

static void construct(size_t size, size_t capacity)
{
    struct error error = {0};
    ck_assert_msg(queue_construct(&queue, size, capacity, &error), "%s", error.message);
}

static bool is_readable(int timeout_ms)
{
    return poll(&(struct pollfd){.fd = queue.fd, .events = POLLIN}, 1, timeout_ms) == 1;
}

START_TEST(test_the_bound_is_kept_and_nothing_is_lost_at_it)
{
    static const size_t capacities[] = {1, 3, 63, 64, 65, 1000};
    for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
        size_t capacity = capacities[c];
        construct(sizeof(uint64_t), capacity);
        for (uint64_t i = 0; i < capacity; i++)
            ck_assert(queue_push(&queue, &i));
        uint64_t more = 99999, out[1000];
        ck_assert(!queue_push(&queue, &more));
        ck_assert_uint_eq(queue_pop(&queue, out, 1), 1);
        ck_assert_uint_eq(out[0], 0);
        ck_assert(queue_push(&queue, &more));
        ck_assert(!queue_push(&queue, &more));
        ck_assert_uint_eq(queue_pop(&queue, out, 1000), capacity);
        for (uint64_t i = 1; i < capacity; i++)
            ck_assert_uint_eq(out[i - 1], i);
        ck_assert_uint_eq(out[capacity - 1], more);
        ck_assert_uint_eq(queue_pop(&queue, out, 1), 0);
        queue_destruct(&queue);
    }
}
END_TEST

START_TEST(test_growing_keeps_the_order_of_a_ring_that_has_turned)
{
    uint64_t next = 0, expected = 0, out[7];
    construct(sizeof next, 100000);
    for (int round = 0; round < 500; round++) {
        for (int i = 0; i < 11; i++, next++)
            ck_assert(queue_push(&queue, &next));
        size_t count = queue_pop(&queue, out, 7);
        ck_assert_uint_eq(count, 7);
        for (size_t i = 0; i < count; i++)
            ck_assert_uint_eq(out[i], expected++);
    }
    queue_destruct(&queue);
}
END_TEST

START_TEST(test_messages_of_any_size_are_copied)
{
    char message[37], out[37];
    construct(sizeof message, 200);
    for (int i = 0; i < 200; i++) {
        memset(message, i, sizeof message);
        ck_assert(queue_push(&queue, message));
    }
    for (int i = 0; i < 200; i++) {
        memset(message, i, sizeof message);
        ck_assert_uint_eq(queue_pop(&queue, out, 1), 1);
        ck_assert_mem_eq(out, message, sizeof out);
    }
    queue_destruct(&queue);
}
END_TEST

START_TEST(test_the_descriptor_is_readable_while_there_is_something)
{
    char out[4];
    construct(1, 10);
    ck_assert(!is_readable(0));
    ck_assert(queue_push(&queue, "a"));
    ck_assert(queue_push(&queue, "b"));
    ck_assert(is_readable(0));
    ck_assert_uint_eq(queue_pop(&queue, out, 1), 1);
    ck_assert(is_readable(0)); /* one is left */
    ck_assert_uint_eq(queue_pop(&queue, out, 4), 1);
    ck_assert(!is_readable(0));
    ck_assert(queue_push(&queue, "c"));
    ck_assert(is_readable(0));
    queue_destruct(&queue);
    queue_destruct(&queue); /* twice is harmless */
}
END_TEST

struct message {
    uint32_t producer, number;
};

static void *produce(void *context)
{
    struct message message = {.producer = *(const uint32_t *)context};
    for (; message.number < EACH; message.number++) {
        while (!queue_push(&queue, &message))
            poll(NULL, 0, 1); /* full */
    }
    return NULL;
}

START_TEST(test_many_producers_reach_one_consumer_each_in_its_order)
{
    uint32_t numbers[PRODUCERS] = {0, 1, 2, 3}, expected[PRODUCERS] = {0};
    pthread_t threads[PRODUCERS];
    construct(sizeof(struct message), 256);
    for (size_t i = 0; i < PRODUCERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, produce, &numbers[i]), 0);
    for (size_t total = 0; total < PRODUCERS * EACH;) {
        struct message out[50];
        ck_assert_msg(is_readable(WAIT_MS), "a wake-up was lost after %zu", total);
        size_t count = queue_pop(&queue, out, 50);
        for (size_t i = 0; i < count; i++)
            ck_assert_uint_eq(out[i].number, expected[out[i].producer]++);
        total += count;
    }
    for (size_t i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert(!is_readable(0));
    queue_destruct(&queue);
}
END_TEST

enum { ROUNDS = 20000 };
static atomic_int asked, pushed;

static void *push_when_asked(void *context)
{
    (void)context;
    for (int round = 1; round <= ROUNDS; round++) {
        while (atomic_load(&asked) < round)
            sched_yield();
        ck_assert(queue_push(&queue, &round));
        atomic_store(&pushed, round);
    }
    return NULL;
}

/* A reader that takes a message before its sender has written the wake-up must not be left with a
 * descriptor that stays readable over an empty queue: its thread would turn for ever. */
START_TEST(test_an_empty_queue_wakes_nobody_however_early_it_was_emptied)
{
    pthread_t thread;
    construct(sizeof(int), 10);
    ck_assert_int_eq(pthread_create(&thread, NULL, push_when_asked, NULL), 0);
    for (int round = 1; round <= ROUNDS; round++) {
        int out = 0;
        atomic_store(&asked, round);
        while (queue_pop(&queue, &out, 1) == 0)
            continue;
        ck_assert_int_eq(out, round);
        while (atomic_load(&pushed) < round)
            sched_yield();
        ck_assert_uint_eq(queue_pop(&queue, &out, 1), 0);
        ck_assert_msg(!is_readable(0), "round %d", round);
    }
    pthread_join(thread, NULL);
    queue_destruct(&queue);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue");
    TCase *tcase = tcase_create("queue");
    tcase_add_test(tcase, test_the_bound_is_kept_and_nothing_is_lost_at_it);
    tcase_add_test(tcase, test_growing_keeps_the_order_of_a_ring_that_has_turned);
    tcase_add_test(tcase, test_messages_of_any_size_are_copied);
    tcase_add_test(tcase, test_the_descriptor_is_readable_while_there_is_something);
    tcase_add_test(tcase, test_many_producers_reach_one_consumer_each_in_its_order);
    tcase_add_test(tcase, test_an_empty_queue_wakes_nobody_however_early_it_was_emptied);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
