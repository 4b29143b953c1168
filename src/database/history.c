/* SPDX-License-Identifier: MIT */
/* The history of applied migrations in the application's database, or, where a table of that name
 * has another tool's shape, that tool's ledger with our rows beside it. On the thread that owns the
 * connection; what is read belongs to the caller. */
#include "database/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

/* Which table tells what is applied. */
enum ledger {
    LEDGER_NONE,    /* no table yet */
    LEDGER_OURS,    /* schema_migrations with our columns */
    LEDGER_VERSION, /* schema_migrations(version) of dbmate and Rails, authoritative; our row of the
                       same version is in automigrate_history, if that is there */
};

/* Our columns behind `version`, in the order of every statement below. */
static const char *const our_columns[] = {
    "name",       "checksum",   "state", "applied_at", "execution_ms",
    "statements", "applied_by", "host",  "cause",      "batch",
};

enum { OUR_COLUMNS = sizeof our_columns / sizeof *our_columns };

/* Everything but version may be left out by who writes there, so that dbmate can. */
#define COLUMN_DEFINITIONS                                                                         \
    "(version varchar(255) PRIMARY KEY NOT NULL,"                                                  \
    " name TEXT, checksum TEXT, state TEXT DEFAULT 'applied',"                                     \
    " applied_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),"                            \
    " execution_ms INTEGER, statements INTEGER, applied_by TEXT, host TEXT, cause TEXT,"           \
    " batch TEXT)"
#define COLUMN_VALUES                                                                              \
    "(version, name, checksum, state, applied_at, execution_ms, statements, applied_by, host,"     \
    " cause, batch) VALUES (?1, ?2, ?3, coalesce(?4, 'applied'),"                                  \
    " coalesce(?5, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), ?6, ?7, ?8, ?9, ?10, ?11)"

static bool failed(struct database *database, int result, const char *what, struct error *error)
{
    database_error(database->handle, result, what, error);
    error_prefix(error, "database %s: history: ", database->path);
    return false;
}

static bool no_memory(struct database *database, struct error *error)
{
    return error_set(error, ERROR_MEMORY, "database %s: history: out of memory", database->path);
}

/* What the columns of a table named schema_migrations say about whose it is. */
struct shape {
    int columns;
    int ours;
    bool has_version;
    bool version_is_text;
};

static bool is_text_type(const unsigned char *type)
{
    return !*type || strcasestr((const char *)type, "char") ||
           strcasestr((const char *)type, "text") || strcasestr((const char *)type, "clob");
}

static void look_at_column(struct shape *shape, const unsigned char *name,
                           const unsigned char *type)
{
    shape->columns++;
    if (string_compare_ignore_case((const char *)name, "version") == 0) {
        shape->has_version = true;
        /* A number would lose the zeros of 001. */
        shape->version_is_text = is_text_type(type);
    }
    for (size_t i = 0; i < OUR_COLUMNS; i++)
        shape->ours += string_compare_ignore_case((const char *)name, our_columns[i]) == 0;
}

static bool read_shape(struct database *database, struct shape *shape, struct error *error)
{
    static const char sql[] =
        "SELECT name, type FROM pragma_table_xinfo('schema_migrations', 'main')";
    *shape = (struct shape){0};
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(database->handle, sql, -1, &statement, NULL);
    if (result == SQLITE_OK) {
        while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
            const unsigned char *name = sqlite3_column_text(statement, 0);
            const unsigned char *type = sqlite3_column_text(statement, 1);
            if (!name || !type) {
                result = SQLITE_NOMEM;
                break;
            }
            look_at_column(shape, name, type);
        }
    }
    bool read = result == SQLITE_DONE || failed(database, result, "schema_migrations", error);
    sqlite3_finalize(statement);
    return read;
}

static bool find_ledger(struct database *database, enum ledger *ledger, struct error *error)
{
    int64_t table;
    int64_t other;
    struct shape shape;
    if (!database_number(database,
                         "SELECT count(*) FROM main.sqlite_schema"
                         " WHERE lower(name) = 'schema_migrations' AND type = 'table'",
                         0, &table, error) ||
        !database_number(database,
                         "SELECT count(*) FROM main.sqlite_schema"
                         " WHERE lower(name) = 'schema_migrations' AND type <> 'table'",
                         0, &other, error))
        return false;
    if (other)
        return error_set(
            error, ERROR_POLICY,
            "database %s: schema_migrations is not a table: rename what has that name, "
            "automigrate keeps its history there",
            database->path);
    if (!table) {
        *ledger = LEDGER_NONE;
        return true;
    }
    if (!read_shape(database, &shape, error))
        return false;
    if (shape.has_version && shape.version_is_text && shape.ours == OUR_COLUMNS)
        *ledger = LEDGER_OURS;
    else if (shape.has_version && shape.version_is_text && shape.columns == 1)
        *ledger = LEDGER_VERSION;
    else
        return error_set(error, ERROR_POLICY,
                         "database %s: its table schema_migrations belongs to another tool whose "
                         "columns automigrate does not know: it is neither read nor written; apply "
                         "that tool's migrations with that tool, or rename the table",
                         database->path);
    return true;
}

static bool has_own_table(struct database *database, bool *has, struct error *error)
{
    int64_t count;
    if (!database_number(database,
                         "SELECT count(*) FROM main.sqlite_schema"
                         " WHERE lower(name) = 'automigrate_history' AND type = 'table'",
                         0, &count, error))
        return false;
    *has = count > 0;
    return true;
}

static bool take_text(sqlite3_stmt *statement, int column, char **text)
{
    *text = NULL;
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return true;
    const unsigned char *value = sqlite3_column_text(statement, column);
    *text = value ? strdup((const char *)value) : NULL;
    return *text != NULL;
}

static void row_free(struct history_row *row)
{
    free(row->version);
    free(row->name);
    free(row->checksum);
    free(row->state);
    free(row->applied_at);
    free(row->applied_by);
    free(row->host);
    free(row->cause);
    free(row->batch);
}

static bool take_row(struct history *history, sqlite3_stmt *statement)
{
    size_t count = history->count;
    if ((count & (count - 1)) == 0) {
        struct history_row *grown =
            reallocarray(history->rows, count ? count * 2 : 1, sizeof *grown);
        if (!grown)
            return false;
        history->rows = grown;
    }
    struct history_row row = {0};
    bool taken = take_text(statement, 0, &row.version) && row.version &&
                 take_text(statement, 1, &row.name) && take_text(statement, 2, &row.checksum) &&
                 take_text(statement, 3, &row.state) && take_text(statement, 4, &row.applied_at) &&
                 take_text(statement, 7, &row.applied_by) && take_text(statement, 8, &row.host) &&
                 take_text(statement, 9, &row.cause) && take_text(statement, 10, &row.batch);
    row.execution_ms = sqlite3_column_int64(statement, 5);
    row.statements = sqlite3_column_int64(statement, 6);
    if (!taken) {
        row_free(&row);
        return false;
    }
    history->rows[history->count++] = row;
    return true;
}

static bool take_rows(struct database *database, const char *sql, struct history *history,
                      struct error *error)
{
    sqlite3_stmt *statement = NULL;
    bool taken = true;
    int result = sqlite3_prepare_v2(database->handle, sql, -1, &statement, NULL);
    if (result == SQLITE_OK) {
        while (taken && (result = sqlite3_step(statement)) == SQLITE_ROW)
            taken = take_row(history, statement);
    }
    if (!taken)
        no_memory(database, error);
    else if (result != SQLITE_DONE)
        taken = failed(database, result, "read", error);
    sqlite3_finalize(statement);
    return taken;
}

static bool read_ledger(struct database *database, struct history *history, struct error *error)
{
    enum ledger ledger;
    bool has_own;
    if (!find_ledger(database, &ledger, error) || !has_own_table(database, &has_own, error))
        return false;
    switch (ledger) {
    case LEDGER_NONE:
        return true;
    case LEDGER_OURS:
        return take_rows(database,
                         "SELECT version, name, checksum, state, applied_at, execution_ms,"
                         " statements, applied_by, host, cause, batch FROM main.schema_migrations"
                         " WHERE version NOT NULL",
                         history, error);
    case LEDGER_VERSION:
        break;
    }
    return take_rows(database,
                     has_own ? "SELECT l.version, h.name, h.checksum, coalesce(h.state, 'applied'),"
                               " h.applied_at, h.execution_ms, h.statements, h.applied_by, h.host,"
                               " h.cause, h.batch FROM main.schema_migrations l"
                               " LEFT JOIN main.automigrate_history h ON h.version = l.version"
                               " WHERE l.version NOT NULL"
                             : "SELECT version, NULL, NULL, 'applied', NULL, NULL, NULL, NULL,"
                               " NULL, NULL, NULL FROM main.schema_migrations"
                               " WHERE version NOT NULL",
                     history, error);
}

static int compare_versions(const void *left, const void *right)
{
    const struct history_row *a = left;
    const struct history_row *b = right;
    return strcmp(a->version, b->version);
}

bool history_read(struct database *database, struct history *history, struct error *error)
{
    *history = (struct history){0};
    int64_t schema_version;
    sqlite3_stmt *snapshot = database_hold_snapshot(database, &schema_version, error);
    if (!snapshot)
        return false;
    bool taken = read_ledger(database, history, error);
    sqlite3_finalize(snapshot);
    if (!taken) {
        history_free(history);
        return false;
    }
    /* Here and not in the query: what SQLite compares is bytes of the database's encoding. */
    if (history->count > 1)
        qsort(history->rows, history->count, sizeof *history->rows, compare_versions);
    return true;
}

void history_free(struct history *history)
{
    for (size_t i = 0; i < history->count; i++)
        row_free(&history->rows[i]);
    free(history->rows);
    *history = (struct history){0};
}

const struct history_row *history_find(const struct history *history, const char *version)
{
    size_t low = 0;
    size_t high = history->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(history->rows[middle].version, version);
        if (order == 0)
            return &history->rows[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Runs an INSERT that takes a row's values as ?1 to ?11, or only the first of them. */
static bool insert(struct database *database, const char *sql, const struct history_row *row,
                   struct error *error)
{
    const struct {
        int place;
        const char *text;
    } texts[] = {
        {1, row->version}, {2, row->name},       {3, row->checksum},
        {4, row->state},   {5, row->applied_at}, {8, row->applied_by},
        {9, row->host},    {10, row->cause},     {11, row->batch},
    };
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(database->handle, sql, -1, &statement, NULL);
    int values = result == SQLITE_OK ? sqlite3_bind_parameter_count(statement) : 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && result == SQLITE_OK; i++) {
        if (texts[i].place <= values)
            result = sqlite3_bind_text(statement, texts[i].place, texts[i].text, -1, SQLITE_STATIC);
    }
    if (result == SQLITE_OK && values > 1)
        result = sqlite3_bind_int64(statement, 6, row->execution_ms);
    if (result == SQLITE_OK && values > 1)
        result = sqlite3_bind_int64(statement, 7, row->statements);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    bool inserted = result == SQLITE_DONE || failed(database, result, row->version, error);
    sqlite3_finalize(statement);
    return inserted;
}

bool history_add(struct database *database, const struct history_row *row, struct error *error)
{
    enum ledger ledger;
    if (sqlite3_get_autocommit(database->handle))
        return error_set(error, ERROR_SQL,
                         "database %s: history: version %s would be written outside of the "
                         "transaction of its migration, which has ended: nothing was written",
                         database->path, row->version);
    if (!find_ledger(database, &ledger, error))
        return false;
    switch (ledger) {
    case LEDGER_NONE:
        if (!database_run(database, "CREATE TABLE main.schema_migrations " COLUMN_DEFINITIONS,
                          error))
            return false;
        break;
    case LEDGER_OURS:
        break;
    case LEDGER_VERSION:
        /* Theirs refuses a version that is there; ours may hold one that they undid meanwhile. */
        return insert(database, "INSERT INTO main.schema_migrations (version) VALUES (?1)", row,
                      error) &&
               database_run(
                   database,
                   "CREATE TABLE IF NOT EXISTS main.automigrate_history " COLUMN_DEFINITIONS,
                   error) &&
               insert(database, "INSERT OR REPLACE INTO main.automigrate_history " COLUMN_VALUES,
                      row, error);
    }
    return insert(database, "INSERT INTO main.schema_migrations " COLUMN_VALUES, row, error);
}
