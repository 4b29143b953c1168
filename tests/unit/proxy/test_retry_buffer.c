/* SPDX-License-Identifier: MIT */
/* Kept request bodies, and the pools of blocks that they are read into. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peer.h"
#include "proxy/blocks.h"
#include "proxy/retry_buffer.h"

enum { KIB = 1024, MIB = 1024 * KIB };

static struct retry_budget budget;
static struct retry_buffer kept;

static void begin(void)
{
    budget = (struct retry_budget){
        .limit = 10 * MIB, .memory_limit = 100 * KIB, .body_limit = 8 * MIB, .waiting_limit = MIB};
    retry_buffer_construct(&kept);
}

static void end(void)
{
    retry_buffer_free(&kept, &budget);
    ck_assert_uint_eq(budget.used, 0);
    ck_assert_int_eq(kept.fd, -1);
    ck_assert_uint_eq(kept.length, 0);
}

/* What is kept is the first `length` random bytes, read back in steps. */
static void expect_kept(size_t length, size_t step)
{
    char *scratch = malloc(step);
    struct slice bytes = random_bytes(length);
    ck_assert_uint_eq(kept.length, length);
    for (uint64_t at = 0; at < length;) {
        struct slice part = retry_buffer_read(&kept, at, scratch, step);
        ck_assert_uint_gt(part.length, 0);
        ck_assert_uint_le(part.length, step);
        ck_assert_int_eq(memcmp(part.data, bytes.data + at, part.length), 0);
        at += part.length;
    }
    ck_assert_uint_eq(kept.length, length);
    free(scratch);
}

static void append(size_t length)
{
    ck_assert(retry_buffer_append(
        &kept, &budget, slice_make(random_bytes(8 * MIB).data + kept.length, length), false));
    ck_assert_uint_eq(budget.used, kept.length);
}

START_TEST(test_a_body_goes_from_memory_to_a_file_and_reads_back_the_same)
{
    static const size_t sizes[] = {1,         99 * KIB,     100 * KIB, 100 * KIB + 1,
                                   200 * KIB, 3 * MIB + 17, 8 * MIB};
    static const size_t steps[] = {1000, 33333, 64 * KIB, 100 * KIB, 2 * MIB};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            begin();
            while (kept.length < sizes[s])
                append(sizes[s] - kept.length < steps[i] ? sizes[s] - (size_t)kept.length
                                                         : steps[i]);
            ck_assert_uint_le(kept.memory.length, budget.memory_limit);
            if (sizes[s] <= budget.memory_limit)
                ck_assert_int_eq(kept.fd, -1);
            expect_kept(sizes[s], 64 * KIB);
            expect_kept(sizes[s], 7777);
            end();
        }
    }
}
END_TEST

START_TEST(test_what_is_past_the_body_limit_is_refused_and_the_rest_stays)
{
    begin();
    append(8 * MIB - 10);
    ck_assert(!retry_buffer_append(&kept, &budget, random_bytes(11), false));
    ck_assert_uint_eq(budget.used, 8 * MIB - 10);
    append(10);
    ck_assert(!retry_buffer_append(&kept, &budget, random_bytes(1), false));
    expect_kept(8 * MIB, 64 * KIB);
    end();
}
END_TEST

START_TEST(test_the_budget_is_one_for_all)
{
    struct retry_buffer other;
    begin();
    retry_buffer_construct(&other);
    append(6 * MIB);
    ck_assert(retry_buffer_append(&other, &budget, random_bytes(4 * MIB), false));
    ck_assert(!retry_buffer_append(&kept, &budget, random_bytes(1), false));
    ck_assert(!retry_budget_take(&budget, 1));
    ck_assert_uint_eq(budget.used, 10 * MIB);
    /* What has to be kept is, and counted. */
    ck_assert(retry_buffer_append(&kept, &budget,
                                  slice_make(random_bytes(8 * MIB).data + 6 * MIB, KIB), true));
    ck_assert_uint_eq(budget.used, 10 * MIB + KIB);
    retry_buffer_free(&other, &budget);
    ck_assert_uint_eq(budget.used, 6 * MIB + KIB);
    expect_kept(6 * MIB + KIB, 64 * KIB);
    end();
}
END_TEST

START_TEST(test_all_of_it_can_move_to_the_file_and_grow_there)
{
    static const size_t sizes[] = {0, 50 * KIB, 100 * KIB, 300 * KIB};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        begin();
        if (sizes[s] > 0) {
            append(sizes[s] < 90 * KIB ? sizes[s] : 90 * KIB); /* this much stays in memory */
            append(sizes[s] - (size_t)kept.length);
        }
        ck_assert(retry_buffer_spill(&kept));
        ck_assert_uint_eq(kept.memory.length, 0);
        ck_assert_uint_eq(kept.memory.capacity, 0);
        ck_assert_uint_eq(budget.used, sizes[s]);
        expect_kept(sizes[s], 10 * KIB);
        append(200 * KIB);
        expect_kept(sizes[s] + 200 * KIB, 10 * KIB);
        ck_assert(retry_buffer_spill(&kept));
        expect_kept(sizes[s] + 200 * KIB, 64 * KIB);
        end();
    }
}
END_TEST

START_TEST(test_no_place_for_a_file_refuses_and_keeps_what_there_is)
{
    begin();
    ck_assert_int_eq(setenv("TMPDIR", "/nonexistent/directory", 1), 0);
    append(90 * KIB);
    ck_assert(
        !retry_buffer_append(&kept, &budget, random_bytes(64 * KIB), false)); /* would not fit */
    ck_assert_uint_eq(budget.used, 90 * KIB);
    ck_assert(!retry_buffer_spill(&kept));
    expect_kept(90 * KIB, 10 * KIB);
    append(10 * KIB);
    expect_kept(100 * KIB, 10 * KIB);
    unsetenv("TMPDIR");
    end();
}
END_TEST

START_TEST(test_the_memory_of_what_waits_has_its_own_bound)
{
    begin();
    ck_assert(retry_budget_take_waiting(&budget, MIB - 1));
    ck_assert(!retry_budget_take_waiting(&budget, 2));
    ck_assert(retry_budget_take_waiting(&budget, 1));
    retry_budget_give_waiting(&budget, MIB);
    ck_assert_uint_eq(budget.waiting, 0);
    budget.waiting_limit = 0; /* none */
    ck_assert(retry_budget_take_waiting(&budget, 1024u * MIB));
    retry_budget_give_waiting(&budget, 1024u * MIB);
    end();
}
END_TEST

START_TEST(test_blocks_are_reused_last_first_and_kept_up_to_a_bound)
{
    struct blocks blocks;
    char *borrowed[4];
    blocks_construct(&blocks, BLOCK_HEAD, 2);
    for (int i = 0; i < 4; i++) {
        borrowed[i] = blocks_borrow(&blocks);
        ck_assert_ptr_nonnull(borrowed[i]);
        memset(borrowed[i], i, BLOCK_HEAD);
        for (int j = 0; j < i; j++)
            ck_assert_ptr_ne(borrowed[i], borrowed[j]);
    }
    blocks_return(&blocks, NULL);
    ck_assert_uint_eq(blocks.kept, 0);
    blocks_return(&blocks, borrowed[0]);
    blocks_return(&blocks, borrowed[1]);
    ck_assert_uint_eq(blocks.kept, 2);
    blocks_return(&blocks, borrowed[2]);
    ck_assert_uint_eq(blocks.kept, 2);
    ck_assert_ptr_eq(blocks_borrow(&blocks), borrowed[1]);
    ck_assert_ptr_eq(blocks_borrow(&blocks), borrowed[0]);
    ck_assert_uint_eq(blocks.kept, 0);
    for (int i = 0; i < 4; i++) {
        if (i != 2)
            blocks_return(&blocks, borrowed[i]);
    }
    blocks_destruct(&blocks);
    ck_assert_ptr_null(blocks.first);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/retry_buffer");
    TCase *tests = tcase_create("retry_buffer");
    tcase_add_test(tests, test_a_body_goes_from_memory_to_a_file_and_reads_back_the_same);
    tcase_add_test(tests, test_what_is_past_the_body_limit_is_refused_and_the_rest_stays);
    tcase_add_test(tests, test_the_budget_is_one_for_all);
    tcase_add_test(tests, test_all_of_it_can_move_to_the_file_and_grow_there);
    tcase_add_test(tests, test_no_place_for_a_file_refuses_and_keeps_what_there_is);
    tcase_add_test(tests, test_the_memory_of_what_waits_has_its_own_bound);
    tcase_add_test(tests, test_blocks_are_reused_last_first_and_kept_up_to_a_bound);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
