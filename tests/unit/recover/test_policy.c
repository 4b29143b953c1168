/* SPDX-License-Identifier: MIT */
/* How far a recovery may go without an operator, and what it says where it may not. */
#include "recover/policy.h"

#include <string.h>

#include "fixture.h"

enum { COUNT = 3 };

static struct migration migrations[COUNT];
static struct plan_entry entries[COUNT];
static struct drift drifts[3];
static struct plan plan;
static struct config config;

/* Three green migrations that may all be applied; a case then spoils one. */
static void set_up(void)
{
    static char files[COUNT][16] = {"001_a.sql", "002_b.sql", "003_c.sql"};
    static char versions[COUNT][4] = {"001", "002", "003"};
    place_make();
    for (size_t i = 0; i < COUNT; i++) {
        migrations[i] =
            (struct migration){.version = versions[i], .file_name = files[i], .transaction = true};
        snprintf(migrations[i].checksum, CHECKSUM_SIZE, "%064zu", i);
        entries[i] = (struct plan_entry){.migration = &migrations[i]};
    }
    plan = (struct plan){.entries = entries, .count = COUNT, .schema_version = 7, .drifts = drifts};
    config = (struct config){.policy_auto_apply = RISK_YELLOW, .policy_lock_budget_ms = 2000};
}

static struct permission permit(struct state *state)
{
    struct permission permission;
    policy_permit(&plan, &config, state, &permission);
    return permission;
}

static void check(size_t count, const char *const *words)
{
    struct permission permission = permit(NULL);
    ck_assert_uint_eq(permission.count, count);
    ck_assert(!permission.all);
    for (; *words; words++)
        ck_assert_msg(strstr(permission.reason, *words) != NULL, "\"%s\" not in \"%s\"", *words,
                      permission.reason);
    ck_assert_ptr_null(strchr(permission.reason, '\n'));
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

START_TEST(test_what_is_within_the_policy_may_be_applied)
{
    entries[1].risk = MIGRATION_YELLOW;
    entries[2].rehearsal = REHEARSAL_DEPENDS_ON_DATA;
    struct permission permission = permit(NULL);
    ck_assert_uint_eq(permission.count, COUNT);
    ck_assert(permission.all);
    ck_assert_str_eq(permission.reason, "");
    plan.count = 0;
    permission = permit(NULL);
    ck_assert_uint_eq(permission.count, 0);
    ck_assert(permission.all);
}
END_TEST

START_TEST(test_risk_above_the_policy_is_left_to_an_operator)
{
    static const enum config_risk allowed[] = {RISK_GREEN, RISK_YELLOW, RISK_RED};
    static const enum risk risks[] = {MIGRATION_GREEN, MIGRATION_YELLOW, MIGRATION_RED};
    for (size_t a = 0; a < 3; a++) {
        for (size_t r = 0; r < 3; r++) {
            config.policy_auto_apply = allowed[a];
            entries[1].risk = risks[r];
            strcpy(entries[1].risk_reason, "line 3: DROP TABLE x");
            ck_assert_uint_eq(permit(NULL).count, r <= a ? 3 : 1);
        }
    }
    config.policy_auto_apply = RISK_YELLOW;
    check(1, WORDS("002_b.sql", "is red", "policy.auto_apply is yellow", "line 3: DROP TABLE x",
                   "automigrate status", "automigrate apply"));
}
END_TEST

START_TEST(test_a_rehearsal_that_fails_or_did_not_run_stops_there)
{
    entries[2].rehearsal = REHEARSAL_NOT_RUN;
    entries[2].risk = MIGRATION_RED;
    config.policy_auto_apply = RISK_RED;
    check(2, WORDS("003_c.sql", "could not be rehearsed", "automigrate apply"));
    entries[1].rehearsal = REHEARSAL_FAILS;
    error_set(&entries[1].failure, ERROR_SQL, "002_b.sql:4: near \"TABEL\": syntax error");
    check(1, WORDS("002_b.sql", "fails in the rehearsal", "002_b.sql:4", "syntax error"));
}
END_TEST

START_TEST(test_without_a_transaction_is_never_applied_by_itself)
{
    config.policy_auto_apply = RISK_RED;
    migrations[0].transaction = false;
    check(0, WORDS("001_a.sql", "without a transaction", "automigrate apply"));
}
END_TEST

START_TEST(test_p7_the_lock_budget_bounds_what_is_rewritten)
{
    config.policy_lock_budget_ms = 2000;
    entries[1].rewritten_bytes = 50ull * 1024 * 2000;
    ck_assert(permit(NULL).all);
    entries[1].rewritten_bytes = 50ull * 1024 * 2001;
    check(1, WORDS("002_b.sql", "policy.lock_budget", "automigrate apply"));
    entries[1].rewritten_bytes = UINT64_MAX;
    check(1, WORDS("002_b.sql"));
}
END_TEST

START_TEST(test_a_remembered_failure_holds_for_that_file_on_that_schema)
{
    struct error error = {0};
    struct state *state = state_open(place.state, &error);
    ck_assert_msg(state != NULL, "%s", error.message);
    struct state_failure failure = {.schema_version = 7};
    strcpy(failure.checksum, migrations[1].checksum);
    strcpy(failure.version, "002");
    strcpy(failure.message, "002_b.sql:2: UNIQUE constraint failed");
    ck_assert(state_remember_failure(state, &failure, &error));
    struct permission permission = permit(state);
    ck_assert_uint_eq(permission.count, 1);
    ck_assert(permission.failed_before);
    ck_assert_ptr_nonnull(strstr(permission.reason, "002_b.sql failed before"));
    ck_assert_ptr_nonnull(strstr(permission.reason, "UNIQUE constraint failed"));
    ck_assert_ptr_nonnull(strstr(permission.reason, "automigrate apply"));

    plan.schema_version = 8; /* another schema */
    ck_assert(permit(state).all);
    plan.schema_version = 7;
    migrations[1].checksum[0] = 'f'; /* another file */
    ck_assert(permit(state).all);
    state_close(state);
}
END_TEST

START_TEST(test_a_drift_that_blocks_is_told_and_not_one_that_does_not)
{
    static char late[] = "001_a.sql is pending, though", missing[] = "000 has no file";
    static char changed[] = "000_z.sql was changed after it was applied; put it back";
    static char unfinished[] = "000_z.sql runs outside a transaction and is \"failed\"; finish it";
    drifts[0] = (struct drift){DRIFT_LATE, NULL, late};
    drifts[1] = (struct drift){DRIFT_MISSING, NULL, missing};
    plan.drift_count = 2;
    ck_assert(permit(NULL).all);
    plan.drift_count = 3;
    plan.blocked = true;
    drifts[2] = (struct drift){DRIFT_CHANGED, NULL, changed};
    check(0, WORDS("000_z.sql was changed", "put it back"));
    drifts[2] = (struct drift){DRIFT_UNFINISHED, NULL, unfinished};
    check(0, WORDS("000_z.sql", "finish it"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy");
    TCase *tcase = tcase_create("policy");
    tcase_add_checked_fixture(tcase, set_up, place_remove);
    tcase_add_test(tcase, test_what_is_within_the_policy_may_be_applied);
    tcase_add_test(tcase, test_risk_above_the_policy_is_left_to_an_operator);
    tcase_add_test(tcase, test_a_rehearsal_that_fails_or_did_not_run_stops_there);
    tcase_add_test(tcase, test_without_a_transaction_is_never_applied_by_itself);
    tcase_add_test(tcase, test_p7_the_lock_budget_bounds_what_is_rewritten);
    tcase_add_test(tcase, test_a_remembered_failure_holds_for_that_file_on_that_schema);
    tcase_add_test(tcase, test_a_drift_that_blocks_is_told_and_not_one_that_does_not);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
