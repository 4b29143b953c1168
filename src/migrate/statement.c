/* SPDX-License-Identifier: MIT */
/* Cutting SQL text into statements. Our tokens find the semicolons that stand outside strings and
 * comments; sqlite3_complete says at which of them a statement is over. */
#include "migrate/statement.h"

#include <sqlite3.h>
#include <stdio.h>

#include "migrate/token.h"

void statement_cursor_construct(struct statement_cursor *cursor, struct slice section,
                                unsigned line)
{
    *cursor = (struct statement_cursor){.rest = section, .line = line};
}

void statement_cursor_destruct(struct statement_cursor *cursor)
{
    buffer_free(&cursor->prefix);
}

static unsigned count_lines(const char *from, const char *to)
{
    unsigned lines = 0;
    while (from < to && (from = memchr(from, '\n', (size_t)(to - from)))) {
        lines++;
        from++;
    }
    return lines;
}

/* `rest` now begins at `to`. */
static void advance(struct statement_cursor *cursor, const char *to)
{
    cursor->line += count_lines(cursor->rest.data, to);
    cursor->rest.length -= (size_t)(to - cursor->rest.data);
    cursor->rest.data = to;
}

static enum statement_next broken(struct statement_cursor *cursor, struct token token,
                                  struct error *error)
{
    advance(cursor, token.text.data);
    const char *what = "a comment";
    if (token.text.data[0] == '\'')
        what = "a string";
    else if (token.text.data[0] != '/')
        what = "a quoted name";
    error_set(error, ERROR_SQL, "line %u: %s begins here and does not end; close it", cursor->line,
              what);
    return STATEMENT_BROKEN;
}

enum statement_next statement_next(struct statement_cursor *cursor, struct statement *statement,
                                   struct error *error)
{
    struct slice ahead = cursor->rest;
    struct token token = token_next(&ahead);
    while (token.kind == TOKEN_SEMICOLON)
        token = token_next(&ahead);
    if (token.kind == TOKEN_END)
        return STATEMENT_NONE;
    if (token.kind == TOKEN_UNTERMINATED)
        return broken(cursor, token, error);
    advance(cursor, token.text.data);

    const char *from = cursor->rest.data;
    const char *copied = from;
    buffer_clear(&cursor->prefix);
    for (;; token = token_next(&ahead)) {
        if (token.kind == TOKEN_UNTERMINATED)
            return broken(cursor, token, error);
        if (token.kind == TOKEN_END) {
            error_set(error, ERROR_SQL,
                      "line %u: the statement that begins here does not end; put \";\" behind it "
                      "(behind END for a trigger)",
                      cursor->line);
            return STATEMENT_BROKEN;
        }
        if (token.kind != TOKEN_SEMICOLON)
            continue;
        buffer_append(&cursor->prefix, copied, (size_t)(ahead.data - copied));
        copied = ahead.data;
        if (cursor->prefix.failed) {
            error_set(error, ERROR_MEMORY, "line %u: out of memory; free some and try again",
                      cursor->line);
            return STATEMENT_BROKEN;
        }
        if (sqlite3_complete(cursor->prefix.data))
            break;
    }
    statement->sql = slice_make(from, (size_t)(ahead.data - from));
    statement->line = cursor->line;
    statement->position = ++cursor->position;
    advance(cursor, ahead.data);
    return STATEMENT_FOUND;
}

char *statement_excerpt(struct slice sql, char *out, size_t size)
{
    static const char ellipsis[] = "…";
    size_t length = 0;
    bool cut = false;
    const char *end = NULL;
    sql = slice_trim_space(sql);
    if (sql.length > 0 && sql.data[sql.length - 1] == ';')
        sql.length--;
    struct token token = token_next(&sql);
    for (; token.kind != TOKEN_END; token = token_next(&sql)) {
        if (end && end != token.text.data && length + 1 < size)
            out[length++] = ' ';
        for (size_t i = 0; i < token.text.length; i++) {
            char c = token.text.data[i];
            if (length + 1 == size) {
                cut = true;
                break;
            }
            out[length++] = (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c;
        }
        if (cut)
            break;
        end = token.text.data + token.text.length;
    }
    if (cut) {
        if (length + sizeof ellipsis > size)
            length = size - sizeof ellipsis;
        while (length > 0 && ((unsigned char)out[length] & 0xc0) == 0x80)
            length--;
        memcpy(out + length, ellipsis, sizeof ellipsis);
        return out;
    }
    out[length] = '\0';
    return out;
}

bool statement_sets_foreign_keys(struct slice sql, bool *off)
{
    struct sentence sentence = sentence_read(sql);
    if (sentence.verb != VERB_PRAGMA || !sentence.has_value ||
        !slice_equal_ignore_case(sentence.name.text, SLICE("foreign_keys")))
        return false;
    /* https://www.sqlite.org/pragma.html#pragma_foreign_keys: everything else is off. */
    static const char *const on[] = {"1", "on", "yes", "true"};
    struct slice value = sentence.value.text;
    if (sentence.value.kind != TOKEN_WORD && value.length >= 2)
        value = slice_make(value.data + 1, value.length - 2);
    *off = true;
    for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
        if (slice_equal_ignore_case(value, slice_from_string(on[i])))
            *off = false;
    }
    return true;
}
