/* SPDX-License-Identifier: MIT */
/* Counting events of one pass. Recovery thread only. */
#include "recover/tally.h"

#include <string.h>

#include "recover/recovery.h"

void tally_tell(struct tally *tally)
{
    for (size_t i = 0; i < tally->count; i++)
        JOURNAL(tally->journal, tally->items[i].type, tally->items[i].subject,
                tally->items[i].message, log_number("requests", tally->items[i].requests),
                log_text("method", tally->items[i].method), log_text("path", tally->items[i].path),
                log_number("status", tally->items[i].status));
    tally->count = 0;
}

void tally_count(struct tally *tally, enum event_type type, const char *subject,
                 const char *message, const struct submission *submission)
{
    for (size_t i = 0; i < tally->count; i++) {
        if (tally->items[i].type == type && tally->items[i].message == message &&
            strcmp(tally->items[i].subject, subject) == 0) {
            tally->items[i].requests++;
            return;
        }
    }
    if (tally->count == TALLY_MAX)
        tally_tell(tally);
    size_t i = tally->count++;
    tally->items[i].type = type;
    slice_copy(slice_from_string(subject), tally->items[i].subject, sizeof tally->items[i].subject);
    tally->items[i].message = message;
    tally->items[i].method = submission->method;
    memcpy(tally->items[i].path, submission->path, sizeof tally->items[i].path);
    tally->items[i].status = submission->status;
    tally->items[i].requests = 1;
}
