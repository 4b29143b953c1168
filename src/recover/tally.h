/* SPDX-License-Identifier: MIT */
/* Events of one pass, counted together: ten thousand requests that failed for one reason are one
 * event with a number. Their subjects come from responses, in which clients may have a say: past so
 * many different ones a minute, the others are counted as "other names". Recovery thread. */
#pragma once

#include <stddef.h>

#include "journal/journal.h"

struct submission;

enum { TALLY_MAX = 32, TALLY_SUBJECTS_A_MINUTE = 100 };

struct tally {
    struct journal *journal;
    uint64_t minute_ns; /* when this minute began */
    size_t known;
    uint64_t subjects[TALLY_SUBJECTS_A_MINUTE]; /* hashes */
    size_t count;
    struct {
        enum event_type type;
        char subject[256];
        const char *message; /* static */
        const char *method;  /* of the first request */
        char path[128];
        unsigned status;
        unsigned requests;
    } items[TALLY_MAX];
};

/* One more of this kind. `subject` is copied, `message` must be static. */
void tally_count(struct tally *tally, enum event_type type, const char *subject,
                 const char *message, const struct submission *submission);

/* Records all and empties the tally. */
void tally_tell(struct tally *tally);
