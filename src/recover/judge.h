/* SPDX-License-Identifier: MIT */
/* What a schema error means against the live schema and the pending migrations (P2, P3): names in
 * it are only looked up among names that are there already. Pure: values in, a judgement out; any
 * thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "detect/detect.h"
#include "migrate/plan.h"
#include "schema/catalogue.h"

/* Something that came into the schema while the program ran, and the generation that it came with.
 */
struct appeared {
    enum schema_kind kind;
    char *table; /* of columns; else "" */
    char *name;
    uint64_t generation;
};

/* The newest are kept. */
enum { APPEARED_MAX = 8192 };
struct appearances {
    struct appeared *items; /* oldest first */
    size_t count;
};

/* Adds what `difference` says was added; drops the oldest beyond the bound. False: memory is out.
 */
[[gnu::warn_unused_result]] bool appearances_add(struct appearances *appearances,
                                                 const struct catalogue_difference *difference,
                                                 uint64_t generation);
void appearances_free(struct appearances *appearances);

enum judgement {
    JUDGED_CONFIRMED, /* missing, and a pending migration provides it */
    JUDGED_APPEARED,  /* there now, and absent in the generation the request was sent under */
    JUDGED_REFUTED,   /* there, and was there: the response only talks about it */
    JUDGED_UNMAPPED,  /* missing, and nothing provides it */
    JUDGED_AMBIGUOUS, /* several tables would get a column of that name */
};

struct judged {
    enum judgement judgement;
    size_t entry;   /* CONFIRMED: index of the plan's entry */
    char what[160]; /* "table cards", "column cards.card_bitmap": of our own names, never the
                       response's */
};

void judge_error(const struct schema_error *error, uint64_t generation,
                 const struct catalogue *live, const struct plan *plan,
                 const struct appearances *appearances, struct judged *judged);
