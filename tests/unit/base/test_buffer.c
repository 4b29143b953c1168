/* SPDX-License-Identifier: MIT */
/* Buffers: growing, failing, giving away. */
#include "base/buffer.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>

/* Sanitizers end the program where malloc would say no; here it is to say no. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static const size_t too_much = (size_t)1 << 62;

START_TEST(test_it_grows_and_always_ends_with_nul)
{
    struct buffer buffer = {0};
    ck_assert_uint_eq(buffer_slice(&buffer).length, 0);
    ck_assert_ptr_nonnull(buffer_slice(&buffer).data);
    for (unsigned i = 0; i < 10000; i++) {
        ck_assert(buffer_append(&buffer, "0123456789" + i % 10, 1));
        ck_assert_uint_gt(buffer.capacity, buffer.length);
        ck_assert_int_eq(buffer.data[buffer.length], '\0');
    }
    ck_assert_uint_eq(buffer.length, 10000);
    ck_assert_uint_lt(buffer.capacity, 4 * 10000);
    for (unsigned i = 0; i < 10000; i++)
        ck_assert_int_eq(buffer.data[i], (int)('0' + i % 10));
    buffer_free(&buffer);
    ck_assert_ptr_null(buffer.data);
    buffer_free(&buffer); /* twice is harmless */
}
END_TEST

START_TEST(test_nothing_can_be_appended)
{
    struct buffer buffer = {0};
    ck_assert(buffer_append(&buffer, NULL, 0));
    ck_assert(buffer_append_string(&buffer, ""));
    ck_assert(buffer_append_slice(&buffer, slice_make(NULL, 0)));
    ck_assert_uint_eq(buffer.length, 0);
    buffer_free(&buffer);
}
END_TEST

START_TEST(test_printf_measures_first)
{
    struct buffer buffer = {0};
    ck_assert(buffer_printf(&buffer, "%s=%d;", "a", 1));
    ck_assert(buffer_printf(&buffer, "%0500d", 7));
    ck_assert_uint_eq(buffer.length, 504);
    ck_assert_str_eq(buffer.data + 500, "0007");
    ck_assert(buffer_append(&buffer, "x\0y", 3));
    ck_assert_uint_eq(buffer.length, 507);
    buffer_free(&buffer);
}
END_TEST

START_TEST(test_a_failure_leaves_the_content_and_is_remembered)
{
    static const size_t wanted[] = {(size_t)1 << 62, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 5};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct buffer buffer = {0};
        ck_assert(buffer_append_string(&buffer, "kept"));
        ck_assert(!buffer_reserve(&buffer, wanted[i]));
        ck_assert(buffer.failed);
        ck_assert_str_eq(buffer.data, "kept");
        ck_assert(!buffer_append_string(&buffer, "more"));
        ck_assert(!buffer_printf(&buffer, "%d", 1));
        ck_assert_str_eq(buffer.data, "kept");
        ck_assert_ptr_null(buffer_take(&buffer));
        ck_assert_ptr_null(buffer.data);
        ck_assert(!buffer.failed);
    }
}
END_TEST

START_TEST(test_clearing_forgets_a_failure_and_keeps_memory)
{
    struct buffer buffer = {0};
    ck_assert(buffer_append_string(&buffer, "old"));
    ck_assert(!buffer_reserve(&buffer, too_much));
    buffer_clear(&buffer);
    ck_assert_str_eq(buffer.data, "");
    ck_assert(buffer_append_string(&buffer, "new"));
    ck_assert_str_eq(buffer.data, "new");
    buffer_free(&buffer);
    buffer_clear(&buffer);
    ck_assert_ptr_null(buffer.data);
}
END_TEST

START_TEST(test_what_is_taken_is_the_callers)
{
    struct buffer buffer = {0};
    char *text = buffer_take(&buffer);
    ck_assert_str_eq(text, "");
    free(text);
    ck_assert(buffer_append_string(&buffer, "abc"));
    text = buffer_take(&buffer);
    ck_assert_str_eq(text, "abc");
    ck_assert_ptr_null(buffer.data);
    ck_assert_uint_eq(buffer.length, 0);
    free(text);
}
END_TEST

START_TEST(test_shrinking_gives_back_all_but_the_content)
{
    struct buffer buffer = {0};
    buffer_shrink(&buffer);
    ck_assert(buffer_reserve(&buffer, 100000));
    ck_assert(buffer_append_string(&buffer, "abc"));
    buffer_shrink(&buffer);
    ck_assert_uint_eq(buffer.capacity, 4);
    ck_assert_str_eq(buffer.data, "abc");
    buffer_shrink(&buffer);
    ck_assert(buffer_append_string(&buffer, "def"));
    ck_assert_str_eq(buffer.data, "abcdef");
    buffer_free(&buffer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buffer");
    TCase *tcase = tcase_create("buffer");
    tcase_add_test(tcase, test_it_grows_and_always_ends_with_nul);
    tcase_add_test(tcase, test_nothing_can_be_appended);
    tcase_add_test(tcase, test_printf_measures_first);
    tcase_add_test(tcase, test_a_failure_leaves_the_content_and_is_remembered);
    tcase_add_test(tcase, test_clearing_forgets_a_failure_and_keeps_memory);
    tcase_add_test(tcase, test_what_is_taken_is_the_callers);
    tcase_add_test(tcase, test_shrinking_gives_back_all_but_the_content);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
