/* SPDX-License-Identifier: MIT */
/* The live schema as a catalogue. */
#include "database/schema_read.h"

#include <check.h>
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

static struct catalogue read_schema(struct database *database)
{
    struct catalogue catalogue;
    struct error error = {0};
    ck_assert_msg(schema_read(database, &catalogue, &error), "%s", error.message);
    return catalogue;
}

static struct catalogue read_after(const char *sql)
{
    scratch_run(scratch.database, sql);
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    struct catalogue catalogue = read_schema(&database);
    database_close(&database);
    return catalogue;
}

START_TEST(test_an_empty_database_has_an_empty_catalogue)
{
    struct database database = scratch_database(scratch.database, DATABASE_CREATE);
    struct catalogue catalogue = read_schema(&database);
    ck_assert_uint_eq(catalogue.count, 0);
    ck_assert_int_eq(catalogue.schema_version, 0);
    catalogue_free(&catalogue);
    database_close(&database);
}
END_TEST

START_TEST(test_objects_and_columns_are_read_as_they_are)
{
    struct catalogue catalogue = read_after(
        "CREATE TABLE cards (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL DEFAULT 'x',"
        " bare, price DECIMAL(10,2), twice AS (price * 2), kept TEXT AS (title) STORED,"
        " UNIQUE (title));"
        "CREATE TABLE pair (a, b, PRIMARY KEY (b, a)) WITHOUT ROWID;"
        "CREATE INDEX cards_title ON cards (title); CREATE VIEW open AS SELECT id, title FROM "
        "cards;"
        "CREATE TRIGGER after_cards AFTER INSERT ON cards BEGIN SELECT 1; END;"
        "INSERT INTO cards (title) VALUES ('a'); ANALYZE");
    /* Nothing of SQLite's own: sqlite_sequence, sqlite_stat1, sqlite_autoindex_cards_1. */
    ck_assert_uint_eq(catalogue.count, 5);
    const struct catalogue_object *cards = catalogue_find(&catalogue, SCHEMA_TABLE, "CARDS");
    ck_assert_ptr_nonnull(cards);
    ck_assert(!cards->is_virtual);
    ck_assert(!cards->is_shadow);
    ck_assert_ptr_nonnull(strstr(cards->sql, "CREATE TABLE cards"));
    static const struct {
        const char *name;
        const char *type;
        const char *default_sql;
        bool not_null;
        int primary_key;
        int hidden;
    } columns[] = {
        {"id", "INTEGER", NULL, false, 1, 0}, {"title", "TEXT", "'x'", true, 0, 0},
        {"bare", "", NULL, false, 0, 0},      {"price", "DECIMAL(10,2)", NULL, false, 0, 0},
        {"twice", "", NULL, false, 0, 2},     {"kept", "TEXT", NULL, false, 0, 3},
    };
    ck_assert_uint_eq(cards->column_count, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        const struct catalogue_column *column = &cards->columns[i];
        ck_assert_str_eq(column->name, columns[i].name);
        ck_assert_str_eq(column->type, columns[i].type);
        ck_assert_pstr_eq(column->default_sql, columns[i].default_sql);
        ck_assert_int_eq(column->not_null, columns[i].not_null);
        ck_assert_int_eq(column->primary_key, columns[i].primary_key);
        ck_assert_int_eq(column->hidden, columns[i].hidden);
    }
    const struct catalogue_object *pair = catalogue_find(&catalogue, SCHEMA_TABLE, "pair");
    ck_assert_int_eq(catalogue_find_column(pair, "b")->primary_key, 1);
    ck_assert_int_eq(catalogue_find_column(pair, "a")->primary_key, 2);
    const struct catalogue_object *index = catalogue_find(&catalogue, SCHEMA_INDEX, "cards_title");
    ck_assert_str_eq(index->table, "cards");
    const struct catalogue_object *trigger =
        catalogue_find(&catalogue, SCHEMA_TRIGGER, "after_cards");
    ck_assert_str_eq(trigger->table, "cards");
    ck_assert(catalogue_has(&catalogue, SCHEMA_COLUMN, "open", "title"));
    catalogue_free(&catalogue);
}
END_TEST

START_TEST(test_any_name_is_read)
{
    struct catalogue catalogue = read_after(
        "CREATE TABLE \"with space\" (\"a b\");"
        "CREATE TABLE \"it's \"\"quoted\"\"\" (\"x.y\");"
        "CREATE TABLE \"Žluťoučký kůň\" (\"příliš\"); CREATE TABLE \"main.dotted\" (\"\");"
        "CREATE TABLE \"select\" (\"from\"); CREATE TABLE sqliteX (a);"
        "CREATE INDEX \"with space i\" ON \"with space\" (\"a b\")");
    static const struct {
        const char *table;
        const char *column;
    } names[] = {
        {"with space", "a b"}, {"it's \"quoted\"", "x.y"}, {"Žluťoučký kůň", "příliš"},
        {"main.dotted", ""},   {"select", "from"},         {"sqlitex", "a"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(catalogue_has(&catalogue, SCHEMA_COLUMN, names[i].table, names[i].column),
                      "%s.%s", names[i].table, names[i].column);
    ck_assert_str_eq(catalogue_find(&catalogue, SCHEMA_INDEX, "with space i")->table, "with space");
    catalogue_free(&catalogue);
}
END_TEST

START_TEST(test_virtual_and_shadow_tables_are_told_apart)
{
    struct catalogue catalogue = read_after("CREATE VIRTUAL TABLE notes USING fts5(body);"
                                            "CREATE VIRTUAL TABLE places USING rtree(id, x0, x1);"
                                            "CREATE VIRTUAL TABLE old USING fts4(body);"
                                            "CREATE TABLE notes_of_mine (a)");
    static const struct {
        const char *name;
        bool is_virtual;
        bool is_shadow;
    } tables[] = {
        {"notes", true, false},          {"notes_data", false, true},
        {"notes_content", false, true},  {"places", true, false},
        {"places_node", false, true},    {"old_segments", false, true},
        {"notes_of_mine", false, false},
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const struct catalogue_object *table =
            catalogue_find(&catalogue, SCHEMA_TABLE, tables[i].name);
        ck_assert_msg(table != NULL, "%s", tables[i].name);
        ck_assert_msg(table->is_virtual == tables[i].is_virtual, "%s", tables[i].name);
        ck_assert_msg(table->is_shadow == tables[i].is_shadow, "%s", tables[i].name);
    }
    ck_assert(catalogue_has(&catalogue, SCHEMA_COLUMN, "notes", "body"));
    catalogue_free(&catalogue);
}
END_TEST

static void ignore(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_result_null(context);
}

START_TEST(test_what_cannot_tell_its_columns_does_not_stop_the_rest)
{
    sqlite3 *application = scratch_open(scratch.database);
    sqlite3_create_function(application, "own", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, ignore,
                            NULL, NULL);
    scratch_run_on(application,
                   "CREATE TABLE a (x, y CHECK (own(y) IS NULL), z AS (own(x)));"
                   "CREATE INDEX by_own ON a (own(x));"
                   "CREATE VIEW uses_own AS SELECT own(x) AS v FROM a;"
                   "CREATE VIEW dangling AS SELECT q FROM gone;"
                   "CREATE TABLE z (last);"
                   "PRAGMA writable_schema = ON;"
                   "INSERT INTO sqlite_schema VALUES ('table', 'foreign', 'foreign', 0,"
                   " 'CREATE VIRTUAL TABLE \"foreign\" USING nobody_has_this(a)');"
                   "PRAGMA writable_schema = RESET");
    sqlite3_close(application);
    struct catalogue catalogue = read_after("");
    ck_assert(catalogue_has(&catalogue, SCHEMA_COLUMN, "a", "z"));
    ck_assert(catalogue_has(&catalogue, SCHEMA_COLUMN, "z", "last"));
    ck_assert(catalogue_has(&catalogue, SCHEMA_INDEX, NULL, "by_own"));
    ck_assert_uint_eq(catalogue_find(&catalogue, SCHEMA_VIEW, "dangling")->column_count, 0);
    const struct catalogue_object *foreign = catalogue_find(&catalogue, SCHEMA_TABLE, "foreign");
    ck_assert(foreign->is_virtual);
    ck_assert_uint_eq(foreign->column_count, 0);
    catalogue_free(&catalogue);
}
END_TEST

START_TEST(test_the_version_is_that_of_what_was_read)
{
    static const char *const modes[] = {"PRAGMA journal_mode = DELETE",
                                        "PRAGMA journal_mode = WAL"};
    for (size_t i = 0; i < 2; i++) {
        scratch_run(scratch.database, modes[i]);
        struct catalogue first = read_after("CREATE TABLE t (a)");
        struct catalogue second = read_after("CREATE TABLE u (a)");
        ck_assert_int_eq(second.schema_version, first.schema_version + 1);
        ck_assert_uint_eq(second.count, first.count + 1);
        catalogue_free(&first);
        catalogue_free(&second);
        scratch_run(scratch.database, "DROP TABLE t; DROP TABLE u");
    }
}
END_TEST

START_TEST(test_a_schema_is_read_again_when_others_change_it)
{
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    struct catalogue catalogue = read_schema(&database);
    catalogue_free(&catalogue);
    scratch_run(scratch.database, "ALTER TABLE t ADD COLUMN b; CREATE TABLE u (c)");
    catalogue = read_schema(&database);
    ck_assert(catalogue_has(&catalogue, SCHEMA_COLUMN, "t", "b"));
    ck_assert(catalogue_has(&catalogue, SCHEMA_COLUMN, "u", "c"));
    catalogue_free(&catalogue);
    database_close(&database);
}
END_TEST

START_TEST(test_inside_a_transaction_its_own_changes_are_read_and_it_goes_on)
{
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    struct database database = scratch_database(scratch.database, DATABASE_WRITE);
    scratch_run_on(database.handle, "BEGIN IMMEDIATE; CREATE TABLE u (b)");
    struct catalogue catalogue = read_schema(&database);
    ck_assert(catalogue_has(&catalogue, SCHEMA_TABLE, NULL, "u"));
    ck_assert_int_eq(sqlite3_get_autocommit(database.handle), 0);
    scratch_run_on(database.handle, "ROLLBACK");
    catalogue_free(&catalogue);
    database_close(&database);
}
END_TEST

START_TEST(test_a_damaged_schema_is_an_error)
{
    scratch_run(scratch.database,
                "CREATE TABLE t (a); PRAGMA writable_schema = ON;"
                "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (a, nonsense nonsense('");
    struct database database;
    struct catalogue catalogue;
    struct error error = {0};
    ck_assert(database_open(&database, scratch.database, DATABASE_READ, 0, &error));
    ck_assert(!schema_read(&database, &catalogue, &error));
    ck_assert_int_eq(error.code, ERROR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.message, scratch.database));
    ck_assert_ptr_null(catalogue.objects);
    database_close(&database);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("database/schema_read");
    TCase *group = tcase_create("schema_read");
    tcase_add_checked_fixture(group, set_up, tear_down);
    tcase_add_test(group, test_an_empty_database_has_an_empty_catalogue);
    tcase_add_test(group, test_objects_and_columns_are_read_as_they_are);
    tcase_add_test(group, test_any_name_is_read);
    tcase_add_test(group, test_virtual_and_shadow_tables_are_told_apart);
    tcase_add_test(group, test_what_cannot_tell_its_columns_does_not_stop_the_rest);
    tcase_add_test(group, test_the_version_is_that_of_what_was_read);
    tcase_add_test(group, test_a_schema_is_read_again_when_others_change_it);
    tcase_add_test(group, test_inside_a_transaction_its_own_changes_are_read_and_it_goes_on);
    tcase_add_test(group, test_a_damaged_schema_is_an_error);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
