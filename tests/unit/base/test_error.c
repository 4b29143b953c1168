/* SPDX-License-Identifier: MIT */
/* Errors: one line, whole characters, and a table without holes. */
#include "base/error.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "base/slice.h"

START_TEST(test_a_message_is_one_line_whatever_is_in_it)
{
    struct error error;
    ck_assert(!error_set(&error, ERROR_SQL, "a\nb\r\n%s\x7f\x1b[31m", "c\td"));
    ck_assert_str_eq(error.message, "a b  c d  [31m");
    ck_assert_int_eq(error.code, ERROR_SQL);
    ck_assert(!error_set_errno(&error, ERROR_IO, ENOENT, "x\ny"));
    ck_assert_str_eq(error.message, "x y: No such file or directory");
    error_prefix(&error, "in\n%s: ", "z");
    ck_assert_str_eq(error.message, "in z: x y: No such file or directory");
    ck_assert_int_eq(error.code, ERROR_IO);
}
END_TEST

START_TEST(test_nobody_has_to_take_an_error)
{
    ck_assert(!error_set(NULL, ERROR_SQL, "x"));
    ck_assert(!error_set_errno(NULL, ERROR_IO, EIO, "x"));
    error_prefix(NULL, "x");
}
END_TEST

/* JSON writers refuse half a character. */
START_TEST(test_a_message_that_is_too_long_is_cut_between_characters)
{
    static const char *const characters[] = {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char text[2 * ERROR_MESSAGE_SIZE];
    struct error error;
    for (size_t c = 0; c < 4; c++) {
        size_t size = strlen(characters[c]);
        for (size_t offset = 0; offset < 4; offset++) {
            memset(text, 'x', offset);
            size_t length = offset;
            for (; length + size < sizeof text; length += size)
                memcpy(text + length, characters[c], size);
            text[length] = '\0';
            error_set(&error, ERROR_SQL, "%s", text);
            length = strlen(error.message);
            ck_assert_uint_gt(length + 4, ERROR_MESSAGE_SIZE - 1);
            ck_assert_uint_eq((length - offset) % size, 0);
            ck_assert_mem_eq(error.message, text, length);
            error_prefix(&error, "%s", "p");
            ck_assert_uint_eq((strlen(error.message) - offset - 1) % size, 0);
        }
    }
}
END_TEST

START_TEST(test_bytes_that_are_no_characters_do_not_eat_the_message)
{
    char text[2 * ERROR_MESSAGE_SIZE];
    struct error error;
    memset(text, 0x80, sizeof text);
    text[sizeof text - 1] = '\0';
    error_set(&error, ERROR_SQL, "%s", text);
    ck_assert_uint_gt(strlen(error.message), ERROR_MESSAGE_SIZE - 8);
}
END_TEST

START_TEST(test_each_code_has_category_exit_code_and_status)
{
#define X(code, category, exit, status)                                                            \
    ck_assert_str_eq(error_category(code), category);                                              \
    ck_assert_int_eq(error_exit_code(code), exit);                                                 \
    ck_assert_uint_eq(error_http_status(code), status);                                            \
    ck_assert_uint_ge(error_http_status(code), 200);
    ERROR_TABLE(X)
#undef X
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("error");
    TCase *tcase = tcase_create("error");
    tcase_add_test(tcase, test_a_message_is_one_line_whatever_is_in_it);
    tcase_add_test(tcase, test_nobody_has_to_take_an_error);
    tcase_add_test(tcase, test_a_message_that_is_too_long_is_cut_between_characters);
    tcase_add_test(tcase, test_bytes_that_are_no_characters_do_not_eat_the_message);
    tcase_add_test(tcase, test_each_code_has_category_exit_code_and_status);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
