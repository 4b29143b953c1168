/* SPDX-License-Identifier: MIT */
/* A plan: what is pending, in order, rehearsed one by one in an in-memory copy of the live schema,
 * with what each provides, its risk and why. Derived from the files and the database, never from a
 * memory of them (P12). Made on the thread that owns the connection. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "database/database.h"
#include "migrate/migration.h"
#include "schema/catalogue.h"

enum rehearsal { REHEARSAL_OK, REHEARSAL_FAILS, REHEARSAL_DEPENDS_ON_DATA, REHEARSAL_NOT_RUN };

/* A name that a pending migration makes. */
struct provided {
    enum schema_kind kind;
    char *table; /* of columns, indexes, triggers; else "" */
    char *name;
};

struct plan_entry {
    const struct migration *migration; /* borrowed from the set */
    enum rehearsal rehearsal;
    struct error failure; /* when it fails: file, line, statement and SQLite's reason; when it
                             depends on data: file, line and what about it */
    enum risk risk;
    char risk_reason[160]; /* "line 12: DROP TABLE cards removes a table and its rows" */
    bool foreign_keys_off; /* to be switched off around it: the rehearsal saw a referenced table
                              dropped or renamed, or the file asks */
    struct provided *provides;
    size_t provides_count;
    uint64_t rewritten_bytes; /* estimate of what it rewrites in the live database, 0 when it only
                                 adds to the schema */
    char **touched; /* tables that it makes, changes, drops, renames or writes to, by their
                       old and new names */
    size_t touched_count;
};

/* Something about history and files that an operator must know. */
enum drift_kind { DRIFT_CHANGED, DRIFT_MISSING, DRIFT_LATE, DRIFT_AHEAD, DRIFT_UNFINISHED };
struct drift {
    enum drift_kind kind; /* file changed after it was applied; applied but its file is gone; older
                             than what is applied; the database is newer than the files; one without
                             a transaction failed, or its process died, in the middle */
    char *version;
    char *message; /* one sentence with both checksums where that is the matter, and the way out */
};

/* What the database must look like for the plan to hold. apply_migration brings it up to date with
 * its own commits, so that the entries of one plan can be applied one after the other; everything
 * else that changed is somebody else's doing, and wants a new plan. */
struct plan_expectation {
    int64_t schema_version;
    uint64_t history; /* history_fingerprint */
};

struct plan {
    int64_t schema_version;               /* of the live schema that was rehearsed on */
    struct plan_expectation *expectation; /* owned; changes while the plan is carried out, on the
                                             thread that does */
    size_t applied;                       /* migrations of the set that are applied */
    struct plan_entry *entries;           /* pending, in order */
    size_t count;
    struct drift *drifts;
    size_t drift_count;
    bool blocked; /* by a drift: nothing is applied by itself */
};

struct plan_limits {
    uint64_t rehearsal_timeout_ms; /* of all entries together */
    uint64_t rehearsal_pages;      /* of the in-memory copy; 0: 65536 */
};

/* Reads history and live schema, and rehearses. False only when that could not be done; a migration
 * that fails in the rehearsal is an entry with REHEARSAL_FAILS and risk red, and those behind it
 * are REHEARSAL_NOT_RUN. */
[[gnu::warn_unused_result]] bool plan_make(struct plan *plan, const struct migration_set *set,
                                           struct database *database,
                                           const struct plan_limits *limits, struct error *error);
void plan_free(struct plan *plan);
const char *drift_name(enum drift_kind kind); /* "changed" … "unfinished" */

/* The first drift that blocks, or NULL: nothing is applied before an operator has mended it. */
const struct drift *plan_blocker(const struct plan *plan);

/* The entry that provides the thing, or NULL; *index is its place. SCHEMA_TABLE also finds a view.
 * For SCHEMA_COLUMN, `table` may be NULL: then the first entry that adds a column of that name to a
 * live table or to a table it makes; *ambiguous when several tables get one. */
const struct plan_entry *plan_provider(const struct plan *plan, enum schema_kind kind,
                                       const char *table, const char *name, size_t *index,
                                       bool *ambiguous);
