/* SPDX-License-Identifier: MIT */
/* A section of a migration cut into statements. Where one ends is asked of sqlite3_complete, which
 * knows triggers (https://www.sqlite.org/c3ref/complete.html); whoever prepares a statement checks
 * that SQLite's parser ends at the same byte. A cursor belongs to one thread. */
#pragma once

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/slice.h"

struct statement {
    struct slice sql;  /* from its first word to its semicolon, into the file's text */
    unsigned line;     /* of the file, where `sql` begins */
    unsigned position; /* 1-based */
};

struct statement_cursor {
    struct slice rest;
    unsigned line;        /* at which `rest` begins */
    unsigned position;    /* of the statement that was given last */
    struct buffer prefix; /* NUL-terminated text for sqlite3_complete */
};

void statement_cursor_construct(struct statement_cursor *cursor, struct slice section,
                                unsigned line);
void statement_cursor_destruct(struct statement_cursor *cursor);

enum statement_next { STATEMENT_FOUND, STATEMENT_NONE, STATEMENT_BROKEN };

/* The next statement; empty ones are passed over. BROKEN: it does not end, and *error says which
 * line and why, without the file's name. */
enum statement_next statement_next(struct statement_cursor *cursor, struct statement *statement,
                                   struct error *error);

enum { STATEMENT_EXCERPT = 101 };

/* Its beginning for people, white space and comments between words folded to one space, at most
 * `size` - 1 bytes and never half a character; "…" at the end when it was cut. Returns `out`. */
char *statement_excerpt(struct slice sql, char *out, size_t size);

/* Whether it sets PRAGMA foreign_keys, and *off to what. */
bool statement_sets_foreign_keys(struct slice sql, bool *off);
