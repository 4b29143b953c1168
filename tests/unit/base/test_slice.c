/* SPDX-License-Identifier: MIT */
/* Slices: comparing, cutting, numbers, and UTF-8. */
#include "base/slice.h"

#include <check.h>
#include <stdlib.h>

START_TEST(test_equality_is_of_bytes_and_folds_only_ascii)
{
    static const struct {
        struct slice a, b;
        bool equal, folded;
    } cases[] = {
        {SLICE(""), SLICE(""), true, true},
        {{NULL, 0}, SLICE(""), true, true},
        {SLICE("Host"), SLICE("host"), false, true},
        {SLICE("host"), SLICE("hos"), false, false},
        {SLICE("a\0b"), SLICE("a\0c"), false, false}, /* NUL ends nothing */
        {SLICE("@"), SLICE("`"), false, false},       /* 0x40 and 0x60 are no letters */
        {SLICE("["), SLICE("{"), false, false},
        {SLICE("\xc3\x84"), SLICE("\xc3\xa4"), false, false}, /* Ä and ä */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(slice_equal(cases[i].a, cases[i].b) == cases[i].equal, "case %zu", i);
        ck_assert_msg(slice_equal_ignore_case(cases[i].a, cases[i].b) == cases[i].folded,
                      "case %zu", i);
    }
}
END_TEST

START_TEST(test_prefixes)
{
    static const struct {
        struct slice s, prefix;
        bool exact, folded;
    } cases[] = {
        {SLICE("cards"), SLICE("card"), true, true},  {SLICE("card"), SLICE("cards"), false, false},
        {SLICE("Cards"), SLICE("card"), false, true}, {SLICE("x"), SLICE(""), true, true},
        {{NULL, 0}, {NULL, 0}, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert(slice_has_prefix(cases[i].s, cases[i].prefix) == cases[i].exact);
        ck_assert(slice_has_prefix_ignore_case(cases[i].s, cases[i].prefix) == cases[i].folded);
    }
}
END_TEST

START_TEST(test_trimming)
{
    static const struct {
        struct slice s, blank, space;
    } cases[] = {
        {SLICE(" \ta b\t "), SLICE("a b"), SLICE("a b")},
        {SLICE("\r\n a \n"), SLICE("\r\n a \n"), SLICE("a")},
        {SLICE(" \t "), SLICE(""), SLICE("")},
        {SLICE(""), SLICE(""), SLICE("")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert(slice_equal(slice_trim_blank(cases[i].s), cases[i].blank));
        ck_assert(slice_equal(slice_trim_space(cases[i].s), cases[i].space));
    }
}
END_TEST

START_TEST(test_splitting_tells_an_empty_rest_from_none_by_its_parts)
{
    struct slice rest = SLICE("a,,b");
    ck_assert(slice_equal(slice_split(&rest, ','), SLICE("a")));
    ck_assert(slice_equal(slice_split(&rest, ','), SLICE("")));
    ck_assert(slice_equal(slice_split(&rest, ','), SLICE("b")));
    ck_assert_uint_eq(rest.length, 0);
    ck_assert(slice_equal(slice_split(&rest, ','), SLICE("")));
}
END_TEST

START_TEST(test_numbers_are_decimal_digits_and_nothing_else)
{
    static const struct {
        struct slice text;
        bool good;
        uint64_t value;
    } cases[] = {
        {SLICE("0"), true, 0},
        {SLICE("007"), true, 7},
        {SLICE("9999999999999999999"), true, 9999999999999999999u},
        {SLICE("18446744073709551615"), false, 0},
        {SLICE(""), false, 0},
        {SLICE("+1"), false, 0},
        {SLICE("-1"), false, 0},
        {SLICE(" 1"), false, 0},
        {SLICE("1\0"), false, 0},
        {SLICE("0x10"), false, 0},
        {SLICE("1e3"), false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 42;
        ck_assert_msg(slice_to_uint64(cases[i].text, &value) == cases[i].good, "case %zu", i);
        ck_assert_uint_eq(value, cases[i].good ? cases[i].value : 42);
    }
}
END_TEST

START_TEST(test_copies_end_with_nul_and_are_cut_to_fit)
{
    char out[4];
    ck_assert_str_eq(slice_copy(SLICE("abcdef"), out, sizeof out), "abc");
    ck_assert_str_eq(slice_copy(SLICE("abc"), out, sizeof out), "abc");
    ck_assert_str_eq(slice_copy(slice_make(NULL, 0), out, sizeof out), "");
    ck_assert_str_eq(slice_copy(SLICE("abc"), out, 1), "");
    char *copy = slice_to_string(SLICE("a\0b"));
    ck_assert_mem_eq(copy, "a\0b", 4);
    free(copy);
    ck_assert_uint_eq(slice_from_string(NULL).length, 0);
}
END_TEST

START_TEST(test_utf8_is_what_rfc_3629_says)
{
    static const struct {
        struct slice text;
        size_t length;
    } cases[] = {
        {SLICE(""), 0},
        {SLICE("\0"), 1},
        {SLICE("a"), 1},
        {SLICE("\x7f"), 1},
        {SLICE("\x80"), 0},     /* begins with a continuation */
        {SLICE("\xc0\xaf"), 0}, /* overlong */
        {SLICE("\xc2\x80"), 2},
        {SLICE("\xc2"), 0}, /* cut */
        {SLICE("\xc3("), 0},
        {SLICE("\xe0\x9f\xbf"), 0}, /* overlong */
        {SLICE("\xe0\xa0\x80"), 3},
        {SLICE("\xed\x9f\xbf"), 3},
        {SLICE("\xed\xa0\x80"), 0}, /* a surrogate */
        {SLICE("\xef\xbf\xbd"), 3},
        {SLICE("\xe2\x82"), 0},
        {SLICE("\xe2\x82("), 0},
        {SLICE("\xf0\x8f\xbf\xbf"), 0}, /* overlong */
        {SLICE("\xf0\x9f\x98\x80"), 4},
        {SLICE("\xf4\x8f\xbf\xbf"), 4},
        {SLICE("\xf4\x90\x80\x80"), 0}, /* past Unicode */
        {SLICE("\xf5\x80\x80\x80"), 0},
        {SLICE("\xff"), 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(slice_utf8_length(cases[i].text) == cases[i].length, "case %zu", i);
}
END_TEST

START_TEST(test_the_order_of_names_is_sqlites)
{
    ck_assert_int_eq(string_compare_ignore_case("Cards", "cARDS"), 0);
    ck_assert_int_lt(string_compare_ignore_case("card", "CARDS"), 0);
    ck_assert_int_gt(string_compare_ignore_case("cards", "CARD"), 0);
    ck_assert_int_lt(string_compare_ignore_case("_", "a"), 0);
    ck_assert_int_gt(string_compare_ignore_case("\xc3\xa4", "z"), 0); /* bytes are unsigned */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slice");
    TCase *tcase = tcase_create("slice");
    tcase_add_test(tcase, test_equality_is_of_bytes_and_folds_only_ascii);
    tcase_add_test(tcase, test_prefixes);
    tcase_add_test(tcase, test_trimming);
    tcase_add_test(tcase, test_splitting_tells_an_empty_rest_from_none_by_its_parts);
    tcase_add_test(tcase, test_numbers_are_decimal_digits_and_nothing_else);
    tcase_add_test(tcase, test_copies_end_with_nul_and_are_cut_to_fit);
    tcase_add_test(tcase, test_utf8_is_what_rfc_3629_says);
    tcase_add_test(tcase, test_the_order_of_names_is_sqlites);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
