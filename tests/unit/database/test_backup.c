/* SPDX-License-Identifier: MIT */
/* Backups: the same database, for its owner only, or nothing. */
#include "database/backup.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "scratch.h"

static struct scratch scratch;
static char directory[SCRATCH_PATH_SIZE];

static void set_up(void)
{
    scratch_construct(&scratch);
    scratch_path(&scratch, "backups", directory);
}

static void tear_down(void)
{
    scratch_destruct(&scratch);
}

static char *take(const char *label, uint64_t keep)
{
    char *path;
    struct error error = {0};
    ck_assert_msg(backup_take(scratch.database, directory, label, keep, &path, &error), "%s",
                  error.message);
    ck_assert_int_eq(strncmp(path, directory, strlen(directory)), 0);
    return path;
}

static int count_files(void)
{
    int count = 0;
    DIR *open = opendir(directory);
    for (struct dirent *entry; open && (entry = readdir(open));)
        count += entry->d_name[0] != '.';
    if (open)
        closedir(open);
    return count;
}

START_TEST(test_p8_a_backup_is_the_same_database)
{
    static const char *const modes[] = {"PRAGMA journal_mode = DELETE", "PRAGMA journal_mode = WAL",
                                        "PRAGMA page_size = 1024", "PRAGMA encoding = 'UTF-16be'"};
    scratch_run(scratch.database, modes[_i]);
    scratch_run(scratch.database, "CREATE TABLE t (a); CREATE VIRTUAL TABLE n USING fts5(b);"
                                  "INSERT INTO t WITH RECURSIVE n (v) AS (SELECT 1 UNION ALL "
                                  "SELECT v + 1 FROM n WHERE v < 10) SELECT v FROM n");
    char *path = take("001", 5);
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0600);
    ck_assert_int_eq(stat(directory, &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0700);
    ck_assert_int_eq(count_files(), 1); /* no journal, no -wal */
    sqlite3 *copy = scratch_open(path);
    ck_assert_int_eq(scratch_number(copy, "SELECT sum(a) FROM t"), 55);
    ck_assert_str_eq(scratch_text(copy, "PRAGMA integrity_check"), "ok");
    sqlite3_close(copy);
    free(path);
}
END_TEST

START_TEST(test_p8_it_is_taken_while_the_write_lock_is_held_and_holds_what_was_committed)
{
    static const char *const modes[] = {"PRAGMA journal_mode = DELETE",
                                        "PRAGMA journal_mode = WAL"};
    scratch_run(scratch.database, modes[_i]);
    scratch_run(scratch.database, "CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    struct database holder = scratch_database(scratch.database, DATABASE_WRITE);
    scratch_run_on(holder.handle, "BEGIN IMMEDIATE");
    char *path = take("002", 5);
    /* the holder still holds: nothing of the backup let its lock go */
    sqlite3 *application = scratch_open(scratch.database);
    ck_assert_int_eq(sqlite3_exec(application, "INSERT INTO t VALUES (3)", NULL, NULL, NULL),
                     SQLITE_BUSY);
    sqlite3_close(application);
    scratch_run_on(holder.handle, "INSERT INTO t VALUES (2); COMMIT");
    database_close(&holder);
    sqlite3 *copy = scratch_open(path);
    ck_assert_int_eq(scratch_number(copy, "SELECT count(*) FROM t"), 1);
    sqlite3_close(copy);
    free(path);
}
END_TEST

START_TEST(test_a_label_is_part_of_a_name_and_never_a_path)
{
    static const struct {
        const char *label;
        const char *end;
    } cases[] = {
        {"001", "Z-001.db"},
        {"", "Z-backup.db"},
        {"../../etc/passwd", "Z--.-..-etc-passwd.db"},
        {"a b\nc", "Z-a-b-c.db"},
        {"ž", "Z---.db"},
    };
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = take(cases[i].label, 100);
        const char *name = path + strlen(directory) + 1;
        ck_assert_ptr_null(strchr(name, '/'));
        size_t end = strlen(cases[i].end);
        ck_assert_msg(strlen(name) == strlen("20261121T024604.123") + end &&
                          strcmp(name + strlen(name) - end, cases[i].end) == 0,
                      "%s", name);
        free(path);
    }
    char label[1000];
    memset(label, 'x', sizeof label - 1);
    label[sizeof label - 1] = '\0';
    free(take(label, 100));
}
END_TEST

START_TEST(test_the_newest_are_kept_and_nothing_else_is_removed)
{
    static const char *const others[] = {"notes.txt", "20200101T000000.000Z-x.sql",
                                         "2020-01-01T000000.000Z-x.db", "20200101T000000.000Z-.db",
                                         "x20200101T000000.000Z-x.db"};
    static const char *const old[] = {"20200101T000000.000Z-x.db", "20210101T000000.000Z-y.db"};
    char path[SCRATCH_PATH_SIZE + 64];
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, others[i]);
        ck_assert_int_eq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
    }
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, old[i]);
        ck_assert_int_eq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
    }
    int stay = sizeof others / sizeof *others;
    char *first = take("one", 2);
    ck_assert_int_eq(count_files(), stay + 2); /* ours and y */
    snprintf(path, sizeof path, "%s/%s", directory, old[0]);
    ck_assert(!scratch_exists(path));
    char *second = take("two", 2);
    ck_assert_int_eq(count_files(), stay + 2);
    ck_assert(scratch_exists(first));
    char *third = take("three", 0); /* what was just taken stays in any case */
    ck_assert_int_eq(count_files(), stay + 1);
    ck_assert(scratch_exists(third));
    ck_assert(!scratch_exists(first));
    ck_assert(!scratch_exists(second));
    free(first);
    free(second);
    free(third);
}
END_TEST

START_TEST(test_several_in_one_millisecond_do_not_meet)
{
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    for (int i = 0; i < 20; i++)
        free(take("same", 100));
    ck_assert_int_eq(count_files(), 20);
}
END_TEST

static void check_fails(enum error_code code, const char *part)
{
    char *path = NULL;
    struct error error = {0};
    ck_assert(!backup_take(scratch.database, directory, "001", 3, &path, &error));
    ck_assert_ptr_null(path);
    ck_assert_msg(error.code == code, "%s: %s", error_category(error.code), error.message);
    ck_assert_msg(strstr(error.message, part) != NULL, "%s", error.message);
    ck_assert_int_eq(count_files(), 0);
}

START_TEST(test_p8_no_database_no_backup)
{
    check_fails(ERROR_NOT_FOUND, "does not exist");
    ck_assert(!scratch_exists(scratch.database));
    ck_assert(!scratch_exists(directory));
}
END_TEST

START_TEST(test_a_directory_that_cannot_be_made_is_named)
{
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    scratch_path(&scratch, "none/backups", directory);
    check_fails(ERROR_PERMISSION, directory);
    scratch_path(&scratch, "app.db/backups", directory);
    check_fails(ERROR_PERMISSION, "--state-directory");
}
END_TEST

/* The size limit of a process stands for a disk that is full while the copy is written. */
START_TEST(test_p8_when_writing_fails_nothing_is_left)
{
    struct rlimit limit = {65536, 65536};
    scratch_run(scratch.database, "CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(1000000))");
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    char *path = NULL;
    struct error error = {0};
    bool taken = backup_take(scratch.database, directory, "001", 3, &path, &error);
    ck_assert(!taken);
    ck_assert_ptr_null(path);
    ck_assert_msg(error.code == ERROR_IO || error.code == ERROR_DISK_FULL, "%s", error.message);
    ck_assert_int_eq(count_files(), 0);
}
END_TEST

START_TEST(test_p8_a_damaged_copy_is_no_backup)
{
    scratch_run(scratch.database, "CREATE TABLE t (a); CREATE INDEX i ON t (a);"
                                  "INSERT INTO t WITH RECURSIVE n (v) AS (SELECT 1 UNION ALL "
                                  "SELECT v + 1 FROM n WHERE v < 5000) SELECT v FROM n");
    /* The index's root page: damage that copying does not notice. */
    FILE *file = fopen(scratch.database, "r+");
    fseek(file, 2 * 4096, SEEK_SET);
    for (int i = 0; i < 4096; i++)
        fputc(0x55, file);
    fclose(file);
    check_fails(ERROR_CORRUPT, "integrity_check");
}
END_TEST

START_TEST(test_rows_that_break_a_later_rule_do_not_stop_a_backup)
{
    scratch_run(scratch.database,
                "CREATE TABLE t (a, b CHECK (b > 0)); PRAGMA ignore_check_constraints = ON;"
                "INSERT INTO t VALUES (NULL, -1); PRAGMA writable_schema = ON;"
                "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (a NOT NULL, b CHECK (b > 0))'");
    sqlite3 *application = scratch_open(scratch.database);
    ck_assert_str_ne(scratch_text(application, "PRAGMA quick_check"), "ok");
    sqlite3_close(application);
    free(take("001", 3));
}
END_TEST

static void ignore(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_value(context, values[0]);
}

START_TEST(test_what_only_the_application_can_check_is_backed_up_all_the_same)
{
    sqlite3 *application = scratch_open(scratch.database);
    sqlite3_create_function(application, "own", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, ignore,
                            NULL, NULL);
    scratch_run_on(application, "CREATE TABLE t (a CHECK (own(a))); INSERT INTO t VALUES (1)");
    sqlite3_close(application);
    char *path = take("001", 3);
    sqlite3 *copy = scratch_open(path);
    ck_assert_int_eq(scratch_number(copy, "SELECT count(*) FROM t"), 1);
    sqlite3_close(copy);
    free(path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("database/backup");
    TCase *group = tcase_create("backup");
    tcase_add_checked_fixture(group, set_up, tear_down);
    tcase_add_loop_test(group, test_p8_a_backup_is_the_same_database, 0, 4);
    tcase_add_loop_test(
        group, test_p8_it_is_taken_while_the_write_lock_is_held_and_holds_what_was_committed, 0, 2);
    tcase_add_test(group, test_a_label_is_part_of_a_name_and_never_a_path);
    tcase_add_test(group, test_the_newest_are_kept_and_nothing_else_is_removed);
    tcase_add_test(group, test_several_in_one_millisecond_do_not_meet);
    tcase_add_test(group, test_p8_no_database_no_backup);
    tcase_add_test(group, test_a_directory_that_cannot_be_made_is_named);
    tcase_add_test(group, test_p8_when_writing_fails_nothing_is_left);
    tcase_add_test(group, test_p8_a_damaged_copy_is_no_backup);
    tcase_add_test(group, test_rows_that_break_a_later_rule_do_not_stop_a_backup);
    tcase_add_test(group, test_what_only_the_application_can_check_is_backed_up_all_the_same);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
