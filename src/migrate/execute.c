/* SPDX-License-Identifier: MIT */
/* Running one statement. What SQLite says about a failure is put behind the file, line and number
 * of the statement here, where they are known. */
#include "migrate/execute.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "database/database.h"
#include "schema/catalogue.h"

enum { PROGRESS_STEPS = 1000 }; /* of SQLite's machine between two looks at the clock: some 20 µs */

static int on_progress(void *context)
{
    const struct executor *executor = context;
    return executor->deadline_ns != 0 && clock_monotonic_ns() > executor->deadline_ns;
}

void executor_construct(struct executor *executor, sqlite3 *handle,
                        const struct migration *migration, uint64_t limit_ms, const char *limit_key)
{
    *executor = (struct executor){
        .handle = handle, .migration = migration, .limit_ms = limit_ms, .limit_key = limit_key};
    if (limit_ms > 0) {
        executor->deadline_ns = clock_monotonic_ns() + limit_ms * NS_PER_MS;
        sqlite3_progress_handler(handle, PROGRESS_STEPS, on_progress, executor);
    }
    authorizer_construct(&executor->authorizer, handle, migration->transaction);
}

void executor_destruct(struct executor *executor)
{
    authorizer_destruct(&executor->authorizer);
    sqlite3_progress_handler(executor->handle, 0, NULL, NULL);
}

char *executor_place(const struct executor *executor, const struct statement *statement,
                     unsigned line, char out[512])
{
    char excerpt[64];
    snprintf(out, 512, "%s:%u: statement %u (%s)", executor->migration->file_name, line,
             statement->position, statement_excerpt(statement->sql, excerpt, sizeof excerpt));
    return out;
}

/* The line of the byte that SQLite complains about, else that of the statement's first word. */
static unsigned line_of_error(sqlite3 *handle, const struct statement *statement)
{
    int offset = sqlite3_error_offset(handle);
    unsigned line = statement->line;
    for (int i = 0; i < offset && (size_t)i < statement->sql.length; i++)
        line += statement->sql.data[i] == '\n';
    return line;
}

static void failed(struct executor *executor, const struct statement *statement,
                   struct execution *execution, int result, struct error *error)
{
    char place[512];
    execution->outcome = EXECUTED_FAILED;
    execution->result = result;
    execution->line = line_of_error(executor->handle, statement);
    executor_place(executor, statement, execution->line, place);
    if (executor->authorizer.denied[0])
        error_set(error, ERROR_PERMISSION, "%s: %s", place, executor->authorizer.denied);
    else if ((result & 0xff) == SQLITE_INTERRUPT)
        error_set(error, ERROR_TIMEOUT,
                  "%s: stopped, for the time of %llu ms is over; allow more with %s, or split the "
                  "file",
                  place, (unsigned long long)executor->limit_ms, executor->limit_key);
    else
        database_error(executor->handle, result, place, error);
}

/* What sqlite_schema would keep of a CREATE statement: SQLite normalises all up to the name. */
static char *stored_form(const struct sentence *sentence)
{
    static const char *const heads[] = {
        [VERB_CREATE_TABLE] = "CREATE TABLE ",
        [VERB_CREATE_VIRTUAL_TABLE] = "CREATE VIRTUAL TABLE ",
        [VERB_CREATE_INDEX] = "CREATE INDEX ",
        [VERB_CREATE_VIEW] = "CREATE VIEW ",
        [VERB_CREATE_TRIGGER] = "CREATE TRIGGER ",
    };
    struct buffer text = {0};
    buffer_append_string(&text, sentence->unique ? "CREATE UNIQUE INDEX " : heads[sentence->verb]);
    buffer_append_slice(&text, sentence->from_name);
    return buffer_take(&text);
}

static const char *kind_of(enum verb verb)
{
    switch (verb) {
    case VERB_CREATE_TABLE:
    case VERB_CREATE_VIRTUAL_TABLE:
        return "table";
    case VERB_CREATE_INDEX:
        return "index";
    case VERB_CREATE_VIEW:
        return "view";
    case VERB_CREATE_TRIGGER:
        return "trigger";
    default:
        return NULL;
    }
}

/* Looks for what a CREATE statement makes. *there: an object of that name is in the schema; *same:
 * it is of that kind and its definition says the same. Returns SQLITE_OK or what went wrong. */
static int look_up(struct executor *executor, const struct sentence *sentence, bool *there,
                   bool *same)
{
    static const char sql[] = "SELECT sql, type = ?2 FROM main.sqlite_schema "
                              "WHERE name = ?1 COLLATE NOCASE AND (type = 'trigger') = "
                              "(?2 = 'trigger')";
    sqlite3_stmt *query = NULL;
    char *name = token_name(sentence->name);
    char *definition = stored_form(sentence);
    int result = name && definition ? SQLITE_OK : SQLITE_NOMEM;
    *there = *same = false;
    authorizer_suspend(&executor->authorizer);
    if (result == SQLITE_OK)
        result = sqlite3_prepare_v2(executor->handle, sql, -1, &query, NULL);
    if (result == SQLITE_OK) {
        sqlite3_bind_text(query, 1, name, -1, SQLITE_STATIC);
        sqlite3_bind_text(query, 2, kind_of(sentence->verb), -1, SQLITE_STATIC);
        result = sqlite3_step(query);
    }
    if (result == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(query, 0);
        *there = true;
        *same = text && sqlite3_column_int(query, 1) && catalogue_same_definition(text, definition);
        if (!text && sqlite3_column_type(query, 0) != SQLITE_NULL)
            result = SQLITE_NOMEM;
    }
    sqlite3_finalize(query);
    authorizer_resume(&executor->authorizer);
    free(definition);
    free(name);
    return result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
}

/* A CREATE that meets its object: done already when it is the same, an error when not. True: the
 * outcome is settled. */
static bool settle_existing(struct executor *executor, const struct statement *statement,
                            struct execution *execution, struct error *error)
{
    const struct sentence *sentence = &execution->sentence;
    bool there, same;
    if (!kind_of(sentence->verb) || sentence->temporary || sentence->name.kind == TOKEN_END)
        return false;
    int result = look_up(executor, sentence, &there, &same);
    if (result != SQLITE_OK) {
        failed(executor, statement, execution, result, error);
        return true;
    }
    if (!there)
        return false;
    execution->outcome = same ? EXECUTED_NOTHING : EXECUTED_FAILED;
    if (same) {
        error->code = ERROR_NONE;
        return true;
    }
    char place[512];
    execution->result = SQLITE_ERROR;
    error_set(error, ERROR_SQL,
              "%s: %.*s already exists and is defined in another way; drop or rename one of the "
              "two, or write the change as ALTER",
              executor_place(executor, statement, execution->line, place),
              (int)sentence->name.text.length, sentence->name.text.data);
    return true;
}

static bool says_it_exists(sqlite3 *handle)
{
    const char *message = sqlite3_errmsg(handle);
    return strstr(message, "already exists") || strstr(message, "there is already");
}

/* SQLite's parser must end where sqlite3_complete did, or a part would never run. */
static bool ends_alike(const struct executor *executor, const struct statement *statement,
                       struct execution *execution, const char *tail, struct error *error)
{
    char place[512];
    if (tail == statement->sql.data + statement->sql.length)
        return true;
    execution->outcome = EXECUTED_FAILED;
    execution->result = SQLITE_ERROR;
    return error_set(error, ERROR_SQL,
                     "%s: SQLite reads its end elsewhere; write one statement to a line",
                     executor_place(executor, statement, execution->line, place));
}

static void run(struct executor *executor, const struct statement *statement,
                struct execution *execution, struct error *error)
{
    sqlite3_stmt *prepared = NULL;
    const char *tail = NULL;
    if (execution->sentence.if_not_exists && settle_existing(executor, statement, execution, error))
        return;
    int result = sqlite3_prepare_v2(executor->handle, statement->sql.data,
                                    (int)statement->sql.length, &prepared, &tail);
    if (result != SQLITE_OK) {
        /* The tail is of no use here: after "already exists" it points into the statement. */
        bool exists = result == SQLITE_ERROR && says_it_exists(executor->handle);
        failed(executor, statement, execution, result, error);
        if (exists)
            settle_existing(executor, statement, execution, error);
        return;
    }
    if (ends_alike(executor, statement, execution, tail, error)) {
        int64_t changes = sqlite3_total_changes64(executor->handle);
        execution->stepped = true;
        execution->read_only = sqlite3_stmt_readonly(prepared) != 0;
        do
            result = sqlite3_step(prepared);
        while (result == SQLITE_ROW);
        execution->rows = sqlite3_total_changes64(executor->handle) - changes;
        if (result != SQLITE_DONE)
            failed(executor, statement, execution, result, error);
    }
    sqlite3_finalize(prepared);
}

void executor_run(struct executor *executor, const struct statement *statement,
                  struct execution *execution, struct error *error)
{
    bool off;
    char place[512];
    uint64_t begin = clock_monotonic_ns();
    *execution = (struct execution){.outcome = EXECUTED_DONE,
                                    .sentence = sentence_read(statement->sql),
                                    .line = statement->line};
    authorizer_begin(&executor->authorizer, execution->sentence.verb == VERB_VACUUM);
    if (statement_sets_foreign_keys(statement->sql, &off))
        execution->outcome = EXECUTED_SETTING;
    else
        run(executor, statement, execution, error);
    if (execution->outcome != EXECUTED_FAILED && executor->migration->transaction &&
        sqlite3_get_autocommit(executor->handle)) {
        execution->outcome = EXECUTED_FAILED;
        execution->result = SQLITE_ERROR;
        error_set(error, ERROR_SQL,
                  "%s: it ended the transaction; remove what commits or rolls back",
                  executor_place(executor, statement, execution->line, place));
    }
    if (executor->authorizer.failed && execution->outcome != EXECUTED_FAILED) {
        execution->outcome = EXECUTED_FAILED;
        execution->result = SQLITE_NOMEM;
        error_set(error, ERROR_MEMORY, "%s: out of memory; free some and try again",
                  executor_place(executor, statement, execution->line, place));
    }
    execution->duration_us = (clock_monotonic_ns() - begin) / 1000;
}
