/* SPDX-License-Identifier: MIT */
/* The difference of two catalogues. Each case writes two small schemas down as text and the changes
 * that must be told between them. */
#include "schema/catalogue.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

/* "table cards(id,title:TEXT!) = CREATE …|index i on cards = CREATE …": objects between '|', a
 * column's type behind ':', '!' for NOT NULL, '*' for the key. */
static struct catalogue_object parse_object(char *text)
{
    struct catalogue_object object = {0};
    char *sql = strstr(text, " = ");
    if (sql) {
        *sql = '\0';
        object.sql = strdup(sql + 3);
    }
    char *columns = strchr(text, '(');
    if (columns) {
        *columns++ = '\0';
        columns[strlen(columns) - 1] = '\0';
    }
    char *table = strstr(text, " on ");
    if (table)
        *table = '\0';
    char *name = strchr(text, ' ');
    *name++ = '\0';
    for (enum schema_kind kind = SCHEMA_TABLE; kind < SCHEMA_COLUMN; kind++) {
        if (strcmp(schema_kind_name(kind), text) == 0)
            object.kind = kind;
    }
    object.name = strdup(name);
    object.table = strdup(table ? table + 4 : name);
    char *rest = NULL;
    for (char *one = columns ? strtok_r(columns, ",", &rest) : NULL; one;
         one = strtok_r(NULL, ",", &rest)) {
        object.columns =
            realloc(object.columns, (object.column_count + 1) * sizeof *object.columns);
        struct catalogue_column *column = &object.columns[object.column_count++];
        *column = (struct catalogue_column){0};
        column->not_null = strchr(one, '!') != NULL;
        column->primary_key = strchr(one, '*') != NULL;
        one[strcspn(one, "!*")] = '\0';
        char *type = strchr(one, ':');
        column->type = strdup(type ? type + 1 : "");
        if (type)
            *type = '\0';
        column->name = strdup(one);
    }
    return object;
}

static struct catalogue parse(const char *text)
{
    struct catalogue catalogue = {0};
    char *copy = strdup(text);
    char *rest = NULL;
    for (char *one = strtok_r(copy, "|", &rest); one; one = strtok_r(NULL, "|", &rest))
        ck_assert(catalogue_add(&catalogue, parse_object(one)));
    catalogue_sort(&catalogue);
    free(copy);
    return catalogue;
}

static char *write_down(const struct catalogue_difference *difference)
{
    struct buffer text = {0};
    buffer_append_string(&text, "");
    for (size_t i = 0; i < difference->count; i++) {
        const struct catalogue_change *change = &difference->changes[i];
        buffer_printf(&text, "%s%c%s ", i ? ", " : "", "+-~"[change->change],
                      schema_kind_name(change->kind));
        if (strcmp(change->table, change->name) != 0)
            buffer_printf(&text, "%s.", change->table);
        buffer_append_string(&text, change->name);
    }
    char *result = buffer_take(&text);
    ck_assert_ptr_nonnull(result);
    return result;
}

static const struct {
    const char *before;
    const char *after;
    const char *told;
} cases[] = {
    {"", "", ""},
    {"table a(x) = CREATE TABLE a(x)", "table a(x) = CREATE TABLE a(x)", ""},
    {"table a(x) = CREATE TABLE a(x)", "table A(X) = create  table A ( X ) -- more", ""},
    {"", "table cards(id,title)", "+table cards, +column cards.id, +column cards.title"},
    {"table cards(id,title)", "", "-table cards"},
    {"", "view v(a)|trigger t on cards|index i on cards",
     "+index cards.i, +view v, +column v.a, +trigger cards.t"},
    {"table a(x)|table c(x)", "table a(x)|table b(y)|table c(x)", "+table b, +column b.y"},
    {"table b(x)", "table a(x)|table c(z)",
     "+table a, +column a.x, -table b, +table c, +column c.z"},
    {"table a(x) = CREATE TABLE a(x)", "table a(x,y) = CREATE TABLE a(x, y)",
     "~table a, +column a.y"},
    {"table a(x,y) = CREATE TABLE a(x, y)", "table a(x) = CREATE TABLE a(x)",
     "~table a, -column a.y"},
    {"table a(x,y,z) = 1", "table a(z,x) = 2", "~table a, -column a.y"},
    {"table a(x:TEXT) = 1", "table a(x:INTEGER) = 2", "~table a, ~column a.x"},
    {"table a(x:TEXT) = 1", "table a(x:text) = 1", ""},
    {"table a(x) = 1", "table a(x!) = 2", "~table a, ~column a.x"},
    {"table a(x) = 1", "table a(x*) = 2", "~table a, ~column a.x"},
    {"table a(x) = CREATE TABLE a(x CHECK(x > 1))", "table a(x) = CREATE TABLE a(x CHECK(x > 2))",
     "~table a"},
    {"index i on a = CREATE INDEX i ON a(x)", "index i on b = CREATE INDEX i ON a(x)",
     "~index b.i"},
    {"index i on a", "index i on a = CREATE INDEX i ON a(x)", "~index a.i"},
    {"index i on a", "index i on a", ""},
    {"view v(a) = CREATE VIEW v AS SELECT 1", "view v(a) = CREATE VIEW v AS SELECT 2", "~view v"},
    /* the view's text is as it was, but what it reads has a column more */
    {"view v(a) = CREATE VIEW v AS SELECT * FROM t",
     "view v(a,b) = CREATE VIEW v AS SELECT * FROM t", "+column v.b"},
    {"table x(a)", "view x(a)", "-table x, +view x, +column x.a"},
    {"trigger t on a = CREATE TRIGGER t", "", "-trigger a.t"},
};

START_TEST(test_differences_are_told)
{
    struct catalogue before = parse(cases[_i].before);
    struct catalogue after = parse(cases[_i].after);
    struct catalogue_difference difference;
    ck_assert(catalogue_compare(&before, &after, &difference));
    char *told = write_down(&difference);
    ck_assert_msg(strcmp(told, cases[_i].told) == 0, "%s -> %s:\n  told   %s\n  wanted %s",
                  cases[_i].before, cases[_i].after, told, cases[_i].told);
    free(told);
    catalogue_difference_free(&difference);
    catalogue_free(&before);
    catalogue_free(&after);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("schema/catalogue_compare");
    TCase *group = tcase_create("compare");
    tcase_add_loop_test(group, test_differences_are_told, 0, sizeof cases / sizeof *cases);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
