/* SPDX-License-Identifier: MIT */
/* What may be applied without an operator's word. Pure but for the memory of failures. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "journal/state.h"
#include "migrate/plan.h"

struct permission {
    size_t count;       /* entries of the plan, from the first, that may be applied */
    bool all;           /* that is all of them */
    bool failed_before; /* the first that may not has failed, and nothing has changed since */
    char reason[ERROR_MESSAGE_SIZE + 384]; /* why the next one may not, with the way out */
};

/* `state` may be NULL (it cannot be opened): then failures are not remembered over restarts, which
 * `reason` cannot say. */
void policy_permit(const struct plan *plan, const struct config *config, struct state *state,
                   struct permission *permission);
