/* SPDX-License-Identifier: MIT */
/* Judging what error bodies name, as applications wrap it, against a real schema and the plan that
 * a rehearsal of real migrations makes. */
#include "recover/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "database/schema_read.h"
#include "fixture.h"

static const char *const names[] = {"confirmed", "appeared", "refuted", "unmapped", "ambiguous"};

/* What the application's database holds, and what is pending. */
struct world {
    const char *live;
    const char *migrations[6];
};

static const struct world world = {
    "CREATE TABLE cards(id INTEGER PRIMARY KEY, title TEXT);"
    "CREATE TABLE cards_archive(id INTEGER PRIMARY KEY);"
    "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT, nickname TEXT);"
    "CREATE TABLE notes(body TEXT);"
    "CREATE TABLE \"order items\"(id INTEGER PRIMARY KEY, qty INTEGER);"
    "CREATE TABLE \"stra\xc3\x9f"
    "e\"(id INTEGER PRIMARY KEY);"
    "CREATE TABLE \"a, b\"(id INTEGER PRIMARY KEY);"
    "CREATE VIEW titles AS SELECT id, title FROM cards;"
    "CREATE VIEW everything AS SELECT * FROM cards;"
    "CREATE INDEX cards_title ON cards(title);",
    {"ALTER TABLE cards ADD COLUMN bitmap TEXT; CREATE TABLE tags(id INTEGER, label TEXT);",
     "ALTER TABLE users ADD COLUMN email TEXT; ALTER TABLE cards ADD COLUMN email TEXT;",
     "CREATE TABLE \"tag groups\"(id); CREATE TABLE \"we\"\"ird\"(id);"
     "CREATE TABLE \"\xc3\xbc"
     "ber\"(id); CREATE TABLE cards_history(id); CREATE TABLE card(id);",
     "ALTER TABLE \"order items\" ADD COLUMN \"unit price\" REAL;"
     "ALTER TABLE notes ADD COLUMN title TEXT;",
     "CREATE VIEW recent AS SELECT id FROM cards; CREATE TABLE \"a, b, c\"(id);"
     "CREATE INDEX by_name ON users(name);"},
};

static const struct judge_case {
    const char *body;
    enum judgement judgement;
    const char *what; /* or NULL: not looked at */
} cases[] = {
    /* Tables: missing and provided. */
    {"no such table: tags", JUDGED_CONFIRMED, "table tags"},
    {"OperationalError at /tags\nno such table: tags\n", JUDGED_CONFIRMED, "table tags"},
    {"{\"error\":\"SQLITE_ERROR: no such table: tags\"}", JUDGED_CONFIRMED, "table tags"},
    {"<h1>OperationalError</h1><pre>no such table: tags</pre>", JUDGED_CONFIRMED, "table tags"},
    {"sqlite3.OperationalError: no such table: tags</textarea>", JUDGED_CONFIRMED, "table tags"},
    {"#<SQLite3::SQLException: no such table: tags>", JUDGED_CONFIRMED, "table tags"},
    {"SQLITE_ERROR: sqlite3 result code 1: no such table: tags (1)", JUDGED_CONFIRMED,
     "table tags"},
    {"no such table: tags: SELECT * FROM tags", JUDGED_CONFIRMED, "table tags"},
    {"SQLSTATE[HY000]: General error: 1 no such table: tags (SQL: select 1)", JUDGED_CONFIRMED,
     "table tags"},
    {"(sqlite3.OperationalError) no such table: tags [SQL: SELECT 1]", JUDGED_CONFIRMED,
     "table tags"},
    {"NO SUCH TABLE: TAGS", JUDGED_CONFIRMED, "table tags"},
    {"no such table: Tags", JUDGED_CONFIRMED, "table tags"},
    {"no such table: main.tags", JUDGED_CONFIRMED, "table tags"},
    {"no such table: other.tags", JUDGED_UNMAPPED,
     NULL}, /* of a database that is attached: not ours */
    {"no such table: tags.label", JUDGED_UNMAPPED, NULL},
    {"{\"e\":\"no such table: tag groups\"}", JUDGED_CONFIRMED, "table tag groups"},
    {"no such table: tag groups in /srv/index.php", JUDGED_CONFIRMED, "table tag groups"},
    {"<p>no such table: we&quot;ird</p>", JUDGED_CONFIRMED, "table we\"ird"},
    {"{\"e\":\"no such table: we\\\"ird\"}", JUDGED_CONFIRMED, "table we\"ird"},
    {"no such table: \xc3\xbc"
     "ber",
     JUDGED_CONFIRMED,
     "table \xc3\xbc"
     "ber"},
    {"{\"e\":\"no such table: \\u00fcber\"}", JUDGED_CONFIRMED,
     "table \xc3\xbc"
     "ber"},
    {"no such table: \xc3\x9c"
     "ber",
     JUDGED_UNMAPPED, NULL}, /* SQLite folds ASCII only */
    {"no such table: recent", JUDGED_CONFIRMED, "view recent"},
    {"no such table: a, b, c", JUDGED_CONFIRMED, "table a, b, c"}, /* longer than what is live */
    /* Prefixes of names that are there or to come. */
    {"no such table: cards_history", JUDGED_CONFIRMED, "table cards_history"},
    {"no such table: card", JUDGED_CONFIRMED, "table card"},
    {"no such table: cards_hist", JUDGED_UNMAPPED, NULL},
    {"no such table: tag", JUDGED_UNMAPPED, NULL},
    {"no such table: tagss", JUDGED_UNMAPPED, NULL},
    {"no such table: tag group", JUDGED_UNMAPPED, NULL},
    /* There already. */
    {"no such table: cards", JUDGED_REFUTED, "table cards"},
    {"no such table: CARDS", JUDGED_REFUTED, "table cards"},
    {"no such table: main.cards", JUDGED_REFUTED, "table cards"},
    {"no such table: cards_archive", JUDGED_REFUTED, "table cards_archive"},
    {"no such table: titles", JUDGED_REFUTED, "view titles"},
    {"no such table: order items", JUDGED_REFUTED, "table order items"},
    {"no such table: stra\xc3\x9f"
     "e",
     JUDGED_REFUTED,
     "table stra\xc3\x9f"
     "e"},
    {"no such table: a, b", JUDGED_REFUTED, "table a, b"},
    {"Search: 'no such table: cards' gave 3 results", JUDGED_REFUTED, "table cards"},
    /* Nobody knows it. */
    {"no such table: nobody", JUDGED_UNMAPPED, NULL},
    {"no such table: cards_title", JUDGED_UNMAPPED, NULL}, /* an index is no table */
    {"no such table: by_name", JUDGED_UNMAPPED, NULL},
    {"no such table: temp.nobody", JUDGED_UNMAPPED, NULL},
    {"no such table: ../../etc/passwd", JUDGED_UNMAPPED, NULL},
    {"no such table: 001", JUDGED_UNMAPPED, NULL}, /* a version is no name */
    {"no such table: tags; DROP TABLE cards", JUDGED_CONFIRMED, "table tags"}, /* only looked up */
    /* Columns. */
    {"no such column: bitmap", JUDGED_CONFIRMED, "column cards.bitmap"},
    {"no such column: cards.bitmap", JUDGED_CONFIRMED, "column cards.bitmap"},
    {"no such column: CARDS.Bitmap", JUDGED_CONFIRMED, "column cards.bitmap"},
    {"no such column: main.cards.bitmap", JUDGED_CONFIRMED, "column cards.bitmap"},
    {"no such column: c.bitmap", JUDGED_CONFIRMED, "column cards.bitmap"}, /* an alias */
    {"no such column: c0.bitmap", JUDGED_CONFIRMED, "column cards.bitmap"},
    {"no such column: NEW.bitmap", JUDGED_CONFIRMED, "column cards.bitmap"}, /* in a trigger */
    {"no such column: everything.bitmap", JUDGED_CONFIRMED,
     "column cards.bitmap"}, /* a view shows it then */
    {"no such column: \"bitmap\" - should this be a string literal in single-quotes?",
     JUDGED_CONFIRMED, "column cards.bitmap"},
    {"no such column: users.bitmap", JUDGED_UNMAPPED, NULL}, /* this table is not to get it */
    {"no such column: main.users.bitmap", JUDGED_UNMAPPED, NULL},
    {"no such column: unit price", JUDGED_CONFIRMED, "column order items.unit price"},
    {"no such column: oi.unit price", JUDGED_CONFIRMED, "column order items.unit price"},
    {"no such column: unit", JUDGED_UNMAPPED, NULL},
    {"no such column: bit", JUDGED_UNMAPPED, NULL},
    {"no such column: bitmaps", JUDGED_UNMAPPED, NULL},
    {"no such column: nobody", JUDGED_UNMAPPED, NULL},
    {"no such column: cards.nobody", JUDGED_UNMAPPED, NULL},
    /* Several tables are to get one. */
    {"no such column: email", JUDGED_AMBIGUOUS, NULL},
    {"no such column: u.email", JUDGED_AMBIGUOUS, NULL},
    {"no such column: users.email", JUDGED_CONFIRMED, "column users.email"},
    {"no such column: cards.email", JUDGED_CONFIRMED, "column cards.email"},
    {"no such column: main.cards.email", JUDGED_CONFIRMED, "column cards.email"},
    {"no such column: notes.email", JUDGED_UNMAPPED, NULL},
    /* A column of a table that is to come is not what is missing: the table would be. */
    {"no such column: label", JUDGED_UNMAPPED, NULL},
    {"no such column: t.label", JUDGED_UNMAPPED, NULL},
    {"no such column: tags.label", JUDGED_UNMAPPED, NULL},
    /* There already, in some table: of the one that is named it refutes, of another it does not. */
    {"no such column: name", JUDGED_REFUTED, "column users.name"},
    {"no such column: users.name", JUDGED_REFUTED, "column users.name"},
    {"no such column: cards.title", JUDGED_REFUTED, "column cards.title"},
    {"no such column: title", JUDGED_CONFIRMED, "column notes.title"},
    {"no such column: n.title", JUDGED_CONFIRMED, "column notes.title"},
    {"no such column: notes.title", JUDGED_CONFIRMED, "column notes.title"},
    {"no such column: users.title", JUDGED_UNMAPPED, NULL},
    /* Insertions. */
    {"table cards has no column named bitmap", JUDGED_CONFIRMED, "column cards.bitmap"},
    {"SQLITE_ERROR: table main.cards has no column named bitmap", JUDGED_CONFIRMED,
     "column cards.bitmap"},
    {"{\"e\":\"table order items has no column named unit price\"}", JUDGED_CONFIRMED,
     "column order items.unit price"},
    {"table users has no column named email", JUDGED_CONFIRMED, "column users.email"},
    {"table cards has no column named email", JUDGED_CONFIRMED, "column cards.email"},
    {"table notes has no column named title", JUDGED_CONFIRMED, "column notes.title"},
    {"table cards has no column named title", JUDGED_REFUTED, "column cards.title"},
    {"table users has no column named title", JUDGED_UNMAPPED, NULL},
    {"table users has no column named bitmap", JUDGED_UNMAPPED, NULL},
    {"table tags has no column named label", JUDGED_UNMAPPED, NULL},
    {"table cards_archive has no column named bitmap", JUDGED_UNMAPPED, NULL},
};

static struct detect *detect;
static struct detect_scratch *scratch;
static struct migration_set set;
static struct plan plan;
static struct catalogue live;

static void read_live(struct catalogue *catalogue)
{
    struct error error = {0};
    struct database database;
    ck_assert_msg(database_open(&database, place.database, DATABASE_READ, 5000, &error), "%s",
                  error.message);
    ck_assert_msg(schema_read(&database, catalogue, &error), "%s", error.message);
    database_close(&database);
}

static void make_plan(void)
{
    static const struct plan_limits limits = {.rehearsal_timeout_ms = 30000};
    struct error error = {0};
    struct database database;
    ck_assert_msg(migration_set_load(&set, place.migrations, &error), "%s", error.message);
    ck_assert_msg(database_open(&database, place.database, DATABASE_READ, 5000, &error), "%s",
                  error.message);
    ck_assert_msg(plan_make(&plan, &set, &database, &limits, &error), "%s", error.message);
    for (size_t i = 0; i < plan.count; i++)
        ck_assert_msg(plan.entries[i].rehearsal == REHEARSAL_OK, "%s",
                      plan.entries[i].failure.message);
    database_close(&database);
}

static void set_up(void)
{
    struct error error = {0};
    char name[32];
    place_make();
    place_run(world.live);
    for (int i = 0; i < 6 && world.migrations[i]; i++) {
        snprintf(name, sizeof name, "%03d_step.sql", i + 1);
        place_migration(name, world.migrations[i]);
    }
    make_plan();
    read_live(&live);
    detect = detect_new(&error);
    ck_assert_ptr_nonnull(detect);
    scratch = detect_scratch_new(detect);
    ck_assert_ptr_nonnull(scratch);
}

static void tear_down(void)
{
    detect_scratch_free(scratch);
    detect_free(detect);
    plan_free(&plan);
    migration_set_free(&set);
    catalogue_free(&live);
    place_remove();
}

static struct schema_error error_of(const char *body)
{
    struct schema_error errors[SCHEMA_ERRORS_MAX];
    ck_assert_msg(detect_find(detect, scratch, slice_from_string(body), errors) == 1, "%s", body);
    return errors[0];
}

static struct judged judge(const char *body, uint64_t generation,
                           const struct appearances *appearances)
{
    struct schema_error error = error_of(body);
    struct judged judged;
    judge_error(&error, generation, &live, &plan, appearances, &judged);
    return judged;
}

START_TEST(test_p3_an_error_is_believed_when_the_database_confirms_it)
{
    static const struct appearances none = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct judge_case *at = &cases[i];
        struct judged judged = judge(at->body, 1, &none);
        ck_assert_msg(judged.judgement == at->judgement, "%s: %s, not %s (%s)", at->body,
                      names[judged.judgement], names[at->judgement], judged.what);
        if (at->what)
            ck_assert_str_eq(judged.what, at->what);
        if (at->judgement == JUDGED_CONFIRMED)
            ck_assert_uint_lt(judged.entry, plan.count);
    }
}
END_TEST

START_TEST(test_the_entry_is_the_one_that_provides_it)
{
    static const struct appearances none = {0};
    ck_assert_uint_eq(judge("no such table: tags", 1, &none).entry, 0);
    ck_assert_uint_eq(judge("no such column: users.email", 1, &none).entry, 1);
    ck_assert_uint_eq(judge("no such table: tag groups", 1, &none).entry, 2);
    ck_assert_uint_eq(judge("no such column: unit price", 1, &none).entry, 3);
    ck_assert_uint_eq(judge("no such table: recent", 1, &none).entry, 4);
}
END_TEST

/* The database changes; what that adds has appeared in the next generation. */
static void change(const char *sql, struct appearances *appearances, uint64_t generation)
{
    struct catalogue next = {0};
    struct catalogue_difference difference = {0};
    place_run(sql);
    read_live(&next);
    ck_assert(catalogue_compare(&live, &next, &difference));
    ck_assert(appearances_add(appearances, &difference, generation));
    catalogue_difference_free(&difference);
    catalogue_free(&live);
    live = next;
    plan_free(&plan);
    migration_set_free(&set);
    make_plan();
}

START_TEST(test_p3_what_came_since_the_request_was_sent_is_retried_and_what_came_before_is_not)
{
    static const struct {
        const char *body;
        uint64_t generation;
        enum judgement judgement;
        const char *what;
    } steps[] = {
        {"no such table: late", 1, JUDGED_APPEARED, "table late"},
        {"no such table: late", 2, JUDGED_REFUTED, "table late"},
        {"no such table: main.LATE", 1, JUDGED_APPEARED, "table late"},
        {"no such table: later", 1, JUDGED_APPEARED, "view later"},
        {"no such table: later", 2, JUDGED_APPEARED, "view later"},
        {"no such table: later", 3, JUDGED_REFUTED, "view later"},
        {"no such column: extra", 1, JUDGED_APPEARED, NULL},
        {"no such column: c.extra", 2, JUDGED_APPEARED, NULL},
        {"no such column: cards.extra", 2, JUDGED_APPEARED, "column cards.extra"},
        {"no such column: cards.extra", 3, JUDGED_REFUTED, "column cards.extra"},
        {"no such column: users.extra", 1, JUDGED_UNMAPPED, NULL},
        {"table cards has no column named extra", 2, JUDGED_APPEARED, "column cards.extra"},
        {"table users has no column named extra", 2, JUDGED_UNMAPPED, NULL},
        {"no such table: cards", 1, JUDGED_REFUTED, "table cards"},
        {"no such table: gone", 1, JUDGED_UNMAPPED, NULL}, /* it came and went */
        {"no such table: late, too", 1, JUDGED_CONFIRMED,
         "table late, too"}, /* the longer one is meant */
        {"no such table: tags", 1, JUDGED_CONFIRMED, "table tags"},
    };
    struct appearances appearances = {0};
    place_migration("009_late_too.sql", "CREATE TABLE \"late, too\"(id);");
    change("CREATE TABLE late(id); CREATE TABLE gone(id);", &appearances, 2);
    change("CREATE VIEW later AS SELECT id FROM late; ALTER TABLE cards ADD COLUMN extra;"
           "DROP TABLE gone;",
           &appearances, 3);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct judged judged = judge(steps[i].body, steps[i].generation, &appearances);
        ck_assert_msg(judged.judgement == steps[i].judgement, "%s since %d: %s, not %s",
                      steps[i].body, (int)steps[i].generation, names[judged.judgement],
                      names[steps[i].judgement]);
        if (steps[i].what)
            ck_assert_str_eq(judged.what, steps[i].what);
    }
    appearances_free(&appearances);
}
END_TEST

START_TEST(test_appearances_are_bounded_and_the_newest_are_kept)
{
    struct appearances appearances = {0};
    static struct catalogue_change changes[APPEARED_MAX / 2];
    struct catalogue_difference difference = {changes, sizeof changes / sizeof *changes};
    for (size_t i = 0; i < difference.count; i++)
        changes[i] = (struct catalogue_change){CHANGE_ADDED, SCHEMA_TABLE, "t", "t"};
    changes[0].change = CHANGE_REMOVED; /* not one that appears */
    for (uint64_t generation = 2; generation < 6; generation++)
        ck_assert(appearances_add(&appearances, &difference, generation));
    ck_assert_uint_eq(appearances.count, APPEARED_MAX);
    ck_assert_uint_eq(appearances.items[0].generation, 3);
    ck_assert_uint_eq(appearances.items[appearances.count - 1].generation, 5);
    appearances_free(&appearances);
}
END_TEST

START_TEST(test_p2_what_is_told_is_made_of_our_own_names_and_is_bounded)
{
    static const struct appearances none = {0};
    char body[600] = "no such table: tags";
    struct judged judged = judge("no such table: tags', '); evil", 1, &none);
    if (judged.judgement == JUDGED_CONFIRMED)
        ck_assert_str_eq(judged.what, "table tags");
    memset(body + strlen("no such table: "), 'x', sizeof body - strlen("no such table: ") - 1);
    judged = judge(body, 1, &none);
    ck_assert_int_eq(judged.judgement, JUDGED_UNMAPPED);
    ck_assert_str_eq(judged.what, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("judge");
    TCase *tcase = tcase_create("judge");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, test_p3_an_error_is_believed_when_the_database_confirms_it);
    tcase_add_test(tcase, test_the_entry_is_the_one_that_provides_it);
    tcase_add_test(
        tcase, test_p3_what_came_since_the_request_was_sent_is_retried_and_what_came_before_is_not);
    tcase_add_test(tcase, test_appearances_are_bounded_and_the_newest_are_kept);
    tcase_add_test(tcase, test_p2_what_is_told_is_made_of_our_own_names_and_is_bounded);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
