/* SPDX-License-Identifier: MIT */
/* How much a migration can lose, judged statement by statement from what the authorizer saw, what
 * the statement says and what was there before. Only what is positively recognised is green or
 * yellow; everything else is red (DESIGN 7, Risk). Pure, any thread. */
#pragma once

#include "migrate/known.h"
#include "migrate/plan.h"

/* A view, index or trigger that was dropped and may be made again by the same migration. */
struct risk_dropped {
    enum schema_kind kind;
    char *name;
    char *table;
    unsigned line;
};

/* One migration being judged. */
struct risk_judgement {
    enum risk risk;
    char reason[160]; /* of the first statement that made it so */
    struct risk_dropped *dropped;
    size_t dropped_count;
};

void risk_construct(struct risk_judgement *judgement);
void risk_destruct(struct risk_judgement *judgement);

/* Judges a statement that was run; `known` is the schema before it. False: memory. */
[[gnu::warn_unused_result]] bool risk_judge(struct risk_judgement *judgement,
                                            const struct known *known,
                                            const struct authorizer *authorizer,
                                            const struct execution *execution,
                                            const struct statement *statement);

/* When all statements were judged: what was dropped and not made again. */
void risk_finish(struct risk_judgement *judgement);

/* Raises the risk; the reason is kept when it is the first of the highest. */
[[gnu::format(printf, 3, 4)]] void risk_raise(struct risk_judgement *judgement, enum risk risk,
                                              const char *format, ...);
