/* SPDX-License-Identifier: MIT */
/* Loading: the native format, trust, order. Cases are tables of files and what is said about them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "migrate/statement.h"
#include "migrate/token.h"

/* Loads; "" when that went well, else the message. */
static const char *load_message(struct error *error)
{
    struct migration_set set;
    *error = (struct error){0};
    if (!migration_set_load(&set, fixture.migrations, error))
        return error->message;
    migration_set_free(&set);
    return "";
}

START_TEST(test_bad_files_are_refused_with_file_line_and_way_out)
{
    static const struct {
        const char *text;
        const char *first; /* both must be in the message; "" for a good file */
        const char *second;
    } cases[] = {
        {"-- migrate:up\nCREATE TABLE a (b);\n", "", ""},
        {"-- migrate:up\nCREATE TABLE a (b);\n-- migrate:down\nDROP TABLE a;\n", "", ""},
        {"-- migrate:up transaction:false\nVACUUM;\n", "", ""},
        {"--migrate:up\nSELECT 1;\n", "", ""},
        {"--  migrate:up  \t\nSELECT 1;\n", "", ""},
        {"-- a comment\n/* another */\n-- migrate:up\n", "", ""},
        {"-- migrate:up\n;;\n;SELECT 1;;\n", "", ""},
        {"-- migrate:up\nSELECT ';', \"a;b\", [c;d], `e;f` -- ;\n/* ; */;\n", "", ""},
        {"CREATE TABLE a (b);\n", "1_a.sql: no up section", "migrate:up"},
        {"", "1_a.sql: no up section", "migrate:up"},
        {"\n\nSELECT 1;\n-- migrate:up\n", "1_a.sql:3:", "before -- migrate:up"},
        {"-- migrate:up\nSELECT 1;\n-- migrate:up\nSELECT 2;\n", "1_a.sql:3:", "second up"},
        {"-- migrate:down\nSELECT 1;\n", "1_a.sql:1:", "write -- migrate:up first"},
        {"-- migrate:up\n-- migrate:down\n-- migrate:down\n", "1_a.sql:3:", "down section"},
        {"-- migrate:up transaction:no\nSELECT 1;\n", "1_a.sql:1:", "transaction:false"},
        {"-- migrate:up\nSELECT 1;\n-- migrate:donw\nDROP TABLE a;\n",
         "1_a.sql:3:", "migrate:down"},
        {"-- migrate:up\nSELECT 1;\n -- migrate:down\nDROP TABLE a;\n",
         "1_a.sql:3:", "beginning of its line"},
        {"-- migrate:up\nSELECT 1;\n-- MIGRATE:DOWN\nDROP TABLE a;\n",
         "1_a.sql:3:", "small letters"},
        {"-- migrate:up\nSELECT 1\n", "1_a.sql: line 2:", "does not end"},
        {"-- migrate:up\nSELECT 1;\nSELECT 'abc;\n", "1_a.sql: line 3:", "a string begins here"},
        {"-- migrate:up\nSELECT 1;\n\nSELECT \"abc;\n", "1_a.sql: line 4:", "a quoted name"},
        {"-- migrate:up\nSELECT 1;\n/* abc;\n", "1_a.sql: line 3:", "a comment begins here"},
        {"-- migrate:up\nCREATE TRIGGER a AFTER INSERT ON b BEGIN SELECT 1;\n",
         "1_a.sql: line 2:", "END for a trigger"},
        {"-- migrate:up\n-- migrate:down\nSELECT 'a;\n", "1_a.sql: line 3:", "a string"},
        {"-- automigrate:depends 001x\n-- migrate:up\n", "1_a.sql:1:", "001 003, or none"},
        {"-- automigrate:depends\n-- migrate:up\n", "1_a.sql:1:", "no value"},
        {"-- automigrate:depends none\n-- automigrate:depends none\n-- migrate:up\n",
         "1_a.sql:2:", "second time"},
        {"-- automigrate:dependz 001\n-- migrate:up\n", "1_a.sql:1:", "known are depends"},
        {"-- automigrate:risk orange\n-- migrate:up\n", "1_a.sql:1:", "green, yellow or red"},
        {"-- automigrate:timeout 30\n-- migrate:up\n", "1_a.sql:1:", "500ms, 30s"},
        {"-- automigrate:timeout 0s\n-- migrate:up\n", "1_a.sql:1:", "500ms, 30s"},
        {"-- automigrate:timeout 99999999999h\n-- migrate:up\n", "1_a.sql:1:", "500ms, 30s"},
        {"-- automigrate:foreign_keys on\n-- migrate:up\n", "1_a.sql:1:", "write off"},
        {"-- automigrate:depends 009\n-- migrate:up\n", "1_a.sql:1: depends on 009",
         "add the file"},
        {"-- automigrate:depends 1\n-- migrate:up\n", "cycle: 1 -> 1", "automigrate:depends"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error;
        fixture_write("1_a.sql", cases[i].text);
        const char *message = load_message(&error);
        ck_assert_msg(strstr(message, cases[i].first) && strstr(message, cases[i].second) &&
                          (cases[i].first[0] || !message[0]),
                      "%s\ngave: %s", cases[i].text, message);
    }
}
END_TEST

START_TEST(test_directives_and_sections_are_read)
{
    struct migration_set set;
    struct error error;
    fixture_write("003.sql", "-- migrate:up\nSELECT 1;\n");
    fixture_write("1_b.sql", "-- migrate:up\n");
    fixture_write("0005_the_name.v2.sql",
                  "\xef\xbb\xbf-- about it\r\n-- automigrate:depends 003, 1\r\n-- automigrate:risk "
                  "yellow\r\n-- automigrate:timeout 90s\r\n-- automigrate:foreign_keys off\r\n-- "
                  "migrate:up transaction:false\r\nSELECT\r\n 1;\r\n-- migrate:down\r\nSELECT "
                  "2;\r\n");
    fixture_write("README.md", "no migration");
    fixture_write("seed.sql", "no digits");
    ck_assert(migration_set_load(&set, fixture.migrations, &error));
    ck_assert_uint_eq(set.count, 3);
    const struct migration *migration = &set.migrations[2];
    ck_assert_str_eq(set.migrations[0].version, "1");
    ck_assert_str_eq(set.migrations[1].name, "");
    ck_assert(set.migrations[0].transaction && !set.migrations[0].has_down);
    ck_assert_str_eq(migration->version, "0005");
    ck_assert_str_eq(migration->name, "the_name.v2");
    ck_assert_uint_eq(migration->depends_count, 2);
    ck_assert_str_eq(migration->depends[1], "1");
    ck_assert_uint_eq(migration->depends_line, 2);
    ck_assert_int_eq(migration->declared_risk, MIGRATION_YELLOW);
    ck_assert_uint_eq(migration->timeout_ms, 90000);
    ck_assert(migration->foreign_keys_off && !migration->transaction && migration->has_down);
    ck_assert_uint_eq(migration->up_line, 7);
    ck_assert_uint_eq(migration->down_line, 10);
    ck_assert(slice_equal(migration->up, SLICE("SELECT\r\n 1;\r\n")));
    ck_assert(slice_equal(migration->down, SLICE("SELECT 2;\r\n")));
    ck_assert_ptr_eq(migration_set_find(&set, "5"), migration);
    ck_assert_ptr_eq(migration_set_find(&set, "0000000005"), migration);
    ck_assert_ptr_null(migration_set_find(&set, "6"));
    ck_assert_ptr_null(migration_set_find(&set, ""));
    migration_set_free(&set);
}
END_TEST

START_TEST(test_a_file_with_other_line_ends_has_the_same_checksum)
{
    struct migration_set set;
    struct error error;
    fixture_write("1.sql", "-- migrate:up\nSELECT 1;\n");
    fixture_write("2.sql", "-- migrate:up\r\nSELECT 1;\r\n");
    fixture_write("3.sql", "-- migrate:up\nSELECT 1 ;\n");
    ck_assert(migration_set_load(&set, fixture.migrations, &error));
    /* As sha256sum prints it for the first. */
    ck_assert_str_eq(set.migrations[0].checksum,
                     "2be38f331755cac1a312dea121c3da64832ace82d37707cfd1a81ccd39dffbdf");
    ck_assert_str_eq(set.migrations[0].checksum, set.migrations[1].checksum);
    ck_assert_str_ne(set.migrations[0].checksum, set.migrations[2].checksum);
    migration_set_free(&set);
}
END_TEST

START_TEST(test_pragma_foreign_keys_off_in_the_file_is_heeded)
{
    static const struct {
        const char *sql;
        bool off;
    } cases[] = {
        {"PRAGMA foreign_keys=OFF;", true},
        {"pragma main.foreign_keys ( 0 );", true},
        {"PRAGMA foreign_keys = 'no';", true},
        {"PRAGMA foreign_keys=ON;", false},
        {"PRAGMA foreign_keys;", false},
        {"PRAGMA foreign_key_check;", false},
        {"SELECT 'PRAGMA foreign_keys=OFF;';", false},
        {"-- PRAGMA foreign_keys=OFF;", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct migration_set set;
        struct error error;
        fixture_migration("1.sql", cases[i].sql);
        ck_assert(migration_set_load(&set, fixture.migrations, &error));
        ck_assert_msg(set.migrations[0].foreign_keys_off == cases[i].off, "%s", cases[i].sql);
        migration_set_free(&set);
    }
}
END_TEST

START_TEST(test_statements_end_where_sqlite_ends_them)
{
    static const char text[] =
        "-- first\nCREATE TABLE a (b DEFAULT ';');\n\n"
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  UPDATE a SET b = CASE WHEN 1 THEN 2 END;\n"
        "  SELECT 1; -- END;\nEND;\n"
        "INSERT INTO a VALUES ('it''s; END;'); SELECT 3;\n"
        "EXPLAIN CREATE TRIGGER u AFTER INSERT ON a BEGIN SELECT 1; END;\n";
    static const struct {
        unsigned line;
        const char *begin;
    } expected[] = {
        {2, "CREATE TABLE a"}, {4, "CREATE TRIGGER t"},       {8, "INSERT INTO"},
        {8, "SELECT 3;"},      {9, "EXPLAIN CREATE TRIGGER"},
    };
    struct statement_cursor cursor;
    struct statement statement;
    struct error error;
    statement_cursor_construct(&cursor, slice_from_string(text), 1);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        ck_assert_int_eq(statement_next(&cursor, &statement, &error), STATEMENT_FOUND);
        ck_assert_uint_eq(statement.line, expected[i].line);
        ck_assert_uint_eq(statement.position, i + 1);
        ck_assert(slice_has_prefix(statement.sql, slice_from_string(expected[i].begin)));
        ck_assert_int_eq(statement.sql.data[statement.sql.length - 1], ';');
    }
    ck_assert_int_eq(statement_next(&cursor, &statement, &error), STATEMENT_NONE);
    statement_cursor_destruct(&cursor);
}
END_TEST

START_TEST(test_excerpt_is_one_line_and_whole_characters)
{
    char out[12];
    ck_assert_str_eq(statement_excerpt(SLICE("SELECT\n  1 -- x\n;"), out, sizeof out), "SELECT 1");
    ck_assert_str_eq(statement_excerpt(SLICE("SELECT abcdefg;"), out, sizeof out), "SELECT a…");
    ck_assert_str_eq(statement_excerpt(SLICE("SELECTé 'ééééé';"), out, sizeof out), "SELECTé…");
    ck_assert_str_eq(statement_excerpt(SLICE("SELECT1é 'éééé';"), out, sizeof out), "SELECT1…");
}
END_TEST

START_TEST(test_nul_bytes_are_refused)
{
    struct error error;
    fixture_write_bytes("1_a.sql", "-- migrate:up\nSELECT 1;\n\0SELECT 2;\n", 34);
    ck_assert_ptr_nonnull(strstr(load_message(&error), "1_a.sql:3: a NUL byte"));
}
END_TEST

START_TEST(test_one_version_in_two_files_is_refused)
{
    struct error error;
    fixture_write("1_a.sql", "-- migrate:up\n");
    fixture_write("001_b.sql", "-- migrate:up\n");
    const char *message = load_message(&error);
    ck_assert(strstr(message, "1_a.sql") && strstr(message, "001_b.sql") &&
              strstr(message, "another number"));
    ck_assert_int_eq(error.code, ERROR_DEPENDENCY);
}
END_TEST

START_TEST(test_order_is_dependencies_then_version_as_number)
{
    struct migration_set set;
    struct error error;
    static const char *const order[] = {"1", "2", "10", "030", "9", "20260101000000"};
    fixture_write("10_a.sql", "-- automigrate:depends 2\n-- migrate:up\n");
    fixture_write("9_b.sql", "-- automigrate:depends 030\n-- migrate:up\n");
    fixture_write("2_c.sql", "-- migrate:up\n");
    fixture_write("1_d.sql", "-- migrate:up\n");
    fixture_write("030_e.sql", "-- automigrate:depends none\n-- migrate:up\n");
    fixture_write("20260101000000_f.sql", "-- automigrate:depends 10 9\n-- migrate:up\n");
    ck_assert(migration_set_load(&set, fixture.migrations, &error));
    for (size_t i = 0; i < set.count; i++)
        ck_assert_str_eq(set.migrations[i].version, order[i]);
    migration_set_free(&set);
}
END_TEST

START_TEST(test_cycles_are_written_out)
{
    struct error error;
    fixture_write("1_a.sql", "-- automigrate:depends 3\n-- migrate:up\n");
    fixture_write("2_b.sql", "-- migrate:up\n"); /* on its predecessor, 1 */
    fixture_write("3_c.sql", "-- automigrate:depends 2\n-- migrate:up\n");
    fixture_write("4_d.sql", "-- migrate:up\n");
    fixture_write("5_e.sql", "-- automigrate:depends none\n-- migrate:up\n");
    const char *message = load_message(&error);
    ck_assert_msg(strstr(message, "1 -> 3 -> 2 -> 1") || strstr(message, "3 -> 2 -> 1 -> 3") ||
                      strstr(message, "2 -> 1 -> 3 -> 2"),
                  "%s", message);
}
END_TEST

START_TEST(test_what_others_can_write_is_refused)
{
    struct error error;
    char path[512], outside[512], link[512];
    fixture_write("1_a.sql", "-- migrate:up\n");
    ck_assert_str_eq(load_message(&error), "");

    chmod(fixture.migrations, 0757);
    ck_assert_ptr_nonnull(strstr(load_message(&error), "chmod o-w"));
    ck_assert_int_eq(error.code, ERROR_PERMISSION);
    chmod(fixture.migrations, 0755);

    snprintf(path, sizeof path, "%s/1_a.sql", fixture.migrations);
    chmod(path, 0646);
    ck_assert_ptr_nonnull(strstr(load_message(&error), "1_a.sql: everybody may write"));
    chmod(path, 0664);
    ck_assert_str_eq(load_message(&error), "");

    /* A link into a directory where anybody may put another file. */
    snprintf(outside, sizeof outside, "%s/open", fixture.directory);
    snprintf(link, sizeof link, "%s/2_b.sql", fixture.migrations);
    ck_assert_int_eq(mkdir(outside, 0755), 0);
    strcat(outside, "/b.sql");
    ck_assert_int_eq(rename(path, outside), 0);
    ck_assert_int_eq(symlink(outside, link), 0);
    ck_assert_str_eq(load_message(&error), "");
    *strrchr(outside, '/') = '\0';
    chmod(outside, 0777);
    ck_assert_ptr_nonnull(strstr(load_message(&error), "link's directory"));

    unlink(link);
    ck_assert_int_eq(mkfifo(link, 0644), 0);
    ck_assert_ptr_nonnull(strstr(load_message(&error), "not a regular file"));
    unlink(link);
    ck_assert_int_eq(rmdir(fixture.migrations), 0);
    ck_assert_ptr_nonnull(strstr(load_message(&error), "--migrations"));
    ck_assert_int_eq(error.code, ERROR_NOT_FOUND);
}
END_TEST

START_TEST(test_an_empty_directory_is_an_empty_set)
{
    struct migration_set set;
    struct error error;
    ck_assert(migration_set_load(&set, fixture.migrations, &error));
    ck_assert_uint_eq(set.count, 0);
    ck_assert_ptr_null(migration_set_find(&set, "1"));
    migration_set_free(&set);
}
END_TEST

START_TEST(test_a_sentence_is_read_as_sqlite_would)
{
    static const struct {
        const char *sql;
        enum verb verb;
        const char *name;
        bool replaces;
    } cases[] = {
        {"create table if not exists main.\"a b\" (c);", VERB_CREATE_TABLE, "a b", false},
        {"CREATE TEMP TABLE [x] (c)", VERB_CREATE_TABLE, "x", false},
        {"CREATE UNIQUE INDEX i ON t (c)", VERB_CREATE_INDEX, "i", false},
        {"CREATE VIRTUAL TABLE IF NOT EXISTS `f``f` USING fts5(a)", VERB_CREATE_VIRTUAL_TABLE,
         "f`f", false},
        {"CREATE TABLE if (a)", VERB_CREATE_TABLE, "if", false},
        {"/* x */ ALTER TABLE t ADD c", VERB_ALTER_ADD_COLUMN, "t", false},
        {"ALTER TABLE t RENAME TO u", VERB_ALTER_RENAME, "t", false},
        {"ALTER TABLE t RENAME c TO d", VERB_ALTER_RENAME_COLUMN, "t", false},
        {"ALTER TABLE t DROP COLUMN c", VERB_ALTER_DROP_COLUMN, "t", false},
        {"DROP VIEW IF EXISTS main.v", VERB_DROP_VIEW, "v", false},
        {"INSERT OR REPLACE INTO t VALUES (1)", VERB_INSERT, NULL, true},
        {"REPLACE INTO t VALUES (1)", VERB_REPLACE, NULL, true},
        {"WITH a AS (SELECT 1) REPLACE INTO t SELECT * FROM a", VERB_WITH, NULL, true},
        {"UPDATE OR REPLACE t SET a = 1", VERB_UPDATE, NULL, true},
        {"UPDATE t SET a = replace(a, 'x', 'y')", VERB_UPDATE, NULL, false},
        {"CREATE TABLE t (a UNIQUE ON CONFLICT REPLACE)", VERB_CREATE_TABLE, "t", true},
        {"EXPLAIN DROP TABLE t", VERB_OTHER, NULL, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sentence sentence = sentence_read(slice_from_string(cases[i].sql));
        ck_assert_msg(sentence.verb == cases[i].verb && sentence.replaces == cases[i].replaces,
                      "%s", cases[i].sql);
        if (cases[i].name) {
            char *name = token_name(sentence.name);
            ck_assert_str_eq(name, cases[i].name);
            free(name);
        }
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_bad_files_are_refused_with_file_line_and_way_out,
        test_directives_and_sections_are_read,
        test_a_file_with_other_line_ends_has_the_same_checksum,
        test_pragma_foreign_keys_off_in_the_file_is_heeded,
        test_statements_end_where_sqlite_ends_them,
        test_excerpt_is_one_line_and_whole_characters,
        test_nul_bytes_are_refused,
        test_one_version_in_two_files_is_refused,
        test_order_is_dependencies_then_version_as_number,
        test_cycles_are_written_out,
        test_what_others_can_write_is_refused,
        test_an_empty_directory_is_an_empty_set,
        test_a_sentence_is_read_as_sqlite_would,
    };
    return fixture_main("set", tests, sizeof tests / sizeof *tests);
}
