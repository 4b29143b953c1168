/* SPDX-License-Identifier: MIT */
/* Connections: how they are opened, what they leave behind, what they say when they fail. */
#include "database/database.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static void check_refused(const char *path, enum database_access access, enum error_code code,
                          const char *part, const char *way_out)
{
    struct database database;
    struct error error = {0};
    ck_assert_msg(!database_open(&database, path, access, 0, &error), "%s was opened", path);
    ck_assert_msg(error.code == code, "%s: %s", error_category(error.code), error.message);
    ck_assert_msg(strstr(error.message, part) != NULL, "no '%s' in: %s", part, error.message);
    ck_assert_msg(strstr(error.message, way_out) != NULL, "no '%s' in: %s", way_out, error.message);
    ck_assert_ptr_null(database.handle);
    ck_assert_ptr_null(database.path);
}

START_TEST(test_p8_a_missing_database_is_not_created)
{
    check_refused(scratch.database, DATABASE_READ, ERROR_NOT_FOUND, scratch.database,
                  "--create-database");
    check_refused(scratch.database, DATABASE_WRITE, ERROR_NOT_FOUND, scratch.database,
                  "--create-database");
    ck_assert(!scratch_exists(scratch.database));
}
END_TEST

START_TEST(test_a_database_is_created_on_the_operators_word)
{
    struct database database = scratch_database(scratch.database, DATABASE_CREATE);
    struct error error = {0};
    ck_assert(database_run(&database, "CREATE TABLE t (a)", &error));
    database_close(&database);
    /* and one that is there is left as it is */
    database = scratch_database(scratch.database, DATABASE_CREATE);
    ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM t"), 0);
    database_close(&database);
}
END_TEST

START_TEST(test_p8_creating_makes_no_directories)
{
    char path[SCRATCH_PATH_SIZE];
    scratch_path(&scratch, "none/app.db", path);
    check_refused(path, DATABASE_CREATE, ERROR_NOT_FOUND, "none", "check the path");
    ck_assert(!scratch_exists(scratch_path(&scratch, "none", path)));
}
END_TEST

START_TEST(test_p11_what_is_no_database_is_named)
{
    char path[SCRATCH_PATH_SIZE];
    check_refused(scratch.directory, DATABASE_WRITE, ERROR_CONFIGURATION, "is a directory",
                  "give the database file");
    check_refused("/dev/null", DATABASE_READ, ERROR_CONFIGURATION, "not a regular file", "give");
    check_refused("", DATABASE_READ, ERROR_USAGE, "no database", "--database");
    check_refused(NULL, DATABASE_READ, ERROR_USAGE, "no database", "--database");

    FILE *file = fopen(scratch_path(&scratch, "text.db", path), "w");
    for (int i = 0; i < 200; i++)
        fputs("This is a text and nothing else.\n", file);
    fclose(file);
    check_refused(path, DATABASE_READ, ERROR_CORRUPT, "not an SQLite database", "give");
    check_refused(path, DATABASE_CREATE, ERROR_CORRUPT, "not an SQLite database", "give");

    scratch_path(&scratch, "text.db/app.db", path);
    check_refused(path, DATABASE_READ, ERROR_NOT_FOUND, "Not a directory", "check the path");

    scratch_path(&scratch, "link.db", path);
    ck_assert_int_eq(symlink("nowhere.db", path), 0);
    check_refused(path, DATABASE_CREATE, ERROR_NOT_FOUND, "symbolic link", "mend");
}
END_TEST

/* A library may be built to read "file:" as a URI, and takes ":memory:" for no file at all. */
START_TEST(test_a_name_is_a_file_name_whatever_it_looks_like)
{
    static const char *const names[] = {
        "file:app.db?mode=memory",  ":memory:",         "with space.db",
        "Kůň \"quoted\" 'name'.db", "-leading dash.db", "percent%20.db",
    };
    struct error error = {0};
    ck_assert_int_eq(chdir(scratch.directory), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        check_refused(names[i], DATABASE_WRITE, ERROR_NOT_FOUND, names[i], "--create-database");
        struct database database = scratch_database(names[i], DATABASE_CREATE);
        ck_assert_str_eq(database.path, names[i]);
        ck_assert(database_run(&database, "CREATE TABLE t (a)", &error));
        database_close(&database);
        ck_assert_msg(access(names[i], F_OK) == 0, "no file %s", names[i]);
        database = scratch_database(names[i], DATABASE_READ);
        ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM sqlite_schema"), 1);
        database_close(&database);
    }
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(test_an_empty_file_is_an_empty_database)
{
    ck_assert_int_eq(close(open(scratch.database, O_CREAT | O_WRONLY, 0600)), 0);
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    int64_t version = -1;
    ck_assert(database_schema_version(&database, &version, NULL));
    ck_assert_int_eq(version, 0);
    database_close(&database);
}
END_TEST

START_TEST(test_every_connection_has_the_same_settings)
{
    static const struct {
        const char *sql;
        int64_t value;
    } settings[] = {
        {"PRAGMA foreign_keys", 1},
        {"PRAGMA legacy_alter_table", 0},
        {"PRAGMA trusted_schema", 1},
        {"PRAGMA busy_timeout", 1234},
    };
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    for (enum database_access access = DATABASE_READ; access <= DATABASE_CREATE; access++) {
        struct database database;
        int on = 0;
        ck_assert(database_open(&database, scratch.database, access, 1234, NULL));
        for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
            ck_assert_int_eq(scratch_number(database.handle, settings[i].sql), settings[i].value);
        ck_assert_int_eq(scratch_number(database.handle, "PRAGMA query_only"),
                         access == DATABASE_READ);
        ck_assert_int_eq(sqlite3_db_config(database.handle, SQLITE_DBCONFIG_DEFENSIVE, -1, &on),
                         SQLITE_OK);
        ck_assert_int_eq(on, 1);
        sqlite3_db_config(database.handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, -1, &on);
        ck_assert_int_eq(on, 0);
        database_close(&database);
    }
}
END_TEST

START_TEST(test_a_reader_cannot_write)
{
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    struct error error = {0};
    ck_assert(!database_run(&database, "INSERT INTO t VALUES (1)", &error));
    ck_assert_int_eq(error.code, ERROR_READ_ONLY);
    database_close(&database);
}
END_TEST

START_TEST(test_a_reader_that_closes_last_leaves_no_files_behind)
{
    char wal[SCRATCH_PATH_SIZE];
    char shm[SCRATCH_PATH_SIZE];
    scratch_run(scratch.database, "PRAGMA journal_mode = WAL; CREATE TABLE t (a)");
    sqlite3 *application = scratch_open(scratch.database);
    scratch_run_on(application, "INSERT INTO t VALUES (1)");
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM t"), 1);
    ck_assert(scratch_exists(scratch_path(&scratch, "app.db-wal", wal)));
    ck_assert_int_eq(sqlite3_close(application), SQLITE_OK);
    database_close(&database);
    ck_assert(!scratch_exists(wal));
    ck_assert(!scratch_exists(scratch_path(&scratch, "app.db-shm", shm)));
}
END_TEST

static bool read_but_not_write(const struct scratch *place)
{
    struct database database;
    struct error error = {0};
    int64_t count = 0;
    bool read = database_open(&database, place->database, DATABASE_READ, 0, &error) &&
                database_number(&database, "SELECT count(*) FROM t", 0, &count, &error);
    if (!read)
        printf("# %s\n", error.message);
    database_close(&database);
    bool written = database_open(&database, place->database, DATABASE_WRITE, 0, &error);
    database_close(&database);
    return read && count == 2 && !written && error.code == ERROR_READ_ONLY &&
           strstr(error.message, "writable") && strstr(error.message, place->database);
}

START_TEST(test_a_write_protected_database_is_read_and_not_written)
{
    scratch_run(scratch.database, "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)");
    ck_assert_int_eq(chmod(scratch.database, 0444), 0);
    ck_assert_int_eq(chmod(scratch.directory, 0555), 0);
    ck_assert(scratch_as_nobody(read_but_not_write, &scratch));
    ck_assert_int_eq(chmod(scratch.directory, 0700), 0);
}
END_TEST

static bool is_told_about_permission(const struct scratch *place)
{
    struct database database;
    struct error error = {0};
    bool opened = database_open(&database, place->database, DATABASE_READ, 0, &error);
    return !opened && error.code == ERROR_PERMISSION && strcasestr(error.message, "permission") &&
           strstr(error.message, place->database);
}

START_TEST(test_p11_an_unreadable_file_is_named)
{
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    ck_assert_int_eq(chmod(scratch.directory, 0755), 0);
    ck_assert_int_eq(chmod(scratch.database, 0200), 0);
    ck_assert(scratch_as_nobody(is_told_about_permission, &scratch));
    ck_assert_int_eq(chmod(scratch.database, 0644), 0);
    ck_assert_int_eq(chmod(scratch.directory, 0600), 0);
    ck_assert(scratch_as_nobody(is_told_about_permission, &scratch));
    ck_assert_int_eq(chmod(scratch.directory, 0700), 0);
}
END_TEST

START_TEST(test_data_version_changes_when_others_commit)
{
    static const char *const modes[] = {"PRAGMA journal_mode = DELETE",
                                        "PRAGMA journal_mode = WAL"};
    for (size_t i = 0; i < 2; i++) {
        int64_t first;
        int64_t second;
        int64_t third;
        int64_t fourth;
        scratch_run(scratch.database, modes[i]);
        scratch_run(scratch.database, "CREATE TABLE IF NOT EXISTS t (a)");
        struct database database = scratch_database(scratch.database, DATABASE_WRITE);
        ck_assert(database_data_version(&database, &first, NULL));
        ck_assert(database_data_version(&database, &second, NULL));
        ck_assert_int_eq(first, second);
        ck_assert(database_run(&database, "INSERT INTO t VALUES (1)", NULL));
        ck_assert(database_data_version(&database, &third, NULL));
        ck_assert_int_eq(first, third); /* our own commit is no news */
        scratch_run(scratch.database, "INSERT INTO t VALUES (2)");
        ck_assert(database_data_version(&database, &fourth, NULL));
        ck_assert_int_ne(first, fourth);
        database_close(&database);
    }
}
END_TEST

START_TEST(test_asking_for_versions_holds_nothing)
{
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    int64_t schema;
    int64_t data;
    ck_assert(database_schema_version(&database, &schema, NULL));
    ck_assert(database_data_version(&database, &data, NULL));
    /* In DELETE mode a commit needs that nobody reads. */
    scratch_run(scratch.database, "CREATE TABLE u (a)");
    int64_t later;
    ck_assert(database_schema_version(&database, &later, NULL));
    ck_assert_int_eq(later, schema + 1);
    database_close(&database);
}
END_TEST

START_TEST(test_a_snapshot_stays_as_it_was)
{
    scratch_run(scratch.database, "PRAGMA journal_mode = WAL; CREATE TABLE t (a)");
    struct database database = scratch_database(scratch.database, DATABASE_READ);
    int64_t version;
    sqlite3_stmt *snapshot = database_hold_snapshot(&database, &version, NULL);
    ck_assert_ptr_nonnull(snapshot);
    scratch_run(scratch.database, "INSERT INTO t VALUES (1); CREATE TABLE u (a)");
    ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM t"), 0);
    ck_assert_int_eq(scratch_number(database.handle, "PRAGMA schema_version"), version);
    sqlite3_finalize(snapshot);
    ck_assert_int_eq(scratch_number(database.handle, "SELECT count(*) FROM t"), 1);
    database_close(&database);
}
END_TEST

START_TEST(test_numbers_and_failures_of_fixed_queries)
{
    scratch_run(scratch.database, "CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (7)");
    struct database database = scratch_database(scratch.database, DATABASE_WRITE);
    struct error error = {0};
    int64_t number;
    ck_assert(database_number(&database, "SELECT a FROM t", 5, &number, &error));
    ck_assert_int_eq(number, 7);
    ck_assert(database_number(&database, "SELECT a FROM t WHERE a > 7", 5, &number, &error));
    ck_assert_int_eq(number, 5);
    ck_assert(!database_number(&database, "SELECT a FROM u", 5, &number, &error));
    ck_assert_int_eq(error.code, ERROR_SQL);
    ck_assert_ptr_nonnull(strstr(error.message, "no such table: u"));
    ck_assert_ptr_nonnull(strstr(error.message, scratch.database));
    database_close(&database);
}
END_TEST

START_TEST(test_results_become_our_codes)
{
    static const struct {
        const char *sql;
        enum error_code code;
    } cases[] = {
        {"INSERT INTO t VALUES (1, 1)", ERROR_CONSTRAINT},
        {"INSERT INTO t VALUES (2, 99)", ERROR_FOREIGN_KEY},
        {"SELECT nope()", ERROR_SQLITE_FEATURE},
        {"CREATE VIRTUAL TABLE v USING nope(a)", ERROR_SQLITE_FEATURE},
        {"SELECT a FROM t ORDER BY a COLLATE nope", ERROR_SQLITE_FEATURE},
        {"SELEC", ERROR_SQL},
        {"DELETE FROM sqlite_schema", ERROR_SQL},
    };
    scratch_run(scratch.database,
                "CREATE TABLE p (a INTEGER PRIMARY KEY); INSERT INTO p VALUES (1);"
                "CREATE TABLE t (a UNIQUE, b REFERENCES p); INSERT INTO t VALUES (1, 1)");
    struct database database = scratch_database(scratch.database, DATABASE_WRITE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {0};
        ck_assert(!database_run(&database, cases[i].sql, &error));
        ck_assert_msg(error.code == cases[i].code, "%s: %s", error_category(error.code),
                      error.message);
    }
    /* Somebody else writes. */
    sqlite3 *application = scratch_open(scratch.database);
    scratch_run_on(application, "BEGIN IMMEDIATE");
    struct error error = {0};
    ck_assert(!database_run(&database, "BEGIN IMMEDIATE", &error));
    ck_assert_int_eq(error.code, ERROR_LOCK);
    ck_assert_ptr_nonnull(strstr(error.message, "try again"));
    sqlite3_close(application);
    /* What the handle last said is not what is asked about. */
    ck_assert(!database_error(database.handle, SQLITE_FULL, "copy", &error));
    ck_assert_int_eq(error.code, ERROR_DISK_FULL);
    ck_assert_ptr_nonnull(strstr(error.message, "copy: "));
    ck_assert_ptr_null(strstr(error.message, "locked"));
    ck_assert(!database_error(NULL, SQLITE_INTERRUPT, "step", &error));
    ck_assert_int_eq(error.code, ERROR_TIMEOUT);
    database_close(&database);
}
END_TEST

START_TEST(test_an_exclusive_lock_is_told_as_one)
{
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    sqlite3 *application = scratch_open(scratch.database);
    scratch_run_on(application, "BEGIN EXCLUSIVE");
    check_refused(scratch.database, DATABASE_READ, ERROR_LOCK, "locked", "try again");
    sqlite3_close(application);
}
END_TEST

START_TEST(test_two_names_of_one_file_resolve_alike)
{
    char link[SCRATCH_PATH_SIZE];
    struct error error = {0};
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    ck_assert_int_eq(symlink("app.db", scratch_path(&scratch, "link.db", link)), 0);
    char *direct = database_resolve(scratch.database, &error);
    char *through = database_resolve(link, &error);
    ck_assert_str_eq(direct, through);
    free(direct);
    free(through);
    /* before the file is there as after it */
    ck_assert_int_eq(chdir(scratch.directory), 0);
    char *before = database_resolve("new.db", &error);
    scratch_run("new.db", "CREATE TABLE t (a)");
    char *after = database_resolve("./new.db", &error);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(test_a_local_file_system_is_no_network)
{
    const char *name = NULL;
    ck_assert(!database_is_on_network("/proc/self/status", &name));
    ck_assert(!database_is_on_network("/proc/none/of/it", &name));
    ck_assert_ptr_null(name);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("database/database");
    TCase *group = tcase_create("database");
    tcase_add_checked_fixture(group, set_up, tear_down);
    tcase_add_test(group, test_p8_a_missing_database_is_not_created);
    tcase_add_test(group, test_a_database_is_created_on_the_operators_word);
    tcase_add_test(group, test_p8_creating_makes_no_directories);
    tcase_add_test(group, test_p11_what_is_no_database_is_named);
    tcase_add_test(group, test_a_name_is_a_file_name_whatever_it_looks_like);
    tcase_add_test(group, test_an_empty_file_is_an_empty_database);
    tcase_add_test(group, test_every_connection_has_the_same_settings);
    tcase_add_test(group, test_a_reader_cannot_write);
    tcase_add_test(group, test_a_reader_that_closes_last_leaves_no_files_behind);
    tcase_add_test(group, test_a_write_protected_database_is_read_and_not_written);
    tcase_add_test(group, test_p11_an_unreadable_file_is_named);
    tcase_add_test(group, test_data_version_changes_when_others_commit);
    tcase_add_test(group, test_asking_for_versions_holds_nothing);
    tcase_add_test(group, test_a_snapshot_stays_as_it_was);
    tcase_add_test(group, test_numbers_and_failures_of_fixed_queries);
    tcase_add_test(group, test_results_become_our_codes);
    tcase_add_test(group, test_an_exclusive_lock_is_told_as_one);
    tcase_add_test(group, test_two_names_of_one_file_resolve_alike);
    tcase_add_test(group, test_a_local_file_system_is_no_network);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
