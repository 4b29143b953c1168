/* SPDX-License-Identifier: MIT */
/* Whether two definitions say the same: both are cut into tokens as SQLite's tokenizer would cut
 * them (https://www.sqlite.org/lang.html, sqlite/src/tokenize.c), and the tokens are compared.
 * Operators are cut into single bytes: no two valid definitions differ only in the space inside of
 * one. Pure, no allocation. */
#include "schema/catalogue.h"

#include "base/slice.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

static const char *skip_line_comment(const char *text)
{
    while (*text && *text != '\n')
        text++;
    return text;
}

/* An unterminated comment ends with the text, as in SQLite. */
static const char *skip_block_comment(const char *text)
{
    text += 2;
    while (*text && !(text[0] == '*' && text[1] == '/'))
        text++;
    return *text ? text + 2 : text;
}

static const char *skip_blank(const char *text)
{
    for (;;) {
        if (is_space(*text))
            text++;
        else if (text[0] == '-' && text[1] == '-')
            text = skip_line_comment(text);
        else if (text[0] == '/' && text[1] == '*')
            text = skip_block_comment(text);
        else
            return text;
    }
}

/* Behind the quoted token that begins at `text`; a doubled quote stands for itself, except in
 * brackets. */
static const char *skip_quoted(const char *text)
{
    char end = *text == '[' ? ']' : *text;
    for (text++; *text; text++) {
        if (*text != end)
            continue;
        if (end == ']' || text[1] != end)
            return text + 1;
        text++;
    }
    return text;
}

static bool is_quote(char c)
{
    return c == '\'' || c == '"' || c == '`' || c == '[';
}

static bool is_blob(const char *text)
{
    return (text[0] == 'x' || text[0] == 'X') && text[1] == '\'';
}

/* The next token; empty at the end. *folds: letter case does not matter in it. */
static struct slice next_token(const char **text, bool *folds)
{
    const char *start = skip_blank(*text);
    const char *end = start;
    *folds = true;
    if (is_blob(start)) {
        end = skip_quoted(start + 1);
    } else if (is_word(*start)) {
        while (is_word(*end))
            end++;
    } else if (is_quote(*start)) {
        end = skip_quoted(start);
        *folds = false;
    } else if (*start) {
        end++;
    }
    *text = end;
    return slice_make(start, (size_t)(end - start));
}

bool catalogue_same_definition(const char *a, const char *b)
{
    for (;;) {
        bool a_folds;
        bool b_folds;
        struct slice left = next_token(&a, &a_folds);
        struct slice right = next_token(&b, &b_folds);
        bool same =
            a_folds && b_folds ? slice_equal_ignore_case(left, right) : slice_equal(left, right);
        if (!same)
            return false;
        if (left.length == 0)
            return true;
    }
}
