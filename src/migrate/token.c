/* SPDX-License-Identifier: MIT */
/* Tokens, and what the first few of them say about a statement. The rules are those of SQLite's
 * tokenizer (https://www.sqlite.org/lang_keywords.html for the ways to quote a name), but for a
 * comment that does not end: SQLite takes the rest of the file for it, here it is an error. */
#include "migrate/token.h"

#include <stdlib.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

static void skip(struct slice *rest, size_t length)
{
    rest->data += length;
    rest->length -= length;
}

/* Cuts `length` bytes off the front. */
static struct token take(struct slice *rest, enum token_kind kind, size_t length)
{
    struct token token = {kind, slice_make(rest->data, length)};
    skip(rest, length);
    return token;
}

static bool begins_with(struct slice s, const char *two)
{
    return s.length >= 2 && s.data[0] == two[0] && s.data[1] == two[1];
}

/* Past white space and comments; false at a comment that does not end. */
static bool skip_blank(struct slice *rest)
{
    for (;;) {
        if (rest->length > 0 && is_space(rest->data[0])) {
            skip(rest, 1);
        } else if (begins_with(*rest, "--")) {
            const char *end = memchr(rest->data, '\n', rest->length);
            skip(rest, end ? (size_t)(end - rest->data) + 1 : rest->length);
        } else if (begins_with(*rest, "/*")) {
            const char *end = memmem(rest->data + 2, rest->length - 2, "*/", 2);
            if (!end)
                return false;
            skip(rest, (size_t)(end - rest->data) + 2);
        } else {
            return true;
        }
    }
}

/* A quoted run; a doubled quote stands for itself, but not in brackets. */
static struct token take_quoted(struct slice *rest, char close, enum token_kind kind)
{
    for (size_t i = 1; i < rest->length; i++) {
        if (rest->data[i] != close)
            continue;
        if (close != ']' && i + 1 < rest->length && rest->data[i + 1] == close)
            i++;
        else
            return take(rest, kind, i + 1);
    }
    return take(rest, TOKEN_UNTERMINATED, rest->length);
}

struct token token_next(struct slice *rest)
{
    if (!skip_blank(rest))
        return take(rest, TOKEN_UNTERMINATED, rest->length);
    if (rest->length == 0)
        return take(rest, TOKEN_END, 0);
    char c = rest->data[0];
    if (c == ';')
        return take(rest, TOKEN_SEMICOLON, 1);
    if (c == '\'')
        return take_quoted(rest, '\'', TOKEN_STRING);
    if (c == '"' || c == '`')
        return take_quoted(rest, c, TOKEN_NAME);
    if (c == '[')
        return take_quoted(rest, ']', TOKEN_NAME);
    if (!is_word(c))
        return take(rest, TOKEN_OTHER, 1);
    size_t length = 1;
    while (length < rest->length && is_word(rest->data[length]))
        length++;
    return take(rest, TOKEN_WORD, length);
}

bool token_is(struct token token, const char *word)
{
    return token.kind == TOKEN_WORD && slice_equal_ignore_case(token.text, slice_from_string(word));
}

static bool token_is_byte(struct token token, char byte)
{
    return token.kind == TOKEN_OTHER && token.text.data[0] == byte;
}

bool token_is_name(struct token token)
{
    return token.kind == TOKEN_WORD || token.kind == TOKEN_NAME || token.kind == TOKEN_STRING;
}

char *token_name(struct token token)
{
    if (token.kind == TOKEN_WORD || token.text.length < 2)
        return slice_to_string(token.text);
    char *name = malloc(token.text.length);
    if (!name)
        return NULL;
    char quote = token.text.data[0];
    size_t length = 0;
    for (size_t i = 1; i + 1 < token.text.length; i++) {
        name[length++] = token.text.data[i];
        if (quote != '[' && token.text.data[i] == quote)
            i++;
    }
    name[length] = '\0';
    return name;
}

/* Reads [database .] name; sets what a sentence says about it. */
static void read_name(struct sentence *sentence, struct slice *rest)
{
    struct slice before = *rest;
    struct token token = token_next(rest);
    struct slice after = *rest;
    if (token_is_byte(token_next(&after), '.')) {
        bool quoted = token.kind == TOKEN_NAME || token.kind == TOKEN_STRING;
        struct slice database = token.text;
        if (quoted && database.length >= 2)
            database = slice_make(database.data + 1, database.length - 2);
        if (!slice_equal_ignore_case(database, SLICE("main")))
            sentence->temporary = true;
        *rest = before = after;
        token = token_next(rest);
    }
    if (!token_is_name(token))
        return;
    sentence->name = token;
    sentence->from_name =
        slice_make(token.text.data, before.length - (size_t)(token.text.data - before.data));
}

/* Past an optional IF [NOT] EXISTS. */
static bool skip_if(struct slice *rest)
{
    struct slice ahead = *rest;
    if (!token_is(token_next(&ahead), "if"))
        return false;
    struct token token = token_next(&ahead);
    if (token_is(token, "not"))
        token = token_next(&ahead);
    if (!token_is(token, "exists"))
        return false;
    *rest = ahead;
    return true;
}

static void read_create(struct sentence *sentence, struct slice rest)
{
    static const struct {
        const char *word;
        enum verb verb;
    } things[] = {
        {"table", VERB_CREATE_TABLE},
        {"index", VERB_CREATE_INDEX},
        {"view", VERB_CREATE_VIEW},
        {"trigger", VERB_CREATE_TRIGGER},
    };
    bool is_virtual = false;
    for (;;) {
        struct token token = token_next(&rest);
        if (token_is(token, "temp") || token_is(token, "temporary"))
            sentence->temporary = true;
        else if (token_is(token, "unique"))
            sentence->unique = true;
        else if (token_is(token, "virtual"))
            is_virtual = true;
        else {
            for (size_t i = 0; i < sizeof things / sizeof *things; i++) {
                if (token_is(token, things[i].word))
                    sentence->verb = things[i].verb;
            }
            break;
        }
    }
    if (sentence->verb == VERB_CREATE_TABLE && is_virtual)
        sentence->verb = VERB_CREATE_VIRTUAL_TABLE;
    if (sentence->verb == VERB_OTHER)
        return;
    sentence->if_not_exists = skip_if(&rest);
    read_name(sentence, &rest);
}

static void read_drop(struct sentence *sentence, struct slice rest)
{
    static const struct {
        const char *word;
        enum verb verb;
    } things[] = {
        {"table", VERB_DROP_TABLE},
        {"index", VERB_DROP_INDEX},
        {"view", VERB_DROP_VIEW},
        {"trigger", VERB_DROP_TRIGGER},
    };
    struct token token = token_next(&rest);
    for (size_t i = 0; i < sizeof things / sizeof *things; i++) {
        if (token_is(token, things[i].word))
            sentence->verb = things[i].verb;
    }
    if (sentence->verb == VERB_OTHER)
        return;
    skip_if(&rest);
    read_name(sentence, &rest);
}

static void read_alter(struct sentence *sentence, struct slice rest)
{
    if (!token_is(token_next(&rest), "table"))
        return;
    read_name(sentence, &rest);
    struct token action = token_next(&rest);
    if (token_is(action, "add"))
        sentence->verb = VERB_ALTER_ADD_COLUMN;
    else if (token_is(action, "drop"))
        sentence->verb = VERB_ALTER_DROP_COLUMN;
    else if (token_is(action, "rename"))
        sentence->verb =
            token_is(token_next(&rest), "to") ? VERB_ALTER_RENAME : VERB_ALTER_RENAME_COLUMN;
}

static void read_pragma(struct sentence *sentence, struct slice rest)
{
    sentence->verb = VERB_PRAGMA;
    read_name(sentence, &rest);
    struct token token = token_next(&rest);
    if (!token_is_byte(token, '=') && !token_is_byte(token, '('))
        return;
    sentence->value = token_next(&rest);
    sentence->has_value = token_is_name(sentence->value) || sentence->value.kind == TOKEN_OTHER;
}

static void read_vacuum(struct sentence *sentence, struct slice rest)
{
    sentence->verb = VERB_VACUUM;
    for (struct token token = token_next(&rest); token.kind != TOKEN_END; token = token_next(&rest))
        sentence->into = sentence->into || token_is(token, "into");
}

bool sql_replaces(struct slice sql)
{
    struct token before = {TOKEN_END, {"", 0}};
    struct token token = token_next(&sql);
    for (; token.kind != TOKEN_END && token.kind != TOKEN_UNTERMINATED; token = token_next(&sql)) {
        if (token_is(token, "replace")) {
            struct slice ahead = sql;
            if (token_is(before, "or") || token_is(before, "conflict") ||
                token_is(token_next(&ahead), "into"))
                return true;
        }
        before = token;
    }
    return false;
}

struct sentence sentence_read(struct slice sql)
{
    static const struct {
        const char *word;
        enum verb verb;
        void (*read)(struct sentence *sentence, struct slice rest);
    } verbs[] = {
        {"create", VERB_OTHER, read_create},  {"alter", VERB_OTHER, read_alter},
        {"drop", VERB_OTHER, read_drop},      {"pragma", VERB_PRAGMA, read_pragma},
        {"vacuum", VERB_VACUUM, read_vacuum}, {"insert", VERB_INSERT, NULL},
        {"replace", VERB_REPLACE, NULL},      {"update", VERB_UPDATE, NULL},
        {"delete", VERB_DELETE, NULL},        {"select", VERB_SELECT, NULL},
        {"values", VERB_SELECT, NULL},        {"with", VERB_WITH, NULL},
    };
    struct sentence sentence = {.verb = VERB_OTHER};
    /* The semicolon is no part of what sqlite_schema keeps. */
    struct slice body = slice_trim_space(sql);
    if (body.length > 0 && body.data[body.length - 1] == ';')
        body.length--;
    struct slice rest = body;
    struct token first = token_next(&rest);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (!token_is(first, verbs[i].word))
            continue;
        sentence.verb = verbs[i].verb;
        if (verbs[i].read)
            verbs[i].read(&sentence, rest);
        break;
    }
    sentence.replaces = sql_replaces(body);
    return sentence;
}
