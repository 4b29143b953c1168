/* SPDX-License-Identifier: MIT */
/* When two definitions say the same. */
#include "schema/catalogue.h"

#include <check.h>

static const struct {
    const char *a;
    const char *b;
    bool same;
} cases[] = {
    {"", "", true},
    {"", " -- nothing", true},
    {"CREATE TABLE a(x)", "create\n\ttable A ( X )", true},
    {"CREATE TABLE a(x)", "CREATE TABLE a(x, y)", false},
    {"CREATE TABLE a(x)", "CREATE TABLE a", false},
    {"CREATE TABLE ab(x)", "CREATE TABLE a b(x)", false},
    {"CREATE TABLE a(x) -- one", "CREATE /* two */ TABLE a(x)", true},
    {"a--b\nc", "a c", true},
    {"a - -b", "a--b", false},
    {"a /* open", "a", true},
    {"a / b", "a /b", true},
    {"a <= b", "a<=b", true},
    {"a < b", "a <= b", false},
    {"a||b", "a || b", true},
    {"'Text'", "'text'", false},
    {"'a  b'", "'a b'", false},
    {"'-- no comment'", "'-- no  comment'", false},
    {"'it''s'", "'it''s'", true},
    {"'it''s' x", "'it' 's' x", false},
    {"\"a\"", "\"A\"", false},
    {"\"a\"\"b\" c", "\"a\" \"b\" c", false},
    {"[a ] b", "[a] b", false},
    {"[a]]", "[a] ]", true}, /* brackets know no doubling */
    {"`x``y`", "`x` `y`", false},
    {"x'ab'", "X'AB'", true},
    {"SELECT x'ab'", "SELECT x 'ab'", false}, /* a blob, and a column with an alias */
    {"Kůň", "KŮŇ", false},                    /* only ASCII folds in SQLite */
    {"Kůň k", "Kůň K", true},
    {"1.50", "1.5", false},
    {"'open", "'open", true},
    {"'open", "'open'", false},
};

START_TEST(test_definitions_compare_by_token)
{
    ck_assert_msg(catalogue_same_definition(cases[_i].a, cases[_i].b) == cases[_i].same, "%s <> %s",
                  cases[_i].a, cases[_i].b);
    ck_assert_msg(catalogue_same_definition(cases[_i].b, cases[_i].a) == cases[_i].same,
                  "%s <> %s, turned round", cases[_i].b, cases[_i].a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("schema/definition");
    TCase *group = tcase_create("definition");
    tcase_add_loop_test(group, test_definitions_compare_by_token, 0, sizeof cases / sizeof *cases);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
