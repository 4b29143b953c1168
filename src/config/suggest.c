/* SPDX-License-Identifier: MIT */
/* Suggestions by edit distance (insert, remove, replace, exchange neighbours: the ways in which
 * people mistype). Words are short, so the table lives on the stack. */
#include "config/suggest.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t edit_distance(const char *a, const char *b)
{
    size_t rows = strlen(a);
    size_t columns = strlen(b);
    if (rows > SUGGESTION_LONGEST || columns > SUGGESTION_LONGEST)
        return SIZE_MAX;
    uint8_t cost[SUGGESTION_LONGEST + 1][SUGGESTION_LONGEST + 1];
    for (size_t j = 0; j <= columns; j++)
        cost[0][j] = (uint8_t)j;
    for (size_t i = 1; i <= rows; i++) {
        cost[i][0] = (uint8_t)i;
        for (size_t j = 1; j <= columns; j++) {
            size_t best = least(cost[i - 1][j], cost[i][j - 1]) + 1u;
            best = least(best, cost[i - 1][j - 1] + (size_t)(a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = least(best, cost[i - 2][j - 2] + 1u);
            cost[i][j] = (uint8_t)best;
        }
    }
    return cost[rows][columns];
}

void suggestion_construct(struct suggestion *suggestion, const char *word)
{
    *suggestion = (struct suggestion){.word = word, .distance = SIZE_MAX};
}

void suggestion_offer(struct suggestion *suggestion, const char *known)
{
    size_t distance = edit_distance(suggestion->word, known);
    /* A third of the letters wrong is still a slip; more is another word. */
    size_t most = (strlen(known) + 2) / 3;
    if (distance <= most && distance < suggestion->distance) {
        suggestion->distance = distance;
        memcpy(suggestion->nearest, known, strlen(known) + 1);
    }
}

char *suggestion_text(const struct suggestion *suggestion, const char *prefix, const char *suffix,
                      char *out, size_t size)
{
    if (suggestion->nearest[0])
        snprintf(out, size, ": did you mean %s%s%s?", prefix, suggestion->nearest, suffix);
    else
        snprintf(out, size, "%s", "");
    return out;
}
