/* SPDX-License-Identifier: MIT */
/* state.db: failures outlive the process and are seen by every other one. */
#include "journal/state.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[64];
static char directory[96];
static struct error error;

static void set_up(void)
{
    strcpy(root, "/tmp/automigrate-state-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(directory, sizeof directory, "%s/app.db.automigrate", root);
}

static void tear_down(void)
{
    static const char *const files[] = {"state.db", "state.db-wal", "state.db-shm"};
    char path[160];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        unlink(path);
    }
    rmdir(directory);
    ck_assert_int_eq(rmdir(root), 0);
}

static struct state *open_state(void)
{
    struct state *state = state_open(directory, &error);
    ck_assert_msg(state != NULL, "%s", error.message);
    return state;
}

static struct state_failure make_failure(const char *checksum, const char *message)
{
    struct state_failure failure = {.schema_version = 7};
    snprintf(failure.checksum, sizeof failure.checksum, "%s", checksum);
    snprintf(failure.version, sizeof failure.version, "002");
    snprintf(failure.message, sizeof failure.message, "%s", message);
    return failure;
}

static bool find(struct state *state, const char *checksum, struct state_failure *failure)
{
    bool found;
    ck_assert_msg(state_find_failure(state, checksum, failure, &found, &error), "%s",
                  error.message);
    return found;
}

START_TEST(test_a_failure_outlives_the_process)
{
    struct state_failure failure = make_failure("aaaa", "statement 5: syntax error");
    struct state *state = open_state();
    ck_assert(!find(state, "aaaa", &failure));
    ck_assert(state_remember_failure(state, &failure, &error));
    state_close(state);

    memset(&failure, 'x', sizeof failure);
    state = open_state();
    ck_assert(find(state, "aaaa", &failure));
    ck_assert_str_eq(failure.checksum, "aaaa");
    ck_assert_str_eq(failure.version, "002");
    ck_assert_str_eq(failure.message, "statement 5: syntax error");
    ck_assert_uint_eq(strlen(failure.failed_at), strlen("2026-11-21T02:46:04.123Z"));
    ck_assert_int_eq(failure.schema_version, 7);
    ck_assert(!find(state, "bbbb", &failure));
    state_close(state);
}
END_TEST

START_TEST(test_a_failure_is_forgotten_alone)
{
    struct state *state = open_state();
    struct state_failure failure = make_failure("aaaa", "one");
    struct state_failure other = make_failure("bbbb", "two");
    ck_assert(state_remember_failure(state, &failure, &error));
    ck_assert(state_remember_failure(state, &other, &error));
    ck_assert(state_forget_failure(state, "aaaa", &error));
    ck_assert(state_forget_failure(state, "never known", &error));
    ck_assert(!find(state, "aaaa", &failure));
    ck_assert(find(state, "bbbb", &failure));
    state_close(state);
}
END_TEST

START_TEST(test_the_latest_failure_of_a_checksum_counts)
{
    struct state *state = open_state();
    struct state_failure failure = make_failure("aaaa", "one");
    ck_assert(state_remember_failure(state, &failure, &error));
    failure = make_failure("aaaa", "two");
    strcpy(failure.failed_at, "2026-11-21T02:46:04.123Z");
    failure.schema_version = 8;
    ck_assert(state_remember_failure(state, &failure, &error));
    failure = make_failure("aaaa", "");
    ck_assert(find(state, "aaaa", &failure));
    ck_assert_str_eq(failure.message, "two");
    ck_assert_str_eq(failure.failed_at, "2026-11-21T02:46:04.123Z");
    ck_assert_int_eq(failure.schema_version, 8);
    state_close(state);
}
END_TEST

/* Each of several processes makes the file, writes, and sees what the others wrote. */
START_TEST(test_several_processes_share_it)
{
    enum { PROCESSES = 4, EACH = 25 };
    for (int process = 0; process < PROCESSES; process++) {
        if (fork() != 0)
            continue;
        struct state *state = state_open(directory, &error);
        bool done = state != NULL;
        for (int i = 0; done && i < EACH; i++) {
            char checksum[32];
            snprintf(checksum, sizeof checksum, "%d-%d", process, i);
            struct state_failure failure = make_failure(checksum, "m");
            done = state_remember_failure(state, &failure, &error);
        }
        if (!done)
            fprintf(stderr, "# %s\n", error.message);
        state_close(state);
        _exit(!done);
    }
    for (int process = 0; process < PROCESSES; process++) {
        int status;
        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    struct state *state = open_state();
    for (int i = 0; i < PROCESSES * EACH; i++) {
        struct state_failure failure;
        char checksum[32];
        snprintf(checksum, sizeof checksum, "%d-%d", i / EACH, i % EACH);
        ck_assert(find(state, checksum, &failure));
    }
    state_close(state);
}
END_TEST

START_TEST(test_p11_a_file_that_is_no_database_is_named)
{
    char path[160];
    struct state_failure failure;
    bool found;
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    snprintf(path, sizeof path, "%s/state.db", directory);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < 1000; i++)
        fputs("no database at all\n", file);
    fclose(file);
    struct state *state = state_open(directory, &error);
    ck_assert(!state || !state_find_failure(state, "aaaa", &failure, &found, &error));
    ck_assert_ptr_nonnull(strstr(error.message, path));
    ck_assert_int_eq(error.code, ERROR_CORRUPT);
    state_close(state);
}
END_TEST

START_TEST(test_p11_a_missing_parent_directory_is_named)
{
    snprintf(directory, sizeof directory, "%s/missing/state", root);
    ck_assert_ptr_null(state_open(directory, &error));
    ck_assert_ptr_nonnull(strstr(error.message, directory));
    ck_assert_ptr_nonnull(strstr(error.message, "--state-directory"));
    state_close(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("state");
    TCase *cases = tcase_create("state");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_a_failure_outlives_the_process);
    tcase_add_test(cases, test_a_failure_is_forgotten_alone);
    tcase_add_test(cases, test_the_latest_failure_of_a_checksum_counts);
    tcase_add_test(cases, test_several_processes_share_it);
    tcase_add_test(cases, test_p11_a_file_that_is_no_database_is_named);
    tcase_add_test(cases, test_p11_a_missing_parent_directory_is_named);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
