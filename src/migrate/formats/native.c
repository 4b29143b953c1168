/* SPDX-License-Identifier: MIT */
/* Parses one file of the native format, line by line. A line that looks like a marker but is not
 * one is an error, never a comment: overlooking a misspelt `-- migrate:down` would run what undoes
 * a migration as part of it. */
#include "migrate/formats/native.h"

#include <stdio.h>
#include <stdlib.h>

#include "migrate/statement.h"
#include "migrate/token.h"

struct parser {
    struct migration *migration;
    struct error *error;
    unsigned line; /* of the line that is looked at */
    enum { BEFORE, IN_UP, IN_DOWN } section;
    const char *section_begin; /* first byte of the section */
    unsigned seen;             /* directives, as bits by their place in the table */
};

[[gnu::format(printf, 2, 3)]] static bool refuse(struct parser *parser, const char *format, ...)
{
    char text[ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(parser->error, ERROR_SQL, "%s:%u: %s", parser->migration->file_name,
                     parser->line, text);
}

static bool out_of_memory(struct parser *parser)
{
    return error_set(parser->error, ERROR_MEMORY,
                     "%s: out of memory while reading it; free some and try again",
                     parser->migration->file_name);
}

static struct slice next_word(struct slice *rest)
{
    while (rest->length > 0 && (rest->data[0] == ' ' || rest->data[0] == '\t' ||
                                rest->data[0] == ',' || rest->data[0] == '\r')) {
        rest->data++;
        rest->length--;
    }
    size_t length = 0;
    while (length < rest->length && !memchr(" \t,\r", rest->data[length], 4))
        length++;
    struct slice word = slice_make(rest->data, length);
    rest->data += length;
    rest->length -= length;
    return word;
}

static bool read_depends(struct parser *parser, struct slice value)
{
    struct migration *migration = parser->migration;
    migration->depends_declared = true;
    migration->depends_line = parser->line;
    if (slice_equal(value, SLICE("none")))
        return true;
    for (struct slice word = next_word(&value); word.length > 0; word = next_word(&value)) {
        for (size_t i = 0; i < word.length; i++) {
            if (word.data[i] < '0' || word.data[i] > '9')
                return refuse(parser,
                              "automigrate:depends has \"%.*s\"; write versions as 001 003, or "
                              "none",
                              (int)word.length, word.data);
        }
        char **depends =
            realloc(migration->depends, (migration->depends_count + 1) * sizeof *depends);
        if (!depends)
            return out_of_memory(parser);
        migration->depends = depends;
        depends[migration->depends_count] = slice_to_string(word);
        if (!depends[migration->depends_count])
            return out_of_memory(parser);
        migration->depends_count++;
    }
    return true;
}

static bool read_risk(struct parser *parser, struct slice value)
{
    for (enum risk risk = MIGRATION_GREEN; risk <= MIGRATION_RED; risk++) {
        if (slice_equal(value, slice_from_string(risk_name(risk)))) {
            parser->migration->declared_risk = risk;
            return true;
        }
    }
    return refuse(parser, "automigrate:risk has \"%.*s\"; write green, yellow or red",
                  (int)value.length, value.data);
}

static bool read_timeout(struct parser *parser, struct slice value)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t digits = 0;
    while (digits < value.length && value.data[digits] >= '0' && value.data[digits] <= '9')
        digits++;
    struct slice unit = slice_make(value.data + digits, value.length - digits);
    uint64_t number;
    /* A week is longer than any migration, and keeps the product small. */
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (slice_equal(unit, slice_from_string(units[i].unit)) &&
            slice_to_uint64(slice_make(value.data, digits), &number) && number > 0 &&
            number <= UINT64_C(604800000) / units[i].ms) {
            parser->migration->timeout_ms = number * units[i].ms;
            return true;
        }
    }
    return refuse(parser, "automigrate:timeout has \"%.*s\"; write 500ms, 30s, 10m or 1h",
                  (int)value.length, value.data);
}

static bool read_foreign_keys(struct parser *parser, struct slice value)
{
    if (!slice_equal(value, SLICE("off")))
        return refuse(parser,
                      "automigrate:foreign_keys has \"%.*s\"; write off, or leave the line out",
                      (int)value.length, value.data);
    parser->migration->foreign_keys_off = true;
    return true;
}

static const struct {
    const char *name;
    bool (*read)(struct parser *parser, struct slice value);
} directives[] = {
    {"depends", read_depends},
    {"risk", read_risk},
    {"timeout", read_timeout},
    {"foreign_keys", read_foreign_keys},
};

/* "NAME VALUE" behind "automigrate:". */
static bool read_directive(struct parser *parser, struct slice text)
{
    struct slice name = next_word(&text);
    struct slice value = slice_trim_space(text);
    for (unsigned i = 0; i < sizeof directives / sizeof *directives; i++) {
        if (!slice_equal(name, slice_from_string(directives[i].name)))
            continue;
        if (parser->seen & 1u << i)
            return refuse(parser, "automigrate:%s stands here a second time; keep one of the lines",
                          directives[i].name);
        parser->seen |= 1u << i;
        if (value.length == 0)
            return refuse(parser, "automigrate:%s has no value; see migrations/README.md",
                          directives[i].name);
        return directives[i].read(parser, value);
    }
    return refuse(
        parser, "automigrate:%.*s is not known; known are depends, risk, timeout and foreign_keys",
        (int)name.length, name.data);
}

/* The section that is open ends before `end`. */
static void close_section(struct parser *parser, const char *end)
{
    struct slice section = slice_make(parser->section_begin, (size_t)(end - parser->section_begin));
    if (parser->section == IN_UP)
        parser->migration->up = section;
    else if (parser->section == IN_DOWN)
        parser->migration->down = section;
}

static bool read_marker(struct parser *parser, struct slice text, const char *line_begin,
                        const char *next_line)
{
    struct migration *migration = parser->migration;
    struct slice name = next_word(&text);
    bool up = slice_equal(name, SLICE("up"));
    if (!up && !slice_equal(name, SLICE("down")))
        return refuse(parser,
                      "\"-- migrate:%.*s\" is not known; write -- migrate:up or -- "
                      "migrate:down",
                      (int)name.length, name.data);
    for (struct slice option = next_word(&text); option.length > 0; option = next_word(&text)) {
        if (slice_equal(option, SLICE("transaction:false"))) {
            if (up)
                migration->transaction = false;
        } else if (!slice_equal(option, SLICE("transaction:true"))) {
            return refuse(parser,
                          "option \"%.*s\" is not known; write transaction:false, or "
                          "nothing",
                          (int)option.length, option.data);
        }
    }
    if (up ? parser->section != BEFORE : parser->section != IN_UP)
        return refuse(parser, up ? "a second up section, or one behind the down section; a file "
                                   "has one of each, up first: make it two files"
                                 : "a down section without an up section before it; write -- "
                                   "migrate:up first");
    close_section(parser, line_begin);
    parser->section = up ? IN_UP : IN_DOWN;
    parser->section_begin = next_line;
    *(up ? &migration->up_line : &migration->down_line) = parser->line + 1;
    if (!up)
        migration->has_down = true;
    return true;
}

/* Looks at one line, without its end. */
static bool read_line(struct parser *parser, struct slice line, const char *next_line)
{
    struct slice text = slice_trim_space(line);
    if (!slice_has_prefix(text, SLICE("--")))
        return true;
    bool at_margin = text.data == line.data;
    text = slice_trim_space(slice_make(text.data + 2, text.length - 2));
    static const struct slice marker = {"migrate:", 8}, directive = {"automigrate:", 12};
    bool is_directive = slice_has_prefix_ignore_case(text, directive);
    if (!is_directive && !slice_has_prefix_ignore_case(text, marker))
        return true;
    struct slice prefix = is_directive ? directive : marker;
    if (!at_margin)
        return refuse(parser, "\"-- %s\" is not at the beginning of its line; put it there",
                      prefix.data);
    if (!slice_has_prefix(text, prefix))
        return refuse(parser, "\"-- %s\" has other letter case here; write it in small letters",
                      prefix.data);
    text = slice_make(text.data + prefix.length, text.length - prefix.length);
    return is_directive ? read_directive(parser, text)
                        : read_marker(parser, text, line.data, next_line);
}

/* Cuts a section into statements: all must end. For `up`, PRAGMA foreign_keys=OFF is noted. */
static bool check_section(struct parser *parser, struct slice section, unsigned line, bool up)
{
    struct migration *migration = parser->migration;
    struct statement_cursor cursor;
    struct statement statement;
    enum statement_next next;
    bool off;
    statement_cursor_construct(&cursor, section, line);
    while ((next = statement_next(&cursor, &statement, parser->error)) == STATEMENT_FOUND) {
        if (up && statement_sets_foreign_keys(statement.sql, &off) && off)
            migration->foreign_keys_off = true;
    }
    if (next == STATEMENT_BROKEN)
        error_prefix(parser->error, "%s: ", migration->file_name);
    statement_cursor_destruct(&cursor);
    return next == STATEMENT_NONE;
}

/* Nothing but comments may stand before the first marker: it would never run. */
static bool check_preamble(struct parser *parser, const char *text, const char *end)
{
    struct slice rest = slice_make(text, (size_t)(end - text));
    struct token token = token_next(&rest);
    if (token.kind == TOKEN_END)
        return true;
    parser->line = 1;
    for (const char *at = text; at < token.text.data; at++)
        parser->line += *at == '\n';
    return refuse(parser, "statements before -- migrate:up would never run; move the marker up");
}

bool native_parse(struct migration *migration, struct error *error)
{
    struct parser parser = {.migration = migration, .error = error, .line = 1};
    const char *text = migration->text;
    const char *end = text + migration->text_length;
    const char *nul = memchr(text, '\0', migration->text_length);
    if (nul) {
        for (const char *at = text; at < nul; at++)
            parser.line += *at == '\n';
        return refuse(&parser, "a NUL byte; SQLite would stop reading there: save the file as "
                               "UTF-8 text");
    }
    migration->transaction = true;
    if (slice_has_prefix(slice_make(text, migration->text_length), SLICE("\xef\xbb\xbf")))
        text += 3;
    const char *up_marker = end;
    const char *next;
    for (const char *at = text; at < end; at = next, parser.line++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        next = line_end ? line_end + 1 : end;
        bool before = parser.section == BEFORE;
        if (!read_line(&parser, slice_make(at, (size_t)((line_end ? line_end : end) - at)), next))
            return false;
        if (before && parser.section == IN_UP)
            up_marker = at;
    }
    if (parser.section == BEFORE)
        return error_set(error, ERROR_SQL,
                         "%s: no up section; write -- migrate:up above the statements",
                         migration->file_name);
    close_section(&parser, end);
    return check_preamble(&parser, text, up_marker) &&
           check_section(&parser, migration->up, migration->up_line, true) &&
           check_section(&parser, migration->down, migration->down_line, false);
}
