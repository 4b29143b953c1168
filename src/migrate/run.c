/* SPDX-License-Identifier: MIT */
/* Applying a plan. Runs on the thread that owns the connection. */
#include "migrate/run.h"

enum {
    /* New plans in a row without a migration applied in between: the schema is being changed by
     * somebody else all the time, and it is better to come back later. */
    NEW_PLANS_MAX = 10,
};

static enum apply_outcome apply_one(const struct run *run, const struct plan *plan,
                                    const struct plan_entry *entry)
{
    struct apply_report report = {0};
    if (run->before)
        run->before(run->context, entry);
    apply_migration(run->database->path, plan, entry, &run->options, &report);
    if (run->after && report.outcome != APPLY_CHANGED)
        run->after(run->context, plan, entry, &report);
    enum apply_outcome outcome = report.outcome;
    apply_report_free(&report);
    return outcome;
}

static bool is_stopped(const struct run *run)
{
    return run->stop && atomic_load(run->stop);
}

enum run_outcome run_plan(const struct run *run, struct plan *plan, struct error *error)
{
    for (int plans = 0; plans < NEW_PLANS_MAX; plans++) {
        size_t permitted = run->permit(run->context, plan), done = 0;
        enum apply_outcome outcome = APPLY_DONE;
        while (done < permitted && !is_stopped(run) &&
               (outcome == APPLY_DONE || outcome == APPLY_ALREADY)) {
            outcome = apply_one(run, plan, &plan->entries[done]);
            if (outcome == APPLY_DONE || outcome == APPLY_ALREADY) {
                done++;
                plans = 0;
            }
        }
        if (done == permitted)
            return RUN_DONE;
        if (outcome == APPLY_FAILED)
            return RUN_FAILED;
        if (outcome == APPLY_UNTOUCHED || is_stopped(run))
            return RUN_UNTOUCHED;
        plan_free(plan);
        if (!plan_make(plan, run->set, run->database, &run->limits, error)) {
            *plan = (struct plan){0};
            return RUN_NO_PLAN;
        }
    }
    return RUN_UNTOUCHED;
}
