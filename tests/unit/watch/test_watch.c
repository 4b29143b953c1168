/* SPDX-License-Identifier: MIT */
/* The watch, on real directories and databases: what is noticed, and what is not. */
#include "watch/watch.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { PATH_SIZE = 160, WAIT_S = 20 };

static char directory[64], migrations[PATH_SIZE], database[PATH_SIZE], other[PATH_SIZE];
static sqlite3 *application;

/* How often the watch has told of a change, under a lock. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned count;
} told = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

static void changed(void *context)
{
    (void)context;
    pthread_mutex_lock(&told.lock);
    told.count++;
    pthread_cond_broadcast(&told.changed);
    pthread_mutex_unlock(&told.lock);
}

static unsigned count(void)
{
    pthread_mutex_lock(&told.lock);
    unsigned now = told.count;
    pthread_mutex_unlock(&told.lock);
    return now;
}

/* Whether more than `before` are told within the time. */
static bool is_told(unsigned before, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + ms * NS_PER_MS;
    until.tv_sec += (time_t)(ns / NS_PER_SECOND);
    until.tv_nsec = (long)(ns % NS_PER_SECOND);
    pthread_mutex_lock(&told.lock);
    while (told.count <= before && pthread_cond_timedwait(&told.changed, &told.lock, &until) == 0)
        continue;
    bool is = told.count > before;
    pthread_mutex_unlock(&told.lock);
    return is;
}

/* Waits until it tells of nothing but the slow clock: nothing for longer than its shorter pauses.
 */
static unsigned calm(void)
{
    unsigned now = count();
    while (is_told(now, 1500))
        now = count();
    return now;
}

static void run(const char *sql)
{
    char *message = NULL;
    ck_assert_msg(sqlite3_exec(application, sql, NULL, NULL, &message) == SQLITE_OK, "%s: %s", sql,
                  message ? message : "");
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static void set_up(void)
{
    strcpy(directory, "/tmp/automigrate-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(migrations, PATH_SIZE, "%s/migrations", directory);
    snprintf(other, PATH_SIZE, "%s/data", directory);
    snprintf(database, PATH_SIZE, "%s/data/app.db", directory);
    ck_assert_int_eq(mkdir(migrations, 0755), 0);
    ck_assert_int_eq(mkdir(other, 0755), 0);
    ck_assert_int_eq(sqlite3_open(database, &application), SQLITE_OK);
    run("CREATE TABLE t(id)");
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status, (void)type, (void)at;
    return remove(path);
}

static void tear_down(void)
{
    sqlite3_close(application);
    ck_assert_int_eq(nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static struct watch *start(void)
{
    struct error error = {0};
    struct watch *watch = watch_start(database, migrations, changed, NULL, &error);
    ck_assert_msg(watch != NULL, "%s", error.message);
    return watch;
}

START_TEST(test_a_commit_is_noticed_in_both_journal_modes)
{
    static const char *const modes[] = {"PRAGMA journal_mode = DELETE",
                                        "PRAGMA journal_mode = WAL"};
    run(modes[_i]);
    run("INSERT INTO t VALUES(0)");
    struct watch *watch = start();
    unsigned before = calm();
    run("INSERT INTO t VALUES(1)");
    ck_assert(is_told(before, WAIT_S * 1000));
    watch_stop(watch);
}
END_TEST

/* The write that inotify tells of may come long before the commit: here 300 ms. */
START_TEST(test_a_commit_is_noticed_also_when_it_comes_later_than_its_last_write)
{
    char wal[PATH_SIZE * 2];
    snprintf(wal, sizeof wal, "%s-wal", database);
    struct watch *watch = start();
    unsigned before = calm();
    uint64_t written_ns = clock_monotonic_ns();
    write_file(wal, "a write");
    uint64_t last_ns = 0;
    while (is_told(before, 2500)) {
        before = count();
        last_ns = clock_monotonic_ns();
    }
    ck_assert_uint_gt(last_ns, written_ns + 300 * NS_PER_MS);
    watch_stop(watch);
    unlink(wal);
}
END_TEST

static void file_made(void)
{
    char path[PATH_SIZE * 2];
    snprintf(path, sizeof path, "%s/001_a.sql", migrations);
    write_file(path, "-- migrate:up\n");
}

static void file_removed(void)
{
    char path[PATH_SIZE * 2];
    snprintf(path, sizeof path, "%s/000_first.sql", migrations);
    ck_assert_int_eq(unlink(path), 0);
}

static void file_renamed(void)
{
    char from[PATH_SIZE * 2], to[PATH_SIZE * 2];
    snprintf(from, sizeof from, "%s/000_first.sql", migrations);
    snprintf(to, sizeof to, "%s/000_second.sql", migrations);
    ck_assert_int_eq(rename(from, to), 0);
}

static void mode_changed(void)
{
    char path[PATH_SIZE * 2];
    snprintf(path, sizeof path, "%s/000_first.sql", migrations);
    ck_assert_int_eq(chmod(path, 0600), 0);
}

static void database_replaced(void)
{
    char path[PATH_SIZE * 2];
    snprintf(path, sizeof path, "%s/new.db", directory);
    write_file(path, "");
    ck_assert_int_eq(rename(path, database), 0);
}

static void database_deleted(void)
{
    ck_assert_int_eq(unlink(database), 0);
}

/* As a release does it: the old directory moves away, the new one takes its name. */
static void migrations_replaced(void)
{
    char old[PATH_SIZE * 2];
    snprintf(old, sizeof old, "%s/old", directory);
    ck_assert_int_eq(rename(migrations, old), 0);
    ck_assert_int_eq(mkdir(migrations, 0755), 0);
}

START_TEST(test_what_happens_to_files_is_noticed)
{
    static void (*const happenings[])(void) = {
        file_made,        file_removed,      file_renamed,       mode_changed,
        database_deleted, database_replaced, migrations_replaced};
    char path[PATH_SIZE * 2];
    snprintf(path, sizeof path, "%s/000_first.sql", migrations);
    write_file(path, "-- migrate:up\n");
    struct watch *watch = start();
    unsigned before = calm();
    happenings[_i]();
    ck_assert_msg(is_told(before, WAIT_S * 1000), "happening %d", _i);
    watch_stop(watch);
}
END_TEST

START_TEST(test_what_has_taken_a_directorys_place_is_watched)
{
    struct watch *watch = start();
    migrations_replaced();
    unsigned before = calm();
    file_made();
    ck_assert(is_told(before, WAIT_S * 1000));
    watch_stop(watch);
}
END_TEST

START_TEST(test_other_files_are_not_noticed)
{
    static const char *const names[] = {"app.db-shm", "app.db.automigrate.lock", "app.db2",
                                        "log.txt", "app.db-walrus"};
    char path[PATH_SIZE * 2];
    struct watch *watch = start();
    unsigned before = calm();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", other, names[i]);
        write_file(path, "x");
    }
    ck_assert(!is_told(before, 400));
    watch_stop(watch);
}
END_TEST

START_TEST(test_ten_thousand_writes_are_told_at_most_every_100_ms)
{
    struct watch *watch = start();
    unsigned before = calm();
    uint64_t began_ns = clock_monotonic_ns();
    run("PRAGMA synchronous = OFF");
    for (int i = 0; i < 1000 && clock_monotonic_ns() - began_ns < 2 * NS_PER_SECOND; i++)
        run("INSERT INTO t VALUES(1)");
    ck_assert(is_told(before, WAIT_S * 1000));
    uint64_t passed_ms = (clock_monotonic_ns() - began_ns) / NS_PER_MS;
    ck_assert_uint_le(count() - before, passed_ms / 100 + 2);
    watch_stop(watch);
}
END_TEST

START_TEST(test_stopping_is_prompt)
{
    struct watch *watch = start();
    calm();
    uint64_t began_ns = clock_monotonic_ns();
    watch_stop(watch);
    ck_assert_uint_lt(clock_monotonic_ns() - began_ns, NS_PER_SECOND);
    watch_stop(NULL);
}
END_TEST

START_TEST(test_a_missing_directory_is_looked_at_by_the_clock)
{
    char none[PATH_SIZE * 2];
    struct error error = {0};
    snprintf(none, sizeof none, "%s/none", directory);
    struct watch *watch = watch_start(database, none, changed, NULL, &error);
    ck_assert_ptr_nonnull(watch);
    ck_assert(is_told(count(), WAIT_S * 1000));
    ck_assert_int_eq(mkdir(none, 0755), 0);
    ck_assert(is_told(count(), WAIT_S * 1000)); /* and this look has found it */
    snprintf(migrations, sizeof migrations, "%.150s", none);
    unsigned before = calm();
    file_made();
    ck_assert(is_told(before, WAIT_S * 1000));
    watch_stop(watch);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("watch");
    TCase *tcase = tcase_create("watch");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, test_a_commit_is_noticed_in_both_journal_modes, 0, 2);
    tcase_add_test(tcase, test_a_commit_is_noticed_also_when_it_comes_later_than_its_last_write);
    tcase_add_loop_test(tcase, test_what_happens_to_files_is_noticed, 0, 7);
    tcase_add_test(tcase, test_what_has_taken_a_directorys_place_is_watched);
    tcase_add_test(tcase, test_other_files_are_not_noticed);
    tcase_add_test(tcase, test_ten_thousand_writes_are_told_at_most_every_100_ms);
    tcase_add_test(tcase, test_stopping_is_prompt);
    tcase_add_test(tcase, test_a_missing_directory_is_looked_at_by_the_clock);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
