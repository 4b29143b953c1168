/* SPDX-License-Identifier: MIT */
/* Columns and colours. */
#include "cli/columns.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GAP = 2 };

static const char *const colours[] = {
    [COLOUR_NONE] = "",        [COLOUR_GREEN] = "\033[32m", [COLOUR_YELLOW] = "\033[33m",
    [COLOUR_RED] = "\033[31m", [COLOUR_FAINT] = "\033[2m",  [COLOUR_BOLD] = "\033[1m",
};

bool colour_is_wanted(FILE *stream)
{
    const char *refused = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return isatty(fileno(stream)) && (!refused || !refused[0]) &&
           (!terminal || strcmp(terminal, "dumb") != 0);
}

/* C0, DEL, and the C1 controls that terminals also take as UTF-8 (C2 80 to C2 9F). */
static bool is_control(const char *text)
{
    unsigned char c = (unsigned char)text[0];
    return c < 0x20 || c == 0x7f ||
           (c == 0xc2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xa0);
}

static void print_safely(FILE *stream, const char *text)
{
    for (; *text; text++) {
        if (is_control(text)) {
            text += (unsigned char)*text == 0xc2;
            putc('?', stream);
        } else {
            putc(*text, stream);
        }
    }
}

void print_coloured(FILE *stream, enum colour colour, const char *text)
{
    bool coloured = colour != COLOUR_NONE && colour_is_wanted(stream);
    if (coloured)
        fputs(colours[colour], stream);
    print_safely(stream, text);
    if (coloured)
        fputs("\033[0m", stream);
}

/* Characters, not bytes: what does not continue a UTF-8 sequence. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void columns_add(struct columns *columns, enum colour colour, const char *text)
{
    const struct column_cell cell = {columns->text.length, width_of(text ? text : ""), colour};
    buffer_append(&columns->text, text ? text : "", text ? strlen(text) + 1 : 1);
    buffer_append(&columns->cells, &cell, sizeof cell);
}

void columns_printf(struct columns *columns, enum colour colour, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    columns_add(columns, colour, text);
}

static struct column_cell cell_at(const struct columns *columns, size_t index)
{
    struct column_cell cell;
    memcpy(&cell, columns->cells.data + index * sizeof cell, sizeof cell);
    return cell;
}

/* The last column that holds something in a row: no spaces are printed behind it. */
static size_t last_filled(const struct columns *columns, size_t row)
{
    size_t column = columns->count - 1;
    while (column > 0 && cell_at(columns, row * columns->count + column).width == 0)
        column--;
    return column;
}

bool columns_print(struct columns *columns, FILE *stream)
{
    bool done = !columns->text.failed && !columns->cells.failed;
    size_t rows = columns->cells.length / sizeof(struct column_cell) / columns->count;
    size_t widths[COLUMNS_MOST] = {0};
    for (size_t i = 0; done && i < rows * columns->count; i++) {
        struct column_cell cell = cell_at(columns, i);
        if (cell.width > widths[i % columns->count])
            widths[i % columns->count] = cell.width;
    }
    for (size_t row = 0; done && row < rows; row++) {
        size_t last = last_filled(columns, row);
        for (size_t column = 0; column <= last; column++) {
            struct column_cell cell = cell_at(columns, row * columns->count + column);
            print_coloured(stream, cell.colour, columns->text.data + cell.start);
            if (column < last)
                fprintf(stream, "%*s", (int)(widths[column] - cell.width + GAP), "");
        }
        putc('\n', stream);
    }
    buffer_free(&columns->text);
    buffer_free(&columns->cells);
    return done;
}
