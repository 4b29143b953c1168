/* SPDX-License-Identifier: MIT */
/* Keeps a migration to its own database (https://www.sqlite.org/c3ref/set_authorizer.html): no
 * ATTACH, no transaction control, no extensions, no setting that outlives or loosens it, nothing
 * that writes the history. Also writes down what each statement does, which is what risk is judged
 * by. Belongs to one connection and its thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sqlite3.h>

struct authorizer_record {
    int action;     /* SQLITE_CREATE_TABLE … */
    char *first;    /* never NULL; table, index … */
    char *second;   /* never NULL; column, table of an index … */
    char *database; /* "main", "temp", "" */
    char *source;   /* the trigger or view that does it, "" for the statement itself */
};

struct authorizer {
    sqlite3 *handle;
    bool transaction; /* the migration runs in one */
    bool vacuum;      /* the statement is a plain VACUUM, which attaches and commits inside */
    bool failed;      /* out of memory: the records are not complete */
    struct authorizer_record *records; /* of the current statement; SELECT, functions and SQLite's
                                          own tables are left out, READ is told once a table */
    size_t count;
    size_t capacity;
    char denied[256]; /* why the statement was refused; "" when it was not */
};

void authorizer_construct(struct authorizer *authorizer, sqlite3 *handle, bool transaction);
/* Takes itself off the connection. */
void authorizer_destruct(struct authorizer *authorizer);
/* Forgets the records; to be called before each statement is prepared. */
void authorizer_begin(struct authorizer *authorizer, bool vacuum);

/* Between these two, SQL of ours runs on the connection. */
void authorizer_suspend(struct authorizer *authorizer);
void authorizer_resume(struct authorizer *authorizer);

/* Whether it is a table that the history lives in. */
bool authorizer_is_history(const char *table);
