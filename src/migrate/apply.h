/* SPDX-License-Identifier: MIT */
/* Applies one migration (P4, P5): on a fresh connection, under the lock file, in BEGIN IMMEDIATE,
 * after the applied set and schema_version were read again; migration and history row commit
 * together. Blocks its thread: never a worker's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "migrate/plan.h"

struct statement_result {
    unsigned position; /* 1-based */
    unsigned line;     /* of the file */
    char sql[101];     /* its first 100 characters, white space folded */
    uint64_t duration_us;
    int64_t rows; /* changed */
    bool benign;  /* "already exists", and the object is the same */
};

enum apply_outcome {
    APPLY_DONE,
    APPLY_ALREADY,   /* somebody else applied it meanwhile; nothing was run */
    APPLY_CHANGED,   /* schema_version or the applied set is not what the plan was made for: make a
                        new plan */
    APPLY_FAILED,    /* rolled back, nothing of it remains */
    APPLY_UNTOUCHED, /* could not begin, or could not commit for a reader's lock, and was rolled
                        back: lock, connection, disk; trying later may help */
};

struct apply_options {
    const char *state_directory; /* backups go to <state_directory>/backups */
    uint64_t lock_timeout_ms;
    uint64_t migration_timeout_ms;
    uint64_t backup_keep;
    bool backup;       /* yellow and red are backed up first */
    const char *cause; /* for the history row */
    const char *batch;
    bool allow_no_transaction; /* an operator's word; otherwise transaction:false is refused */
};

struct apply_report {
    enum apply_outcome outcome;
    struct error error;   /* unless DONE or ALREADY: file:line, statement and reason */
    uint64_t duration_us; /* from BEGIN to the end of COMMIT */
    uint64_t lock_wait_us;
    struct statement_result *statements;
    unsigned statement_count;  /* that were run */
    unsigned failed_statement; /* 1-based, 0: none */
    unsigned failed_line;
    char *backup; /* path, or NULL */
};

/* Takes the lock file itself. `entry` is of a plan made from the same set; the entries of a plan
 * may be applied one after the other. FAILED for a migration without a transaction leaves what was
 * done, and a row that says how far it came. */
void apply_migration(const char *database_path, const struct plan *plan,
                     const struct plan_entry *entry, const struct apply_options *options,
                     struct apply_report *report);
void apply_report_free(struct apply_report *report);
