/* SPDX-License-Identifier: MIT */
/* Counting events of one pass. Recovery thread only. */
#include "recover/tally.h"

#include <string.h>

#include "base/clock.h"
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

/* FNV-1a. Two that look equal cost a line too many, once in 2^57. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

/* Whether the subject is one of this minute's, which still has room for it. */
static bool has_room_for(struct tally *tally, const char *subject)
{
    uint64_t hash = hash_of(subject), now_ns = clock_monotonic_ns();
    if (now_ns - tally->minute_ns >= 60 * NS_PER_SECOND) {
        tally->minute_ns = now_ns;
        tally->known = 0;
    }
    for (size_t i = 0; i < tally->known; i++) {
        if (tally->subjects[i] == hash)
            return true;
    }
    if (tally->known == TALLY_SUBJECTS_A_MINUTE)
        return false;
    tally->subjects[tally->known++] = hash;
    return true;
}

void tally_count(struct tally *tally, enum event_type type, const char *subject,
                 const char *message, const struct submission *submission)
{
    if (!has_room_for(tally, subject))
        subject = "other names";
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
