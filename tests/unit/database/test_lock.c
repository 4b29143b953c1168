/* SPDX-License-Identifier: MIT */
/* The lock file: one holder among threads and processes, free when its holder dies. */
#include "database/lock.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "scratch.h"

static struct scratch scratch;
static char lock_path[SCRATCH_PATH_SIZE];

static void set_up(void)
{
    scratch_construct(&scratch);
    scratch_run(scratch.database, "CREATE TABLE t (a)");
    scratch_path(&scratch, "app.db.automigrate.lock", lock_path);
}

static void tear_down(void)
{
    scratch_destruct(&scratch);
}

static void take(struct database_lock *lock)
{
    struct error error = {0};
    ck_assert_msg(database_lock_take(lock, scratch.database, 0, &error), "%s", error.message);
}

static bool is_free(void)
{
    struct database_lock lock;
    struct error error = {0};
    bool taken = database_lock_take(&lock, scratch.database, 0, &error);
    ck_assert_int_eq(taken, lock.fd >= 0);
    if (!taken)
        ck_assert_int_eq(error.code, ERROR_LOCK);
    database_lock_release(&lock);
    return taken;
}

static void read_lock_file(char content[512])
{
    FILE *file = fopen(lock_path, "r");
    size_t length = fread(content, 1, 511, file);
    content[length] = '\0';
    fclose(file);
}

START_TEST(test_p4_one_holder_in_one_process)
{
    struct database_lock lock;
    take(&lock);
    ck_assert(!is_free());
    database_lock_release(&lock);
    ck_assert_int_eq(lock.fd, -1);
    database_lock_release(&lock); /* twice does no harm */
    ck_assert(is_free());
}
END_TEST

START_TEST(test_p4_two_names_of_one_file_are_one_lock)
{
    char link[SCRATCH_PATH_SIZE];
    struct database_lock lock;
    struct database_lock other;
    ck_assert_int_eq(symlink(scratch.database, scratch_path(&scratch, "link.db", link)), 0);
    ck_assert(database_lock_take(&lock, link, 0, NULL));
    ck_assert(!is_free());
    ck_assert(!database_lock_take(&other, link, 0, NULL));
    database_lock_release(&lock);
}
END_TEST

START_TEST(test_the_holder_is_named_in_the_file_and_in_the_error)
{
    struct database_lock lock;
    struct database_lock other;
    struct error error = {0};
    char content[512];
    char host[65] = "";
    char expected[512];
    gethostname(host, sizeof host - 1);
    take(&lock);
    read_lock_file(content);
    snprintf(expected, sizeof expected, "%d %s 20", (int)getpid(), host);
    ck_assert_msg(strncmp(content, expected, strlen(expected)) == 0, "%s", content);
    snprintf(expected, sizeof expected, "Z %s\n", program_invocation_short_name);
    ck_assert_ptr_nonnull(strstr(content, expected));

    ck_assert(!database_lock_take(&other, scratch.database, 0, &error));
    snprintf(expected, sizeof expected, "process %d (%s) on %s since 20", (int)getpid(),
             program_invocation_short_name, host);
    ck_assert_msg(strstr(error.message, expected) != NULL, "%s", error.message);
    database_lock_release(&lock);
    read_lock_file(content);
    ck_assert_str_eq(content, ""); /* nobody is named who no longer holds it */
    ck_assert(scratch_exists(lock_path));
}
END_TEST

START_TEST(test_p11_a_holder_that_wrote_nonsense_is_still_a_holder)
{
    static const char *const contents[] = {"",
                                           "\n",
                                           "x y z\n",
                                           "12",
                                           "12 host\n",
                                           "\x1b[31m 1 2\n",
                                           "999999999999999999999999 a b c\n"};
    struct database_lock lock;
    take(&lock);
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        struct database_lock other;
        struct error error = {0};
        ck_assert_int_eq(ftruncate(lock.fd, 0), 0);
        ck_assert_int_ge(pwrite(lock.fd, contents[i], strlen(contents[i]), 0), 0);
        ck_assert(!database_lock_take(&other, scratch.database, 0, &error));
        ck_assert_int_eq(error.code, ERROR_LOCK);
        ck_assert_msg(strstr(error.message, "another process") != NULL, "%s", error.message);
    }
    database_lock_release(&lock);
}
END_TEST

START_TEST(test_waiting_is_bounded)
{
    struct database_lock lock;
    struct database_lock other;
    take(&lock);
    uint64_t start = clock_monotonic_ns();
    ck_assert(!database_lock_take(&other, scratch.database, 60, NULL));
    uint64_t waited = clock_monotonic_ns() - start;
    ck_assert_uint_ge(waited, 60 * NS_PER_MS);
    database_lock_release(&lock);
    /* the longest wait there is does not run over */
    ck_assert(database_lock_take(&other, scratch.database, UINT64_MAX, NULL));
    database_lock_release(&other);
}
END_TEST

/* Threads that each take the lock many times and look whether another is inside. */
struct contest {
    atomic_int inside;
    atomic_int collisions;
    atomic_int failures;
    int count; /* guarded by nothing but the lock that is tested */
};

enum { THREADS = 4, ROUNDS = 25 };

static void *contend(void *argument)
{
    struct contest *contest = argument;
    for (int i = 0; i < ROUNDS; i++) {
        struct database_lock lock;
        if (!database_lock_take(&lock, scratch.database, 30000, NULL)) {
            contest->failures++;
            continue;
        }
        if (atomic_fetch_add(&contest->inside, 1) != 0)
            contest->collisions++;
        contest->count++;
        atomic_fetch_sub(&contest->inside, 1);
        database_lock_release(&lock);
    }
    return NULL;
}

START_TEST(test_p4_threads_exclude_each_other)
{
    struct contest contest = {0};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, contend, &contest), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(contest.failures, 0);
    ck_assert_int_eq(contest.collisions, 0);
    ck_assert_int_eq(contest.count, THREADS * ROUNDS);
}
END_TEST

static void *release_later(void *argument)
{
    database_lock_release(argument);
    return NULL;
}

START_TEST(test_who_waits_gets_it_when_it_is_released)
{
    struct database_lock lock;
    struct database_lock other;
    pthread_t thread;
    take(&lock);
    ck_assert_int_eq(pthread_create(&thread, NULL, release_later, &lock), 0);
    ck_assert(database_lock_take(&other, scratch.database, 30000, NULL));
    pthread_join(thread, NULL);
    database_lock_release(&other);
}
END_TEST

START_TEST(test_p4_a_killed_holder_leaves_it_free)
{
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct database_lock lock;
        bool taken = database_lock_take(&lock, scratch.database, 0, NULL);
        if (!taken || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    char byte;
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    ck_assert(!is_free());
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(is_free());
}
END_TEST

START_TEST(test_a_program_that_is_started_does_not_inherit_it)
{
    struct database_lock lock;
    take(&lock);
    ck_assert_int_ne(fcntl(lock.fd, F_GETFD) & FD_CLOEXEC, 0);
    database_lock_release(&lock);
}
END_TEST

START_TEST(test_who_may_write_the_database_may_take_its_lock)
{
    static const struct {
        mode_t database;
        mode_t lock;
    } cases[] = {{0644, 0600}, {0600, 0600}, {0664, 0660}, {0666, 0666}, {0602, 0606}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct database_lock lock;
        struct stat status;
        unlink(lock_path);
        ck_assert_int_eq(chmod(scratch.database, cases[i].database), 0);
        mode_t old = umask(0077);
        take(&lock);
        umask(old);
        ck_assert_int_eq(fstat(lock.fd, &status), 0);
        ck_assert_int_eq(status.st_mode & 07777, cases[i].lock);
        database_lock_release(&lock);
    }
}
END_TEST

static bool takes_it(const struct scratch *place)
{
    struct database_lock lock;
    return database_lock_take(&lock, place->database, 0, NULL);
}

static bool is_refused(const struct scratch *place)
{
    struct database_lock lock;
    struct error error = {0};
    return !database_lock_take(&lock, place->database, 0, &error) &&
           error.code == ERROR_PERMISSION && strstr(error.message, "automigrate.lock") &&
           strstr(error.message, "writable");
}

START_TEST(test_a_lock_made_by_root_belongs_to_the_databases_owner)
{
    struct database_lock lock;
    if (geteuid() == 0)
        ck_assert_int_eq(chown(scratch.database, 65534, 65534), 0);
    ck_assert_int_eq(chmod(scratch.directory, 0755), 0);
    take(&lock);
    database_lock_release(&lock);
    ck_assert(scratch_as_nobody(takes_it, &scratch));
}
END_TEST

START_TEST(test_p11_a_lock_that_cannot_be_opened_is_named)
{
    struct database_lock lock;
    take(&lock);
    database_lock_release(&lock);
    ck_assert_int_eq(chmod(lock_path, 0400), 0);
    ck_assert_int_eq(chmod(scratch.directory, 0755), 0);
    ck_assert(scratch_as_nobody(is_refused, &scratch));
}
END_TEST

static void check_refused_file(const char *part)
{
    struct database_lock lock;
    struct error error = {0};
    ck_assert(!database_lock_take(&lock, scratch.database, 1000, &error));
    ck_assert_int_eq(error.code, ERROR_PERMISSION);
    ck_assert_msg(strstr(error.message, part) != NULL, "%s", error.message);
    ck_assert_ptr_nonnull(strstr(error.message, lock_path));
    ck_assert_int_eq(lock.fd, -1);
}

START_TEST(test_a_planted_link_or_pipe_is_not_opened)
{
    char victim[SCRATCH_PATH_SIZE];
    ck_assert_int_eq(symlink(scratch_path(&scratch, "victim", victim), lock_path), 0);
    check_refused_file("symbolic link");
    ck_assert(!scratch_exists(victim));
    ck_assert_int_eq(unlink(lock_path), 0);
    ck_assert_int_eq(mkfifo(lock_path, 0600), 0);
    check_refused_file("not a regular file");
}
END_TEST

/* How many descriptors of ours are open on the lock file. */
static int count_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        char name[32];
        char target[SCRATCH_PATH_SIZE] = "";
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        if (readlink(name, target, sizeof target - 1) > 0)
            count += strcmp(target, lock_path) == 0;
    }
    return count;
}

static void *wait_for_it(void *argument)
{
    struct database_lock *lock = argument;
    if (!database_lock_take(lock, scratch.database, 100, NULL))
        lock->fd = -2;
    return NULL;
}

/* Somebody tidies up while a second one waits: what that one then gets is a file without a name,
 * while a third already holds the new one. */
START_TEST(test_p4_a_lock_file_removed_by_hand_is_noticed)
{
    struct database_lock first;
    struct database_lock second;
    struct database_lock third;
    pthread_t thread;
    take(&first);
    ck_assert_int_eq(count_open(), 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_it, &second), 0);
    while (count_open() < 2)
        sched_yield();
    ck_assert_int_eq(unlink(lock_path), 0);
    take(&third);
    database_lock_release(&first);
    pthread_join(thread, NULL);
    ck_assert_int_eq(second.fd, -2);
    database_lock_release(&third);
    ck_assert(is_free());
}
END_TEST

START_TEST(test_a_database_that_is_not_made_yet_can_be_locked)
{
    char path[SCRATCH_PATH_SIZE];
    struct database_lock lock;
    struct database_lock other;
    ck_assert(database_lock_take(&lock, scratch_path(&scratch, "new.db", path), 0, NULL));
    ck_assert(!scratch_exists(path));
    scratch_run(path, "CREATE TABLE t (a)");
    ck_assert(!database_lock_take(&other, path, 0, NULL));
    database_lock_release(&lock);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("database/lock");
    TCase *group = tcase_create("lock");
    tcase_add_checked_fixture(group, set_up, tear_down);
    tcase_add_test(group, test_p4_one_holder_in_one_process);
    tcase_add_test(group, test_p4_two_names_of_one_file_are_one_lock);
    tcase_add_test(group, test_the_holder_is_named_in_the_file_and_in_the_error);
    tcase_add_test(group, test_p11_a_holder_that_wrote_nonsense_is_still_a_holder);
    tcase_add_test(group, test_waiting_is_bounded);
    tcase_add_test(group, test_p4_threads_exclude_each_other);
    tcase_add_test(group, test_who_waits_gets_it_when_it_is_released);
    tcase_add_test(group, test_p4_a_killed_holder_leaves_it_free);
    tcase_add_test(group, test_a_program_that_is_started_does_not_inherit_it);
    tcase_add_test(group, test_who_may_write_the_database_may_take_its_lock);
    tcase_add_test(group, test_a_lock_made_by_root_belongs_to_the_databases_owner);
    tcase_add_test(group, test_p11_a_lock_that_cannot_be_opened_is_named);
    tcase_add_test(group, test_a_planted_link_or_pipe_is_not_opened);
    tcase_add_test(group, test_p4_a_lock_file_removed_by_hand_is_noticed);
    tcase_add_test(group, test_a_database_that_is_not_made_yet_can_be_locked);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
