/* SPDX-License-Identifier: MIT */
/* Rows and lines about what is pending. */
#include "cli/plan_text.h"

#include <stdio.h>

#include "admin/status_report.h"

static const enum colour risk_colours[] = {[MIGRATION_GREEN] = COLOUR_GREEN,
                                           [MIGRATION_YELLOW] = COLOUR_YELLOW,
                                           [MIGRATION_RED] = COLOUR_RED};

static const struct {
    const char *text;
    enum colour colour;
} rehearsals[] = {[REHEARSAL_OK] = {"rehearsal ok", COLOUR_NONE},
                  [REHEARSAL_FAILS] = {"rehearsal fails", COLOUR_RED},
                  [REHEARSAL_DEPENDS_ON_DATA] = {"depends on data", COLOUR_YELLOW},
                  [REHEARSAL_NOT_RUN] = {"not rehearsed", COLOUR_FAINT}};

void plan_text_add(struct columns *columns, const struct plan_entry *entry)
{
    columns_add(columns, COLOUR_NONE, "[ ]");
    columns_add(columns, COLOUR_NONE, entry->migration->version);
    columns_add(columns, COLOUR_NONE, entry->migration->name);
    columns_add(columns, risk_colours[entry->risk], risk_name(entry->risk));
    columns_add(columns, rehearsals[entry->rehearsal].colour, rehearsals[entry->rehearsal].text);
    columns_add(columns, COLOUR_FAINT, entry->risk_reason);
}

static void print_line(enum colour colour, const char *label, const char *message)
{
    print_coloured(stdout, colour, label);
    fputs(": ", stdout);
    print_coloured(stdout, COLOUR_NONE, message);
    putchar('\n');
}

void plan_text_print_failures(const struct plan_entry *entry, const struct state_failure *failure)
{
    if (entry->rehearsal == REHEARSAL_FAILS)
        print_line(COLOUR_RED, "rehearsal fails", entry->failure.message);
    if (failure && failure->checksum[0]) {
        char label[64];
        snprintf(label, sizeof label, "failed %.31s", failure->failed_at);
        print_line(COLOUR_RED, label, failure->message);
    }
}

void plan_text_print_drift(const struct plan *plan)
{
    for (size_t i = 0; i < plan->drift_count; i++)
        print_line(COLOUR_RED, "drift", plan->drifts[i].message);
}
