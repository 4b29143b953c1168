/* SPDX-License-Identifier: MIT */
/* Text for people: columns that line up, colours where they are wanted, and nothing in a cell that
 * a terminal would obey. Main thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buffer.h"

enum colour { COLOUR_NONE, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_RED, COLOUR_FAINT, COLOUR_BOLD };

/* Whether a stream is a terminal that wants colours (NO_COLOR, https://no-color.org). */
bool colour_is_wanted(FILE *stream);

/* Writes text in a colour, control bytes made visible as '?'. */
void print_coloured(FILE *stream, enum colour colour, const char *text);

enum { COLUMNS_MOST = 8 };

struct column_cell {
    size_t start; /* in text */
    size_t width; /* in characters */
    enum colour colour;
};

/* Rows of cells that are printed together. Zero-initialised is empty; `count` is set by the
 * owner. */
struct columns {
    size_t count;
    struct buffer text;  /* the cells' strings, each ended by NUL */
    struct buffer cells; /* struct column_cell, row by row */
};

/* The next cell, in order; NULL is an empty one. */
void columns_add(struct columns *columns, enum colour colour, const char *text);
[[gnu::format(printf, 3, 4)]] void columns_printf(struct columns *columns, enum colour colour,
                                                  const char *format, ...);

/* Prints and frees; false when memory was out. */
[[gnu::warn_unused_result]] bool columns_print(struct columns *columns, FILE *stream);
