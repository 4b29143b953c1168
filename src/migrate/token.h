/* SPDX-License-Identifier: MIT */
/* SQL as tokens, as far as it takes to find where statements end and what kind each is. SQLite
 * itself decides what a statement means; nothing here parses expressions. Pure, any thread. */
#pragma once

#include <stdbool.h>

#include "base/slice.h"

enum token_kind {
    TOKEN_END,          /* nothing is left */
    TOKEN_WORD,         /* a keyword, a bare name or a number */
    TOKEN_NAME,         /* "quoted", `quoted` or [quoted] */
    TOKEN_STRING,       /* 'text' */
    TOKEN_SEMICOLON,    /* ; */
    TOKEN_OTHER,        /* any other single byte */
    TOKEN_UNTERMINATED, /* a string, quoted name or comment that does not end */
};

struct token {
    enum token_kind kind;
    struct slice text; /* with its quotes */
};

/* Takes the next token off *rest, past white space and comments. */
struct token token_next(struct slice *rest);

/* Whether it is the bare word `word`, in any letter case. */
bool token_is(struct token token, const char *word);

/* Whether it can be a name: a bare word, a quoted name or (SQLite lets that pass) a string. */
bool token_is_name(struct token token);

/* The name without its quotes, in memory that the caller frees; NULL when memory is out. */
[[gnu::warn_unused_result]] char *token_name(struct token token);

/* What the beginning of a statement says that it is. */
enum verb {
    VERB_OTHER,
    VERB_CREATE_TABLE,
    VERB_CREATE_VIRTUAL_TABLE,
    VERB_CREATE_INDEX,
    VERB_CREATE_VIEW,
    VERB_CREATE_TRIGGER,
    VERB_ALTER_ADD_COLUMN,
    VERB_ALTER_RENAME, /* of the table */
    VERB_ALTER_RENAME_COLUMN,
    VERB_ALTER_DROP_COLUMN,
    VERB_DROP_TABLE,
    VERB_DROP_INDEX,
    VERB_DROP_VIEW,
    VERB_DROP_TRIGGER,
    VERB_INSERT,
    VERB_REPLACE,
    VERB_UPDATE,
    VERB_DELETE,
    VERB_SELECT, /* also VALUES */
    VERB_WITH,   /* what follows the WITH clause is not looked for: the authorizer tells */
    VERB_PRAGMA,
    VERB_VACUUM,
};

struct sentence {
    enum verb verb;
    bool temporary;     /* CREATE TEMP …, or a name in another database than main */
    bool unique;        /* CREATE UNIQUE INDEX */
    bool if_not_exists; /* CREATE … IF NOT EXISTS */
    bool replaces;      /* holds OR REPLACE, REPLACE INTO or ON CONFLICT REPLACE */
    bool into;          /* VACUUM INTO */
    struct token name;  /* of what is created, altered, dropped or set; END when there is none */
    struct slice from_name; /* the statement from that name on, without its semicolon: the part that
                               sqlite_schema.sql keeps verbatim */
    bool has_value;         /* PRAGMA name = value or name(value) */
    struct token value;
};

/* Reads as much of one statement as it takes. */
struct sentence sentence_read(struct slice sql);

/* Whether the SQL of a table or a statement resolves conflicts by REPLACE, which deletes rows. */
bool sql_replaces(struct slice sql);
