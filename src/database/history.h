/* SPDX-License-Identifier: MIT */
/* The history: table schema_migrations in the application's database, one row an applied migration.
 * Everything but version is nullable or defaulted, so that dbmate can write there too (its rows
 * have version only). If a table of that name has another tool's shape, ours is automigrate_history
 * and the error or note says so. The caller holds the transaction. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "database/database.h"

struct history_row {
    char *version;    /* never NULL */
    char *name;       /* the others may be NULL */
    char *checksum;   /* SHA-256 in hex over text with line ends normalised */
    char *state;      /* "applied" */
    char *applied_at; /* RFC 3339, UTC */
    int64_t execution_ms;
    int64_t statements;
    char *applied_by; /* user name */
    char *host;
    char *cause; /* "no such table: cards", "operator", … */
    char *batch; /* the same for what one run applied */
};

struct history {
    struct history_row *rows; /* in the order of version as text */
    size_t count;
};

/* Reads the applied set; a database without the table has an empty history. Writes nothing. */
[[gnu::warn_unused_result]] bool history_read(struct database *database, struct history *history,
                                              struct error *error);
void history_free(struct history *history);
const struct history_row *history_find(const struct history *history, const char *version);

/* Makes the table where it is missing and inserts the row, within the transaction that is open. */
[[gnu::warn_unused_result]] bool history_add(struct database *database,
                                             const struct history_row *row, struct error *error);
