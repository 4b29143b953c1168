/* SPDX-License-Identifier: MIT */
/* An error body in, schema errors out. Finds an anchor first ("no such table", "no such column",
 * "has no column named"), then decodes a small window behind it (HTML entities, JSON escapes once
 * and twice, percent) and leaves to the reader which name it begins with: identifiers may hold
 * spaces, quotes and dots, so only names that are known end one safely. Patterns are compiled once,
 * with JIT. No sockets, no clock; a struct detect is immutable and may be used by any thread, each
 * with its own struct detect_scratch. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"
#include "schema/catalogue.h"

enum { SCHEMA_ERROR_WINDOW = 256, SCHEMA_ERRORS_MAX = 8 };

struct schema_error {
    enum schema_kind kind;            /* SCHEMA_TABLE or SCHEMA_COLUMN */
    char object[SCHEMA_ERROR_WINDOW]; /* decoded bytes behind the anchor, up to a line end: begins
                                         with the name */
    bool is_cut;                      /* object ends at our bound, not at a line end */
    char table[SCHEMA_ERROR_WINDOW];  /* decoded bytes before "has no column named", ends with the
                                         table's name; else "" */
    char text[SCHEMA_ERROR_WINDOW]; /* "no such table: cards", for people: cut at a plausible end */
};

struct detect;
struct detect_scratch;

[[gnu::warn_unused_result]] struct detect *detect_new(struct error *error);
void detect_free(struct detect *detect);
[[gnu::warn_unused_result]] struct detect_scratch *detect_scratch_new(const struct detect *detect);
void detect_scratch_free(struct detect_scratch *scratch);

/* Fills `errors` with the distinct schema errors that `body` names, in order, and returns how many.
 * Error texts of a broken schema ("error in view v: no such table: x", "malformed database schema")
 * are none. */
size_t detect_find(const struct detect *detect, struct detect_scratch *scratch, struct slice body,
                   struct schema_error errors[SCHEMA_ERRORS_MAX]);

/* Whether `name` is what the window begins with, under ASCII case folding, and ends where an
 * identifier may end in wrapped text; prefixes main. and temp. (not of other databases) and, for
 * columns, an alias or table with a dot are passed over. Of several known names that match, the
 * longest is meant. */
bool detect_names_object(const struct schema_error *error, const char *name);

/* For "table X has no column named": whether the window before ends with that table name. True when
 * there is no window. */
bool detect_names_table(const struct schema_error *error, const char *table);
