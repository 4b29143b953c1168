/* SPDX-License-Identifier: MIT */
/* Directories, databases and migrations for a test; made and removed by the test's process. */
#include "fixture.h"

#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

struct place place;

void place_make(void)
{
    strcpy(place.directory, "/tmp/automigrate-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(place.directory));
    snprintf(place.migrations, PATH_SIZE, "%s/migrations", place.directory);
    snprintf(place.database, PATH_SIZE, "%s/app.db", place.directory);
    snprintf(place.state, PATH_SIZE, "%s/app.db.automigrate", place.directory);
    ck_assert_int_eq(mkdir(place.migrations, 0755), 0);
    place.config = (struct config){.database = place.database,
                                   .migrations = place.migrations,
                                   .state_directory = place.state,
                                   .workers = 2,
                                   .mode = MODE_AUTO,
                                   .retry_unsafe = UNSAFE_QUIET,
                                   .recover_scope = SCOPE_ALL,
                                   .policy_auto_apply = RISK_YELLOW,
                                   .policy_lock_budget_ms = 2000,
                                   .migration_timeout_ms = 60000,
                                   .lock_timeout_ms = 10000,
                                   .rehearsal_timeout_ms = 20000,
                                   .backup_keep = 3,
                                   .journal_keep_ms = 90ull * 24 * 3600 * 1000};
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status, (void)type, (void)at;
    return remove(path);
}

void place_remove(void)
{
    chmod(place.migrations, 0755);
    ck_assert_int_eq(nftw(place.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void place_migration(const char *name, const char *sql)
{
    char path[PATH_SIZE * 2], hidden[PATH_SIZE * 2];
    snprintf(path, sizeof path, "%s/%s", place.migrations, name);
    snprintf(hidden, sizeof hidden, "%s/.%s", place.migrations, name);
    FILE *file = fopen(hidden, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fprintf(file, "-- migrate:up\n%s\n", sql), 0);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(hidden, 0644), 0);
    ck_assert_int_eq(rename(hidden, path), 0); /* never seen half-written */
}

void place_remove_migration(const char *name)
{
    char path[PATH_SIZE * 2];
    snprintf(path, sizeof path, "%s/%s", place.migrations, name);
    ck_assert_int_eq(unlink(path), 0);
}

sqlite3 *place_connect(void)
{
    sqlite3 *handle;
    ck_assert_int_eq(sqlite3_open(place.database, &handle), SQLITE_OK);
    sqlite3_busy_timeout(handle, 10000);
    return handle;
}

void place_run(const char *sql)
{
    sqlite3 *handle = place_connect();
    char *message = NULL;
    if (sqlite3_exec(handle, sql, NULL, NULL, &message) != SQLITE_OK)
        ck_abort_msg("%s: %s", sql, message);
    sqlite3_close(handle);
}

int64_t place_number(const char *sql)
{
    sqlite3 *handle = place_connect();
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) != SQLITE_OK)
        ck_abort_msg("%s: %s", sql, sqlite3_errmsg(handle));
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return number;
}

static char newest[4096];

static bool count_one(void *context, json_t *event)
{
    int64_t *sum = context;
    const json_t *data = json_object_get(event, "data");
    *sum += json_integer_value(json_object_get(data, "count"));
    snprintf(newest, sizeof newest, "%s", json_string_value(json_object_get(data, "message")));
    return true;
}

int64_t place_events(const char *type)
{
    int64_t sum = 0, last;
    struct error error = {0};
    const struct journal_query query = {.type = type};
    newest[0] = '\0';
    if (!journal_read(place.state, &query, count_one, &sum, &last, &error))
        ck_abort_msg("%s", error.message);
    return sum;
}

const char *place_message(const char *type)
{
    place_events(type);
    return newest;
}

static bool deliver(void *context, const struct verdict *verdict)
{
    struct plane *plane = context;
    pthread_mutex_lock(&plane->lock);
    plane->slots[verdict->ticket.slot].count++;
    plane->slots[verdict->ticket.slot].kind = verdict->kind;
    plane->delivered++;
    pthread_cond_broadcast(&plane->changed);
    pthread_mutex_unlock(&plane->lock);
    return true;
}

static void announce(void *context, uint64_t generation, bool recording)
{
    struct plane *plane = context;
    (void)recording;
    pthread_mutex_lock(&plane->lock);
    plane->generation = generation;
    pthread_cond_broadcast(&plane->changed);
    pthread_mutex_unlock(&plane->lock);
}

void plane_new(struct plane *plane, struct place *at)
{
    struct error error = {0};
    *plane = (struct plane){.place = at};
    pthread_mutex_init(&plane->lock, NULL);
    pthread_cond_init(&plane->changed, NULL);
    const struct recover_options options = {
        .config = &at->config, .context = plane, .deliver = deliver, .announce = announce};
    plane->recover = recover_new(&options, &error);
    if (!plane->recover)
        ck_abort_msg("%s", error.message);
}

void plane_start(struct plane *plane)
{
    struct error error = {0};
    plane->journal = journal_open(plane->place->state, "test", 0, &error);
    ck_assert_msg(plane->journal != NULL, "%s", error.message);
    ck_assert_msg(recover_start(plane->recover, plane->journal, &error), "%s", error.message);
}

void plane_begin(struct plane *plane)
{
    plane_new(plane, &place);
    plane_start(plane);
}

void plane_end(struct plane *plane)
{
    recover_stop(plane->recover);
    recover_free(plane->recover);
    journal_close(plane->journal);
    pthread_cond_destroy(&plane->changed);
    pthread_mutex_destroy(&plane->lock);
}

uint64_t plane_generation(struct plane *plane)
{
    pthread_mutex_lock(&plane->lock);
    uint64_t generation = plane->generation;
    pthread_mutex_unlock(&plane->lock);
    return generation;
}

struct failure plane_failure(struct plane *plane, const char *body)
{
    return (struct failure){.method = METHOD_GET,
                            .method_text = SLICE("GET"),
                            .target = SLICE("/cards?secret=1"),
                            .replayable = true,
                            .status = 500,
                            .body = slice_from_string(body),
                            .generation = plane_generation(plane),
                            .sent_ns = clock_monotonic_ns()};
}

unsigned plane_submit(struct plane *plane, const struct failure *failure)
{
    const struct healing *healing = recover_healing(plane->recover);
    unsigned slot = plane->used++;
    ck_assert_uint_lt(slot, SLOTS);
    ck_assert_int_eq(healing->submit(healing->context, failure, (struct ticket){slot % 2, slot, 1}),
                     HEALING_WAIT);
    return slot;
}

static struct timespec deadline(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    return until;
}

enum verdict_kind plane_verdict(struct plane *plane, unsigned slot)
{
    struct timespec until = deadline();
    pthread_mutex_lock(&plane->lock);
    while (plane->slots[slot].count == 0)
        ck_assert_msg(pthread_cond_timedwait(&plane->changed, &plane->lock, &until) == 0,
                      "no verdict for slot %u", slot);
    ck_assert_uint_eq(plane->slots[slot].count, 1);
    enum verdict_kind kind = plane->slots[slot].kind;
    pthread_mutex_unlock(&plane->lock);
    return kind;
}

enum verdict_kind plane_ask(struct plane *plane, const char *body)
{
    struct failure failure = plane_failure(plane, body);
    return plane_verdict(plane, plane_submit(plane, &failure));
}

unsigned plane_ask_until_retry(struct plane *plane, const char *body)
{
    uint64_t until = clock_monotonic_ns() + WAIT_MS * NS_PER_MS;
    for (unsigned passed = 0;; passed++) {
        if (plane_ask(plane, body) == VERDICT_RETRY)
            return passed;
        ck_assert_msg(clock_monotonic_ns() < until, "it never came to a retry");
        poll(NULL, 0, 25); /* as clients come: not in a tight loop */
    }
}

struct recover_figures plane_figures(struct plane *plane)
{
    struct recover_figures figures;
    recover_figures(plane->recover, &figures);
    return figures;
}

void plane_wait_until(struct plane *plane, bool (*is_so)(const struct recover_figures *figures))
{
    uint64_t until = clock_monotonic_ns() + WAIT_MS * NS_PER_MS;
    for (;;) {
        struct recover_figures figures = plane_figures(plane);
        if (is_so(&figures))
            return;
        ck_assert_msg(clock_monotonic_ns() < until, "the figures never were as wanted");
        poll(NULL, 0, 5);
    }
}

int place_main(const char *name, const TTest *const *tests, size_t count)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, place_make, place_remove);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
