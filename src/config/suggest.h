/* SPDX-License-Identifier: MIT */
/* The nearest known word to a misspelt one, for "did you mean". Pure, any thread. */
#pragma once

#include <stddef.h>

enum { SUGGESTION_LONGEST = 64 };

/* Remembers the nearest of the words it is shown. */
struct suggestion {
    const char *word;                     /* what was written, borrowed */
    char nearest[SUGGESTION_LONGEST + 1]; /* "" while nothing is near enough */
    size_t distance;
};

void suggestion_construct(struct suggestion *suggestion, const char *word);
void suggestion_offer(struct suggestion *suggestion, const char *known);

/* ": did you mean PREFIXwordSUFFIX?" in `out`, or "" when nothing is near; returns `out`. */
char *suggestion_text(const struct suggestion *suggestion, const char *prefix, const char *suffix,
                      char *out, size_t size);
