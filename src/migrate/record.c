/* SPDX-License-Identifier: MIT */
/* Records of a run. No state of its own. */
#include "migrate/record.h"

#include <stdio.h>

#include "base/clock.h"

static struct log_field who(const struct record *record, int index)
{
    const char *key = record->who[index][0];
    return log_text(key ? key : "by",
                    key ? record->who[index][1] : NULL); /* without text it is left out */
}

void record_applying(const struct record *record, const struct plan_entry *entry)
{
    char message[288];
    snprintf(message, sizeof message, "%.200s: begins", entry->migration->file_name);
    JOURNAL(record->journal, EVENT_APPLYING, entry->migration->version, message,
            log_text("file", entry->migration->file_name), log_text("cause", record->cause),
            who(record, 0), who(record, 1), log_text("risk", risk_name(entry->risk)),
            log_text("batch", record->batch));
}

static void tell_trouble(const struct record *record, const struct error *trouble)
{
    JOURNAL(record->journal, EVENT_TROUBLE, "state", trouble->message,
            log_text("category", error_category(trouble->code)));
}

static void record_applied(const struct record *record, const struct plan_entry *entry,
                           const struct apply_report *report)
{
    struct error trouble = {0};
    char message[288];
    snprintf(message, sizeof message, "%.200s: %u statement%s in %.1f ms",
             entry->migration->file_name, report->statement_count,
             report->statement_count == 1 ? "" : "s", (double)report->duration_us / 1000);
    JOURNAL(record->journal, EVENT_APPLIED, entry->migration->version, message,
            log_text("file", entry->migration->file_name), log_text("cause", record->cause),
            who(record, 0), who(record, 1), log_text("risk", risk_name(entry->risk)),
            log_number("statements", report->statement_count),
            log_number("duration_us", (int64_t)report->duration_us),
            log_number("lock_wait_us", (int64_t)report->lock_wait_us),
            log_text("checksum", entry->migration->checksum), log_text("backup", report->backup),
            log_text("batch", record->batch));
    if (record->state && !state_forget_failure(record->state, entry->migration->checksum, &trouble))
        tell_trouble(record, &trouble);
}

static void record_failed(const struct record *record, const struct plan *plan,
                          const struct plan_entry *entry, const struct apply_report *report)
{
    struct error trouble = {0};
    /* Of the schema it failed on: those before it may have changed it since the plan was made. */
    struct state_failure failure = {.schema_version = plan->expectation->schema_version};
    char time[CLOCK_TEXT_SIZE];
    JOURNAL(record->journal, EVENT_APPLY_FAILED, entry->migration->version, report->error.message,
            log_text("category", error_category(report->error.code)),
            log_text("file", entry->migration->file_name), log_number("line", report->failed_line),
            log_number("statement", report->failed_statement), log_text("cause", record->cause),
            who(record, 0), who(record, 1), log_text("backup", report->backup),
            log_text("batch", record->batch));
    slice_copy(slice_from_string(entry->migration->checksum), failure.checksum,
               sizeof failure.checksum);
    slice_copy(slice_from_string(entry->migration->version), failure.version,
               sizeof failure.version);
    slice_copy(slice_from_string(report->error.message), failure.message, sizeof failure.message);
    slice_copy(slice_from_string(clock_format(clock_wall_ms(), time)), failure.failed_at,
               sizeof failure.failed_at);
    if (record->state && !state_remember_failure(record->state, &failure, &trouble))
        tell_trouble(record, &trouble);
}

void record_outcome(const struct record *record, const struct plan *plan,
                    const struct plan_entry *entry, const struct apply_report *report)
{
    switch (report->outcome) {
    case APPLY_DONE:
        record_applied(record, entry, report);
        break;
    case APPLY_FAILED:
        record_failed(record, plan, entry, report);
        break;
    case APPLY_UNTOUCHED:
        JOURNAL(record->journal, EVENT_TROUBLE, entry->migration->version, report->error.message,
                log_text("category", error_category(report->error.code)),
                log_text("file", entry->migration->file_name));
        break;
    case APPLY_ALREADY: /* the history says by whom */
    case APPLY_CHANGED: /* a new plan follows */
        break;
    }
}
