/* SPDX-License-Identifier: MIT */
/* Recovery from a failed exchange to its verdict, on real databases and migrations, with a data
 * plane that only notes verdicts. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "fixture.h"

static const char cards[] = "CREATE TABLE cards(id INTEGER PRIMARY KEY, title TEXT);";
static const char no_cards[] = "OperationalError: no such table: cards";

static bool file_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

START_TEST(test_p4_one_failure_applies_what_is_pending_once_and_is_retried)
{
    struct plane plane;
    place_run("CREATE TABLE users(id)");
    place_migration("001_cards.sql", cards);
    place_migration("002_bitmap.sql", "ALTER TABLE cards ADD COLUMN bitmap TEXT;");
    plane_begin(&plane);
    const struct healing *healing = recover_healing(plane.recover);
    ck_assert(healing->is_worth_holding(healing->context, plane_generation(&plane)));
    ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_RETRY);
    struct recover_figures figures = plane_figures(&plane);
    ck_assert_uint_eq(figures.applied, 2);
    ck_assert_uint_eq(figures.pending, 0);
    ck_assert_uint_eq(figures.generation, 2);
    ck_assert_uint_eq(plane_generation(&plane), 2);
    ck_assert(!healing->is_worth_holding(healing->context, plane_generation(&plane)));
    ck_assert(healing->is_worth_holding(healing->context, 1)); /* a late answer */
    plane_end(&plane);
    ck_assert_int_eq(place_number("SELECT count(*) FROM schema_migrations"), 2);
    ck_assert_int_eq(place_events("applied"), 2);
    ck_assert_int_eq(place_events("confirmed"), 1);
    ck_assert_int_eq(place_events("retried"), 1);
}
END_TEST

START_TEST(test_p4_a_thousand_waiting_failures_lead_to_one_apply_and_all_are_retried)
{
    enum { MANY = 1000 };
    struct plane plane;
    place_run("CREATE TABLE users(id)");
    place_migration("001_cards.sql", cards);
    plane_new(&plane, &place);
    struct failure failure = plane_failure(&plane, no_cards);
    failure.generation = 1;
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_uint_eq(plane_submit(&plane, &failure), i);
    plane_start(&plane);
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_int_eq(plane_verdict(&plane, i), VERDICT_RETRY);
    struct recover_figures figures = plane_figures(&plane);
    ck_assert_uint_eq(figures.applied, 1);
    ck_assert_uint_eq(figures.submitted, MANY);
    ck_assert_uint_eq(figures.retried_verdicts, MANY);
    /* One more, sent before the change and answered after it: no second apply. */
    ck_assert_int_eq(plane_verdict(&plane, plane_submit(&plane, &failure)), VERDICT_RETRY);
    plane_end(&plane);
    ck_assert_int_eq(place_number("SELECT count(*) FROM schema_migrations"), 1);
    ck_assert_int_eq(place_events("applied"), 1);
    ck_assert_int_eq(place_events("applying"), 1);
    ck_assert_int_le(place_events("detected"), 3); /* counted together */
}
END_TEST

START_TEST(test_p3_a_page_that_quotes_an_existing_name_changes_nothing)
{
    struct plane plane;
    place_run(cards);
    place_migration("001_audit.sql", "CREATE TABLE audit(id INTEGER PRIMARY KEY);");
    plane_begin(&plane);
    ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_PASS);
    ck_assert_int_eq(plane_ask(&plane, "no such table: nobody_knows_it"), VERDICT_PASS);
    ck_assert_int_eq(plane_ask(&plane, "no such column: id"), VERDICT_PASS);
    ck_assert_uint_eq(plane_figures(&plane).applied, 0);
    plane_end(&plane);
    ck_assert_int_eq(place_number("SELECT count(*) FROM sqlite_schema WHERE name <> 'cards'"), 0);
    ck_assert_int_eq(place_events("refuted"), 2);
    ck_assert_int_eq(place_events("unmapped"), 1);
    ck_assert_int_eq(place_events("applied"), 0);
}
END_TEST

/* Its second statement fails on the rows that are there, which no rehearsal can see. */
static const char failing[] = "CREATE TABLE tags(id INTEGER PRIMARY KEY);\n"
                              "CREATE UNIQUE INDEX users_name ON users(name);";
static const char no_tags[] = "no such table: tags";

START_TEST(test_p5_a_failing_migration_leaves_nothing_and_is_not_run_again)
{
    static struct plane plane;
    place_run("CREATE TABLE users(name); INSERT INTO users VALUES('a'), ('a')");
    place_migration("001_cards.sql", cards);
    place_migration("002_tags.sql", failing);
    plane_begin(&plane);
    ck_assert_int_eq(plane_ask(&plane, no_tags), VERDICT_PASS);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(plane_ask(&plane, no_tags), VERDICT_PASS);
    ck_assert_uint_eq(plane_figures(&plane).failed, 1);
    ck_assert_uint_eq(plane_figures(&plane).applied, 1); /* what stood before it */
    plane_end(&plane);
    ck_assert_int_eq(place_events("apply_failed"), 1);
    ck_assert_int_eq(place_events("already_failed"), 100);
    ck_assert_int_eq(place_number("SELECT count(*) FROM sqlite_schema WHERE name = 'tags'"), 0);
    ck_assert_int_eq(place_number("SELECT count(*) FROM schema_migrations"), 1);

    /* Nor by a process that comes after it. */
    plane_begin(&plane);
    ck_assert_int_eq(plane_ask(&plane, no_tags), VERDICT_PASS);
    ck_assert_uint_eq(plane_figures(&plane).failed, 0);

    /* The edited file is another one, once it was still for two seconds. */
    place_migration("002_tags.sql", "CREATE TABLE tags(id INTEGER PRIMARY KEY);");
    recover_look(plane.recover);
    ck_assert_uint_ge(plane_ask_until_retry(&plane, no_tags), 1);
    ck_assert_uint_eq(plane_figures(&plane).failed, 0);
    ck_assert_uint_eq(plane_figures(&plane).applied, 1);
    plane_end(&plane);
    ck_assert_int_eq(place_events("files_changed"), 1);
}
END_TEST

START_TEST(test_p5_a_failure_is_remembered_also_when_the_state_directory_cannot_be_written)
{
    static struct plane plane;
    place_run("CREATE TABLE users(name); INSERT INTO users VALUES('a'), ('a')");
    place_migration("002_tags.sql", "CREATE TABLE tags(name UNIQUE);\n" /* green: no backup */
                                    "INSERT INTO tags SELECT name FROM users;");
    FILE *file = fopen(place.state, "w"); /* a file stands where the directory would be made */
    ck_assert_ptr_nonnull(file);
    fclose(file);
    struct error error = {0};
    plane_new(&plane, &place);
    ck_assert(recover_start(plane.recover, NULL, &error));
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(plane_ask(&plane, no_tags), VERDICT_PASS);
    ck_assert_uint_eq(plane_figures(&plane).failed, 1);
    plane_end(&plane);
}
END_TEST

START_TEST(test_p3_what_somebody_else_has_applied_meanwhile_is_retried_without_applying)
{
    struct plane plane;
    place_run("CREATE TABLE users(id)");
    place_migration("001_cards.sql", cards);
    plane_begin(&plane);
    struct failure failure = plane_failure(&plane, no_cards);
    place_run(cards); /* the application itself, without a history row */
    ck_assert_int_eq(plane_verdict(&plane, plane_submit(&plane, &failure)), VERDICT_RETRY);
    ck_assert_uint_eq(plane_figures(&plane).applied, 0);
    /* Sent under the new schema it only quotes it. */
    ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_PASS);
    plane_end(&plane);
    ck_assert_int_eq(place_events("applied_elsewhere"), 1);
    ck_assert_int_eq(place_events("applying"), 0);
    ck_assert_int_eq(place_events("refuted"), 1);
}
END_TEST

START_TEST(test_modes_observe_and_approve_record_and_apply_nothing)
{
    static const struct {
        enum config_mode mode;
        const char *event, *words;
    } cases[] = {{MODE_OBSERVE, "observed", "mode observe"},
                 {MODE_APPROVE, "not_allowed", "automigrate apply"}};
    place_run("CREATE TABLE users(id)");
    place_migration("001_cards.sql", cards);
    for (size_t i = 0; i < 2; i++) {
        struct plane plane;
        place.config.mode = cases[i].mode;
        plane_begin(&plane);
        ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_PASS);
        ck_assert_int_eq(plane_figures(&plane).mode, cases[i].mode);
        plane_end(&plane);
        ck_assert_int_eq(place_events(cases[i].event), 1);
        ck_assert_ptr_nonnull(strstr(place_message(cases[i].event), cases[i].words));
    }
    ck_assert_int_eq(place_number("SELECT count(*) FROM sqlite_schema"), 1);
}
END_TEST

START_TEST(test_p6_a_post_is_retried_only_as_retry_unsafe_says)
{
    static const struct {
        enum config_unsafe unsafe;
        bool commit, key;
        enum verdict_kind verdict;
    } cases[] = {
        {UNSAFE_QUIET, false, false, VERDICT_RETRY}, {UNSAFE_QUIET, true, false, VERDICT_PASS},
        {UNSAFE_QUIET, true, true, VERDICT_PASS},    {UNSAFE_CONFIRMED, true, false, VERDICT_RETRY},
        {UNSAFE_KEY, true, true, VERDICT_RETRY},     {UNSAFE_KEY, false, false, VERDICT_PASS},
        {UNSAFE_NEVER, false, true, VERDICT_PASS},   {UNSAFE_ALWAYS, true, false, VERDICT_RETRY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plane plane;
        place_run("CREATE TABLE log(id)");
        place_migration("001_cards.sql", cards);
        place.config.retry_unsafe = cases[i].unsafe;
        plane_begin(&plane);
        struct failure failure = plane_failure(&plane, no_cards);
        failure.method = METHOD_POST;
        failure.method_text = SLICE("POST");
        failure.has_idempotency_key = cases[i].key;
        if (cases[i].commit)
            place_run("INSERT INTO log VALUES(1)");
        ck_assert_msg(plane_verdict(&plane, plane_submit(&plane, &failure)) == cases[i].verdict,
                      "case %zu", i);
        /* What it needs is in, for the next one. */
        ck_assert_uint_eq(plane_figures(&plane).applied, 1);
        plane_end(&plane);
        ck_assert_int_eq(place_events("not_retried"), cases[i].verdict == VERDICT_PASS);
        place_remove();
        place_make();
    }
}
END_TEST

START_TEST(test_p6_a_put_is_retried_in_spite_of_commits)
{
    struct plane plane;
    place_run("CREATE TABLE log(id)");
    place_migration("001_cards.sql", cards);
    plane_begin(&plane);
    struct failure failure = plane_failure(&plane, no_cards);
    failure.method = METHOD_PUT;
    place_run("INSERT INTO log VALUES(1)");
    ck_assert_int_eq(plane_verdict(&plane, plane_submit(&plane, &failure)), VERDICT_RETRY);
    plane_end(&plane);
}
END_TEST

START_TEST(test_p6_a_request_that_was_not_kept_gets_its_answer_and_the_next_is_well)
{
    struct plane plane;
    place_run("CREATE TABLE users(id)");
    place_migration("001_cards.sql", cards);
    plane_begin(&plane);
    struct failure failure = plane_failure(&plane, no_cards);
    failure.replayable = false;
    ck_assert_int_eq(plane_verdict(&plane, plane_submit(&plane, &failure)), VERDICT_PASS);
    ck_assert_uint_eq(plane_figures(&plane).applied, 1);
    plane_end(&plane);
    ck_assert_int_eq(place_events("not_retried"), 1);
    ck_assert_ptr_nonnull(strstr(place_message("not_retried"), "retry.max_body"));
}
END_TEST

START_TEST(test_scope_mapped_applies_only_what_is_named_and_what_it_depends_on)
{
    struct plane plane;
    place_run("CREATE TABLE users(id)");
    place.config.recover_scope = SCOPE_MAPPED;
    place_migration("001_base.sql", "CREATE TABLE base(id);");
    place_migration("002_other.sql", "-- automigrate:depends none\nCREATE TABLE other(id);");
    place_migration("003_cards.sql", "-- automigrate:depends 001\nCREATE TABLE cards(id);");
    place_migration("004_late.sql", "CREATE TABLE late(id);");
    plane_begin(&plane);
    ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_RETRY);
    ck_assert_uint_eq(plane_figures(&plane).applied, 2);
    ck_assert_uint_eq(plane_figures(&plane).pending, 2);
    ck_assert_int_eq(plane_ask(&plane, "no such table: late"), VERDICT_RETRY);
    ck_assert_uint_eq(plane_figures(&plane).pending, 1);
    plane_end(&plane);
    ck_assert_int_eq(place_number("SELECT count(*) FROM schema_migrations"
                                  " WHERE version IN ('001', '003', '004')"),
                     3);
}
END_TEST

static bool something_is_pending(const struct recover_figures *figures)
{
    return figures->pending > 0;
}

static bool there_is_trouble(const struct recover_figures *figures)
{
    return figures->trouble;
}

static bool there_is_no_trouble(const struct recover_figures *figures)
{
    return !figures->trouble;
}

START_TEST(test_p12_a_replaced_database_is_a_new_database)
{
    struct plane plane;
    char other[PATH_SIZE * 2];
    place_migration("001_cards.sql", cards);
    place_run("CREATE TABLE users(id)");
    snprintf(other, sizeof other, "%s/other.db", place.directory);
    ck_assert_int_eq(rename(place.database, other), 0);
    place_run("CREATE TABLE users(id)");
    plane_begin(&plane);
    ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_RETRY);
    ck_assert_uint_eq(plane_figures(&plane).pending, 0);
    ck_assert_int_eq(rename(other, place.database), 0);
    recover_look(plane.recover);
    plane_wait_until(&plane, something_is_pending);
    ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_RETRY);
    ck_assert_uint_eq(plane_figures(&plane).applied, 2);
    plane_end(&plane);
    ck_assert_int_eq(place_number("SELECT count(*) FROM cards"), 0);
}
END_TEST

START_TEST(test_p8_a_deleted_database_is_trouble_and_is_not_made_again)
{
    struct plane plane;
    place_migration("001_cards.sql", cards);
    place_run("CREATE TABLE users(id)");
    plane_begin(&plane);
    ck_assert_int_eq(unlink(place.database), 0);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_PASS);
    ck_assert(plane_figures(&plane).trouble);
    ck_assert(!file_exists(place.database));
    place_run("CREATE TABLE users(id)"); /* it is back, another file */
    /* It notices by itself: nobody asks. */
    plane_wait_until(&plane, there_is_no_trouble);
    ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_RETRY);
    plane_end(&plane);
    ck_assert_int_eq(place_events("trouble"), 1);
    ck_assert_ptr_nonnull(strstr(place_message("trouble"), "does not exist"));
}
END_TEST

static void check_lock(const char *setup, const char *begin)
{
    struct plane plane;
    place.config.lock_timeout_ms = 200;
    place_migration("001_cards.sql", cards);
    place_run(setup);
    plane_begin(&plane);
    sqlite3 *holder = place_connect();
    ck_assert_int_eq(sqlite3_exec(holder, begin, NULL, NULL, NULL), SQLITE_OK);
    uint64_t began_ns = clock_monotonic_ns();
    ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_PASS);
    /* The lock's timeout and that of reading; the rest is a slow machine. */
    ck_assert_uint_lt((clock_monotonic_ns() - began_ns) / NS_PER_MS, 200 + 1000 + 8000);
    ck_assert_int_eq(sqlite3_exec(holder, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(holder);
    plane_ask_until_retry(&plane, no_cards);
    ck_assert_uint_eq(plane_figures(&plane).applied, 1);
    ck_assert_uint_eq(plane_figures(&plane).failed, 0);
    plane_end(&plane);
    ck_assert_int_ge(place_events("trouble"), 1);
    ck_assert_int_eq(place_events("already_failed"), 0); /* a lock is no failure of the file */
}

START_TEST(test_p7_a_locked_database_costs_a_bounded_wait_and_works_again_afterwards)
{
    check_lock("CREATE TABLE users(id)", "BEGIN EXCLUSIVE");
    place_remove();
    place_make();
    check_lock("PRAGMA journal_mode = WAL; CREATE TABLE users(id)", "BEGIN IMMEDIATE");
}
END_TEST

START_TEST(test_p11_nothing_is_applied_while_the_migrations_directory_is_broken)
{
    struct plane plane;
    place_run("CREATE TABLE users(id)");
    place_migration("001_cards.sql", cards);
    plane_begin(&plane);
    place_migration("1_double.sql", "CREATE TABLE twice(id);");
    recover_look(plane.recover);
    plane_wait_until(&plane, there_is_trouble);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_PASS);
    ck_assert(plane_figures(&plane).trouble);
    ck_assert_uint_eq(plane_figures(&plane).applied, 0);
    place_remove_migration("1_double.sql");
    recover_look(plane.recover);
    plane_wait_until(&plane, there_is_no_trouble);
    ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_RETRY);
    plane_end(&plane);
    ck_assert_ptr_nonnull(strstr(place_message("trouble"), "have one version"));
    ck_assert_int_eq(place_events("trouble"), 1);
}
END_TEST

START_TEST(test_p4_two_recoveries_on_one_database_apply_each_migration_once)
{
    static struct plane planes[2];
    enum { EACH = 100 };
    char name[64], sql[128];
    place_run("CREATE TABLE users(id)");
    for (int i = 1; i <= 9; i++) {
        snprintf(name, sizeof name, "%03d_t.sql", i);
        snprintf(sql, sizeof sql, "CREATE TABLE t%d(id); INSERT INTO users VALUES(%d);", i, i);
        place_migration(name, sql);
    }
    for (size_t p = 0; p < 2; p++)
        plane_new(&planes[p], &place);
    for (size_t p = 0; p < 2; p++) {
        struct failure failure = plane_failure(&planes[p], "no such table: t9");
        failure.generation = 1;
        for (unsigned i = 0; i < EACH; i++)
            plane_submit(&planes[p], &failure);
    }
    for (size_t p = 0; p < 2; p++)
        plane_start(&planes[p]);
    for (size_t p = 0; p < 2; p++) {
        for (unsigned i = 0; i < EACH; i++)
            ck_assert_int_eq(plane_verdict(&planes[p], i), VERDICT_RETRY);
    }
    ck_assert_uint_eq(plane_figures(&planes[0]).applied + plane_figures(&planes[1]).applied, 9);
    for (size_t p = 0; p < 2; p++)
        plane_end(&planes[p]);
    ck_assert_int_eq(place_number("SELECT count(*) FROM schema_migrations"), 9);
    ck_assert_int_eq(place_number("SELECT count(*) FROM users"), 9);
}
END_TEST

START_TEST(test_a_refused_plan_says_file_and_way_out_and_passes)
{
    struct plane plane;
    place_run("CREATE TABLE users(id)");
    place_migration("001_red.sql", "DROP TABLE users;");
    place_migration("002_cards.sql", cards);
    plane_begin(&plane);
    ck_assert_int_eq(plane_ask(&plane, no_cards), VERDICT_PASS);
    ck_assert_uint_eq(plane_figures(&plane).applied, 0);
    plane_end(&plane);
    ck_assert_ptr_nonnull(strstr(place_message("not_allowed"), "001_red.sql"));
    ck_assert_ptr_nonnull(strstr(place_message("not_allowed"), "automigrate apply"));
    ck_assert_int_eq(place_number("SELECT count(*) FROM sqlite_schema WHERE name = 'users'"), 1);
}
END_TEST

START_TEST(test_p6_of_two_errors_in_one_body_both_are_needed)
{
    struct plane plane;
    place_run("CREATE TABLE users(id)");
    place_migration("001_cards.sql", cards);
    plane_begin(&plane);
    struct failure failure =
        plane_failure(&plane, "no such table: sessions\nduring which: no such table: cards\n");
    place_run(
        "CREATE TABLE sessions(id)"); /* the first has appeared; the second is still missing */
    ck_assert_int_eq(plane_verdict(&plane, plane_submit(&plane, &failure)), VERDICT_RETRY);
    ck_assert_uint_eq(plane_figures(&plane).applied, 1);
    plane_end(&plane);
}
END_TEST

START_TEST(test_who_waits_beside_a_confirmed_one_is_judged_again_after_the_apply)
{
    struct plane plane;
    place_run("CREATE TABLE a(id); CREATE TABLE b(id)");
    place_migration("001_flags.sql", "ALTER TABLE a ADD COLUMN flag; ALTER TABLE b ADD COLUMN flag;"
                                     "CREATE TABLE cards(id);");
    plane_new(&plane, &place);
    struct failure failure = plane_failure(&plane, no_cards);
    failure.generation = 1;
    unsigned confirmed = plane_submit(&plane, &failure);
    failure.body = slice_from_string("no such column: x.flag");
    unsigned ambiguous = plane_submit(&plane, &failure);
    plane_start(&plane);
    ck_assert_int_eq(plane_verdict(&plane, confirmed), VERDICT_RETRY);
    ck_assert_int_eq(plane_verdict(&plane, ambiguous), VERDICT_RETRY);
    plane_end(&plane);
}
END_TEST

START_TEST(test_p9_names_that_only_responses_give_do_not_flood_the_journal)
{
    static struct plane plane;
    char body[64];
    sqlite3_stmt *statement;
    sqlite3 *journal;
    char path[PATH_SIZE * 2];
    place_run("CREATE TABLE users(id)");
    place_migration("001_cards.sql", cards);
    plane_begin(&plane);
    for (int i = 0; i < 2000; i++) {
        snprintf(body, sizeof body, "no such table: made_up_%d", i);
        ck_assert_int_eq(plane_ask(&plane, body), VERDICT_PASS);
    }
    plane_end(&plane);
    ck_assert_int_eq(place_events("unmapped"), 2000); /* each is counted */
    snprintf(path, sizeof path, "%s/journal.db", place.state);
    ck_assert_int_eq(sqlite3_open(path, &journal), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_prepare_v2(journal, "SELECT count(*) FROM events", -1, &statement, NULL),
        SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    ck_assert_int_lt(sqlite3_column_int(statement, 0), 500);
    sqlite3_finalize(statement);
    sqlite3_close(journal);
}
END_TEST

START_TEST(test_stopping_does_not_wait_for_submissions_and_frees_them)
{
    struct plane plane;
    place_run("CREATE TABLE users(id)");
    place_migration("001_cards.sql", cards);
    plane_begin(&plane);
    struct failure failure = plane_failure(&plane, no_cards);
    recover_stop(plane.recover);
    recover_stop(plane.recover); /* a second time is harmless */
    for (int i = 0; i < 100; i++)
        plane_submit(&plane, &failure); /* nobody takes them any more */
    plane_end(&plane);
    ck_assert_uint_eq(plane.delivered, 0);
}
END_TEST

static bool a_migration_runs(const struct recover_figures *figures)
{
    return figures->changing;
}

static void *stop(void *context)
{
    struct plane *plane = context;
    recover_stop(plane->recover);
    return NULL;
}

START_TEST(test_stopping_waits_for_the_migration_that_runs_and_begins_no_other)
{
    enum { MANY = 100 };
    struct plane plane;
    pthread_t thread;
    char name[64], sql[128];
    place_run("CREATE TABLE users(id)");
    for (int i = 1; i <= MANY; i++) {
        snprintf(name, sizeof name, "%03d_t.sql", i);
        snprintf(sql, sizeof sql, "CREATE TABLE t%d(id);", i);
        place_migration(name, sql);
    }
    plane_begin(&plane);
    sqlite3 *holder = place_connect();
    ck_assert_int_eq(sqlite3_exec(holder, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct failure failure = plane_failure(&plane, "no such table: t100");
    plane_submit(&plane, &failure);
    plane_wait_until(&plane, a_migration_runs); /* it waits for the lock */
    ck_assert_int_eq(pthread_create(&thread, NULL, stop, &plane), 0);
    ck_assert_int_eq(sqlite3_exec(holder, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    pthread_join(thread, NULL);
    sqlite3_close(holder);
    uint64_t applied = plane_figures(&plane).applied;
    ck_assert_uint_lt(applied, MANY);
    plane_end(&plane);
    ck_assert_int_eq(place_number("SELECT count(*) FROM sqlite_schema WHERE name GLOB 't[0-9]*'"),
                     (int64_t)applied); /* each whole or not at all */
}
END_TEST

START_TEST(test_a_body_without_a_schema_error_is_passed_at_once)
{
    struct plane plane;
    place_run("CREATE TABLE users(id)");
    place_migration("001_cards.sql", cards);
    plane_begin(&plane);
    const struct healing *healing = recover_healing(plane.recover);
    struct failure failure = plane_failure(&plane, "division by zero");
    ck_assert_int_eq(healing->submit(healing->context, &failure, (struct ticket){0, 1, 1}),
                     HEALING_PASS);
    /* Only while a migration of ours runs is this one ours. */
    failure.body = SLICE("database is locked");
    ck_assert_int_eq(healing->submit(healing->context, &failure, (struct ticket){0, 1, 1}),
                     HEALING_PASS);
    ck_assert_uint_eq(plane_figures(&plane).submitted, 0);
    plane_end(&plane);
}
END_TEST

START_TEST(test_p11_what_is_wrong_at_the_start_is_told_by_recover_new)
{
    struct plane plane = {.place = &place};
    struct error error = {0};
    const struct recover_options options = {.config = &place.config, .context = &plane};
    ck_assert_ptr_null(recover_new(&options, &error)); /* no database */
    ck_assert_int_eq(error.code, ERROR_NOT_FOUND);
    ck_assert(!file_exists(place.database));
    ck_assert(!file_exists(place.state)); /* and nothing was written */
    place_run("CREATE TABLE users(id)");
    place_migration("001_a.sql", "CREATE TABLE a(id);");
    place_migration("1_b.sql", "CREATE TABLE b(id);");
    ck_assert_ptr_null(recover_new(&options, &error));
    ck_assert_int_eq(error.code, ERROR_DEPENDENCY);
    ck_assert(!file_exists(place.state));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_p4_one_failure_applies_what_is_pending_once_and_is_retried,
        test_p4_a_thousand_waiting_failures_lead_to_one_apply_and_all_are_retried,
        test_p3_a_page_that_quotes_an_existing_name_changes_nothing,
        test_p5_a_failing_migration_leaves_nothing_and_is_not_run_again,
        test_p5_a_failure_is_remembered_also_when_the_state_directory_cannot_be_written,
        test_p3_what_somebody_else_has_applied_meanwhile_is_retried_without_applying,
        test_modes_observe_and_approve_record_and_apply_nothing,
        test_p6_a_post_is_retried_only_as_retry_unsafe_says,
        test_p6_a_put_is_retried_in_spite_of_commits,
        test_p6_a_request_that_was_not_kept_gets_its_answer_and_the_next_is_well,
        test_scope_mapped_applies_only_what_is_named_and_what_it_depends_on,
        test_p12_a_replaced_database_is_a_new_database,
        test_p8_a_deleted_database_is_trouble_and_is_not_made_again,
        test_p7_a_locked_database_costs_a_bounded_wait_and_works_again_afterwards,
        test_p11_nothing_is_applied_while_the_migrations_directory_is_broken,
        test_p4_two_recoveries_on_one_database_apply_each_migration_once,
        test_a_refused_plan_says_file_and_way_out_and_passes,
        test_p6_of_two_errors_in_one_body_both_are_needed,
        test_who_waits_beside_a_confirmed_one_is_judged_again_after_the_apply,
        test_p9_names_that_only_responses_give_do_not_flood_the_journal,
        test_stopping_does_not_wait_for_submissions_and_frees_them,
        test_stopping_waits_for_the_migration_that_runs_and_begins_no_other,
        test_a_body_without_a_schema_error_is_passed_at_once,
        test_p11_what_is_wrong_at_the_start_is_told_by_recover_new,
    };
    return place_main("recover", tests, sizeof tests / sizeof *tests);
}
