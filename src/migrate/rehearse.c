/* SPDX-License-Identifier: MIT */
/* Rehearsing one migration after the other. The stage owns the copy. */
#include "migrate/rehearse.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "database/schema_read.h"
#include "migrate/estimate.h"
#include "migrate/risk.h"

enum { DEFAULT_PAGES = 65536 };

/* One migration on the stage. */
struct run {
    struct rehearsal_stage *stage;
    struct plan_entry *entry;
    struct executor executor;
    struct risk_judgement judgement;
    struct error *error; /* of the rehearsal itself */
};

static bool out_of_memory(struct error *error)
{
    return error_set(error, ERROR_MEMORY, "out of memory in a rehearsal; free some and try again");
}

bool rehearsal_open(struct rehearsal_stage *stage, struct database *live,
                    const struct plan_limits *limits, struct error *error)
{
    struct catalogue catalogue;
    char sql[64];
    uint64_t pages = limits->rehearsal_pages ? limits->rehearsal_pages : DEFAULT_PAGES;
    *stage = (struct rehearsal_stage){.live = live,
                                      .limits = limits,
                                      .deadline_ns = clock_monotonic_ns() +
                                                     limits->rehearsal_timeout_ms * NS_PER_MS};
    if (!schema_read(live, &catalogue, error))
        return false;
    bool good = known_construct(&stage->known, &catalogue) || out_of_memory(error);
    catalogue_free(&catalogue);
    if (good && !schema_copy(live, &stage->copy, &stage->stubbed, stage->note, error)) {
        known_destruct(&stage->known);
        return false;
    }
    stage->known.stubbed = stage->stubbed > 0;
    snprintf(sql, sizeof sql, "PRAGMA main.max_page_count = %llu", (unsigned long long)pages);
    good = good && database_run(&stage->copy, sql, error);
    if (!good)
        rehearsal_close(stage);
    return good;
}

void rehearsal_close(struct rehearsal_stage *stage)
{
    database_close(&stage->copy);
    known_destruct(&stage->known);
}

static bool is_data_verb(enum verb verb)
{
    return verb == VERB_INSERT || verb == VERB_REPLACE || verb == VERB_UPDATE ||
           verb == VERB_DELETE || verb == VERB_SELECT || verb == VERB_WITH;
}

/* Whether the statement read or wrote rows of a table that this plan did not make. */
static bool touches_existing(const struct known *known, const struct authorizer *authorizer)
{
    for (size_t i = 0; i < authorizer->count; i++) {
        const struct authorizer_record *record = &authorizer->records[i];
        bool rows = record->action == SQLITE_READ || record->action == SQLITE_INSERT ||
                    record->action == SQLITE_UPDATE || record->action == SQLITE_DELETE;
        const struct known_object *object = rows ? known_find_relation(known, record->first) : NULL;
        if (object && !object->fresh)
            return true;
    }
    return false;
}

static bool note_touched(struct plan_entry *entry, const char *table)
{
    for (size_t i = 0; i < entry->touched_count; i++) {
        if (string_compare_ignore_case(entry->touched[i], table) == 0)
            return true;
    }
    char **grown = reallocarray(entry->touched, entry->touched_count + 1, sizeof(*grown));
    if (!grown)
        return false;
    entry->touched = grown;
    grown[entry->touched_count] = slice_to_string(slice_from_string(table));
    return grown[entry->touched_count] && ++entry->touched_count > 0;
}

static bool note_all_touched(struct run *run)
{
    const struct authorizer *authorizer = &run->executor.authorizer;
    for (size_t i = 0; i < authorizer->count; i++) {
        const struct authorizer_record *record = &authorizer->records[i];
        const char *table = NULL;
        switch (record->action) {
        case SQLITE_CREATE_TABLE:
        case SQLITE_DROP_TABLE:
        case SQLITE_INSERT:
        case SQLITE_UPDATE:
        case SQLITE_DELETE:
            table = record->first;
            break;
        case SQLITE_ALTER_TABLE:
            table = record->second;
            break;
        default:
            break;
        }
        if (table && !note_touched(run->entry, table))
            return false;
    }
    return true;
}

/* Bytes of the live database that the statement goes over; `known` is as before it. */
static uint64_t rewritten(const struct run *run, const struct execution *execution)
{
    const struct authorizer *authorizer = &run->executor.authorizer;
    enum verb verb = execution->sentence.verb;
    const char *last = "";
    uint64_t bytes = 0;
    for (size_t i = 0; i < authorizer->count; i++) {
        const struct authorizer_record *record = &authorizer->records[i];
        const char *table = NULL;
        if (record->action == SQLITE_UPDATE || record->action == SQLITE_DELETE ||
            record->action == SQLITE_DROP_TABLE)
            table = record->first;
        else if (record->action == SQLITE_CREATE_INDEX ||
                 (record->action == SQLITE_ALTER_TABLE && verb == VERB_ALTER_DROP_COLUMN))
            table = record->second;
        else if (record->action == SQLITE_READ &&
                 (verb == VERB_INSERT || verb == VERB_CREATE_TABLE || verb == VERB_WITH ||
                  verb == VERB_REPLACE))
            table = record->first;
        /* One UPDATE is reported once a column. */
        if (!table || string_compare_ignore_case(table, last) == 0)
            continue;
        const struct known_object *object = known_find(&run->stage->known, SCHEMA_TABLE, table);
        if (object && !object->fresh &&
            __builtin_add_overflow(bytes, estimate_table(run->stage->live, table), &bytes))
            return UINT64_MAX;
        last = table;
    }
    return bytes;
}

/* The table that the statement drops or renames; NULL when it does neither. After a rename it is
 * the new name, which the references that followed it have. */
static const char *removed_table(const struct run *run, const struct execution *execution)
{
    const struct authorizer *authorizer = &run->executor.authorizer;
    for (size_t i = 0; i < authorizer->count; i++) {
        const struct authorizer_record *record = &authorizer->records[i];
        if (record->action == SQLITE_DROP_TABLE)
            return record->first;
        if (record->action == SQLITE_ALTER_TABLE && execution->sentence.verb == VERB_ALTER_RENAME)
            return record->second;
    }
    return NULL;
}

/* *referenced: another table has a foreign key on `table` in the copy. False: it could not be
 * asked.
 */
static bool is_referenced(struct run *run, const char *table, bool *referenced)
{
    static const char sql[] =
        "SELECT 1 FROM main.sqlite_schema AS child, pragma_foreign_key_list(child.name) AS key "
        "WHERE child.type = 'table' AND child.name <> ?1 COLLATE NOCASE "
        "AND key.\"table\" = ?1 COLLATE NOCASE LIMIT 1";
    sqlite3_stmt *query = NULL;
    sqlite3 *handle = run->stage->copy.handle;
    int result = sqlite3_prepare_v2(handle, sql, -1, &query, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_bind_text(query, 1, table, -1, SQLITE_TRANSIENT);
    if (result == SQLITE_OK)
        result = sqlite3_step(query);
    *referenced = result == SQLITE_ROW;
    bool good = result == SQLITE_ROW || result == SQLITE_DONE ||
                database_error(handle, result, "foreign keys in a rehearsal", run->error);
    sqlite3_finalize(query);
    return good;
}

/* Foreign keys go off when a referenced table was dropped or renamed. After a rename the references
 * have followed it, so it is asked for by its new name too. False: it could not be asked. */
static bool judge_foreign_keys(struct run *run, const struct execution *execution,
                               const char *removed)
{
    const struct known *known = &run->stage->known;
    bool *off = &run->entry->foreign_keys_off;
    if (!removed || *off)
        return true;
    bool good = is_referenced(run, removed, off);
    for (size_t i = 0; execution->sentence.verb == VERB_ALTER_RENAME && i < known->count; i++) {
        const struct known_object *object = known->objects[i];
        if (good && !*off && object->kind == SCHEMA_TABLE && object->made_by == known->entry &&
            !object->fresh)
            good = is_referenced(run, object->name, off);
    }
    return good;
}

static void fails(struct run *run, const struct error *failure)
{
    run->entry->rehearsal = REHEARSAL_FAILS;
    run->entry->failure = *failure;
    if (run->stage->stubbed > 0) {
        size_t used = strlen(run->entry->failure.message);
        snprintf(run->entry->failure.message + used, sizeof run->entry->failure.message - used,
                 " (the rehearsal lacks %u objects that this SQLite cannot make, first %s)",
                 run->stage->stubbed, run->stage->note);
    }
    risk_raise(&run->judgement, MIGRATION_RED, "fails in the rehearsal");
}

[[gnu::format(printf, 3, 4)]] static void depends_on_data(struct run *run, unsigned line,
                                                          const char *format, ...)
{
    char why[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    risk_raise(&run->judgement, MIGRATION_YELLOW, "line %u: %s", line, why);
    if (run->entry->rehearsal == REHEARSAL_OK)
        error_set(&run->entry->failure, ERROR_CONSTRAINT, "%s:%u: %s",
                  run->entry->migration->file_name, line, why);
    run->entry->rehearsal = REHEARSAL_DEPENDS_ON_DATA;
}

/* A new column that old rows may not be able to have: SQLite looks at the rows, of which the copy
 * has none (https://www.sqlite.org/lang_altertable.html#altertabaddcol). */
static void judge_new_column(struct run *run, const struct statement *statement, const char *table)
{
    static const char *const looks[] = {"check",        "references",        "generated",   "as",
                                        "current_time", "current_timestamp", "current_date"};
    struct slice rest = statement->sql;
    bool not_null = false, has_default = false, looked = false;
    struct token before = {TOKEN_END, {"", 0}}, token = token_next(&rest);
    for (; token.kind != TOKEN_END && token.kind != TOKEN_UNTERMINATED;
         before = token, token = token_next(&rest)) {
        not_null = not_null || (token_is(token, "null") && token_is(before, "not"));
        has_default = has_default || token_is(token, "default");
        looked = looked || (token_is(before, "default") &&
                            (token.text.data[0] == '(' || token_is(token, "null")));
        for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
            looked = looked || token_is(token, looks[i]);
    }
    if ((!not_null || has_default) && !looked)
        return;
    if (!estimate_has_rows(run->stage->live, table))
        return;
    if (not_null && !has_default && !looked) {
        struct error failure;
        char place[512];
        error_set(&failure, ERROR_SQL,
                  "%s: Cannot add a NOT NULL column with default value NULL: table %s has rows; "
                  "give it a DEFAULT",
                  executor_place(&run->executor, statement, statement->line, place), table);
        fails(run, &failure);
        return;
    }
    depends_on_data(run, statement->line, "whether the rows of %s allow the new column", table);
}

/* What the copy cannot know although the statement ran in it. */
static void judge_rows(struct run *run, const struct execution *execution,
                       const struct statement *statement)
{
    const struct authorizer *authorizer = &run->executor.authorizer;
    const struct known *known = &run->stage->known;
    for (size_t i = 0; i < authorizer->count; i++) {
        const struct authorizer_record *record = &authorizer->records[i];
        if ((record->action != SQLITE_ALTER_TABLE && record->action != SQLITE_CREATE_INDEX) ||
            known_is_fresh(known, record->second))
            continue;
        if (execution->sentence.verb == VERB_ALTER_ADD_COLUMN)
            judge_new_column(run, statement, record->second);
        else if (execution->sentence.verb == VERB_CREATE_INDEX && execution->sentence.unique &&
                 estimate_has_rows(run->stage->live, record->second))
            depends_on_data(run, statement->line, "whether the rows of %s are unique",
                            record->second);
    }
}

/* A statement failed: for good, or for lack of rows. True: the next one can be tried. */
static bool judge_failure(struct run *run, const struct execution *execution,
                          const struct statement *statement, const struct error *failure)
{
    int primary = execution->result & 0xff;
    if (primary == SQLITE_NOMEM)
        return out_of_memory(run->error);
    bool about_rows = primary == SQLITE_CONSTRAINT || primary == SQLITE_MISMATCH ||
                      primary == SQLITE_TOOBIG || primary == SQLITE_ERROR;
    bool still_open =
        !sqlite3_get_autocommit(run->executor.handle) || !run->entry->migration->transaction;
    if (execution->stepped && about_rows && still_open && is_data_verb(execution->sentence.verb) &&
        (run->stage->tainted || touches_existing(&run->stage->known, &run->executor.authorizer))) {
        run->stage->tainted = true;
        depends_on_data(run, statement->line, "%s: without the rows of the live database",
                        sqlite3_errmsg(run->executor.handle));
        return true;
    }
    fails(run, failure);
    if (primary == SQLITE_FULL)
        error_set(
            &run->entry->failure, ERROR_SQL,
            "%s:%u: statement %u needs more pages than a rehearsal may have; apply it by hand",
            run->entry->migration->file_name, statement->line, statement->position);
    return false;
}

/* False: the rehearsal of this migration ends here. */
static bool rehearse_statement(struct run *run, const struct statement *statement)
{
    struct execution execution;
    struct error failure = {0};
    executor_run(&run->executor, statement, &execution, &failure);
    const struct authorizer *authorizer = &run->executor.authorizer;
    if (!risk_judge(&run->judgement, &run->stage->known, authorizer, &execution, statement) ||
        !note_all_touched(run))
        return out_of_memory(run->error);
    if (execution.outcome == EXECUTED_FAILED)
        return judge_failure(run, &execution, statement, &failure);
    if (execution.outcome != EXECUTED_DONE)
        return true;
    judge_rows(run, &execution, statement);
    if (run->entry->rehearsal == REHEARSAL_FAILS)
        return false;
    if (__builtin_add_overflow(run->entry->rewritten_bytes, rewritten(run, &execution),
                               &run->entry->rewritten_bytes))
        run->entry->rewritten_bytes = UINT64_MAX;
    if ((is_data_verb(execution.sentence.verb) || execution.sentence.verb == VERB_CREATE_TABLE) &&
        touches_existing(&run->stage->known, authorizer))
        run->stage->tainted = true;
    char *removed = NULL;
    const char *name = removed_table(run, &execution);
    if (name && !(removed = slice_to_string(slice_from_string(name))))
        return out_of_memory(run->error);
    struct error broken = {0};
    bool good =
        known_update(&run->stage->known, &run->stage->copy, authorizer, &execution, &broken);
    if (!good) {
        if (broken.code == ERROR_MEMORY)
            *run->error = broken;
        else
            fails(run, &broken);
    } else {
        good = judge_foreign_keys(run, &execution, removed);
    }
    free(removed);
    return good;
}

static bool add_provided(struct plan_entry *entry, enum schema_kind kind, const char *table,
                         const char *name)
{
    size_t count = entry->provides_count;
    if ((count & (count - 1)) == 0) {
        struct provided *grown =
            reallocarray(entry->provides, count ? 2 * count : 1, sizeof *grown);
        if (!grown)
            return false;
        entry->provides = grown;
    }
    struct provided *provided = &entry->provides[entry->provides_count++];
    *provided = (struct provided){kind, slice_to_string(slice_from_string(table)),
                                  slice_to_string(slice_from_string(name))};
    return provided->table && provided->name;
}

/* What the schema has now and had not before this entry. */
static bool collect_provided(struct run *run)
{
    const struct known *known = &run->stage->known;
    for (size_t i = 0; i < known->count; i++) {
        const struct known_object *object = known->objects[i];
        if (object->is_shadow)
            continue;
        if (object->made_by == known->entry && !known_was_there(known, object, NULL) &&
            !add_provided(run->entry, object->kind, object->table, object->name))
            return false;
        for (size_t c = 0; c < object->column_count; c++) {
            const struct known_column *column = &object->columns[c];
            if (column->made_by == known->entry && !known_was_there(known, object, column->name) &&
                !add_provided(run->entry, SCHEMA_COLUMN, object->name, column->name))
                return false;
        }
    }
    return true;
}

/* The statements, in the transaction that the migration would have. */
static void rehearse_statements(struct run *run)
{
    const struct migration *migration = run->entry->migration;
    struct statement_cursor cursor;
    struct statement statement;
    struct error failure = {0};
    enum statement_next next;
    statement_cursor_construct(&cursor, migration->up, migration->up_line);
    while ((next = statement_next(&cursor, &statement, &failure)) == STATEMENT_FOUND) {
        if (!rehearse_statement(run, &statement))
            break;
    }
    if (next == STATEMENT_BROKEN)
        fails(run, &failure);
    statement_cursor_destruct(&cursor);
}

/* What COMMIT would say about foreign keys that were deferred. When rows may be all that is missing
 * the transaction stays open, so that those behind it find what this one made. */
static void commit(struct run *run)
{
    struct error failure = {0};
    struct database *copy = &run->stage->copy;
    int unmet = 0, highest;
    if (sqlite3_get_autocommit(copy->handle))
        return;
    sqlite3_db_status(copy->handle, SQLITE_DBSTATUS_DEFERRED_FKS, &unmet, &highest, 0);
    if (unmet && run->stage->unmet)
        return; /* an earlier one left it open: there is no telling */
    if (unmet && run->stage->tainted) {
        run->stage->unmet = true;
        depends_on_data(run, run->entry->migration->up_line,
                        "whether its foreign keys are met at its end");
        return;
    }
    if (!database_run(copy, run->entry->rehearsal == REHEARSAL_FAILS ? "ROLLBACK" : "COMMIT",
                      &failure)) {
        if (failure.code == ERROR_MEMORY) {
            *run->error = failure;
            return;
        }
        error_prefix(&failure, "%s: at its end: ", run->entry->migration->file_name);
        fails(run, &failure);
    }
}

static bool begin(struct run *run, struct error *error)
{
    const struct migration *migration = run->entry->migration;
    struct database *copy = &run->stage->copy;
    return database_run(copy,
                        migration->foreign_keys_off ? "PRAGMA foreign_keys = OFF"
                                                    : "PRAGMA foreign_keys = ON",
                        error) &&
           (!migration->transaction || !sqlite3_get_autocommit(copy->handle) ||
            database_run(copy, "BEGIN", error));
}

bool rehearsal_run(struct rehearsal_stage *stage, struct plan_entry *entry, int index,
                   struct error *error)
{
    const struct migration *migration = entry->migration;
    uint64_t now = clock_monotonic_ns();
    uint64_t left_ms = stage->deadline_ns > now ? (stage->deadline_ns - now) / NS_PER_MS : 0;
    struct run run = {.stage = stage, .entry = entry, .error = error};
    error->code = ERROR_NONE;
    risk_construct(&run.judgement);
    entry->rehearsal = REHEARSAL_OK;
    entry->foreign_keys_off = migration->foreign_keys_off;
    known_begin(&stage->known, index);
    bool good = begin(&run, error);
    if (good) {
        executor_construct(&run.executor, stage->copy.handle, migration, left_ms ? left_ms : 1,
                           "migrations_options.rehearsal_timeout");
        rehearse_statements(&run);
        executor_destruct(&run.executor);
        commit(&run);
        good = error->code == ERROR_NONE && (collect_provided(&run) || out_of_memory(error));
    }
    risk_finish(&run.judgement);
    if (!migration->transaction)
        risk_raise(&run.judgement, MIGRATION_RED, "runs outside a transaction");
    risk_raise(&run.judgement, migration->declared_risk, "its file says automigrate:risk %s",
               risk_name(migration->declared_risk));
    entry->risk = run.judgement.risk;
    memcpy(entry->risk_reason, run.judgement.reason, sizeof entry->risk_reason);
    risk_destruct(&run.judgement);
    return good;
}
