/* SPDX-License-Identifier: MIT */
/* Catalogues: building and looking up. */
#include "schema/catalogue.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct catalogue *catalogue, enum schema_kind kind, const char *name,
                const char *column)
{
    struct catalogue_object object = {
        .kind = kind, .name = strdup(name), .table = strdup(name), .sql = strdup("CREATE")};
    if (column) {
        object.columns = calloc(1, sizeof *object.columns);
        object.column_count = 1;
        object.columns[0].name = strdup(column);
        object.columns[0].type = strdup("TEXT");
    }
    ck_assert(catalogue_add(catalogue, object));
}

static struct catalogue example(void)
{
    struct catalogue catalogue = {0};
    add(&catalogue, SCHEMA_TRIGGER, "after_card", NULL);
    add(&catalogue, SCHEMA_VIEW, "open_cards", "title");
    add(&catalogue, SCHEMA_INDEX, "cards_by_title", NULL);
    add(&catalogue, SCHEMA_TABLE, "we\"ird na'me.x", "a b");
    add(&catalogue, SCHEMA_TABLE, "Žluť", "Kůň");
    add(&catalogue, SCHEMA_TABLE, "Cards", "Title");
    catalogue_sort(&catalogue);
    return catalogue;
}

START_TEST(test_lookups_fold_ascii_case_and_nothing_else)
{
    static const struct {
        enum schema_kind kind;
        const char *table;
        const char *name;
        bool has;
    } cases[] = {
        {SCHEMA_TABLE, NULL, "cards", true},
        {SCHEMA_TABLE, NULL, "CARDS", true},
        {SCHEMA_TABLE, NULL, "card", false},
        {SCHEMA_TABLE, NULL, "cardsx", false},
        {SCHEMA_TABLE, NULL, "", false},
        {SCHEMA_TABLE, NULL, "WE\"IRD NA'ME.X", true},
        {SCHEMA_TABLE, NULL, "Žluť", true},
        {SCHEMA_TABLE, NULL, "žluť", false},
        {SCHEMA_TABLE, NULL, "open_CARDS", true}, /* a reader does not care whether it is a view */
        {SCHEMA_VIEW, NULL, "open_cards", true},
        {SCHEMA_VIEW, NULL, "cards", false},
        {SCHEMA_INDEX, NULL, "cards_BY_title", true},
        {SCHEMA_INDEX, NULL, "cards", false},
        {SCHEMA_TRIGGER, NULL, "after_card", true},
        {SCHEMA_COLUMN, "CARDS", "TITLE", true},
        {SCHEMA_COLUMN, "cards", "nope", false},
        {SCHEMA_COLUMN, "nope", "title", false},
        {SCHEMA_COLUMN, "open_cards", "title", true},
        {SCHEMA_COLUMN, "Žluť", "Kůň", true},
        {SCHEMA_COLUMN, "we\"ird na'me.x", "A B", true},
    };
    struct catalogue catalogue = example();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(catalogue_has(&catalogue, cases[i].kind, cases[i].table, cases[i].name) ==
                          cases[i].has,
                      "case %zu: %s", i, cases[i].name);
    catalogue_free(&catalogue);
    ck_assert_ptr_null(catalogue.objects);
}
END_TEST

START_TEST(test_an_empty_catalogue_has_nothing)
{
    struct catalogue catalogue = {0};
    catalogue_sort(&catalogue);
    ck_assert_ptr_null(catalogue_find(&catalogue, SCHEMA_TABLE, "cards"));
    catalogue_free(&catalogue);
}
END_TEST

START_TEST(test_many_objects_are_all_found)
{
    struct catalogue catalogue = {0};
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%s%d", i % 2 ? "t" : "T", i * 7919 % 1000);
        add(&catalogue, i % 3 ? SCHEMA_TABLE : SCHEMA_INDEX, name, NULL);
    }
    catalogue_sort(&catalogue);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "t%d", i * 7919 % 1000);
        ck_assert(catalogue_has(&catalogue, i % 3 ? SCHEMA_TABLE : SCHEMA_INDEX, NULL, name));
        ck_assert(!catalogue_has(&catalogue, i % 3 ? SCHEMA_INDEX : SCHEMA_TABLE, NULL, name));
    }
    catalogue_free(&catalogue);
}
END_TEST

START_TEST(test_kinds_have_sqlites_names)
{
    ck_assert_str_eq(schema_kind_name(SCHEMA_TABLE), "table");
    ck_assert_str_eq(schema_kind_name(SCHEMA_INDEX), "index");
    ck_assert_str_eq(schema_kind_name(SCHEMA_VIEW), "view");
    ck_assert_str_eq(schema_kind_name(SCHEMA_TRIGGER), "trigger");
    ck_assert_str_eq(schema_kind_name(SCHEMA_COLUMN), "column");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("schema/catalogue");
    TCase *group = tcase_create("catalogue");
    tcase_add_test(group, test_lookups_fold_ascii_case_and_nothing_else);
    tcase_add_test(group, test_an_empty_catalogue_has_nothing);
    tcase_add_test(group, test_many_objects_are_all_found);
    tcase_add_test(group, test_kinds_have_sqlites_names);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
