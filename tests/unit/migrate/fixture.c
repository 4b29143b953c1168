/* SPDX-License-Identifier: MIT */
/* Directories, databases and migrations for a test; made and removed by the test's process. */
#include "fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture fixture;

void fixture_make(void)
{
    strcpy(fixture.directory, "/tmp/automigrate-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture.directory));
    snprintf(fixture.migrations, sizeof fixture.migrations, "%s/migrations", fixture.directory);
    snprintf(fixture.database, sizeof fixture.database, "%s/app.db", fixture.directory);
    snprintf(fixture.state, sizeof fixture.state, "%s/state", fixture.directory);
    ck_assert_int_eq(mkdir(fixture.migrations, 0755), 0);
    fixture_run("SELECT 1 FROM sqlite_schema");
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

void fixture_remove(void)
{
    chmod(fixture.migrations, 0755);
    nftw(fixture.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fixture_write_bytes(const char *name, const void *bytes, size_t length)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fixture.migrations, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(path, 0644), 0);
}

void fixture_write(const char *name, const char *text)
{
    fixture_write_bytes(name, text, strlen(text));
}

void fixture_migration(const char *name, const char *sql)
{
    char *text;
    ck_assert_int_ge(asprintf(&text, "-- migrate:up\n%s\n", sql), 0);
    fixture_write(name, text);
    free(text);
}

static sqlite3 *connect(void)
{
    sqlite3 *handle;
    ck_assert_int_eq(sqlite3_open(fixture.database, &handle), SQLITE_OK);
    sqlite3_busy_timeout(handle, 10000);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    return handle;
}

void fixture_run(const char *sql)
{
    sqlite3 *handle = connect();
    char *message = NULL;
    if (sqlite3_exec(handle, sql, NULL, NULL, &message) != SQLITE_OK)
        ck_abort_msg("%s: %s", sql, message);
    sqlite3_close(handle);
}

char *fixture_text(const char *sql)
{
    sqlite3 *handle = connect();
    sqlite3_stmt *statement;
    char *text = NULL;
    if (sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) != SQLITE_OK)
        ck_abort_msg("%s: %s", sql, sqlite3_errmsg(handle));
    if (sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_text(statement, 0))
        text = strdup((const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return text;
}

int64_t fixture_number(const char *sql)
{
    char *text = fixture_text(sql);
    ck_assert_msg(text != NULL, "%s: no row", sql);
    int64_t number = strtoll(text, NULL, 10);
    free(text);
    return number;
}

void fixture_plan(struct migration_set *set, struct plan *plan)
{
    static const struct plan_limits limits = {.rehearsal_timeout_ms = 30000};
    struct error error = {0};
    struct database database;
    if (!migration_set_load(set, fixture.migrations, &error))
        ck_abort_msg("load: %s", error.message);
    if (!database_open(&database, fixture.database, DATABASE_READ, 5000, &error))
        ck_abort_msg("open: %s", error.message);
    if (!plan_make(plan, set, &database, &limits, &error))
        ck_abort_msg("plan: %s", error.message);
    database_close(&database);
}

void fixture_plan_free(struct migration_set *set, struct plan *plan)
{
    plan_free(plan);
    migration_set_free(set);
}

struct apply_options fixture_options(void)
{
    return (struct apply_options){.state_directory = fixture.state,
                                  .lock_timeout_ms = 10000,
                                  .migration_timeout_ms = 60000,
                                  .backup_keep = 3,
                                  .cause = "test",
                                  .batch = "batch-1"};
}

void fixture_apply(struct apply_report *report)
{
    struct migration_set set;
    struct plan plan;
    struct apply_options options = fixture_options();
    fixture_plan(&set, &plan);
    ck_assert_uint_gt(plan.count, 0);
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, report);
    fixture_plan_free(&set, &plan);
}

int fixture_main(const char *name, const TTest *const *tests, size_t count)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, fixture_make, fixture_remove);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
