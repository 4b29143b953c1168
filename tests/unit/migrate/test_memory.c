/* SPDX-License-Identifier: MIT */
/* Memory running out at one allocation after the other, SQLite's and those that grow our arrays: a
 * plan is either the right one or none, a migration is all in or not at all, and nothing leaks. */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static atomic_long allocations_left = -1; /* negative: none fails */
static atomic_bool ran_out;
static sqlite3_mem_methods real;

static bool runs_out(void)
{
    if (allocations_left < 0 || allocations_left-- > 0)
        return false;
    ran_out = true;
    return true;
}

static void *failing_malloc(int size)
{
    return runs_out() ? NULL : real.xMalloc(size);
}

static void *failing_realloc(void *memory, int size)
{
    return runs_out() ? NULL : real.xRealloc(memory, size);
}

void *reallocarray(void *memory, size_t count, size_t size)
{
    return runs_out() || count > SIZE_MAX / size ? NULL : realloc(memory, count * size);
}

/* Each of the first, then every so many: thousands follow that are like one another. */
static long next_allocation(long nth)
{
    return nth < 200 ? nth + 1 : nth + 17;
}

static void take_over_memory(void)
{
    sqlite3_mem_methods failing;
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real), SQLITE_OK);
    failing = real;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &failing), SQLITE_OK);
}

static void write_migrations(void)
{
    fixture_run("CREATE TABLE parent (id INTEGER PRIMARY KEY, a);"
                "CREATE TABLE child (p REFERENCES parent); CREATE VIEW v AS SELECT a FROM parent;"
                "CREATE TABLE log (x); CREATE INDEX i ON log (x); INSERT INTO log VALUES (1);");
    fixture_migration("1_a.sql",
                      "CREATE TABLE IF NOT EXISTS log (x);\n"
                      "CREATE TABLE n (id INTEGER PRIMARY KEY, a UNIQUE);\n"
                      "ALTER TABLE log ADD COLUMN y NOT NULL DEFAULT 0;\n"
                      "UPDATE log SET y = 1;\nDROP INDEX i;\nCREATE INDEX i ON log (y);\n"
                      "INSERT INTO n SELECT x, y FROM log;\n"
                      "CREATE TRIGGER t AFTER INSERT ON n BEGIN SELECT 1; END;\n"
                      "ALTER TABLE child RENAME TO children;\n"
                      "DROP VIEW v; DROP TABLE parent;");
}

/* Plans with the nth allocation failing; false when the plan could not be made. */
static bool plan_with(long nth, struct migration_set *set, struct plan *plan)
{
    static const struct plan_limits limits = {.rehearsal_timeout_ms = 30000};
    struct database database = {0};
    struct error error = {0};
    allocations_left = nth;
    bool good = migration_set_load(set, fixture.migrations, &error);
    if (good && !(database_open(&database, fixture.database, DATABASE_READ, 1000, &error) &&
                  plan_make(plan, set, &database, &limits, &error))) {
        good = false;
        migration_set_free(set);
    }
    allocations_left = -1;
    database_close(&database);
    ck_assert_msg(good || error.code == ERROR_MEMORY, "allocation %ld: %s: %s", nth,
                  error_category(error.code), error.message);
    return good;
}

START_TEST(test_a_plan_without_memory_is_the_right_one_or_none)
{
    struct migration_set set;
    struct plan plan;
    long failures = 0;
    write_migrations();
    for (long nth = 0;; nth = next_allocation(nth)) {
        ran_out = false;
        if (plan_with(nth, &set, &plan)) {
            const struct plan_entry *entry = &plan.entries[0];
            ck_assert_msg(entry->rehearsal == REHEARSAL_OK && entry->risk == MIGRATION_RED &&
                              entry->foreign_keys_off,
                          "allocation %ld: %d %s", nth, entry->rehearsal, entry->failure.message);
            ck_assert_msg(entry->provides_count == 7, "allocation %ld: %zu", nth,
                          entry->provides_count);
            fixture_plan_free(&set, &plan);
        } else {
            failures++;
        }
        if (!ran_out)
            break;
    }
    ck_assert_int_gt(failures, 100);
}
END_TEST

START_TEST(test_p5_an_apply_without_memory_is_all_or_nothing)
{
    struct migration_set set;
    struct plan plan;
    struct apply_options options = fixture_options();
    long failures = 0;
    write_migrations();
    for (long nth = 0;; nth = next_allocation(nth)) {
        struct apply_report report;
        ran_out = false;
        ck_assert(plan_with(-1, &set, &plan));
        allocations_left = nth;
        apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
        allocations_left = -1;
        int64_t made = fixture_number("SELECT count(*) FROM sqlite_schema WHERE name IN ('n', "
                                      "'schema_migrations')");
        ck_assert_msg(report.outcome == APPLY_DONE ? made == 2 : made == 0,
                      "allocation %ld: outcome %d, %s", nth, report.outcome, report.error.message);
        bool done = report.outcome == APPLY_DONE;
        failures += !done;
        apply_report_free(&report);
        fixture_plan_free(&set, &plan);
        if (!ran_out)
            break;
        if (done) { /* it could do without that memory */
            fixture_remove();
            fixture_make();
            write_migrations();
        }
    }
    ck_assert_int_gt(failures, 100);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM schema_migrations"), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tcase = tcase_create("memory");
    tcase_add_checked_fixture(tcase, take_over_memory, NULL);
    tcase_add_checked_fixture(tcase, fixture_make, fixture_remove);
    tcase_add_test(tcase, test_a_plan_without_memory_is_the_right_one_or_none);
    tcase_add_test(tcase, test_p5_an_apply_without_memory_is_all_or_nothing);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
