/* SPDX-License-Identifier: MIT */
/* What a run leaves on record, whoever ran it: its events, and the memory of a failure. The thread
 * that runs it. */
#pragma once

#include "journal/journal.h"
#include "journal/state.h"
#include "migrate/apply.h"
#include "migrate/plan.h"

struct record {
    struct journal *journal; /* may be NULL: log lines only */
    struct state *state;     /* may be NULL: failures are not remembered */
    const char *cause;       /* "missing table cards", "operator" */
    const char *batch;
    const char *who[2][2]; /* two facts about who asked for it: {"method", "GET"}, {"path", "/"};
                              key NULL: none */
};

/* A migration is about to run. */
void record_applying(const struct record *record, const struct plan_entry *entry);

/* How it ended. A failure is remembered by checksum and schema, a success forgets it. */
void record_outcome(const struct record *record, const struct plan *plan,
                    const struct plan_entry *entry, const struct apply_report *report);
