/* SPDX-License-Identifier: MIT */
/* The journal: events into <state directory>/journal.db by a thread of its own, in batches of 50 or
 * one second, one by one if a batch fails; and out of it again. Whoever records an event never
 * waits: a full queue drops it and counts it. Each event also becomes a log line. Equal events
 * (same type, subject and message) within a minute are one row with a count, and one log line: the
 * others are logged for debugging only. A file that cannot be written costs its events, which are
 * counted, and one log line (P7). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "journal/event.h"

struct journal;

/* Makes the state directory (0700, owned like the database's directory allows) and journal.db
 * (0600) where they are missing, starts the writer. Rows last seen `keep_ms` ago (0: never) are
 * removed, at the start and every hour. A journal that cannot be opened is trouble to be told, not
 * a reason to stop: then NULL. */
[[gnu::warn_unused_result]] struct journal *journal_open(const char *state_directory,
                                                         const char *source, uint64_t keep_ms,
                                                         struct error *error);

/* Writes what is queued, ends the thread, frees. Nobody may record any more. NULL is fine. */
void journal_close(struct journal *journal);

/* Records and logs. `subject`: what it is about ("001", "no such table: cards"), may be NULL;
 * `message`: one sentence for people; `fields`: facts, ended by LOG_END. Never blocks. Any thread.
 * `journal` may be NULL: then only the log line is written. */
void journal_record(struct journal *journal, enum event_type type, const char *subject,
                    const char *message, const struct log_field *fields);

#define JOURNAL(journal, type, subject, message, ...)                                              \
    journal_record(                                                                                \
        journal, type, subject, message,                                                           \
        (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){NULL, LOG_END, {NULL, 0}, 0}})

/* Events that were dropped since the start, and events that reached the file (equal ones each): for
 * metrics. Any thread. */
uint64_t journal_dropped(const struct journal *journal);
uint64_t journal_written(const struct journal *journal);

struct journal_query {
    int64_t after_id;    /* only rows with a greater id; 0: all */
    uint64_t limit;      /* the newest N, told oldest first; 0: all */
    const char *type;    /* event name, or NULL */
    const char *subject; /* or NULL */
};

/* Calls `each` with one CloudEvents 1.0 object (structured JSON: specversion, id, source, type
 * "automigrate.applied", time, subject, data {message, count, last_time, fields…}) per row, oldest
 * first, until it returns false. *last_id is the id of the last row told. A journal that does not
 * exist yet is empty. */
[[gnu::warn_unused_result]] bool journal_read(const char *state_directory,
                                              const struct journal_query *query,
                                              bool (*each)(void *context, json_t *event),
                                              void *context, int64_t *last_id, struct error *error);
