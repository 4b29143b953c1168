/* SPDX-License-Identifier: MIT */
/* Judging risk. Each kind of statement has the actions it is expected to show to the authorizer;
 * one that shows another is red, whatever it is. The authorizer does not show that REPLACE deletes,
 * so that is read from the statement and from the table's definition. */
#include "migrate/risk.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

struct judge {
    struct risk_judgement *judgement;
    const struct known *known;
    const struct authorizer *authorizer;
    const struct execution *execution;
    unsigned line;
};

void risk_construct(struct risk_judgement *judgement)
{
    *judgement = (struct risk_judgement){.reason = "only adds"};
}

void risk_destruct(struct risk_judgement *judgement)
{
    for (size_t i = 0; i < judgement->dropped_count; i++) {
        free(judgement->dropped[i].name);
        free(judgement->dropped[i].table);
    }
    free(judgement->dropped);
    *judgement = (struct risk_judgement){0};
}

void risk_raise(struct risk_judgement *judgement, enum risk risk, const char *format, ...)
{
    if (risk <= judgement->risk)
        return;
    va_list arguments;
    va_start(arguments, format);
    judgement->risk = risk;
    vsnprintf(judgement->reason, sizeof judgement->reason, format, arguments);
    va_end(arguments);
    /* Names come from files: a cut one must not end in half a character. */
    size_t length = strlen(judgement->reason);
    if (length + 1 == sizeof judgement->reason) {
        while (length > 0 && ((unsigned char)judgement->reason[length - 1] & 0xc0) == 0x80)
            length--;
        if (length > 0 && (unsigned char)judgement->reason[length - 1] >= 0xc0)
            length--;
        judgement->reason[length] = '\0';
    }
}

static void red(const struct judge *judge, const char *what, const char *name, const char *why)
{
    risk_raise(judge->judgement, MIGRATION_RED, "line %u: %s %s %s", judge->line, what, name, why);
}

static void yellow(const struct judge *judge, const char *what, const char *name, const char *why)
{
    risk_raise(judge->judgement, MIGRATION_YELLOW, "line %u: %s %s %s", judge->line, what, name,
               why);
}

/* Names for what the authorizer reports, as a person would say them. */
static const char *action_name(int action)
{
    static const struct {
        int action;
        const char *name;
    } names[] = {
        {SQLITE_CREATE_TABLE, "CREATE TABLE"},
        {SQLITE_CREATE_INDEX, "CREATE INDEX"},
        {SQLITE_CREATE_VIEW, "CREATE VIEW"},
        {SQLITE_CREATE_TRIGGER, "CREATE TRIGGER"},
        {SQLITE_CREATE_TEMP_INDEX, "CREATE INDEX"},
        {SQLITE_CREATE_TEMP_TABLE, "CREATE TEMP TABLE"},
        {SQLITE_CREATE_TEMP_TRIGGER, "CREATE TEMP TRIGGER"},
        {SQLITE_CREATE_TEMP_VIEW, "CREATE TEMP VIEW"},
        {SQLITE_CREATE_VTABLE, "CREATE VIRTUAL TABLE"},
        {SQLITE_DROP_TABLE, "DROP TABLE"},
        {SQLITE_DROP_VTABLE, "DROP TABLE"},
        {SQLITE_DROP_INDEX, "DROP INDEX"},
        {SQLITE_DROP_VIEW, "DROP VIEW"},
        {SQLITE_DROP_TRIGGER, "DROP TRIGGER"},
        {SQLITE_ALTER_TABLE, "ALTER TABLE"},
        {SQLITE_INSERT, "INSERT INTO"},
        {SQLITE_UPDATE, "UPDATE"},
        {SQLITE_DELETE, "DELETE FROM"},
        {SQLITE_PRAGMA, "PRAGMA"},
        {SQLITE_ANALYZE, "ANALYZE"},
        {SQLITE_REINDEX, "REINDEX"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].action == action)
            return names[i].name;
    }
    return "the statement on";
}

static bool is_sqlite(const char *name)
{
    return slice_has_prefix_ignore_case(slice_from_string(name), SLICE("sqlite_"));
}

static bool same_name(const char *a, const char *b)
{
    return string_compare_ignore_case(a, b) == 0;
}

static const char *object_of(const struct authorizer_record *record)
{
    return record->action == SQLITE_ALTER_TABLE ? record->second : record->first;
}

/* Something was seen that this kind of statement does not do by itself. */
static void unexpected(const struct judge *judge, const struct authorizer_record *record)
{
    red(judge, action_name(record->action), object_of(record),
        record->source[0] ? "happens through a trigger" : "is not known to be safe");
}

/* The row of `dropped` that this creates again, taken out. */
static bool was_dropped(struct risk_judgement *judgement, enum schema_kind kind, const char *name,
                        const char *table)
{
    for (size_t i = 0; i < judgement->dropped_count; i++) {
        struct risk_dropped *dropped = &judgement->dropped[i];
        if (dropped->kind != kind || !same_name(dropped->name, name) ||
            !same_name(dropped->table, table))
            continue;
        free(dropped->name);
        free(dropped->table);
        *dropped = judgement->dropped[--judgement->dropped_count];
        return true;
    }
    return false;
}

static bool note_dropped(const struct judge *judge, enum schema_kind kind,
                         const struct authorizer_record *record)
{
    struct risk_judgement *judgement = judge->judgement;
    struct risk_dropped *grown =
        reallocarray(judgement->dropped, judgement->dropped_count + 1, sizeof *grown);
    if (!grown)
        return false;
    judgement->dropped = grown;
    struct risk_dropped *dropped = &grown[judgement->dropped_count];
    *dropped = (struct risk_dropped){
        .kind = kind,
        .name = slice_to_string(slice_from_string(record->first)),
        .table = slice_to_string(slice_from_string(kind == SCHEMA_VIEW ? "" : record->second)),
        .line = judge->line};
    if (dropped->name && dropped->table) {
        judgement->dropped_count++;
        return true;
    }
    free(dropped->name);
    free(dropped->table);
    return false;
}

static void judge_create_table(const struct judge *judge, const struct authorizer_record *record)
{
    switch (record->action) {
    case SQLITE_CREATE_TABLE: /* also sqlite_sequence */
    case SQLITE_READ:
        return;
    case SQLITE_CREATE_INDEX: /* of a UNIQUE or PRIMARY KEY */
        if (is_sqlite(record->first))
            return;
        break;
    default:
        break;
    }
    unexpected(judge, record);
}

/* The modules that come with SQLite and keep their rows in tables of their own. */
static bool is_own_module(const char *module)
{
    static const char *const modules[] = {"fts3", "fts4", "fts5", "rtree", "rtree_i32", "geopoly"};
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        if (same_name(module, modules[i]))
            return true;
    }
    return false;
}

static void judge_create_virtual(const struct judge *judge, const struct authorizer_record *record)
{
    switch (record->action) {
    case SQLITE_CREATE_VTABLE:
        if (!is_own_module(record->second))
            red(judge, "CREATE VIRTUAL TABLE", record->first, "uses a module that is not known");
        return;
    case SQLITE_CREATE_TABLE:
    case SQLITE_READ:
        return;
    case SQLITE_CREATE_INDEX:
        if (is_sqlite(record->first))
            return;
        break;
    case SQLITE_INSERT: /* its own statements, on the shadow tables that it has just made */
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
        if (!known_find_relation(judge->known, record->first))
            return;
        break;
    case SQLITE_PRAGMA: /* the modules ask for page_size and data_version */
        if (!record->second[0])
            return;
        break;
    default:
        break;
    }
    unexpected(judge, record);
}

static void judge_create_index(const struct judge *judge, const struct authorizer_record *record)
{
    switch (record->action) {
    case SQLITE_READ:
    case SQLITE_REINDEX: /* fills it */
        return;
    case SQLITE_CREATE_INDEX:
        if (was_dropped(judge->judgement, SCHEMA_INDEX, record->first, record->second))
            yellow(judge, "index", record->first, "is dropped and made again");
        else if (judge->execution->sentence.unique && !known_is_fresh(judge->known, record->second))
            yellow(judge, "CREATE UNIQUE INDEX on", record->second,
                   "forbids rows in what is there");
        return;
    default:
        unexpected(judge, record);
    }
}

static void judge_create_view(const struct judge *judge, const struct authorizer_record *record)
{
    if (record->action == SQLITE_CREATE_VIEW) {
        if (was_dropped(judge->judgement, SCHEMA_VIEW, record->first, ""))
            yellow(judge, "view", record->first, "is dropped and made again");
    } else if (record->action != SQLITE_READ) {
        unexpected(judge, record);
    }
}

static void judge_create_trigger(const struct judge *judge, const struct authorizer_record *record)
{
    if (record->action != SQLITE_CREATE_TRIGGER) {
        if (record->action != SQLITE_READ)
            unexpected(judge, record);
        return;
    }
    if (was_dropped(judge->judgement, SCHEMA_TRIGGER, record->first, record->second))
        yellow(judge, "trigger", record->first, "is dropped and made again");
    else if (!known_is_fresh(judge->known, record->second))
        yellow(judge, "CREATE TRIGGER on", record->second, "changes what writing to it does");
}

static void judge_add_column(const struct judge *judge, const struct authorizer_record *record)
{
    /* SQLite looks by quick_check whether the rows meet a new CHECK or NOT NULL. */
    bool looks = record->action == SQLITE_PRAGMA && same_name(record->first, "quick_check");
    if (record->action != SQLITE_ALTER_TABLE && record->action != SQLITE_READ && !looks)
        unexpected(judge, record);
}

static void judge_insert(const struct judge *judge, const struct authorizer_record *record);

static void judge_write(const struct judge *judge, const struct authorizer_record *record)
{
    const struct known_object *object = known_find_relation(judge->known, record->first);
    const struct known_column *column;
    bool fresh = object && object->fresh;
    if (record->action == SQLITE_READ)
        return;
    if (record->source[0]) {
        unexpected(judge, record);
        return;
    }
    switch (record->action) {
    case SQLITE_INSERT:
        judge_insert(judge, record);
        return;
    case SQLITE_DELETE:
        /* Full-text tables tidy up the tables they keep their index in. */
        if (!fresh || !object->is_shadow)
            red(judge, "DELETE FROM", record->first, "removes rows");
        return;
    case SQLITE_UPDATE:
        column = object ? known_find_column(object, record->second) : NULL;
        if (object && object->has_triggers)
            red(judge, "UPDATE", record->first, "fires triggers");
        else if (!object || object->replaces || judge->execution->sentence.replaces ||
                 (!fresh && (object->is_virtual || judge->known->blind)))
            red(judge, "UPDATE", record->first, "may remove rows");
        else if (!fresh && (!column || !column->fresh))
            red(judge, "UPDATE of", record->second[0] ? record->second : record->first,
                "changes what was there");
        return;
    default:
        unexpected(judge, record);
    }
}

static void judge_insert(const struct judge *judge, const struct authorizer_record *record)
{
    const struct known_object *object = known_find_relation(judge->known, record->first);
    if (!object)
        red(judge, "INSERT INTO", record->first, "is not known to be safe");
    else if (object->has_triggers)
        red(judge, "INSERT INTO", record->first, "fires triggers");
    else if (judge->execution->sentence.replaces || object->replaces)
        red(judge, "INSERT INTO", record->first, "replaces rows that are in the way");
    else if (!object->fresh && (object->is_virtual || object->is_shadow || judge->known->blind))
        red(judge, "INSERT INTO", record->first, "may do more than insert");
    else if (!object->fresh)
        yellow(judge, "INSERT INTO", record->first, "adds rows to what was there");
}

static void judge_select(const struct judge *judge, const struct authorizer_record *record)
{
    /* A table-valued pragma function shows the pragma that it asks. */
    if (record->action != SQLITE_PRAGMA || !judge->execution->read_only)
        judge_write(judge, record);
}

static void judge_pragma(const struct judge *judge, const struct authorizer_record *record)
{
    if (record->action != SQLITE_PRAGMA) {
        if (record->action != SQLITE_READ)
            unexpected(judge, record);
        return;
    }
    static const char *const sets[] = {"user_version",       "application_id", "journal_mode",
                                       "auto_vacuum",        "page_size",      "wal_checkpoint",
                                       "incremental_vacuum", "optimize"};
    bool changes = false;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        changes = changes || same_name(record->first, sets[i]);
    bool asks = !record->second[0] && !same_name(record->first, "optimize") &&
                !same_name(record->first, "incremental_vacuum") &&
                !same_name(record->first, "wal_checkpoint");
    if (changes && !asks)
        red(judge, "PRAGMA", record->first, "changes the database's settings");
}

/* What is dropped is red, but for views, indexes and triggers that this migration makes again:
 * that is known at its end. */
static bool judge_drop(const struct judge *judge)
{
    static const struct {
        enum verb verb;
        int action;
        enum schema_kind kind;
    } drops[] = {
        {VERB_DROP_INDEX, SQLITE_DROP_INDEX, SCHEMA_INDEX},
        {VERB_DROP_VIEW, SQLITE_DROP_VIEW, SCHEMA_VIEW},
        {VERB_DROP_TRIGGER, SQLITE_DROP_TRIGGER, SCHEMA_TRIGGER},
    };
    for (size_t i = 0; i < judge->authorizer->count; i++) {
        const struct authorizer_record *record = &judge->authorizer->records[i];
        bool known = record->action == SQLITE_READ ||
                     (record->action == SQLITE_DELETE && is_sqlite(record->first));
        for (size_t d = 0; d < sizeof drops / sizeof *drops; d++) {
            if (drops[d].verb != judge->execution->sentence.verb)
                continue;
            if (record->action == drops[d].action) {
                known = true;
                if (!note_dropped(judge, drops[d].kind, record))
                    return false;
            } else if (record->action == SQLITE_DELETE && drops[d].kind == SCHEMA_VIEW) {
                known = true; /* SQLite reports that a view's rows are deleted */
            }
        }
        if (!known)
            unexpected(judge, record);
    }
    return true;
}

/* Verbs whose statements can be less than red, and the judge of each of their records. */
static const struct {
    enum verb verb;
    void (*judge)(const struct judge *judge, const struct authorizer_record *record);
} judges[] = {
    {VERB_CREATE_TABLE, judge_create_table},
    {VERB_CREATE_VIRTUAL_TABLE, judge_create_virtual},
    {VERB_CREATE_INDEX, judge_create_index},
    {VERB_CREATE_VIEW, judge_create_view},
    {VERB_CREATE_TRIGGER, judge_create_trigger},
    {VERB_ALTER_ADD_COLUMN, judge_add_column},
    {VERB_INSERT, judge_write},
    {VERB_UPDATE, judge_write},
    {VERB_SELECT, judge_select},
    {VERB_WITH, judge_select},
    {VERB_PRAGMA, judge_pragma},
};

/* What the other verbs are called, and why they are red. */
static const struct {
    enum verb verb;
    const char *what;
    const char *why;
} always_red[] = {
    {VERB_ALTER_RENAME, "RENAME of", "takes a name away from those who use it"},
    {VERB_ALTER_RENAME_COLUMN, "RENAME in", "takes a name away from those who use it"},
    {VERB_ALTER_DROP_COLUMN, "DROP COLUMN in", "removes a column and what is in it"},
    {VERB_DROP_TABLE, "DROP TABLE", "removes a table and its rows"},
    {VERB_DELETE, "DELETE FROM", "removes rows"},
    {VERB_REPLACE, "REPLACE INTO", "replaces rows that are in the way"},
    {VERB_VACUUM, "VACUUM", "rewrites the whole database"},
};

static void judge_red(const struct judge *judge)
{
    const struct sentence *sentence = &judge->execution->sentence;
    for (size_t i = 0; i < sizeof always_red / sizeof *always_red; i++) {
        if (always_red[i].verb != sentence->verb)
            continue;
        char name[64];
        struct slice text = sentence->name.kind == TOKEN_END ? SLICE("") : sentence->name.text;
        if (text.length == 0 && judge->authorizer->count > 0)
            text = slice_from_string(judge->authorizer->records[0].first);
        red(judge, always_red[i].what, slice_copy(text, name, sizeof name), always_red[i].why);
        return;
    }
    red(judge, "the statement", "", "is not known to be safe");
}

bool risk_judge(struct risk_judgement *judgement, const struct known *known,
                const struct authorizer *authorizer, const struct execution *execution,
                const struct statement *statement)
{
    struct judge judge = {judgement, known, authorizer, execution, statement->line};
    enum verb verb = execution->sentence.verb;
    if (execution->outcome == EXECUTED_NOTHING || execution->outcome == EXECUTED_SETTING)
        return true;
    if (verb == VERB_DROP_TABLE && authorizer->count == 0)
        return true; /* IF EXISTS, and it does not */
    if (verb == VERB_DROP_INDEX || verb == VERB_DROP_VIEW || verb == VERB_DROP_TRIGGER)
        return judge_drop(&judge);
    for (size_t i = 0; i < sizeof judges / sizeof *judges; i++) {
        if (judges[i].verb != verb)
            continue;
        for (size_t r = 0; r < authorizer->count; r++)
            judges[i].judge(&judge, &authorizer->records[r]);
        if (execution->sentence.temporary && judgement->risk < MIGRATION_RED)
            red(&judge, "what is temporary", "", "is not known to be safe");
        return true;
    }
    judge_red(&judge);
    return true;
}

void risk_finish(struct risk_judgement *judgement)
{
    for (size_t i = 0; i < judgement->dropped_count; i++) {
        const struct risk_dropped *dropped = &judgement->dropped[i];
        risk_raise(judgement, MIGRATION_RED,
                   "line %u: DROP %s %s removes it, and nothing of that name comes back",
                   dropped->line, schema_kind_name(dropped->kind), dropped->name);
    }
}
