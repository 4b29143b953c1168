/* SPDX-License-Identifier: MIT */
/* Applying: whole or not at all, once, recorded, under limits. Real files, real databases, real
 * processes. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "fixture.h"

static void check_untouched(void)
{
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM sqlite_schema WHERE name IN "
                                    "('schema_migrations', 'made')"),
                     0);
}

START_TEST(test_a_migration_and_its_row_commit_together)
{
    struct apply_report report;
    fixture_migration("0007_make.sql", "CREATE TABLE made (a);\nINSERT INTO made VALUES (1), (2);");
    fixture_apply(&report);
    ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
    ck_assert_uint_eq(report.statement_count, 2);
    ck_assert_str_eq(report.statements[0].sql, "CREATE TABLE made (a)");
    ck_assert_uint_eq(report.statements[1].line, 3);
    ck_assert_int_eq(report.statements[1].rows, 2);
    ck_assert_uint_eq(report.failed_statement, 0);
    ck_assert_ptr_null(report.backup);
    apply_report_free(&report);
    ck_assert_int_eq(
        fixture_number("SELECT count(*) FROM schema_migrations WHERE version = '0007' AND name = "
                       "'make' AND length(checksum) = 64 AND state = 'applied' AND statements = 2 "
                       "AND cause = 'test' AND batch = 'batch-1' AND applied_at LIKE '20%Z' AND "
                       "execution_ms >= 0 AND length(host) > 0"),
        1);
}
END_TEST

START_TEST(test_p5_a_failing_statement_leaves_nothing_and_is_named)
{
    static const struct {
        const char *sql;
        enum error_code code;
        unsigned statement, line;
        const char *message;
    } cases[] = {
        {"CREATE TABLE made (a);\nINSERT INTO made VALUES (1);\nCREATE TABLE b (a);\nSELECT 1;\n"
         "CREATE TABLE c (a,\n  b c d,);\nSELECT 2;",
         ERROR_SQL, 5, 7, "5_x.sql:7: statement 5 (CREATE TABLE c (a, b c d,)): near \")\""},
        {"CREATE TABLE made (a UNIQUE);\nINSERT INTO made VALUES (1), (1);", ERROR_CONSTRAINT, 2, 3,
         "UNIQUE constraint failed: made.a"},
        {"CREATE TABLE made (a);\nATTACH ':memory:' AS x;", ERROR_PERMISSION, 2, 3, "its own"},
        {"CREATE TABLE made (a);\nCOMMIT;", ERROR_PERMISSION, 2, 3, "COMMIT is not allowed"},
        {"CREATE TABLE made (a);\nROLLBACK;", ERROR_PERMISSION, 2, 3, "ROLLBACK is not allowed"},
        {"CREATE TABLE made (a);\nSAVEPOINT x;", ERROR_PERMISSION, 2, 3, "SAVEPOINT"},
        {"CREATE TABLE made (a);\nPRAGMA writable_schema = 1;", ERROR_PERMISSION, 2, 3,
         "writable_schema"},
        {"CREATE TABLE made (a);\nPRAGMA journal_mode = WAL;", ERROR_PERMISSION, 2, 3,
         "transaction:false"},
        {"CREATE TABLE made (a);\nSELECT load_extension('x');", ERROR_PERMISSION, 2, 3,
         "load_extension"},
        {"CREATE TABLE made (a);\nDELETE FROM sqlite_schema;", ERROR_SQL, 2, 3,
         "may not be modified"},
        {"CREATE TABLE made (a);\nCREATE TABLE schema_migrations (version);", ERROR_PERMISSION, 2,
         3, "history"},
        {"CREATE TABLE made (a UNIQUE ON CONFLICT ROLLBACK);\nINSERT INTO made VALUES (1), (1);",
         ERROR_CONSTRAINT, 2, 3, "UNIQUE"},
        {"CREATE TABLE made (a);\nCREATE TABLE IF NOT EXISTS old (id, other);", ERROR_SQL, 2, 3,
         "defined in another way"},
        {"CREATE TABLE made (a);\nCREATE INDEX made ON old (a);", ERROR_SQL, 2, 3, "already"},
        {"CREATE TABLE made (a);\nCREATE VIEW old AS SELECT 1;", ERROR_SQL, 2, 3, "already exists"},
        {"CREATE TABLE made (p REFERENCES old DEFERRABLE INITIALLY DEFERRED);\n"
         "INSERT INTO made VALUES (77);",
         ERROR_FOREIGN_KEY, 0, 0, "FOREIGN KEY constraint failed"},
    };
    fixture_run("CREATE TABLE old (id INTEGER PRIMARY KEY, a);");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct apply_report report;
        fixture_migration("5_x.sql", cases[i].sql);
        fixture_apply(&report);
        ck_assert_msg(report.outcome == APPLY_FAILED, "%s: outcome %d", cases[i].sql,
                      report.outcome);
        ck_assert_msg(strstr(report.error.message, cases[i].message) != NULL, "%s\ngave: %s",
                      cases[i].sql, report.error.message);
        ck_assert_msg(report.error.code == cases[i].code || (cases[i].code == ERROR_FOREIGN_KEY &&
                                                             report.error.code == ERROR_CONSTRAINT),
                      "%s: %s", cases[i].sql, error_category(report.error.code));
        ck_assert_msg(
            report.failed_statement == cases[i].statement && report.failed_line == cases[i].line,
            "%s: statement %u line %u", cases[i].sql, report.failed_statement, report.failed_line);
        apply_report_free(&report);
        check_untouched();
    }
}
END_TEST

START_TEST(test_what_exists_in_the_same_form_is_benign)
{
    struct apply_report report;
    fixture_run("CREATE TABLE made (a, b DEFAULT 'x'); CREATE INDEX i ON made (a);"
                "CREATE VIEW v AS SELECT 1; CREATE TRIGGER t AFTER INSERT ON made BEGIN SELECT 1; "
                "END; CREATE VIRTUAL TABLE f USING fts5(a);");
    fixture_migration("1_a.sql",
                      "create table MADE (\n  a, -- first\n  b default 'x'\n);\n"
                      "CREATE TABLE IF NOT EXISTS main.made (a, b DEFAULT 'x');\n"
                      "CREATE INDEX i ON made (a);\nCREATE INDEX IF NOT EXISTS i ON made (a);\n"
                      "CREATE VIEW v AS SELECT 1;\n"
                      "CREATE TRIGGER IF NOT EXISTS t AFTER INSERT ON made BEGIN SELECT 1; END;\n"
                      "CREATE VIRTUAL TABLE IF NOT EXISTS f USING fts5(a);\n"
                      "INSERT INTO f VALUES ('x');");
    fixture_apply(&report);
    ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
    for (unsigned i = 0; i < 7; i++)
        ck_assert_msg(report.statements[i].benign, "%s", report.statements[i].sql);
    ck_assert(!report.statements[7].benign);
    apply_report_free(&report);
}
END_TEST

START_TEST(test_entries_of_one_plan_can_be_applied_one_after_the_other)
{
    struct migration_set set;
    struct plan plan;
    struct apply_report report;
    struct apply_options options = fixture_options();
    fixture_migration("1_a.sql", "CREATE TABLE a (x);");
    fixture_migration("2_b.sql", "ALTER TABLE a ADD COLUMN y;");
    fixture_migration("3_c.sql", "INSERT INTO a VALUES (1, 2);");
    fixture_plan(&set, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        apply_migration(fixture.database, &plan, &plan.entries[i], &options, &report);
        ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
        apply_report_free(&report);
    }
    apply_migration(fixture.database, &plan, &plan.entries[1], &options, &report);
    ck_assert_int_eq(report.outcome, APPLY_ALREADY);
    ck_assert_uint_eq(report.statement_count, 0);
    fixture_plan_free(&set, &plan);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM schema_migrations"), 3);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM a"), 1);
}
END_TEST

START_TEST(test_p4_a_plan_made_for_another_schema_is_not_carried_out)
{
    static const char *const changes[] = {
        "CREATE TABLE meanwhile (x);",
        "INSERT INTO schema_migrations VALUES ('99');",
    };
    struct migration_set set;
    struct plan plan;
    struct apply_report report;
    struct apply_options options = fixture_options();
    fixture_run("CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);");
    fixture_migration("1_a.sql", "CREATE TABLE made (x);");
    for (size_t i = 0; i < 2; i++) {
        fixture_plan(&set, &plan);
        fixture_run(changes[i]);
        apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
        ck_assert_int_eq(report.outcome, APPLY_CHANGED);
        ck_assert_ptr_nonnull(strstr(report.error.message, "make a new plan"));
        fixture_plan_free(&set, &plan);
    }
}
END_TEST

START_TEST(test_dependencies_must_be_applied)
{
    struct migration_set set;
    struct plan plan;
    struct apply_report report;
    struct apply_options options = fixture_options();
    fixture_migration("1_a.sql", "CREATE TABLE a (x);");
    fixture_migration("2_b.sql", "CREATE TABLE b (x);");
    fixture_write("3_c.sql", "-- automigrate:depends 1\n-- migrate:up\nCREATE TABLE c (x);\n");
    fixture_plan(&set, &plan);
    for (size_t i = 1; i < 3; i++) {
        apply_migration(fixture.database, &plan, &plan.entries[i], &options, &report);
        ck_assert_int_eq(report.outcome, APPLY_FAILED);
        ck_assert_int_eq(report.error.code, ERROR_DEPENDENCY);
        ck_assert_ptr_nonnull(strstr(report.error.message, "depends on version 1,"));
    }
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    apply_report_free(&report);
    /* What it depends on is in; 2 is not needed. */
    apply_migration(fixture.database, &plan, &plan.entries[2], &options, &report);
    ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
    apply_report_free(&report);
    fixture_plan_free(&set, &plan);
}
END_TEST

struct contender {
    struct migration_set set;
    struct plan plan;
    struct apply_report report;
    pthread_t thread;
};

static void *contend(void *context)
{
    struct contender *contender = context;
    struct apply_options options = fixture_options();
    apply_migration(fixture.database, &contender->plan, &contender->plan.entries[0], &options,
                    &contender->report);
    return NULL;
}

START_TEST(test_p4_threads_and_processes_at_once_apply_it_once)
{
    enum { THREADS = 3, PROCESSES = 3 };
    struct contender contenders[THREADS];
    pid_t children[PROCESSES];
    int gate[2], done = 0;
    fixture_run("CREATE TABLE runs (x);");
    fixture_migration("1_a.sql",
                      "INSERT INTO runs VALUES (1);\nCREATE TABLE made (x);\n"
                      "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 20000) "
                      "INSERT INTO made SELECT x FROM c;");
    ck_assert_int_eq(pipe(gate), 0);
    for (size_t i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct contender child;
            char byte;
            fixture_plan(&child.set, &child.plan);
            close(gate[1]);
            while (read(gate[0], &byte, 1) > 0) {
            }
            contend(&child);
            _exit(child.report.outcome == APPLY_DONE      ? 10
                  : child.report.outcome == APPLY_ALREADY ? 11
                                                          : 12);
        }
    }
    for (size_t i = 0; i < THREADS; i++)
        fixture_plan(&contenders[i].set, &contenders[i].plan);
    close(gate[0]);
    close(gate[1]); /* all children go on */
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&contenders[i].thread, NULL, contend, &contenders[i]), 0);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(contenders[i].thread, NULL);
        ck_assert_msg(contenders[i].report.outcome == APPLY_DONE ||
                          contenders[i].report.outcome == APPLY_ALREADY,
                      "%s", contenders[i].report.error.message);
        done += contenders[i].report.outcome == APPLY_DONE;
        apply_report_free(&contenders[i].report);
        fixture_plan_free(&contenders[i].set, &contenders[i].plan);
    }
    for (size_t i = 0; i < PROCESSES; i++) {
        int status;
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert(WIFEXITED(status));
        ck_assert_msg(WEXITSTATUS(status) == 10 || WEXITSTATUS(status) == 11, "exit %d",
                      WEXITSTATUS(status));
        done += WEXITSTATUS(status) == 10;
    }
    ck_assert_int_eq(done, 1);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM runs"), 1);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM schema_migrations"), 1);
}
END_TEST

/* The file's size, without opening it: another open and close would drop SQLite's locks. */
static off_t size_of(const char *suffix)
{
    char path[128];
    struct stat status;
    snprintf(path, sizeof path, "%s%s", fixture.database, suffix);
    return stat(path, &status) == 0 ? status.st_size : 0;
}

START_TEST(test_p5_kill_in_the_middle_leaves_all_or_none)
{
    static const char *const modes[] = {"DELETE", "WAL"};
    fixture_migration("1_a.sql",
                      "CREATE TABLE made (x);\nCREATE INDEX i ON made (x);\n"
                      "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < "
                      "(SELECT x FROM old)) INSERT INTO made SELECT hex(x * 7919 % 10007) FROM c;");
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA journal_mode = %s", modes[_i]);
    fixture_run(sql);
    /* So many rows for good; none in the rehearsal, where old is empty. */
    fixture_run("CREATE TABLE old (x); INSERT INTO old VALUES (300000000);");
    /* Killed once so much of it has been written that pages went to the disk. */
    pid_t child = fork();
    if (child == 0) {
        struct contender contender;
        fixture_plan(&contender.set, &contender.plan);
        contend(&contender);
        _exit(0);
    }
    while (size_of(_i ? "-wal" : "") < 4 << 20) {
        struct pollfd none = {.fd = -1};
        ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
        poll(&none, 1, 1);
    }
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    check_untouched();
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM old"), 1);
    char *check = fixture_text("PRAGMA integrity_check");
    ck_assert_str_eq(check, "ok");
    free(check);

    /* The lock went with its holder; the next one goes on. */
    struct apply_report report;
    fixture_migration("1_a.sql", "CREATE TABLE made (x);");
    fixture_apply(&report);
    ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
    apply_report_free(&report);
}
END_TEST

/* Two children hang on one parent; one row's parent was never there. */
static const char family[] =
    "CREATE TABLE parent (id INTEGER PRIMARY KEY, a);"
    "CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent (id) ON DELETE CASCADE);"
    "INSERT INTO parent VALUES (1, 'x'), (2, 'y'); INSERT INTO child VALUES (1, 1), (2, 1), (3, "
    "2);";

START_TEST(test_p8_a_rebuild_of_a_referenced_table_loses_no_child_rows)
{
    static const char rebuild[] =
        "CREATE TABLE parent_new (id INTEGER PRIMARY KEY, a NOT NULL);\n"
        "INSERT INTO parent_new SELECT id, a FROM parent;\nDROP TABLE parent;\n"
        "ALTER TABLE parent_new RENAME TO parent;";
    struct apply_report report;
    fixture_run(family);
    /* A violation that was there before does not block. */
    fixture_run("PRAGMA foreign_keys = OFF; INSERT INTO child VALUES (9, 99);");
    if (_i == 0) {
        fixture_migration("1_a.sql", rebuild);
    } else {
        char text[1024];
        snprintf(text, sizeof text, "PRAGMA foreign_keys=OFF;\n%s\nPRAGMA foreign_keys=ON;",
                 rebuild);
        fixture_migration("1_a.sql", text);
    }
    fixture_apply(&report);
    ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
    apply_report_free(&report);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM child"), 4);
    ck_assert_int_eq(fixture_number("SELECT \"notnull\" FROM pragma_table_info('parent') WHERE "
                                    "name = 'a'"),
                     1);
}
END_TEST

START_TEST(test_new_dangling_references_are_rolled_back_and_named)
{
    static const struct {
        const char *sql;
        const char *message;
    } cases[] = {
        {"CREATE TABLE n (id INTEGER PRIMARY KEY, a); INSERT INTO n SELECT id, a FROM parent WHERE "
         "id = 1; DROP TABLE parent; ALTER TABLE n RENAME TO parent;",
         "1 rows of child would refer by (p) to rows of parent"},
        {"DROP TABLE parent;", "3 rows of child"},
        {"PRAGMA foreign_keys=OFF; DELETE FROM parent WHERE id = 2;", "1 rows of child"},
        {"CREATE TABLE n (id, a); INSERT INTO n SELECT * FROM parent; DROP TABLE parent; ALTER "
         "TABLE n RENAME TO parent;",
         "no unique key"},
    };
    fixture_run(family);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct apply_report report;
        fixture_migration("1_a.sql", cases[i].sql);
        fixture_apply(&report);
        ck_assert_msg(report.outcome == APPLY_FAILED, "%s", cases[i].sql);
        ck_assert_int_eq(report.error.code, ERROR_FOREIGN_KEY);
        ck_assert_msg(strstr(report.error.message, cases[i].message) != NULL, "%s: %s",
                      cases[i].sql, report.error.message);
        apply_report_free(&report);
        ck_assert_int_eq(fixture_number("SELECT count(*) FROM parent, child"), 6);
    }
}
END_TEST

START_TEST(test_a_cascade_that_the_file_relies_on_works)
{
    struct apply_report report;
    fixture_run(family);
    fixture_migration("1_a.sql", "DELETE FROM parent WHERE id = 1;");
    fixture_apply(&report);
    ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
    apply_report_free(&report);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM child"), 1);
}
END_TEST

START_TEST(test_a_migration_that_takes_too_long_is_stopped)
{
    struct migration_set set;
    struct plan plan;
    struct apply_report report;
    struct apply_options options = fixture_options();
    fixture_run(
        "CREATE TABLE old (x); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM "
        "c LIMIT 3000) INSERT INTO old SELECT x FROM c;");
    /* Quick in a rehearsal, which has no rows. */
    fixture_write("1_a.sql", "-- automigrate:timeout 50ms\n-- migrate:up\nCREATE TABLE made (x);\n"
                             "INSERT INTO made SELECT count(*) FROM old a, old b, old c;\n");
    fixture_plan(&set, &plan);
    ck_assert_int_eq(plan.entries[0].rehearsal, REHEARSAL_OK);
    uint64_t begin = clock_monotonic_ns();
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    ck_assert_uint_lt(clock_monotonic_ns() - begin, 10 * NS_PER_SECOND);
    ck_assert_int_eq(report.outcome, APPLY_FAILED);
    ck_assert_int_eq(report.error.code, ERROR_TIMEOUT);
    ck_assert_msg(strstr(report.error.message, "1_a.sql:4: statement 2") &&
                      strstr(report.error.message, "50 ms"),
                  "%s", report.error.message);
    apply_report_free(&report);
    fixture_plan_free(&set, &plan);
    check_untouched();
}
END_TEST

START_TEST(test_locks_of_others_leave_the_database_untouched)
{
    struct migration_set set;
    struct plan plan;
    struct apply_report report;
    struct apply_options options = fixture_options();
    sqlite3 *other;
    sqlite3_stmt *reader;
    fixture_run("CREATE TABLE old (x); INSERT INTO old VALUES (1), (2);");
    fixture_migration("1_a.sql", "CREATE TABLE made (x);");
    fixture_plan(&set, &plan);
    options.lock_timeout_ms = 100;

    /* A writer. */
    ck_assert_int_eq(sqlite3_open(fixture.database, &other), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    ck_assert_int_eq(report.outcome, APPLY_UNTOUCHED);
    ck_assert_int_eq(report.error.code, ERROR_LOCK);
    ck_assert_int_eq(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);

    /* A reader, which in rollback-journal mode keeps a COMMIT from happening. */
    ck_assert_int_eq(sqlite3_prepare_v2(other, "SELECT * FROM old", -1, &reader, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(reader), SQLITE_ROW);
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    ck_assert_int_eq(report.outcome, APPLY_UNTOUCHED);
    ck_assert_int_eq(report.error.code, ERROR_LOCK);
    ck_assert_ptr_nonnull(strstr(report.error.message, "rolled back"));
    apply_report_free(&report);
    ck_assert_int_eq(sqlite3_step(reader), SQLITE_ROW);
    sqlite3_finalize(reader);
    sqlite3_close(other);
    check_untouched();

    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
    apply_report_free(&report);
    fixture_plan_free(&set, &plan);
}
END_TEST

START_TEST(test_p8_yellow_and_red_are_backed_up_before_the_first_write)
{
    struct migration_set set;
    struct plan plan;
    struct apply_report report;
    struct apply_options options = fixture_options();
    options.backup = true;
    fixture_run("CREATE TABLE old (x); INSERT INTO old VALUES (1);");
    fixture_migration("1_a.sql", "CREATE TABLE made (x);");
    fixture_migration("2_b.sql", "DROP TABLE old;");
    fixture_plan(&set, &plan);
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    ck_assert_ptr_null(report.backup);
    apply_report_free(&report);
    apply_migration(fixture.database, &plan, &plan.entries[1], &options, &report);
    ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
    ck_assert_ptr_nonnull(report.backup);
    sqlite3 *copy;
    ck_assert_int_eq(sqlite3_open(report.backup, &copy), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(copy, "SELECT old.x FROM old, made", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(copy);
    apply_report_free(&report);
    fixture_plan_free(&set, &plan);

    /* Without a backup nothing is run. */
    fixture_migration("3_c.sql", "DROP TABLE made;");
    fixture_plan(&set, &plan);
    options.state_directory = "/proc/nowhere";
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    ck_assert_int_eq(report.outcome, APPLY_UNTOUCHED);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM made"), 0);
    fixture_plan_free(&set, &plan);
}
END_TEST

START_TEST(test_without_a_transaction_needs_an_operators_word)
{
    struct migration_set set;
    struct plan plan;
    struct apply_report report;
    struct apply_options options = fixture_options();
    fixture_write("1_a.sql", "-- migrate:up transaction:false\nCREATE TABLE made (x);\nVACUUM;\n"
                             "PRAGMA journal_mode = WAL;\nINSERT INTO made VALUES (1);\n");
    fixture_plan(&set, &plan);
    ck_assert_msg(plan.entries[0].rehearsal == REHEARSAL_OK, "%s", plan.entries[0].failure.message);
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    ck_assert_int_eq(report.outcome, APPLY_FAILED);
    ck_assert_int_eq(report.error.code, ERROR_POLICY);
    check_untouched();
    options.allow_no_transaction = true;
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
    apply_report_free(&report);
    fixture_plan_free(&set, &plan);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM schema_migrations WHERE state = "
                                    "'applied' AND statements = 4"),
                     1);
    char *mode = fixture_text("PRAGMA journal_mode");
    ck_assert_str_eq(mode, "wal");
    free(mode);
}
END_TEST

START_TEST(test_p5_without_a_transaction_a_failure_says_how_far_it_came_and_blocks)
{
    struct migration_set set;
    struct plan plan;
    struct apply_report report;
    struct apply_options options = fixture_options();
    options.allow_no_transaction = true;
    fixture_run("CREATE TABLE old (x UNIQUE); INSERT INTO old VALUES (1);");
    fixture_write("1_a.sql", "-- migrate:up transaction:false\nCREATE TABLE made (x);\nINSERT INTO "
                             "made VALUES (1);\nINSERT INTO old VALUES (1);\nDROP TABLE made;\n");
    fixture_migration("2_b.sql", "CREATE TABLE b (x);");
    fixture_plan(&set, &plan);
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    ck_assert_int_eq(report.outcome, APPLY_FAILED);
    ck_assert_uint_eq(report.failed_statement, 3);
    apply_report_free(&report);
    fixture_plan_free(&set, &plan);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM made"), 1);
    ck_assert_int_eq(fixture_number("SELECT statements FROM schema_migrations WHERE state = "
                                    "'failed'"),
                     2);
    fixture_plan(&set, &plan);
    ck_assert(plan.blocked && plan.drift_count == 1);
    ck_assert_int_eq(plan.drifts[0].kind, DRIFT_UNFINISHED);
    ck_assert_uint_eq(plan.count, 1);
    fixture_plan_free(&set, &plan);
}
END_TEST

START_TEST(test_p5_killed_without_a_transaction_leaves_a_trace)
{
    struct migration_set set;
    struct plan plan;
    fixture_run("CREATE TABLE old (x); INSERT INTO old VALUES (300000000);");
    fixture_write("1_a.sql", "-- migrate:up transaction:false\nCREATE TABLE made (x);\n"
                             "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE "
                             "x < (SELECT x FROM old)) INSERT INTO made SELECT x FROM c;\n");
    pid_t child = fork();
    if (child == 0) {
        struct contender contender;
        struct apply_options options = fixture_options();
        options.allow_no_transaction = true;
        fixture_plan(&contender.set, &contender.plan);
        apply_migration(fixture.database, &contender.plan, &contender.plan.entries[0], &options,
                        &contender.report);
        _exit(0);
    }
    while (size_of("") < 1 << 20) {
        struct pollfd none = {.fd = -1};
        ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
        poll(&none, 1, 1);
    }
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    ck_assert_int_eq(fixture_number("SELECT statements FROM schema_migrations WHERE state = "
                                    "'running'"),
                     1);
    fixture_plan(&set, &plan);
    ck_assert(plan.blocked);
    ck_assert_uint_eq(plan.count, 0);
    fixture_plan_free(&set, &plan);
}
END_TEST

START_TEST(test_dbmate_and_we_share_one_ledger)
{
    struct apply_report report;
    fixture_run("CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY); INSERT INTO "
                "schema_migrations VALUES ('1');");
    fixture_migration("1_a.sql", "CREATE TABLE a (x);");
    fixture_migration("2_b.sql", "CREATE TABLE b (x);");
    fixture_apply(&report);
    ck_assert_msg(report.outcome == APPLY_DONE, "%s", report.error.message);
    apply_report_free(&report);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM schema_migrations"), 2);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM b"), 0);
}
END_TEST

START_TEST(test_a_missing_database_is_not_made)
{
    struct migration_set set;
    struct plan plan;
    struct apply_report report;
    struct apply_options options = fixture_options();
    fixture_migration("1_a.sql", "CREATE TABLE made (x);");
    fixture_plan(&set, &plan);
    ck_assert_int_eq(unlink(fixture.database), 0);
    apply_migration(fixture.database, &plan, &plan.entries[0], &options, &report);
    ck_assert_int_eq(report.outcome, APPLY_UNTOUCHED);
    ck_assert_int_ne(access(fixture.database, F_OK), 0);
    fixture_plan_free(&set, &plan);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_a_migration_and_its_row_commit_together,
        test_p5_a_failing_statement_leaves_nothing_and_is_named,
        test_what_exists_in_the_same_form_is_benign,
        test_entries_of_one_plan_can_be_applied_one_after_the_other,
        test_p4_a_plan_made_for_another_schema_is_not_carried_out,
        test_dependencies_must_be_applied,
        test_p4_threads_and_processes_at_once_apply_it_once,
        test_new_dangling_references_are_rolled_back_and_named,
        test_a_cascade_that_the_file_relies_on_works,
        test_a_migration_that_takes_too_long_is_stopped,
        test_locks_of_others_leave_the_database_untouched,
        test_p8_yellow_and_red_are_backed_up_before_the_first_write,
        test_without_a_transaction_needs_an_operators_word,
        test_p5_without_a_transaction_a_failure_says_how_far_it_came_and_blocks,
        test_p5_killed_without_a_transaction_leaves_a_trace,
        test_dbmate_and_we_share_one_ledger,
        test_a_missing_database_is_not_made,
    };
    Suite *suite = suite_create("apply");
    TCase *tcase = tcase_create("apply");
    tcase_add_checked_fixture(tcase, fixture_make, fixture_remove);
    for (size_t i = 0; i < sizeof tests / sizeof(*tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, test_p5_kill_in_the_middle_leaves_all_or_none, 0, 2);
    tcase_add_loop_test(tcase, test_p8_a_rebuild_of_a_referenced_table_loses_no_child_rows, 0, 2);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
