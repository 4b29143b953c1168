/* SPDX-License-Identifier: MIT */
/* "Did you mean": slips are mended, other words are not. */
#include <check.h>
#include <string.h>

#include "config/suggest.h"

static const char *const known[] = {"upstream", "mode", "migrations", "status", "apply", NULL};

static const struct {
    const char *written;
    const char *text;
} words[] = {
    {"upstrem", ": did you mean <upstream>?"},
    {"upstraem", ": did you mean <upstream>?"},
    {"uppstream", ": did you mean <upstream>?"},
    {"mdoe", ": did you mean <mode>?"},
    {"migration", ": did you mean <migrations>?"},
    {"aply", ": did you mean <apply>?"},
    {"frobnicate", ""},
    {"", ""},
    {"m", ""},
};

START_TEST(test_the_nearest_word_is_suggested)
{
    struct suggestion suggestion;
    char out[64];
    suggestion_construct(&suggestion, words[_i].written);
    for (int i = 0; known[i]; i++)
        suggestion_offer(&suggestion, known[i]);
    ck_assert_str_eq(suggestion_text(&suggestion, "<", ">", out, sizeof out), words[_i].text);
}
END_TEST

START_TEST(test_a_word_of_any_length_is_taken)
{
    char written[4096];
    char out[64];
    struct suggestion suggestion;
    memset(written, 'm', sizeof written - 1);
    written[sizeof written - 1] = '\0';
    suggestion_construct(&suggestion, written);
    suggestion_offer(&suggestion, "mode");
    ck_assert_str_eq(suggestion_text(&suggestion, "", "", out, sizeof out), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("suggest");
    TCase *cases = tcase_create("suggest");
    tcase_add_loop_test(cases, test_the_nearest_word_is_suggested, 0, sizeof words / sizeof *words);
    tcase_add_test(cases, test_a_word_of_any_length_is_taken);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
