/* SPDX-License-Identifier: MIT */
/* A schema made anew in memory: the same but for rows, and honest about what it lacks. */
#include "database/schema_read.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "scratch.h"

static struct scratch scratch;

static void set_up(void)
{
    scratch_construct(&scratch);
}

static void tear_down(void)
{
    scratch_destruct(&scratch);
}

static void check_same_schema(struct database *database, struct database *copy)
{
    struct catalogue live;
    struct catalogue made;
    struct catalogue_difference difference;
    struct error error = {0};
    ck_assert_msg(schema_read(database, &live, &error), "%s", error.message);
    ck_assert_msg(schema_read(copy, &made, &error), "%s", error.message);
    ck_assert(catalogue_compare(&live, &made, &difference));
    ck_assert_msg(difference.count == 0, "%zu differences, first: %s %s", difference.count,
                  difference.count ? schema_kind_name(difference.changes[0].kind) : "",
                  difference.count ? difference.changes[0].name : "");
    ck_assert_uint_gt(live.count, 0);
    ck_assert_uint_eq(live.count, made.count);
    catalogue_difference_free(&difference);
    catalogue_free(&live);
    catalogue_free(&made);
}

static struct database copy_it(struct database *database, unsigned *stubbed, char note[256])
{
    struct database copy;
    struct error error = {0};
    ck_assert_msg(schema_copy(database, &copy, stubbed, note, &error), "%s", error.message);
    ck_assert_str_eq(copy.path, ":memory:");
    ck_assert_int_eq(sqlite3_get_autocommit(copy.handle), 1);
    return copy;
}

static const char *const schemas[] = {
    "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT NOT NULL UNIQUE,"
    " y AS (x || '!'), z AS (length(x)) STORED, CHECK (x <> ''));"
    "INSERT INTO a (x) VALUES ('row'); CREATE INDEX a_part ON a (lower(x)) WHERE z > 1; ANALYZE",

    "CREATE TABLE pair (a, b COLLATE NOCASE, PRIMARY KEY (b, a)) WITHOUT ROWID;"
    "CREATE TABLE strict_one (n INT, t TEXT) STRICT",

    /* children before parents, in name and in time */
    "CREATE TABLE a_child (p REFERENCES z_parent (id) ON DELETE CASCADE);"
    "CREATE TABLE z_parent (id INTEGER PRIMARY KEY)",

    "CREATE VIRTUAL TABLE notes USING fts5(body, tokenize = 'porter');"
    "INSERT INTO notes VALUES ('a row'); CREATE VIRTUAL TABLE old USING fts4(body);"
    "CREATE VIRTUAL TABLE places USING rtree(id, x0, x1, +label);"
    "CREATE TABLE a_content (t); CREATE VIRTUAL TABLE outside USING fts5(t, content = a_content);"
    "CREATE TRIGGER feed AFTER INSERT ON a_content BEGIN"
    " INSERT INTO outside (rowid, t) VALUES (new.rowid, new.t); END",

    "CREATE TABLE \"with space\" (\"a b\"); CREATE TABLE \"it's \"\"q\"\"\" (\"x.y\", [z]);"
    "CREATE TABLE \"Žluťoučký kůň\" (\"příliš\");"
    "CREATE INDEX \"i \"\"1\" ON \"it's \"\"q\"\"\" (\"x.y\");"
    "CREATE VIEW \"v \"\"w\" AS SELECT \"x.y\" FROM \"it's \"\"q\"\"\"",

    "CREATE TABLE t (a, b); CREATE VIEW z_base AS SELECT a FROM t;"
    "CREATE VIEW a_upper AS SELECT a FROM z_base; CREATE VIEW broken AS SELECT nope(q) FROM gone;"
    "CREATE TRIGGER in_view INSTEAD OF INSERT ON z_base BEGIN INSERT INTO t (a) VALUES (new.a);"
    " END; CREATE TRIGGER dangling AFTER DELETE ON t BEGIN DELETE FROM gone; END",

    "CREATE TABLE t (a DEFAULT CURRENT_TIMESTAMP, b DEFAULT (random()), c DEFAULT -1);"
    "ALTER TABLE t ADD COLUMN d TEXT NOT NULL DEFAULT 'x'; ALTER TABLE t RENAME TO \"r n\"",
};

START_TEST(test_a_schema_is_copied_without_its_rows)
{
    unsigned stubbed = 7;
    char note[256] = "old";
    scratch_run(scratch.database, schemas[_i]);
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    struct database copy = copy_it(&database, &stubbed, note);
    ck_assert_msg(stubbed == 0, "%s", note);
    ck_assert_str_eq(note, "");
    check_same_schema(&database, &copy);
    database_close(&copy);
    database_close(&database);
}
END_TEST

START_TEST(test_there_are_no_rows)
{
    unsigned stubbed;
    scratch_run(scratch.database, "CREATE TABLE t (a); INSERT INTO t VALUES (1);"
                                  "CREATE VIRTUAL TABLE n USING fts5(b);"
                                  "INSERT INTO n VALUES ('x')");
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    struct database copy = copy_it(&database, &stubbed, NULL);
    ck_assert_int_eq(scratch_number(copy.handle, "SELECT count(*) FROM t"), 0);
    ck_assert_int_eq(scratch_number(copy.handle, "SELECT count(*) FROM n"), 0);
    /* and the copy works: also the virtual table with its own shadow tables */
    scratch_run_on(copy.handle, "INSERT INTO n VALUES ('found')");
    ck_assert_int_eq(scratch_number(copy.handle, "SELECT count(*) FROM n('found')"), 1);
    ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM n('found')"), 0);
    database_close(&copy);
    database_close(&database);
}
END_TEST

START_TEST(test_numbers_and_encoding_are_kept)
{
    static const char *const encodings[] = {"UTF-8", "UTF-16le", "UTF-16be"};
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
        char path[SCRATCH_PATH_SIZE];
        char sql[256];
        unsigned stubbed;
        scratch_path(&scratch, encodings[i], path);
        snprintf(sql, sizeof sql,
                 "PRAGMA encoding = '%s'; CREATE TABLE \"kůň\" (a DEFAULT 'ž');"
                 "PRAGMA user_version = -42; PRAGMA application_id = 77",
                 encodings[i]);
        scratch_run(path, sql);
        struct database database = scratch_database(path, DATABASE_READ);
        struct database copy = copy_it(&database, &stubbed, NULL);
        ck_assert_str_eq(scratch_text(copy.handle, "PRAGMA encoding"), encodings[i]);
        ck_assert_int_eq(scratch_number(copy.handle, "PRAGMA user_version"), -42);
        ck_assert_int_eq(scratch_number(copy.handle, "PRAGMA application_id"), 77);
        check_same_schema(&database, &copy);
        database_close(&copy);
        database_close(&database);
    }
}
END_TEST

START_TEST(test_the_copy_has_the_settings_of_every_connection)
{
    unsigned stubbed;
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    struct database copy = copy_it(&database, &stubbed, NULL);
    ck_assert_int_eq(scratch_number(copy.handle, "PRAGMA foreign_keys"), 1);
    ck_assert_int_eq(scratch_number(copy.handle, "PRAGMA trusted_schema"), 1);
    ck_assert_int_eq(scratch_number(copy.handle, "PRAGMA query_only"), 0);
    database_close(&copy);
    database_close(&database);
}
END_TEST

static void ignore(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_result_null(context);
}

static int compare_nothing(void *context, int a_length, const void *a, int b_length, const void *b)
{
    (void)context;
    (void)a_length;
    (void)a;
    (void)b_length;
    (void)b;
    return 0;
}

START_TEST(test_what_cannot_be_made_is_stubbed_and_said)
{
    unsigned stubbed = 0;
    char note[256];
    sqlite3 *application = scratch_open(scratch.database);
    sqlite3_create_function(application, "own", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, ignore,
                            NULL, NULL);
    sqlite3_create_collation(application, "odd", SQLITE_UTF8, NULL, compare_nothing);
    scratch_run_on(application,
                   "CREATE TABLE checked (\"k \"\"1\" INTEGER, k2 DECIMAL(1,2), v CHECK (own(v)),"
                   " PRIMARY KEY (k2, \"k \"\"1\"));"
                   "CREATE TABLE child (a, b, FOREIGN KEY (a, b) REFERENCES checked);"
                   "CREATE TABLE plain (x); CREATE INDEX by_own ON plain (own(x));"
                   "CREATE INDEX by_odd ON plain (x COLLATE odd);"
                   "CREATE VIEW uses AS SELECT own(x) FROM plain;"
                   "PRAGMA writable_schema = ON;"
                   "INSERT INTO sqlite_schema VALUES ('table', 'foreign', 'foreign', 0,"
                   " 'CREATE VIRTUAL TABLE \"foreign\" USING nobody_has_this(a)');"
                   "PRAGMA writable_schema = RESET");
    sqlite3_close(application);
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    struct database copy = copy_it(&database, &stubbed, note);
    ck_assert_uint_eq(stubbed, 4); /* checked, foreign, by_own, by_odd */
    ck_assert_msg(strstr(note, "table checked: ") == note, "%s", note);
    ck_assert_msg(strstr(note, "own") != NULL, "%s", note);
    struct catalogue made;
    ck_assert(schema_read(&copy, &made, NULL));
    const struct catalogue_object *checked = catalogue_find(&made, SCHEMA_TABLE, "checked");
    ck_assert_uint_eq(checked->column_count, 3);
    ck_assert_int_eq(catalogue_find_column(checked, "k \"1")->primary_key, 2);
    ck_assert_int_eq(catalogue_find_column(checked, "k2")->primary_key, 1);
    ck_assert_str_eq(catalogue_find_column(checked, "k2")->type, "DECIMAL(1,2)");
    ck_assert(catalogue_has(&made, SCHEMA_TABLE, NULL, "foreign"));
    ck_assert(catalogue_has(&made, SCHEMA_VIEW, NULL, "uses"));
    ck_assert_str_eq(catalogue_find(&made, SCHEMA_INDEX, "by_own")->table, "plain");
    catalogue_free(&made);
    scratch_run_on(copy.handle, "INSERT INTO checked VALUES (1, 2, 3);"
                                "INSERT INTO child VALUES (2, 1);" /* the key still holds */
                                "DROP INDEX by_own; DROP TABLE \"foreign\"; DROP TABLE plain");
    database_close(&copy);
    database_close(&database);
}
END_TEST

/* A text in the schema is run as one CREATE or not at all. */
START_TEST(test_p2_nothing_behind_a_definition_is_run)
{
    unsigned stubbed;
    scratch_run(scratch.database,
                "CREATE TABLE t (a); PRAGMA writable_schema = ON; UPDATE sqlite_schema"
                " SET sql = 'CREATE TABLE t (a); CREATE TABLE smuggled (a)'");
    struct database database;
    struct database copy;
    struct error error = {0};
    ck_assert(database_open(&database, scratch.database, DATABASE_READ, 0, &error));
    if (schema_copy(&database, &copy, &stubbed, NULL, &error)) {
        ck_assert_int_eq(
            scratch_number(copy.handle,
                           "SELECT count(*) FROM sqlite_schema WHERE name = 'smuggled'"),
            0);
        database_close(&copy);
    }
    database_close(&database);
}
END_TEST

START_TEST(test_an_empty_database_has_an_empty_copy)
{
    unsigned stubbed;
    struct database database = scratch_database(scratch.database, DATABASE_CREATE);
    struct database copy = copy_it(&database, &stubbed, NULL);
    ck_assert_int_eq(scratch_number(copy.handle, "SELECT count(*) FROM sqlite_schema"), 0);
    database_close(&copy);
    database_close(&database);
}
END_TEST

START_TEST(test_a_database_that_cannot_be_read_gives_no_copy)
{
    unsigned stubbed;
    struct database copy;
    struct error error = {0};
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    sqlite3 *application = scratch_open(scratch.database);
    scratch_run_on(application, "BEGIN EXCLUSIVE");
    ck_assert(!schema_copy(&database, &copy, &stubbed, NULL, &error));
    ck_assert_int_eq(error.code, ERROR_LOCK);
    ck_assert_ptr_null(copy.handle);
    sqlite3_close(application);
    database_close(&database);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("database/schema_copy");
    TCase *group = tcase_create("schema_copy");
    tcase_add_checked_fixture(group, set_up, tear_down);
    tcase_add_loop_test(group, test_a_schema_is_copied_without_its_rows, 0,
                        sizeof schemas / sizeof *schemas);
    tcase_add_test(group, test_there_are_no_rows);
    tcase_add_test(group, test_numbers_and_encoding_are_kept);
    tcase_add_test(group, test_the_copy_has_the_settings_of_every_connection);
    tcase_add_test(group, test_what_cannot_be_made_is_stubbed_and_said);
    tcase_add_test(group, test_p2_nothing_behind_a_definition_is_run);
    tcase_add_test(group, test_an_empty_database_has_an_empty_copy);
    tcase_add_test(group, test_a_database_that_cannot_be_read_gives_no_copy);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
