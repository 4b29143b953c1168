/* SPDX-License-Identifier: MIT */
/* The table of event types holds together. */
#include "journal/event.h"

#include <check.h>
#include <string.h>

START_TEST(test_every_type_is_found_by_its_name)
{
    enum event_type type;
    ck_assert(event_type_from_name(event_name((enum event_type)_i), &type));
    ck_assert_int_eq(type, _i);
    ck_assert_str_ne(event_meaning(type), "");
    ck_assert(event_level(type) >= LOG_DEBUG && event_level(type) <= LOG_ERROR);
    /* It is part of a CloudEvents type. */
    ck_assert_uint_eq(strspn(event_name(type), "abcdefghijklmnopqrstuvwxyz_"),
                      strlen(event_name(type)));
}
END_TEST

START_TEST(test_an_unknown_name_is_no_type)
{
    enum event_type type;
    ck_assert(!event_type_from_name("", &type));
    ck_assert(!event_type_from_name("Applied", &type));
    ck_assert(!event_type_from_name("automigrate.applied", &type));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("event");
    TCase *cases = tcase_create("event");
    tcase_add_loop_test(cases, test_every_type_is_found_by_its_name, 0, EVENT_TYPE_COUNT);
    tcase_add_test(cases, test_an_unknown_name_is_no_type);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
