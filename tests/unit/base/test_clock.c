/* SPDX-License-Identifier: MIT */
/* Time as people read it. */
#include "base/clock.h"

#include <check.h>
#include <string.h>

START_TEST(test_wall_times_are_rfc_3339_in_utc)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {-86400001, "1969-12-30T23:59:59.999Z"},
        /* Clocks that are out of their mind: still a text of that shape. */
        {253402300800000, "0000-01-01T00:00:00.000Z"},
        {INT64_MAX, "0000-01-01T00:00:00.807Z"},
        {INT64_MIN, "0000-01-01T00:00:00.192Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[CLOCK_TEXT_SIZE];
        memset(out, 'x', sizeof out);
        ck_assert_str_eq(clock_format(cases[i].ms, out), cases[i].text);
    }
}
END_TEST

START_TEST(test_clocks_go_forward)
{
    uint64_t before = clock_monotonic_ns();
    ck_assert_uint_ge(clock_monotonic_ns(), before);
    ck_assert_int_gt(clock_wall_ms(), 1600000000000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clock");
    TCase *tcase = tcase_create("clock");
    tcase_add_test(tcase, test_wall_times_are_rfc_3339_in_utc);
    tcase_add_test(tcase, test_clocks_go_forward);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
