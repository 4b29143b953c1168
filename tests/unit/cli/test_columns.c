/* SPDX-License-Identifier: MIT */
/* Text for people. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/columns.h"

START_TEST(test_columns_line_up_by_characters_and_end_without_blanks)
{
    struct columns columns = {.count = 3};
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    columns_add(&columns, COLOUR_GREEN, "1");
    columns_add(&columns, COLOUR_NONE, "für");
    columns_add(&columns, COLOUR_NONE, "x");
    columns_printf(&columns, COLOUR_NONE, "%d", 100);
    columns_add(&columns, COLOUR_NONE, "four");
    columns_add(&columns, COLOUR_NONE, NULL);
    ck_assert(columns_print(&columns, stream));
    fclose(stream);
    ck_assert_str_eq(text, "1    für   x\n100  four\n");
    free(text);
}
END_TEST

START_TEST(test_no_cell_can_command_a_terminal)
{
    struct columns columns = {.count = 1};
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    columns_add(&columns, COLOUR_RED,
                "a\033[2Jb\nc\x7f\xc2\x9b"
                "d");
    ck_assert(columns_print(&columns, stream));
    fclose(stream);
    ck_assert_str_eq(text, "a?[2Jb?c??d\n");
    free(text);
}
END_TEST

START_TEST(test_no_rows_print_nothing)
{
    struct columns columns = {.count = 2};
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    ck_assert(columns_print(&columns, stream));
    fclose(stream);
    ck_assert_str_eq(text, "");
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("columns");
    TCase *cases = tcase_create("columns");
    tcase_add_test(cases, test_columns_line_up_by_characters_and_end_without_blanks);
    tcase_add_test(cases, test_no_cell_can_command_a_terminal);
    tcase_add_test(cases, test_no_rows_print_nothing);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
