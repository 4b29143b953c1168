/* SPDX-License-Identifier: MIT */
/* The events table. Opened on the thread that starts the journal, used by its writer alone. */
#include "journal/table.h"

enum { PRUNE_ROWS = 1000 }; /* in one transaction */

const struct store_layout journal_layout = {
    .file = "journal.db",
    .version = 1,
    .schema = "CREATE TABLE events("
              " id INTEGER PRIMARY KEY AUTOINCREMENT," /* readers follow by id: never used again */
              " time INTEGER NOT NULL,"                /* ms since 1970 */
              " last_time INTEGER NOT NULL,"
              " type TEXT NOT NULL,"
              " subject TEXT,"
              " message TEXT NOT NULL,"
              " count INTEGER NOT NULL,"
              " data TEXT NOT NULL,"
              " source TEXT NOT NULL);"
              "CREATE INDEX events_equal ON events(type, subject, time);"
              "CREATE INDEX events_age ON events(last_time);",
};

static const char count_again_sql[] =
    "UPDATE events SET count = count + ?1, last_time = max(last_time, ?2)"
    " WHERE id = (SELECT id FROM events WHERE type = ?3 AND subject IS ?4 AND time > ?5"
    " AND message = ?6 AND source = ?7 ORDER BY time DESC LIMIT 1)";

static const char insert_sql[] =
    "INSERT INTO events(count, last_time, type, subject, time, message, source, data)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

static const char remove_sql[] = "DELETE FROM events WHERE id IN"
                                 " (SELECT id FROM events WHERE last_time < ?1 LIMIT ?2)";

bool table_open(struct table *table, const char *state_directory, const char *source,
                struct error *error)
{
    *table = (struct table){.source = source};
    if (!store_open(&table->store, state_directory, &journal_layout, error))
        return false;
    table->count_again = store_prepare(&table->store, count_again_sql, error);
    table->insert = table->count_again ? store_prepare(&table->store, insert_sql, error) : NULL;
    table->remove = table->insert ? store_prepare(&table->store, remove_sql, error) : NULL;
    if (!table->remove)
        table_close(table);
    return table->remove != NULL;
}

void table_close(struct table *table)
{
    sqlite3_finalize(table->count_again);
    sqlite3_finalize(table->insert);
    sqlite3_finalize(table->remove);
    store_close(&table->store);
    *table = (struct table){0};
}

/* Both statements take the same values but for the time; the update has no data. */
static int step_with(sqlite3_stmt *statement, const struct table *table, const struct entry *entry,
                     int64_t time)
{
    sqlite3_bind_int64(statement, 1, entry->count);
    sqlite3_bind_int64(statement, 2, entry->last_time);
    sqlite3_bind_text(statement, 3, event_name(entry->type), -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, entry->subject, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 5, time);
    sqlite3_bind_text(statement, 6, entry->message, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 7, table->source, -1, SQLITE_STATIC);
    if (sqlite3_bind_parameter_count(statement) > 7)
        sqlite3_bind_text(statement, 8, entry->data, -1, SQLITE_STATIC);
    int result = sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return result == SQLITE_DONE ? SQLITE_OK : result;
}

static int write_entry(struct table *table, const struct entry *entry)
{
    int result = step_with(table->count_again, table, entry, entry->time - EVENT_INTERVAL_MS);
    if (result != SQLITE_OK || sqlite3_changes(table->store.handle) > 0)
        return result;
    return step_with(table->insert, table, entry, entry->time);
}

/* Tells why, and leaves no transaction open. */
static bool give_up(struct table *table, int result, struct error *error)
{
    store_error(&table->store, result, "events cannot be written", error);
    if (!sqlite3_get_autocommit(table->store.handle))
        store_run(&table->store, "ROLLBACK");
    return false;
}

bool table_write(struct table *table, struct entry *const *entries, size_t count,
                 struct error *error)
{
    int result = store_run(&table->store, "BEGIN IMMEDIATE");
    for (size_t i = 0; i < count && result == SQLITE_OK; i++)
        result = write_entry(table, entries[i]);
    if (result == SQLITE_OK)
        result = store_run(&table->store, "COMMIT");
    return result == SQLITE_OK || give_up(table, result, error);
}

bool table_prune(struct table *table, int64_t wall_ms, struct error *error)
{
    do {
        sqlite3_bind_int64(table->remove, 1, wall_ms);
        sqlite3_bind_int64(table->remove, 2, PRUNE_ROWS);
        int result = sqlite3_step(table->remove);
        sqlite3_reset(table->remove);
        if (result != SQLITE_DONE)
            return store_error(&table->store, result, "old events cannot be removed", error);
    } while (sqlite3_changes(table->store.handle) > 0);
    return true;
}
