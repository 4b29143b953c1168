/* SPDX-License-Identifier: MIT */
/* The journal: what is recorded is read again, equal events are counted together, and whatever
 * happens to its file, nobody waits for it. */
#include "journal/journal.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

static char root[64];
static char directory[96];
static char file[128];
static struct error error;
static int log_fd; /* what the log wrote */

static const uint64_t keep_ms = 90ull * 24 * 60 * 60 * 1000;

static void set_up(void)
{
    int ends[2];
    strcpy(root, "/tmp/automigrate-journal-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(directory, sizeof directory, "%s/app.db.automigrate", root);
    snprintf(file, sizeof file, "%s/journal.db", directory);
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    log_fd = ends[0];
    log_configure(LOG_INFO, LOG_FORMAT_TEXT);
}

static void tear_down(void)
{
    static const char *const files[] = {"journal.db", "journal.db-wal", "journal.db-shm",
                                        "journal.db-journal"};
    char path[160];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        unlink(path);
    }
    rmdir(directory);
    ck_assert_int_eq(rmdir(root), 0);
    close(log_fd);
}

static struct journal *open_journal(void)
{
    struct journal *journal = journal_open(directory, "automigrate://test", keep_ms, &error);
    ck_assert_msg(journal != NULL, "%s", error.message);
    return journal;
}

static json_t *all_events; /* an array */

static bool keep_event(void *context, json_t *event)
{
    (void)context;
    json_array_append(all_events, event);
    return true;
}

static int64_t read_events(const struct journal_query *query)
{
    int64_t last_id = -1;
    json_decref(all_events);
    all_events = json_array();
    ck_assert_msg(journal_read(directory, query, keep_event, NULL, &last_id, &error), "%s",
                  error.message);
    return last_id;
}

static size_t event_count(void)
{
    return json_array_size(all_events);
}

static const char *event_text(size_t index, const char *key)
{
    return json_string_value(json_object_get(json_array_get(all_events, index), key));
}

static json_t *event_data(size_t index, const char *key)
{
    return json_object_get(json_object_get(json_array_get(all_events, index), "data"), key);
}

/* How many lines of the log hold `text`; reads what is there, or waits for a first one. */
static int log_lines(const char *text, int wait_ms)
{
    static char log[1 << 20];
    size_t length = 0;
    int count = 0;
    struct pollfd pollfd = {.fd = log_fd, .events = POLLIN};
    while (poll(&pollfd, 1, length == 0 ? wait_ms : 0) > 0) {
        ssize_t got = read(log_fd, log + length, sizeof log - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    log[length] = '\0';
    for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
        count += strstr(line, text) != NULL;
    return count;
}

/* A second connection, as another process or an operator's hand has one. */
static sqlite3 *other_connection(const char *sql)
{
    sqlite3 *handle;
    ck_assert_int_eq(sqlite3_open_v2(file, &handle, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(handle, 10000);
    char *message = NULL;
    sqlite3_exec(handle, sql, NULL, NULL, &message);
    ck_assert_msg(message == NULL, "%s", message);
    return handle;
}

static void run_sql(const char *sql)
{
    sqlite3_close(other_connection(sql));
}

START_TEST(test_p9_an_event_is_read_as_it_was_recorded)
{
    struct journal *journal = open_journal();
    JOURNAL(journal, EVENT_APPLIED, "001", "migration 001 was applied",
            log_text("cause", "no such table: \"größe\""), log_number("duration_ms", 12),
            log_text("left_out", NULL));
    JOURNAL(journal, EVENT_STOPPED, NULL, "the proxy has ended");
    journal_close(journal);

    ck_assert_int_eq(read_events(&(struct journal_query){0}), 2);
    ck_assert_uint_eq(event_count(), 2);
    ck_assert_str_eq(event_text(0, "specversion"), "1.0");
    ck_assert_str_eq(event_text(0, "id"), "1");
    ck_assert_str_eq(event_text(0, "source"), "automigrate://test");
    ck_assert_str_eq(event_text(0, "type"), "automigrate.applied");
    ck_assert_str_eq(event_text(0, "subject"), "001");
    ck_assert_str_eq(event_text(0, "datacontenttype"), "application/json");
    ck_assert_uint_eq(strlen(event_text(0, "time")), strlen("2026-11-21T02:46:04.123Z"));
    ck_assert_str_eq(json_string_value(event_data(0, "message")), "migration 001 was applied");
    ck_assert_str_eq(json_string_value(event_data(0, "cause")), "no such table: \"größe\"");
    ck_assert_int_eq(json_integer_value(event_data(0, "duration_ms")), 12);
    ck_assert_int_eq(json_integer_value(event_data(0, "count")), 1);
    ck_assert_str_eq(json_string_value(event_data(0, "last_time")), event_text(0, "time"));
    ck_assert_ptr_null(event_data(0, "left_out"));
    ck_assert_str_eq(event_text(1, "type"), "automigrate.stopped");
    ck_assert_ptr_null(json_object_get(json_array_get(all_events, 1), "subject"));
    ck_assert_int_eq(log_lines("event=applied message=\"migration 001 was applied\" subject=001 "
                               "cause=\"no such table: \\\"größe\\\"\" duration_ms=12",
                               0),
                     1);
}
END_TEST

START_TEST(test_p9_equal_events_are_one_row_and_one_log_line)
{
    struct journal *journal = open_journal();
    for (int i = 0; i < 120; i++) {
        JOURNAL(journal, EVENT_REFUTED, "no such table: a", "it is there");
        JOURNAL(journal, EVENT_REFUTED, "no such table: b", "it is there");
        JOURNAL(journal, EVENT_REFUTED, "no such table: b", "it is there now");
        JOURNAL(journal, EVENT_UNMAPPED, "no such table: b", "it is there");
        JOURNAL(journal, EVENT_UNMAPPED, NULL, "it is there");
    }
    ck_assert_int_eq(log_lines("it is there", 0), 5);
    journal_close(journal);
    read_events(&(struct journal_query){0});
    ck_assert_uint_eq(event_count(), 5);
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(json_integer_value(event_data(i, "count")), 120);

    /* And across batches, and a restart. */
    journal = open_journal();
    JOURNAL(journal, EVENT_REFUTED, "no such table: a", "it is there");
    journal_close(journal);
    read_events(&(struct journal_query){0});
    ck_assert_uint_eq(event_count(), 5);
    ck_assert_int_eq(json_integer_value(event_data(0, "count")), 121);
}
END_TEST

START_TEST(test_p9_an_equal_event_after_the_interval_is_a_row_of_its_own)
{
    struct journal *journal = open_journal();
    JOURNAL(journal, EVENT_REFUTED, "a", "it is there");
    journal_close(journal);
    run_sql("UPDATE events SET time = time - 60001");
    journal = open_journal();
    JOURNAL(journal, EVENT_REFUTED, "a", "it is there");
    journal_close(journal);
    read_events(&(struct journal_query){0});
    ck_assert_uint_eq(event_count(), 2);
}
END_TEST

START_TEST(test_later_equal_events_are_logged_for_debugging)
{
    struct journal *journal = open_journal();
    log_configure(LOG_DEBUG, LOG_FORMAT_TEXT);
    for (int i = 0; i < 3; i++)
        JOURNAL(journal, EVENT_UNMAPPED, "x", "nothing provides it");
    ck_assert_int_eq(log_lines("", 0), 3);
    for (int i = 0; i < 3; i++)
        JOURNAL(journal, EVENT_UNMAPPED, "y", "nothing provides it");
    ck_assert_int_eq(log_lines("level=debug", 0), 2);
    journal_close(journal);
}
END_TEST

/* Nobody closes it: 50 are written at once, fewer within a second, many as fast as can be. */
static const int while_running[] = {1, 50, 2000};

START_TEST(test_events_reach_the_file_while_the_program_runs)
{
    struct journal *journal = open_journal();
    uint64_t deadline = clock_monotonic_ns() + 20 * NS_PER_SECOND;
    int count = while_running[_i];
    for (int i = 0; i < count; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "%d", i);
        JOURNAL(journal, EVENT_HEALED, subject, "healed");
    }
    while (journal_written(journal) < (uint64_t)count && clock_monotonic_ns() < deadline)
        poll(NULL, 0, 5);
    read_events(&(struct journal_query){0});
    ck_assert_uint_eq(event_count(), (size_t)count);
    journal_close(journal);
}
END_TEST

static const struct {
    struct journal_query query;
    size_t count;
    int64_t first;
    int64_t last;
} queries[] = {
    {{0}, 450, 1, 450},
    {{.limit = 10}, 10, 441, 450},
    {{.limit = 250}, 250, 201, 450},
    {{.limit = 1000}, 450, 1, 450},
    {{.after_id = 440}, 10, 441, 450},
    {{.after_id = 440, .limit = 3}, 3, 448, 450},
    {{.after_id = 450}, 0, 0, 450},
    {{.after_id = 1000}, 0, 0, 1000},
    {{.type = "healed"}, 225, 2, 450},
    {{.type = "healed", .limit = 2}, 2, 448, 450},
    {{.type = "applied"}, 0, 0, 0},
    {{.subject = "n7"}, 45, 8, 448},
    {{.subject = "n7", .type = "healed", .limit = 1}, 1, 448, 448},
    {{.subject = "n7", .type = "retried"}, 0, 0, 0},
    {{.subject = "' OR 1 --"}, 0, 0, 0},
};

START_TEST(test_queries_tell_the_newest_oldest_first)
{
    struct journal *journal = open_journal();
    for (int i = 0; i < 450; i++) {
        char subject[16];
        char message[16];
        snprintf(subject, sizeof subject, "n%d", i % 10);
        snprintf(message, sizeof message, "m%d", i);
        JOURNAL(journal, i % 2 ? EVENT_HEALED : EVENT_RETRIED, subject, message);
    }
    journal_close(journal);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        ck_assert_int_eq(read_events(&queries[i].query), queries[i].last);
        ck_assert_msg(event_count() == queries[i].count, "%zu: %zu", i, event_count());
        if (event_count() == 0)
            continue;
        ck_assert_int_eq(atoll(event_text(0, "id")), queries[i].first);
        ck_assert_int_eq(atoll(event_text(event_count() - 1, "id")), queries[i].last);
    }
}
END_TEST

static bool stop_at_second(void *context, json_t *event)
{
    (void)event;
    return ++*(int *)context < 2;
}

START_TEST(test_reading_ends_when_the_caller_has_enough)
{
    struct journal *journal = open_journal();
    for (int i = 0; i < 5; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "%d", i);
        JOURNAL(journal, EVENT_HEALED, subject, "healed");
    }
    journal_close(journal);
    int told = 0;
    int64_t last_id;
    ck_assert(journal_read(directory, &(struct journal_query){0}, stop_at_second, &told, &last_id,
                           &error));
    ck_assert_int_eq(told, 2);
    ck_assert_int_eq(last_id, 2);
}
END_TEST

START_TEST(test_a_journal_that_is_not_there_is_empty_and_stays_away)
{
    ck_assert_int_eq(read_events(&(struct journal_query){.after_id = 5}), 5);
    ck_assert_uint_eq(event_count(), 0);
    ck_assert_int_ne(access(directory, F_OK), 0);
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    read_events(&(struct journal_query){0});
    ck_assert_uint_eq(event_count(), 0);
    ck_assert_int_ne(access(file, F_OK), 0);
    /* one whose maker has not come further */
    close(open(file, O_CREAT | O_WRONLY, 0600));
    read_events(&(struct journal_query){0});
    ck_assert_uint_eq(event_count(), 0);
}
END_TEST

START_TEST(test_only_the_owner_can_read_it)
{
    struct stat status;
    umask(0);
    struct journal *journal = open_journal();
    JOURNAL(journal, EVENT_STARTED, NULL, "started");
    ck_assert_int_eq(stat(directory, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0700);
    ck_assert_int_eq(stat(file, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
    journal_close(journal);
}
END_TEST

/* What root makes can be used by the application's user. */
START_TEST(test_the_owner_is_that_of_the_databases_directory)
{
    struct stat status;
    enum { OWNER = 12345, GROUP = 12346 };
    if (geteuid() != 0)
        return;
    ck_assert_int_eq(chown(root, OWNER, GROUP), 0);
    journal_close(open_journal());
    ck_assert_int_eq(stat(directory, &status), 0);
    ck_assert_uint_eq(status.st_uid, OWNER);
    ck_assert_uint_eq(status.st_gid, GROUP);
    ck_assert_int_eq(stat(file, &status), 0);
    ck_assert_uint_eq(status.st_uid, OWNER);
    ck_assert_uint_eq(status.st_gid, GROUP);
}
END_TEST

START_TEST(test_links_are_not_followed)
{
    char target[128];
    struct stat status;
    snprintf(target, sizeof target, "%s/elsewhere", root);
    ck_assert_int_eq(mkdir(target, 0700), 0);
    ck_assert_int_eq(symlink(target, directory), 0);
    ck_assert_ptr_null(journal_open(directory, "s", keep_ms, &error));
    ck_assert_ptr_nonnull(strstr(error.message, directory));
    ck_assert_ptr_nonnull(strstr(error.message, "symbolic link"));
    char slashed[128];
    snprintf(slashed, sizeof slashed, "%s//", directory);
    ck_assert_ptr_null(journal_open(slashed, "s", keep_ms, &error));
    ck_assert_int_eq(unlink(directory), 0);
    ck_assert_int_eq(rmdir(target), 0); /* and it is empty */

    ck_assert_int_eq(mkdir(directory, 0700), 0);
    close(open(target, O_CREAT | O_WRONLY, 0644));
    ck_assert_int_eq(symlink(target, file), 0);
    ck_assert_ptr_null(journal_open(directory, "s", keep_ms, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "symbolic link"));
    int64_t last_id;
    ck_assert(
        !journal_read(directory, &(struct journal_query){0}, keep_event, NULL, &last_id, &error));
    ck_assert_int_eq(stat(target, &status), 0);
    ck_assert_int_eq(status.st_size, 0);
    ck_assert_int_eq(unlink(target), 0);
}
END_TEST

START_TEST(test_p11_what_cannot_be_a_journal_is_named)
{
    int64_t last_id;
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    FILE *garbage = fopen(file, "w");
    ck_assert_ptr_nonnull(garbage);
    for (int i = 0; i < 1000; i++)
        fputs("no database at all\n", garbage);
    fclose(garbage);
    ck_assert_ptr_null(journal_open(directory, "s", keep_ms, &error));
    ck_assert_ptr_nonnull(strstr(error.message, file));
    ck_assert(
        !journal_read(directory, &(struct journal_query){0}, keep_event, NULL, &last_id, &error));
    ck_assert_ptr_nonnull(strstr(error.message, file));
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(rmdir(directory), 0);

    close(open(directory, O_CREAT | O_WRONLY, 0600));
    ck_assert_ptr_null(journal_open(directory, "s", keep_ms, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "is a file"));
    ck_assert_int_eq(unlink(directory), 0);
}
END_TEST

START_TEST(test_p11_a_file_of_a_newer_program_is_left_alone)
{
    int64_t last_id;
    journal_close(open_journal());
    run_sql("PRAGMA user_version=99");
    ck_assert_ptr_null(journal_open(directory, "s", keep_ms, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "newer automigrate"));
    ck_assert(
        !journal_read(directory, &(struct journal_query){0}, keep_event, NULL, &last_id, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "newer automigrate"));
}
END_TEST

START_TEST(test_old_rows_are_removed_at_the_start)
{
    static const uint64_t keeps[] = {0, 60 * 60 * 1000, 1000};
    static const size_t left[] = {3001, 1001, 1};
    journal_close(open_journal());
    run_sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
            " INSERT INTO events(time, last_time, type, message, count, data, source)"
            " SELECT 0, (unixepoch() - iif(i > 2000, 600, 7200)) * 1000, 'healed', i, 1, '{}', 's'"
            " FROM n");
    for (size_t i = 0; i < 3; i++) {
        struct journal *journal = journal_open(directory, "s", keeps[i], &error);
        ck_assert_ptr_nonnull(journal);
        JOURNAL(journal, EVENT_STARTED, NULL, "started");
        journal_close(journal);
        read_events(&(struct journal_query){0});
        ck_assert_msg(event_count() == left[i], "%zu: %zu", i, event_count());
    }
}
END_TEST

/* Text from bodies: broken UTF-8, NUL, endless. */
START_TEST(test_p11_any_text_becomes_readable_json)
{
    static char endless[64 * 1024];
    struct log_field fields[41];
    memset(endless, 'e', sizeof endless - 1);
    struct journal *journal = open_journal();
    JOURNAL(journal, EVENT_DETECTED, "bro\xffken \xc3", "\xed\xa0\x80\xf5 \xe8\xa1\xa8",
            log_slice("nul", slice_make("a\0b", 3)),
            log_slice("cut", slice_make("\xe8\xa1\xa8", 2)), log_text("control", "\x01\n\""));
    JOURNAL(journal, EVENT_DETECTED, endless, endless, log_text("long", endless));
    for (size_t i = 0; i < 40; i++)
        fields[i] = log_text(i % 2 ? "odd" : "even", endless);
    fields[40] = (struct log_field){.kind = LOG_END};
    journal_record(journal, EVENT_DETECTED, "many", "", fields);
    journal_close(journal);

    read_events(&(struct journal_query){0});
    ck_assert_uint_eq(event_count(), 3);
    ck_assert_str_eq(event_text(0, "subject"), "bro\xef\xbf\xbdken \xef\xbf\xbd");
    ck_assert_str_eq(json_string_value(event_data(0, "message")),
                     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xe8\xa1\xa8");
    ck_assert_str_eq(json_string_value(event_data(0, "nul")), "a\xef\xbf\xbd"
                                                              "b");
    ck_assert_str_eq(json_string_value(event_data(0, "cut")), "\xef\xbf\xbd\xef\xbf\xbd");
    ck_assert_str_eq(json_string_value(event_data(0, "control")), "\x01\n\"");
    ck_assert_uint_eq(strlen(event_text(1, "subject")), 1024);
    ck_assert_uint_eq(json_string_length(event_data(1, "long")), 4096);
    ck_assert(json_is_true(event_data(2, "cut")));
    ck_assert_str_eq(event_text(2, "subject"), "many");
}
END_TEST

START_TEST(test_p7_without_a_journal_events_are_logged)
{
    JOURNAL(NULL, EVENT_APPLIED, "001", "applied", log_number("n", 1));
    ck_assert_int_eq(log_lines("event=applied", 0), 1);
    ck_assert_uint_eq(journal_dropped(NULL) + journal_written(NULL), 0);
    journal_close(NULL);
}
END_TEST

START_TEST(test_p7_one_bad_event_does_not_cost_its_batch)
{
    struct journal *journal = open_journal();
    run_sql("CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.subject = '7'"
            " BEGIN SELECT raise(ABORT, 'refused'); END");
    for (int i = 0; i < 20; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "%d", i);
        JOURNAL(journal, EVENT_HEALED, subject, "healed");
    }
    journal_close(journal);
    read_events(&(struct journal_query){0});
    ck_assert_uint_eq(event_count(), 19);
    ck_assert_int_eq(log_lines("the journal cannot be written", 0), 1);
}
END_TEST

START_TEST(test_p7_a_full_disk_costs_only_events_and_one_log_line)
{
    struct rlimit limit;
    struct rlimit before;
    struct journal *journal = open_journal();
    uint64_t deadline = clock_monotonic_ns() + 20 * NS_PER_SECOND;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){4096, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 0; i < 200; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "%d", i);
        JOURNAL(journal, EVENT_HEALED, subject, "healed");
    }
    while (journal_dropped(journal) < 200 && clock_monotonic_ns() < deadline)
        poll(NULL, 0, 5);
    ck_assert_uint_eq(journal_dropped(journal), 200);
    ck_assert_uint_eq(journal_written(journal), 0);
    ck_assert_int_eq(log_lines("the journal cannot be written", 0), 1);

    /* There is room again: so it goes on, and says so. */
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    JOURNAL(journal, EVENT_HEALED, "later", "healed");
    journal_close(journal);
    ck_assert_int_eq(log_lines("the journal can be written again", 0), 1);
    read_events(&(struct journal_query){0});
    ck_assert_uint_eq(event_count(), 1);
}
END_TEST

/* Another process holds the write lock: whoever records does not wait, what finds no place in the
 * queue is counted, and what is in it is written once the lock is free. */
START_TEST(test_p7_a_locked_file_holds_up_nobody)
{
    enum { RECORDED = 6000 };
    struct journal *journal = open_journal();
    sqlite3 *other = other_connection("BEGIN IMMEDIATE");
    uint64_t begin = clock_monotonic_ns();
    for (int i = 0; i < RECORDED; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "%d", i);
        JOURNAL(journal, EVENT_HEALED, subject, "healed");
    }
    uint64_t dropped = journal_dropped(journal);
    ck_assert_uint_lt(clock_monotonic_ns() - begin, 20 * NS_PER_SECOND);
    ck_assert_uint_ge(dropped, RECORDED - 4096 - 50);
    ck_assert_uint_lt(dropped, RECORDED);
    ck_assert_int_eq(log_lines("the journal cannot keep up", 0), 1);
    /* until the writer has given up once and kept its batch */
    ck_assert_int_eq(log_lines("the journal cannot be written", 20000), 1);
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    journal_close(journal);
    read_events(&(struct journal_query){0});
    ck_assert_uint_eq(event_count(), RECORDED - dropped);
}
END_TEST

START_TEST(test_p7_a_locked_file_does_not_put_off_the_end)
{
    struct journal *journal = open_journal();
    sqlite3 *other = other_connection("BEGIN IMMEDIATE");
    for (int i = 0; i < 500; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "%d", i);
        JOURNAL(journal, EVENT_HEALED, subject, "healed");
    }
    uint64_t begin = clock_monotonic_ns();
    journal_close(journal); /* ten batches would wait for ten times two seconds */
    ck_assert_uint_lt(clock_monotonic_ns() - begin, 10 * NS_PER_SECOND);
    sqlite3_close(other);
}
END_TEST

enum { THREADS = 8, EACH = 400 };

static void *record_many(void *argument)
{
    struct journal *journal = argument;
    for (int i = 0; i < EACH; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "%d", i % 40);
        JOURNAL(journal, EVENT_RETRIED, subject, "retried", log_number("i", i));
    }
    return NULL;
}

static int64_t total_count(void)
{
    int64_t total = 0;
    for (size_t i = 0; i < event_count(); i++)
        total += json_integer_value(event_data(i, "count"));
    return total;
}

START_TEST(test_p9_no_event_of_many_threads_is_lost)
{
    pthread_t threads[THREADS];
    struct journal *journal = open_journal();
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, record_many, journal), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(journal_dropped(journal), 0);
    journal_close(journal);
    read_events(&(struct journal_query){0});
    ck_assert_int_eq(total_count(), THREADS * EACH);
    ck_assert_uint_eq(event_count(), 40);
    ck_assert_int_eq(log_lines("event=retried", 0), 40);
}
END_TEST

START_TEST(test_p9_no_event_of_many_processes_is_lost)
{
    enum { PROCESSES = 4 };
    for (int process = 0; process < PROCESSES; process++) {
        if (fork() != 0)
            continue;
        char source[16];
        snprintf(source, sizeof source, "s%d", process);
        struct journal *journal = journal_open(directory, source, keep_ms, &error);
        if (!journal)
            _exit(1);
        record_many(journal);
        bool is_lost = journal_dropped(journal) > 0;
        journal_close(journal);
        _exit(is_lost ? 2 : 0);
    }
    for (int process = 0; process < PROCESSES; process++) {
        int status;
        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    read_events(&(struct journal_query){0});
    ck_assert_int_eq(total_count(), PROCESSES * EACH);
    ck_assert_uint_eq(event_count(), PROCESSES * 40);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

int main(void)
{
    const TTest *const tests[] = {
        test_p9_an_event_is_read_as_it_was_recorded,
        test_p9_equal_events_are_one_row_and_one_log_line,
        test_p9_an_equal_event_after_the_interval_is_a_row_of_its_own,
        test_later_equal_events_are_logged_for_debugging,
        test_queries_tell_the_newest_oldest_first,
        test_reading_ends_when_the_caller_has_enough,
        test_a_journal_that_is_not_there_is_empty_and_stays_away,
        test_only_the_owner_can_read_it,
        test_the_owner_is_that_of_the_databases_directory,
        test_links_are_not_followed,
        test_p11_what_cannot_be_a_journal_is_named,
        test_p11_a_file_of_a_newer_program_is_left_alone,
        test_old_rows_are_removed_at_the_start,
        test_p11_any_text_becomes_readable_json,
        test_p7_without_a_journal_events_are_logged,
        test_p7_one_bad_event_does_not_cost_its_batch,
        test_p7_a_full_disk_costs_only_events_and_one_log_line,
        test_p7_a_locked_file_holds_up_nobody,
        test_p7_a_locked_file_does_not_put_off_the_end,
        test_p9_no_event_of_many_threads_is_lost,
        test_p9_no_event_of_many_processes_is_lost,
    };
    Suite *suite = suite_create("journal");
    TCase *cases = tcase_create("journal");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    for (int i = 0; i < COUNT(tests); i++)
        tcase_add_test(cases, tests[i]);
    tcase_add_loop_test(cases, test_events_reach_the_file_while_the_program_runs, 0,
                        COUNT(while_running));
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
