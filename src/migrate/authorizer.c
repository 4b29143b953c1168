/* SPDX-License-Identifier: MIT */
/* What a migration may do, as two tables: pragmas, and everything else. On the thread of its
 * connection; the callback runs inside of sqlite3_prepare. */
#include "migrate/authorizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

/* Pragmas take effect while they are prepared, so a refusal here comes in time. What is not in the
 * table is refused: new versions of SQLite bring new ones. */
enum pragma_use {
    PRAGMA_ASK,      /* without a value, it only tells */
    PRAGMA_ARGUMENT, /* its value is a name that it tells about */
    PRAGMA_SET,      /* part of the transaction */
    PRAGMA_OUTSIDE,  /* may be set where there is no transaction */
};
static const struct {
    const char *name;
    enum pragma_use use;
} pragmas[] = {
    {"application_id", PRAGMA_SET},         {"auto_vacuum", PRAGMA_OUTSIDE},
    {"collation_list", PRAGMA_ASK},         {"compile_options", PRAGMA_ASK},
    {"data_version", PRAGMA_ASK},           {"database_list", PRAGMA_ASK},
    {"defer_foreign_keys", PRAGMA_SET},     {"encoding", PRAGMA_ASK},
    {"foreign_key_check", PRAGMA_ARGUMENT}, {"foreign_key_list", PRAGMA_ARGUMENT},
    {"foreign_keys", PRAGMA_ASK},           {"freelist_count", PRAGMA_ASK},
    {"function_list", PRAGMA_ASK},          {"incremental_vacuum", PRAGMA_OUTSIDE},
    {"index_info", PRAGMA_ARGUMENT},        {"index_list", PRAGMA_ARGUMENT},
    {"index_xinfo", PRAGMA_ARGUMENT},       {"integrity_check", PRAGMA_ARGUMENT},
    {"journal_mode", PRAGMA_OUTSIDE},       {"module_list", PRAGMA_ASK},
    {"optimize", PRAGMA_ARGUMENT},          {"page_count", PRAGMA_ASK},
    {"page_size", PRAGMA_OUTSIDE},          {"pragma_list", PRAGMA_ASK},
    {"quick_check", PRAGMA_ARGUMENT},       {"schema_version", PRAGMA_ASK},
    {"table_info", PRAGMA_ARGUMENT},        {"table_list", PRAGMA_ARGUMENT},
    {"table_xinfo", PRAGMA_ARGUMENT},       {"user_version", PRAGMA_SET},
    {"wal_checkpoint", PRAGMA_OUTSIDE},
};

[[gnu::format(printf, 2, 3)]] static int deny(struct authorizer *authorizer, const char *format,
                                              ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (authorizer->denied[0] == '\0')
        vsnprintf(authorizer->denied, sizeof authorizer->denied, format, arguments);
    va_end(arguments);
    return SQLITE_DENY;
}

bool authorizer_is_history(const char *table)
{
    return string_compare_ignore_case(table, "schema_migrations") == 0 ||
           string_compare_ignore_case(table, "automigrate_history") == 0;
}

static int judge_pragma(struct authorizer *authorizer, const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof pragmas / sizeof *pragmas; i++) {
        if (string_compare_ignore_case(name, pragmas[i].name) != 0)
            continue;
        if (!value || pragmas[i].use == PRAGMA_ARGUMENT || pragmas[i].use == PRAGMA_SET ||
            (pragmas[i].use == PRAGMA_OUTSIDE && !authorizer->transaction))
            return SQLITE_OK;
        if (pragmas[i].use == PRAGMA_OUTSIDE)
            return deny(authorizer,
                        "PRAGMA %s cannot be set inside a transaction; put it into a file of its "
                        "own with -- migrate:up transaction:false",
                        name);
        break;
    }
    return deny(authorizer, "PRAGMA %s is not allowed in a migration; set it in the application",
                name);
}

/* Which of the two names is a table that the action changes; NULL when it changes none. */
static const char *changed_table(int action, const char *first, const char *second)
{
    switch (action) {
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_VTABLE:
        return first;
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_ALTER_TABLE: /* (database, table) */
        return second;
    default:
        return NULL;
    }
}

static int judge(struct authorizer *authorizer, int action, const char *first, const char *second,
                 const char *database)
{
    switch (action) {
    case SQLITE_ATTACH:
        if (authorizer->vacuum && !authorizer->transaction && first && first[0] == '\0')
            return SQLITE_OK;
        return deny(authorizer, "another database file is not allowed in a migration; it keeps to "
                                "its own");
    case SQLITE_DETACH:
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        if (authorizer->vacuum && !authorizer->transaction)
            return SQLITE_OK;
        return deny(authorizer,
                    "%s is not allowed in a migration, which runs in one transaction; remove it",
                    action == SQLITE_SAVEPOINT     ? "SAVEPOINT or RELEASE"
                    : action == SQLITE_TRANSACTION ? (first ? first : "transaction control")
                                                   : "DETACH");
    case SQLITE_FUNCTION:
        if (second && (string_compare_ignore_case(second, "load_extension") == 0 ||
                       string_compare_ignore_case(second, "fts3_tokenizer") == 0))
            return deny(authorizer, "%s() is not allowed in a migration; remove it", second);
        return SQLITE_OK;
    case SQLITE_PRAGMA:
        return judge_pragma(authorizer, first ? first : "", second);
    default:
        break;
    }
    const char *table = changed_table(action, first, second);
    bool elsewhere = database && string_compare_ignore_case(database, "main") != 0;
    if (table && !elsewhere && authorizer_is_history(table))
        return deny(authorizer,
                    "table %s holds the history of migrations, which a migration may not change; "
                    "remove the statement",
                    table);
    return SQLITE_OK;
}

static bool is_own_table(const char *name)
{
    static const char *const own[] = {"sqlite_master", "sqlite_schema", "sqlite_temp_master",
                                      "sqlite_temp_schema"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (string_compare_ignore_case(name, own[i]) == 0)
            return true;
    }
    return false;
}

static bool is_worth_recording(const struct authorizer *authorizer, int action, const char *first)
{
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE:
        return false;
    case SQLITE_READ:
        for (size_t i = authorizer->count; i-- > 0;) {
            const struct authorizer_record *record = &authorizer->records[i];
            if (record->action == SQLITE_READ && strcmp(record->first, first) == 0)
                return false;
        }
        return !is_own_table(first);
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
        return !is_own_table(first);
    default:
        return true;
    }
}

static bool record(struct authorizer *authorizer, int action, const char *const texts[4])
{
    if (authorizer->count == authorizer->capacity) {
        size_t capacity = authorizer->capacity ? 2 * authorizer->capacity : 16;
        struct authorizer_record *grown =
            reallocarray(authorizer->records, capacity, sizeof *grown);
        if (!grown)
            return false;
        authorizer->records = grown;
        authorizer->capacity = capacity;
    }
    /* The four texts in one piece of memory, which `first` owns. */
    size_t lengths[4], total = 0;
    for (size_t i = 0; i < 4; i++)
        total += lengths[i] = texts[i] ? strlen(texts[i]) + 1 : 1;
    char *memory = malloc(total), *copies[4];
    if (!memory)
        return false;
    for (size_t i = 0; i < 4; i++) {
        copies[i] = memcpy(memory, texts[i] ? texts[i] : "", lengths[i]);
        memory += lengths[i];
    }
    authorizer->records[authorizer->count++] =
        (struct authorizer_record){action, copies[0], copies[1], copies[2], copies[3]};
    return true;
}

static int callback(void *context, int action, const char *first, const char *second,
                    const char *database, const char *source)
{
    struct authorizer *authorizer = context;
    int result = judge(authorizer, action, first, second, database);
    if (!is_worth_recording(authorizer, action, first ? first : ""))
        return result;
    const char *const texts[4] = {first, second, database, source};
    if (!record(authorizer, action, texts))
        authorizer->failed = true;
    return result;
}

void authorizer_construct(struct authorizer *authorizer, sqlite3 *handle, bool transaction)
{
    *authorizer = (struct authorizer){.handle = handle, .transaction = transaction};
    authorizer_resume(authorizer);
}

void authorizer_destruct(struct authorizer *authorizer)
{
    authorizer_suspend(authorizer);
    authorizer_begin(authorizer, false);
    free(authorizer->records);
    *authorizer = (struct authorizer){0};
}

void authorizer_begin(struct authorizer *authorizer, bool vacuum)
{
    for (size_t i = 0; i < authorizer->count; i++)
        free(authorizer->records[i].first);
    authorizer->count = 0;
    authorizer->failed = false;
    authorizer->vacuum = vacuum;
    authorizer->denied[0] = '\0';
}

void authorizer_suspend(struct authorizer *authorizer)
{
    sqlite3_set_authorizer(authorizer->handle, NULL, NULL);
}

void authorizer_resume(struct authorizer *authorizer)
{
    sqlite3_set_authorizer(authorizer->handle, callback, authorizer);
}
