/* SPDX-License-Identifier: MIT */
/* The policy of a recovery: everything pending, in order, up to the first that is not allowed. */
#include "recover/policy.h"

#include <stdio.h>

enum {
    /* How fast a migration is taken to rewrite, so that its hold on the write lock can be
       estimated: a slow disk. */
    REWRITE_BYTES_PER_MS = 50 * 1024,
};

static bool refuse(struct permission *permission, const struct plan_entry *entry, const char *why,
                   const char *detail)
{
    snprintf(
        permission->reason, sizeof permission->reason,
        "%s %s%s%s: look at it with \"automigrate status\" and apply it with \"automigrate apply\"",
        entry->migration->file_name, why, *detail ? ": " : "", detail);
    return false;
}

static bool may_apply(const struct plan *plan, const struct plan_entry *entry,
                      const struct config *config, struct state *state,
                      struct permission *permission)
{
    struct state_failure failure;
    bool found = false;
    if (entry->rehearsal == REHEARSAL_FAILS)
        return refuse(permission, entry, "fails in the rehearsal", entry->failure.message);
    if (entry->rehearsal == REHEARSAL_NOT_RUN)
        return refuse(permission, entry, "could not be rehearsed", entry->failure.message);
    if ((int)entry->risk > (int)config->policy_auto_apply) {
        char why[64];
        snprintf(why, sizeof why, "is %s, and policy.auto_apply is %s", risk_name(entry->risk),
                 config_risk_name(config->policy_auto_apply));
        return refuse(permission, entry, why, entry->risk_reason);
    }
    if (!entry->migration->transaction)
        return refuse(permission, entry, "runs without a transaction", "");
    if (entry->rewritten_bytes / REWRITE_BYTES_PER_MS > config->policy_lock_budget_ms)
        return refuse(permission, entry,
                      "would hold the write lock for longer than policy.lock_budget", "");
    /* A failure that cannot be looked up counts as none: the schema's own rollback still protects
     * the data. */
    if (state && state_find_failure(state, entry->migration->checksum, &failure, &found, NULL) &&
        found && failure.schema_version == plan->schema_version) {
        permission->failed_before = true;
        return refuse(permission, entry,
                      "failed before, and neither file nor schema have changed since",
                      failure.message);
    }
    return true;
}

void policy_permit(const struct plan *plan, const struct config *config, struct state *state,
                   struct permission *permission)
{
    *permission = (struct permission){0};
    const struct drift *blocker = plan_blocker(plan);
    if (blocker) {
        snprintf(permission->reason, sizeof permission->reason, "%s", blocker->message);
        return;
    }
    while (permission->count < plan->count &&
           may_apply(plan, &plan->entries[permission->count], config, state, permission))
        permission->count++;
    permission->all = permission->count == plan->count;
}
