/* SPDX-License-Identifier: MIT */
/* At start: what the history holds and the journal does not know is told once, and nothing else. */
#include "recover/reconcile.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fixture.h"

static const char history[] =
    "CREATE TABLE schema_migrations(version TEXT PRIMARY KEY, name TEXT, checksum TEXT,"
    " state TEXT DEFAULT 'applied', applied_at TEXT, execution_ms INTEGER, statements INTEGER,"
    " applied_by TEXT, host TEXT, cause TEXT, batch TEXT);";

static void reconcile(void)
{
    struct error error = {0};
    struct journal *journal = journal_open(place.state, "test", 0, &error);
    ck_assert_msg(journal != NULL, "%s", error.message);
    reconcile_journal(&place.config, journal);
    journal_close(journal);
}

static void record(enum event_type type, const char *version)
{
    struct error error = {0};
    struct journal *journal = journal_open(place.state, "test", 0, &error);
    ck_assert_ptr_nonnull(journal);
    JOURNAL(journal, type, version, "a message");
    journal_close(journal);
}

START_TEST(test_p9_a_row_without_an_event_gets_one_and_only_one)
{
    place_run(history);
    place_run("INSERT INTO schema_migrations(version, name, checksum, applied_at) VALUES"
              "('001', 'a', 'c1', strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),"
              "('002', 'b', 'c2', strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')),"
              "('003', 'c', 'c3', NULL)");
    record(EVENT_APPLIED, "001");
    record(EVENT_APPLYING, "002"); /* it was killed before it could say more */
    reconcile();
    ck_assert_int_eq(place_events("recovered"), 2);
    reconcile();
    ck_assert_int_eq(place_events("recovered"), 2);
    ck_assert_int_eq(place_events("trouble"), 0);
}
END_TEST

START_TEST(test_p12_what_is_not_ours_not_applied_or_too_old_to_be_known_is_not_told)
{
    place_run(history);
    place_run("INSERT INTO schema_migrations(version) VALUES('001')"); /* dbmate's */
    place_run("INSERT INTO schema_migrations(version, checksum, state, applied_at) VALUES"
              "('002', 'c2', 'running', strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),"
              "('003', 'c3', 'failed', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))");
    /* Its event has left the journal, which keeps 90 days. */
    place_run("INSERT INTO schema_migrations(version, checksum, applied_at) VALUES"
              "('004', 'c4', strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-91 days')),"
              "('005', 'c5', strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-89 days'))");
    reconcile();
    ck_assert_int_eq(place_events("recovered"), 1);
    ck_assert_int_eq(place_events("trouble"), 0);
}
END_TEST

START_TEST(test_a_journal_that_keeps_everything_knows_the_oldest)
{
    place.config.journal_keep_ms = 0;
    place_run(history);
    place_run("INSERT INTO schema_migrations(version, checksum, applied_at) VALUES"
              "('001', 'c1', '2001-01-01T00:00:00.000Z')");
    reconcile();
    ck_assert_int_eq(place_events("recovered"), 1);
}
END_TEST

START_TEST(test_p7_nothing_to_compare_is_no_trouble)
{
    place_run("CREATE TABLE users(id)"); /* no history yet */
    reconcile();
    ck_assert_int_eq(place_events("recovered"), 0);
    ck_assert_int_eq(place_events("trouble"), 0);
    unlink(place.database);
    reconcile();
    ck_assert_int_ne(access(place.database, F_OK), 0);
    reconcile_journal(&place.config, NULL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_p9_a_row_without_an_event_gets_one_and_only_one,
        test_p12_what_is_not_ours_not_applied_or_too_old_to_be_known_is_not_told,
        test_a_journal_that_keeps_everything_knows_the_oldest,
        test_p7_nothing_to_compare_is_no_trouble,
    };
    return place_main("reconcile", tests, sizeof tests / sizeof *tests);
}
