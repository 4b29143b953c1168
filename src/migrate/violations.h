/* SPDX-License-Identifier: MIT */
/* Rows whose foreign keys point nowhere, counted by (child, parent, columns) before and after a
 * migration that runs with foreign keys off: those that were there before do not matter, new ones
 * do. On the thread of the connection. */
#pragma once

#include "database/database.h"

enum { VIOLATIONS_UNKNOWN = -1 }; /* the parent's columns are not unique: SQLite cannot check */

struct violation {
    char *child;
    char *parent;
    char *columns; /* of the child */
    int64_t id;    /* of the key within its table, while counting */
    int64_t rows;
};

struct violations {
    struct violation *keys; /* every foreign key that was looked at */
    size_t count;
};

/* Counts over the foreign keys whose child or parent is among `tables`. */
[[gnu::warn_unused_result]] bool violations_count(struct database *database, char *const *tables,
                                                  size_t table_count, struct violations *violations,
                                                  struct error *error);
void violations_free(struct violations *violations);

/* False, with an error that names the key, when `after` has violations that `before` had not. */
[[gnu::warn_unused_result]] bool violations_compare(const struct violations *before,
                                                    const struct violations *after,
                                                    struct error *error);
