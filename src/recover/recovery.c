/* SPDX-License-Identifier: MIT */
/* A pass of recovery. Recovery thread only. */
#include "recover/recovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/record.h"
#include "migrate/run.h"
#include "recover/closure.h"
#include "recover/policy.h"
#include "recover/tally.h"

enum { COOL_DOWN_MS = 1000 };

void submissions_free(struct submission *first)
{
    while (first) {
        struct submission *next = first->next;
        free(first);
        first = next;
    }
}

bool recovery_construct(struct recovery *recovery, struct live *live,
                        const struct recover_options *options, struct error *error)
{
    struct error trouble = {0};
    (void)error;
    recovery->options = options;
    recovery->live = live;
    recovery->state = state_open(options->config->state_directory, &trouble);
    if (!recovery->state)
        JOURNAL(options->journal, EVENT_TROUBLE, "state", trouble.message,
                log_text("category", error_category(trouble.code)));
    return true;
}

void recovery_destruct(struct recovery *recovery)
{
    state_close(recovery->state);
}

/* By what is still missing, if anything is: a second attempt needs that too. Else by what is there
 * by now, else by the first. */
static void judge(struct recovery *recovery, struct submission *submission)
{
    struct live *live = recovery->live;
    for (size_t i = 0; i < submission->count; i++) {
        struct judged judged;
        judge_error(&submission->errors[i], submission->generation, &live->catalogue, &live->plan,
                    &live->appearances, &judged);
        bool missing = judged.judgement == JUDGED_CONFIRMED;
        bool there =
            judged.judgement == JUDGED_APPEARED && submission->judged.judgement != JUDGED_APPEARED;
        if (i == 0 || missing || there) {
            submission->judged = judged;
            submission->about = i;
        }
        if (missing)
            return;
    }
}

static bool is_locked_one(const struct submission *submission)
{
    return submission->count == 0;
}

/* Whether the retry rules let it be sent again; *why is the rule that does not. */
static bool may_retry(const struct recovery *recovery, const struct submission *submission,
                      const char **why)
{
    *why = NULL;
    if (!submission->replayable)
        *why =
            "its body was not kept: it is larger than retry.max_body, or retry.budget was used up";
    else if (submission->is_idempotent)
        return true;
    else if (recovery->options->config->retry_unsafe == UNSAFE_NEVER)
        *why = "its method is not idempotent, and retry.unsafe is never";
    else if (recovery->options->config->retry_unsafe == UNSAFE_KEY &&
             !submission->has_idempotency_key)
        *why = "its method is not idempotent, and it has no Idempotency-Key (retry.unsafe is key)";
    else if (recovery->options->config->retry_unsafe == UNSAFE_QUIET && !submission->is_quiet)
        *why =
            "its method is not idempotent, and a commit was seen in the database since it was sent "
            "(retry.unsafe is quiet)";
    return *why == NULL;
}

static void release(struct recovery *recovery, struct tally *tally, struct submission *submission)
{
    const char *why, *text = is_locked_one(submission) ? "database is locked"
                                                       : submission->errors[submission->about].text;
    bool there = is_locked_one(submission) || submission->judged.judgement == JUDGED_APPEARED;
    struct verdict verdict = {submission->ticket, VERDICT_PASS};
    if (there && may_retry(recovery, submission, &why)) {
        verdict.kind = VERDICT_RETRY;
        atomic_fetch_add(&recovery->retried, 1);
        tally_count(tally, EVENT_RETRIED, text, "requests that failed so are sent a second time",
                    submission);
    } else if (there) {
        tally_count(tally, EVENT_NOT_RETRIED, text, why, submission);
    } else if (submission->judged.judgement == JUDGED_REFUTED) {
        tally_count(tally, EVENT_REFUTED, text,
                    "the database has it, and had it when the request was sent: nothing is "
                    "done",
                    submission);
    } else if (submission->judged.judgement == JUDGED_UNMAPPED) {
        tally_count(tally, EVENT_UNMAPPED, text,
                    "no pending migration provides it: nothing is done", submission);
    } else if (submission->judged.judgement == JUDGED_AMBIGUOUS) {
        tally_count(tally, EVENT_AMBIGUOUS, text,
                    "pending migrations add such a column to several tables: nothing is "
                    "done",
                    submission);
    }
    recovery->options->deliver(recovery->options->context, &verdict);
    free(submission);
}

/* What a run needs to know of the requests behind it. */
struct errand {
    struct recovery *recovery;
    const char *versions[32]; /* of the migrations that were confirmed to be needed */
    size_t count;
    const struct submission *first; /* whose failure is told as the cause */
    char cause[192];
    char batch[CLOCK_TEXT_SIZE]; /* the same for all of this run */
};

static bool is_needed(const struct errand *errand, const struct plan_entry *entry)
{
    for (size_t i = 0; i < errand->count; i++) {
        if (strcmp(errand->versions[i], entry->migration->version) == 0)
            return true;
    }
    return false;
}

/* Where state.db is full or out of reach: a migration that fails is not run for each request in
 * turn. The oldest of more than a few is forgotten. */
static void note_failure(struct recovery *recovery, const struct plan *plan,
                         const struct plan_entry *entry)
{
    struct state_failure failure;
    bool found = false;
    if (recovery->state &&
        state_find_failure(recovery->state, entry->migration->checksum, &failure, &found, NULL) &&
        found && failure.schema_version == plan->expectation->schema_version)
        return;
    size_t i = recovery->noted++ % (sizeof recovery->failures / sizeof *recovery->failures);
    recovery->failures[i].schema_version = plan->expectation->schema_version;
    slice_copy(slice_from_string(entry->migration->checksum), recovery->failures[i].checksum,
               sizeof recovery->failures[i].checksum);
}

static bool is_noted(const struct recovery *recovery, const struct plan *plan,
                     const struct plan_entry *entry)
{
    for (size_t i = 0; i < sizeof recovery->failures / sizeof *recovery->failures; i++) {
        if (recovery->failures[i].schema_version == plan->schema_version &&
            strcmp(recovery->failures[i].checksum, entry->migration->checksum) == 0)
            return true;
    }
    return false;
}

static void leave_out_noted(const struct recovery *recovery, const struct plan *plan,
                            struct permission *permission)
{
    for (size_t i = 0; i < permission->count; i++) {
        if (!is_noted(recovery, plan, &plan->entries[i]))
            continue;
        *permission = (struct permission){.count = i, .failed_before = true};
        snprintf(
            permission->reason, sizeof permission->reason,
            "%s failed before, and neither file nor schema have changed since: look at it with "
            "\"automigrate status\" and apply it with \"automigrate apply\"",
            plan->entries[i].migration->file_name);
    }
}

static size_t permit(void *context, const struct plan *plan)
{
    struct errand *errand = context;
    struct recovery *recovery = errand->recovery;
    struct permission permission;
    policy_permit(plan, recovery->options->config, recovery->state, &permission);
    leave_out_noted(recovery, plan, &permission);
    for (size_t i = 0; i < permission.count; i++) {
        if (is_needed(errand, &plan->entries[i]))
            return permission.count;
    }
    bool pending = false;
    for (size_t i = 0; i < plan->count; i++)
        pending = pending || is_needed(errand, &plan->entries[i]);
    if (!pending)
        return 0; /* somebody else has applied it meanwhile */
    JOURNAL(recovery->options->journal,
            permission.failed_before ? EVENT_ALREADY_FAILED : EVENT_NOT_ALLOWED,
            errand->first->judged.what, permission.reason, log_text("cause", errand->cause),
            log_text("method", errand->first->method), log_text("path", errand->first->path));
    return 0;
}

static struct record record_of(const struct errand *errand)
{
    return (struct record){
        .journal = errand->recovery->options->journal,
        .state = errand->recovery->state,
        .cause = errand->cause,
        .batch = errand->batch,
        .who = {{"method", errand->first->method}, {"path", errand->first->path}}};
}

static void before(void *context, const struct plan_entry *entry)
{
    const struct record record = record_of(context);
    record_applying(&record, entry);
}

static void after(void *context, const struct plan *plan, const struct plan_entry *entry,
                  const struct apply_report *report)
{
    const struct errand *errand = context;
    struct recovery *recovery = errand->recovery;
    const struct record record = record_of(errand);
    record_outcome(&record, plan, entry, report);
    if (report->outcome == APPLY_DONE)
        atomic_fetch_add(&recovery->applied, 1);
    if (report->outcome == APPLY_FAILED) {
        atomic_fetch_add(&recovery->failed, 1);
        note_failure(recovery, plan, entry);
    }
    if (report->outcome == APPLY_UNTOUCHED)
        recovery->not_before_ns = clock_monotonic_ns() + COOL_DOWN_MS * NS_PER_MS;
}

static bool collect_errand(struct recovery *recovery, const struct submission *batch,
                           struct errand *errand)
{
    *errand = (struct errand){.recovery = recovery};
    for (const struct submission *s = batch; s; s = s->next) {
        if (is_locked_one(s) || s->judged.judgement != JUDGED_CONFIRMED)
            continue;
        const struct plan_entry *entry = &recovery->live->plan.entries[s->judged.entry];
        if (!errand->first) {
            errand->first = s;
            snprintf(errand->cause, sizeof errand->cause, "missing %s", s->judged.what);
        }
        if (!is_needed(errand, entry) &&
            errand->count < sizeof errand->versions / sizeof *errand->versions)
            errand->versions[errand->count++] = entry->migration->version;
    }
    return errand->first != NULL;
}

static void run_errand(struct recovery *recovery, struct errand *errand)
{
    struct live *live = recovery->live;
    const struct config *config = recovery->options->config;
    struct closure closure = {0};
    struct error error = {0};
    struct run run = {.stop = &recovery->stop,
                      .database = &live->database,
                      .set = &live->set,
                      .limits = {.rehearsal_timeout_ms = config->rehearsal_timeout_ms},
                      .options = {.state_directory = config->state_directory,
                                  .lock_timeout_ms = config->lock_timeout_ms,
                                  .migration_timeout_ms = config->migration_timeout_ms,
                                  .backup_keep = config->backup_keep,
                                  .backup = true,
                                  .cause = errand->cause,
                                  .batch = clock_format(clock_wall_ms(), errand->batch)},
                      .context = errand,
                      .permit = permit,
                      .before = before,
                      .after = after};
    struct plan *plan = &live->plan;
    if (config->recover_scope == SCOPE_MAPPED) {
        if (!closure_make(&closure, &live->set, &live->plan, errand->versions, errand->count,
                          &live->database, &run.limits, &error)) {
            JOURNAL(recovery->options->journal, EVENT_TROUBLE, "plan", error.message);
            return;
        }
        run.set = &closure.set;
        plan = &closure.plan;
    }
    live_set_changing(live, true);
    if (run_plan(&run, plan, &error) == RUN_NO_PLAN)
        JOURNAL(recovery->options->journal, EVENT_TROUBLE, "plan", error.message);
    closure_free(&closure);
    live->has_plan = false; /* made anew at the look that follows */
    live_set_changing(live, false);
}

/* Applies what the batch needs, if mode and policy let it. True: something may have changed. */
static bool apply_needed(struct recovery *recovery, const struct submission *batch)
{
    struct journal *journal = recovery->options->journal;
    struct errand errand;
    if (!recovery->live->has_plan || !collect_errand(recovery, batch, &errand))
        return false;
    const struct plan_entry *entry = &recovery->live->plan.entries[errand.first->judged.entry];
    struct log_field facts[] = {log_text("cause", errand.cause),
                                log_text("migration", entry->migration->file_name),
                                log_text("risk", risk_name(entry->risk)),
                                log_text("method", errand.first->method),
                                log_text("path", errand.first->path),
                                {NULL, LOG_END, {NULL, 0}, 0}};
    journal_record(journal, EVENT_CONFIRMED, errand.first->judged.what,
                   "the database lacks it, and a pending migration provides it", facts);
    if (recovery->live->mode == MODE_OBSERVE) {
        journal_record(journal, EVENT_OBSERVED, errand.first->judged.what,
                       "mode observe: in mode auto what is pending would be applied now", facts);
        return false;
    }
    if (recovery->live->mode == MODE_APPROVE) {
        journal_record(journal, EVENT_NOT_ALLOWED, errand.first->judged.what,
                       "mode approve: look at it with \"automigrate status\" and apply it with "
                       "\"automigrate apply\"",
                       facts);
        return false;
    }
    if (clock_monotonic_ns() < recovery->not_before_ns)
        return false; /* it could not begin a moment ago, which was told */
    run_errand(recovery, &errand);
    return true;
}

void recovery_pass(struct recovery *recovery, struct submission *first)
{
    struct tally *tally = &recovery->tally;
    bool usable = recovery->live->has_plan;
    tally->journal = recovery->options->journal;
    for (struct submission *s = first; s; s = s->next) {
        s->is_quiet = live_is_quiet_since(recovery->live, s->sent_ns);
        if (is_locked_one(s) || !usable)
            continue;
        judge(recovery, s);
        tally_count(tally, EVENT_DETECTED, s->errors[s->about].text,
                    "the application's answer names a schema error", s);
    }
    tally_tell(tally);
    if (usable && apply_needed(recovery, first)) {
        live_look(recovery->live);
        for (struct submission *s = first; s; s = s->next) {
            if (!is_locked_one(s) && recovery->live->has_plan)
                judge(recovery, s);
        }
    }
    struct submission *next;
    for (struct submission *s = first; s; s = next) {
        next = s->next;
        release(recovery, tally, s);
    }
    tally_tell(tally);
}
