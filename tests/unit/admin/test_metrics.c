/* SPDX-License-Identifier: MIT */
/* The Prometheus text format. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "admin/metrics.h"

START_TEST(test_help_and_type_are_told_once_a_name)
{
    const struct admin_metric metrics[] = {
        {"a_total", "Things \\ done.\nSecond line.", "counter", "kind=\"x\"", 3},
        {"a_total", "ignored", "counter", "kind=\"y\"", 9007199254740991.0},
        {"b", "Share.", "gauge", NULL, 0.25},
        {"c", "Minus.", "gauge", "", -2},
    };
    struct buffer out = {0};
    metrics_write(metrics, 4, &out);
    ck_assert_str_eq(out.data, "# HELP a_total Things \\\\ done.\\nSecond line.\n"
                               "# TYPE a_total counter\n"
                               "a_total{kind=\"x\"} 3\n"
                               "a_total{kind=\"y\"} 9007199254740991\n"
                               "# HELP b Share.\n# TYPE b gauge\nb 0.25\n"
                               "# HELP c Minus.\n# TYPE c gauge\nc -2\n");
    buffer_free(&out);
}
END_TEST

static const struct {
    double value;
    const char *text;
} values[] = {{NAN, "NaN"},
              {INFINITY, "+Inf"},
              {-INFINITY, "-Inf"},
              {1e300, "1.0000000000000001e+300"},
              {0, "0"}};

START_TEST(test_values_that_are_no_whole_numbers)
{
    const struct admin_metric metric = {"a", "A.", "gauge", NULL, values[_i].value};
    struct buffer out = {0};
    metrics_write(&metric, 1, &out);
    const char *line = strstr(out.data, "\na ");
    ck_assert_ptr_nonnull(line);
    ck_assert_int_eq(strncmp(line + 3, values[_i].text, strlen(values[_i].text)), 0);
    ck_assert_str_eq(line + 3 + strlen(values[_i].text), "\n");
    buffer_free(&out);
}
END_TEST

START_TEST(test_label_values_are_escaped_and_cut)
{
    char out[8];
    ck_assert_str_eq(metrics_escape("a\"b\\\n", out, sizeof out), "a\\\"b\\\\");
    ck_assert_str_eq(metrics_escape("plain", out, sizeof out), "plain");
    ck_assert_str_eq(metrics_escape("longer than that", out, sizeof out), "longer ");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *cases = tcase_create("metrics");
    tcase_add_test(cases, test_help_and_type_are_told_once_a_name);
    tcase_add_loop_test(cases, test_values_that_are_no_whole_numbers, 0,
                        sizeof values / sizeof *values);
    tcase_add_test(cases, test_label_values_are_escaped_and_cut);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
