/* SPDX-License-Identifier: MIT */
/* The history: our own table, dbmate's and Rails' ledgers, and those that we keep our hands off. */
#include "database/history.h"

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

static char *text(const char *literal)
{
    static char texts[32][256];
    static size_t next;
    char *copy = texts[next++ % 32];
    snprintf(copy, 256, "%s", literal);
    return copy;
}

static struct history_row full_row(const char *version)
{
    return (struct history_row){
        .version = text(version),
        .name = text("zero trust 'schema'"),
        .checksum = text("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        .state = text("applied"),
        .applied_at = text("2026-11-21T02:46:04.123Z"),
        .execution_ms = 4711,
        .statements = 13,
        .applied_by = text("www-data"),
        .host = text("kůň"),
        .cause = text("no such table: cards"),
        .batch = text("b1"),
    };
}

static void add(struct database *database, struct history_row row)
{
    struct error error = {0};
    ck_assert(database_run(database, "BEGIN IMMEDIATE", &error));
    ck_assert_msg(history_add(database, &row, &error), "%s", error.message);
    ck_assert(database_run(database, "COMMIT", &error));
}

static struct history read_it(struct database *database)
{
    struct history history;
    struct error error = {0};
    ck_assert_msg(history_read(database, &history, &error), "%s", error.message);
    return history;
}

static void check_row(const struct history_row *row, const struct history_row *expected)
{
    ck_assert_ptr_nonnull(row);
    ck_assert_str_eq(row->version, expected->version);
    ck_assert_pstr_eq(row->name, expected->name);
    ck_assert_pstr_eq(row->checksum, expected->checksum);
    ck_assert_pstr_eq(row->state, expected->state);
    ck_assert_pstr_eq(row->applied_at, expected->applied_at);
    ck_assert_int_eq(row->execution_ms, expected->execution_ms);
    ck_assert_int_eq(row->statements, expected->statements);
    ck_assert_pstr_eq(row->applied_by, expected->applied_by);
    ck_assert_pstr_eq(row->host, expected->host);
    ck_assert_pstr_eq(row->cause, expected->cause);
    ck_assert_pstr_eq(row->batch, expected->batch);
}

START_TEST(test_a_database_without_history_has_none_and_gets_none_by_reading)
{
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    struct history history = read_it(&database);
    ck_assert_uint_eq(history.count, 0);
    ck_assert_ptr_null(history_find(&history, "001"));
    history_free(&history);
    ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM sqlite_schema"), 1);
    database_close(&database);
}
END_TEST

START_TEST(test_rows_come_back_as_they_were_written_in_order_of_version)
{
    static const char *const modes[] = {"PRAGMA journal_mode = DELETE", "PRAGMA journal_mode = WAL",
                                        "PRAGMA encoding = 'UTF-16le'"};
    static const char *const versions[] = {"002", "10", "001", "1", "20240101120000", "v ž"};
    static const char *const sorted[] = {"001", "002", "1", "10", "20240101120000", "v ž"};
    scratch_run(scratch.database, modes[_i]);
    struct database database = scratch_database(scratch.database, DATABASE_CREATE);
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        add(&database, full_row(versions[i]));
    struct history history = read_it(&database);
    ck_assert_uint_eq(history.count, sizeof sorted / sizeof *sorted);
    for (size_t i = 0; i < history.count; i++) {
        struct history_row expected = full_row(sorted[i]);
        check_row(&history.rows[i], &expected);
        ck_assert_ptr_eq(history_find(&history, sorted[i]), &history.rows[i]);
    }
    ck_assert_ptr_null(history_find(&history, "01"));
    ck_assert_ptr_null(history_find(&history, ""));
    history_free(&history);
    database_close(&database);
}
END_TEST

START_TEST(test_what_is_not_given_has_a_sensible_value)
{
    struct database database = scratch_database(scratch.database, DATABASE_CREATE);
    add(&database, (struct history_row){.version = text("001")});
    struct history history = read_it(&database);
    const struct history_row *row = history_find(&history, "001");
    ck_assert_str_eq(row->state, "applied");
    ck_assert_int_eq((int)strlen(row->applied_at), (int)strlen("2026-11-21T02:46:04.123Z"));
    ck_assert_int_eq(row->applied_at[23], 'Z');
    ck_assert_ptr_null(row->name);
    ck_assert_ptr_null(row->cause);
    history_free(&history);
    database_close(&database);
}
END_TEST

START_TEST(test_dbmate_can_write_into_our_table)
{
    struct database database = scratch_database(scratch.database, DATABASE_CREATE);
    add(&database, full_row("001"));
    scratch_run(scratch.database, "insert into \"schema_migrations\" (version) values ('002')");
    struct history history = read_it(&database);
    ck_assert_uint_eq(history.count, 2);
    ck_assert_str_eq(history_find(&history, "002")->state, "applied");
    ck_assert_ptr_null(history_find(&history, "002")->checksum);
    history_free(&history);
    database_close(&database);
}
END_TEST

START_TEST(test_p5_the_row_goes_with_its_transaction)
{
    struct database database = scratch_database(scratch.database, DATABASE_CREATE);
    struct history_row row = full_row("001");
    struct error error = {0};
    scratch_run_on(database.handle, "BEGIN IMMEDIATE; CREATE TABLE cards (a)");
    ck_assert(history_add(&database, &row, &error));
    scratch_run_on(database.handle, "ROLLBACK");
    ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM sqlite_schema"), 0);
    /* and without one, nothing is written */
    ck_assert(!history_add(&database, &row, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "transaction"));
    ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM sqlite_schema"), 0);
    database_close(&database);
}
END_TEST

START_TEST(test_p4_a_version_is_written_once)
{
    static const char *const ledgers[] = {
        "CREATE TABLE t (a)", "CREATE TABLE schema_migrations (version varchar(128) primary key)"};
    for (size_t i = 0; i < 2; i++) {
        char path[SCRATCH_PATH_SIZE];
        struct history_row row = full_row("001");
        struct error error = {0};
        scratch_path(&scratch, i ? "dbmate.db" : "ours.db", path);
        scratch_run(path, ledgers[i]);
        struct database database = scratch_database(path, DATABASE_WRITE);
        add(&database, row);
        ck_assert(database_run(&database, "BEGIN IMMEDIATE", &error));
        ck_assert(!history_add(&database, &row, &error));
        ck_assert_int_eq(error.code, ERROR_CONSTRAINT);
        ck_assert_ptr_nonnull(strstr(error.message, "001"));
        ck_assert(database_run(&database, "ROLLBACK", &error));
        database_close(&database);
    }
}
END_TEST

static const char *const version_ledgers[] = {
    "CREATE TABLE \"schema_migrations\" (version varchar(128) primary key)",
    "CREATE TABLE \"schema_migrations\" (\"version\" varchar NOT NULL PRIMARY KEY)",
    "CREATE TABLE Schema_Migrations (Version TEXT)",
};

START_TEST(test_another_tools_ledger_decides_and_is_kept_up)
{
    scratch_run(scratch.database, version_ledgers[_i]);
    scratch_run(scratch.database, "INSERT INTO schema_migrations VALUES ('002'), ('001')");
    struct database database = scratch_database(scratch.database, DATABASE_WRITE);
    struct history history = read_it(&database);
    ck_assert_uint_eq(history.count, 2);
    ck_assert_str_eq(history.rows[0].version, "001");
    ck_assert_str_eq(history.rows[0].state, "applied");
    ck_assert_ptr_null(history.rows[0].checksum);
    history_free(&history);

    add(&database, full_row("003"));
    ck_assert_int_eq(scratch_number(database.handle,
                                    "SELECT count(*) FROM schema_migrations WHERE version = '003'"),
                     1);
    ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM automigrate_history"),
                     1);
    history = read_it(&database);
    ck_assert_uint_eq(history.count, 3);
    struct history_row expected = full_row("003");
    check_row(history_find(&history, "003"), &expected);
    history_free(&history);

    /* Undone by the other tool: it is not applied, whatever we remember; and may be again. */
    scratch_run(scratch.database, "DELETE FROM schema_migrations WHERE version = '003'");
    history = read_it(&database);
    ck_assert_uint_eq(history.count, 2);
    history_free(&history);
    struct history_row again = full_row("003");
    again.batch = text("b2");
    add(&database, again);
    history = read_it(&database);
    check_row(history_find(&history, "003"), &again);
    history_free(&history);
    database_close(&database);
}
END_TEST

static const char *const foreign[] = {
    "CREATE TABLE schema_migrations (version uint64, dirty bool)", /* golang-migrate */
    "CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, inserted_at TEXT)", /* Ecto */
    "CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY)",
    "CREATE TABLE schema_migrations (id INTEGER, filename TEXT)",
    "CREATE TABLE schema_migrations (version TEXT, name TEXT, checksum TEXT)",
    "CREATE VIEW schema_migrations AS SELECT '1' AS version",
};

START_TEST(test_p8_a_ledger_of_unknown_shape_is_not_touched)
{
    struct history history;
    struct error error = {0};
    struct history_row row = full_row("001");
    scratch_run(scratch.database, foreign[_i]);
    struct database database = scratch_database(scratch.database, DATABASE_WRITE);
    ck_assert(!history_read(&database, &history, &error));
    ck_assert_int_eq(error.code, ERROR_POLICY);
    ck_assert_ptr_nonnull(strstr(error.message, "schema_migrations"));
    ck_assert_ptr_nonnull(strstr(error.message, "rename"));
    ck_assert_uint_eq(history.count, 0);
    error = (struct error){0};
    scratch_run_on(database.handle, "BEGIN IMMEDIATE");
    ck_assert(!history_add(&database, &row, &error));
    ck_assert_int_eq(error.code, ERROR_POLICY);
    scratch_run_on(database.handle, "COMMIT");
    ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM sqlite_schema"
                                                     " WHERE name NOT LIKE 'sqlite_%'"),
                     1);
    database_close(&database);
}
END_TEST

START_TEST(test_a_table_with_more_columns_than_ours_is_still_ours)
{
    struct database database = scratch_database(scratch.database, DATABASE_CREATE);
    add(&database, full_row("001"));
    scratch_run_on(database.handle, "ALTER TABLE schema_migrations ADD COLUMN note TEXT");
    add(&database, full_row("002"));
    struct history history = read_it(&database);
    ck_assert_uint_eq(history.count, 2);
    history_free(&history);
    database_close(&database);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("database/history");
    TCase *group = tcase_create("history");
    tcase_add_checked_fixture(group, set_up, tear_down);
    tcase_add_test(group, test_a_database_without_history_has_none_and_gets_none_by_reading);
    tcase_add_loop_test(group, test_rows_come_back_as_they_were_written_in_order_of_version, 0, 3);
    tcase_add_test(group, test_what_is_not_given_has_a_sensible_value);
    tcase_add_test(group, test_dbmate_can_write_into_our_table);
    tcase_add_test(group, test_p5_the_row_goes_with_its_transaction);
    tcase_add_test(group, test_p4_a_version_is_written_once);
    tcase_add_loop_test(group, test_another_tools_ledger_decides_and_is_kept_up, 0,
                        sizeof version_ledgers / sizeof *version_ledgers);
    tcase_add_loop_test(group, test_p8_a_ledger_of_unknown_shape_is_not_touched, 0,
                        sizeof foreign / sizeof *foreign);
    tcase_add_test(group, test_a_table_with_more_columns_than_ours_is_still_ours);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
