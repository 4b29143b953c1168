/* SPDX-License-Identifier: MIT */
/* Events out of journal.db, as CloudEvents 1.0 in structured JSON. Any thread; each call has a
 * connection of its own, and none of its statements is open while the caller works with an event:
 * a reader who waits for its terminal must not hold the file's checkpoint. */
#include "journal/journal.h"

#include <string.h>

#include "base/clock.h"
#include "journal/table.h"

enum { PAGE_ROWS = 200 };

/* The first of the newest ?4 rows that fit (-1: of all). */
static const char first_sql[] =
    "SELECT min(id) FROM (SELECT id FROM events WHERE id > ?1 AND (?2 IS NULL OR type = ?2)"
    " AND (?3 IS NULL OR subject = ?3) ORDER BY id DESC LIMIT ?4)";

static const char page_sql[] =
    "SELECT id, time, last_time, type, subject, message, count, data, source FROM events"
    " WHERE id > ?1 AND (?2 IS NULL OR type = ?2) AND (?3 IS NULL OR subject = ?3)"
    " ORDER BY id LIMIT ?4";

enum column { ID, TIME, LAST_TIME, TYPE, SUBJECT, MESSAGE, COUNT, DATA, SOURCE };

static void bind_query(sqlite3_stmt *statement, int64_t after, const struct journal_query *query,
                       int64_t limit)
{
    sqlite3_bind_int64(statement, 1, after);
    sqlite3_bind_text(statement, 2, query->type, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, query->subject, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 4, limit);
}

/* Text that is no UTF-8 (the file was edited by hand) gives an empty one. */
static json_t *text_of(sqlite3_stmt *row, enum column column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    json_t *value = text ? json_string(text) : json_null();
    return value ? value : json_string("");
}

static json_t *time_of(sqlite3_stmt *row, enum column column)
{
    char text[CLOCK_TEXT_SIZE];
    return json_string(clock_format(sqlite3_column_int64(row, column), text));
}

/* What the event says: its own fields, then what every row has. */
static json_t *data_of(sqlite3_stmt *row)
{
    const char *text = (const char *)sqlite3_column_text(row, DATA);
    json_t *data = text ? json_loads(text, 0, NULL) : NULL;
    if (!json_is_object(data)) {
        json_decref(data);
        data = json_object();
    }
    json_object_set_new(data, "message", text_of(row, MESSAGE));
    json_object_set_new(data, "count", json_integer(sqlite3_column_int64(row, COUNT)));
    json_object_set_new(data, "last_time", time_of(row, LAST_TIME));
    return data;
}

/* https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md; NULL: out of memory. */
static json_t *event_of(sqlite3_stmt *row)
{
    json_t *event = json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:s, s:o}", "specversion", "1.0", "id",
        json_sprintf("%lld", (long long)sqlite3_column_int64(row, ID)), "source",
        text_of(row, SOURCE), "type",
        json_sprintf("automigrate.%s", (const char *)sqlite3_column_text(row, TYPE)), "time",
        time_of(row, TIME), "datacontenttype", "application/json", "data", data_of(row));
    if (event && sqlite3_column_type(row, SUBJECT) != SQLITE_NULL)
        json_object_set_new(event, "subject", text_of(row, SUBJECT));
    return event;
}

/* Where reading begins: after the row before the first one. */
static bool find_begin(const struct store *store, const struct journal_query *query, int64_t *after,
                       struct error *error)
{
    *after = query->after_id;
    if (query->limit == 0)
        return true;
    sqlite3_stmt *statement = store_prepare(store, first_sql, error);
    if (!statement)
        return false;
    bind_query(statement, query->after_id, query,
               query->limit > INT64_MAX ? INT64_MAX : (int64_t)query->limit);
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL)
        *after = sqlite3_column_int64(statement, 0) - 1;
    bool is_found = result == SQLITE_ROW || store_error(store, result, "cannot be read", error);
    sqlite3_finalize(statement);
    return is_found;
}

struct page {
    json_t *events[PAGE_ROWS];
    int64_t ids[PAGE_ROWS];
    size_t count;
};

static bool read_page(const struct store *store, sqlite3_stmt *statement, struct page *page,
                      struct error *error)
{
    int result;
    page->count = 0;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        json_t *event = event_of(statement);
        if (!event) {
            result = SQLITE_NOMEM;
            break;
        }
        page->ids[page->count] = sqlite3_column_int64(statement, ID);
        page->events[page->count++] = event;
    }
    sqlite3_reset(statement);
    return result == SQLITE_DONE || store_error(store, result, "cannot be read", error);
}

/* Tells and frees a page; false when the caller has enough. */
static bool tell_page(struct page *page, bool (*each)(void *context, json_t *event), void *context,
                      int64_t *last_id)
{
    bool goes_on = true;
    for (size_t i = 0; i < page->count; i++) {
        if (goes_on) {
            *last_id = page->ids[i];
            goes_on = each(context, page->events[i]);
        }
        json_decref(page->events[i]);
    }
    return goes_on;
}

static bool read_rows(const struct store *store, const struct journal_query *query,
                      bool (*each)(void *context, json_t *event), void *context, int64_t *last_id,
                      struct error *error)
{
    int64_t after;
    struct page page;
    uint64_t left = query->limit ? query->limit : UINT64_MAX;
    if (!find_begin(store, query, &after, error))
        return false;
    sqlite3_stmt *statement = store_prepare(store, page_sql, error);
    if (!statement)
        return false;
    bool is_read;
    do {
        bind_query(statement, after, query, left < PAGE_ROWS ? (int64_t)left : PAGE_ROWS);
        is_read = read_page(store, statement, &page, error);
        if (page.count > 0)
            after = page.ids[page.count - 1];
        left -= page.count;
    } while (tell_page(&page, each, context, last_id) && is_read && left > 0 &&
             page.count == PAGE_ROWS);
    sqlite3_finalize(statement);
    return is_read;
}

bool journal_read(const char *state_directory, const struct journal_query *query,
                  bool (*each)(void *context, json_t *event), void *context, int64_t *last_id,
                  struct error *error)
{
    struct store store;
    bool exists;
    int64_t ignored;
    if (!last_id)
        last_id = &ignored;
    *last_id = query->after_id;
    if (!store_open_to_read(&store, state_directory, &journal_layout, &exists, error))
        return false;
    if (!exists)
        return true;
    bool is_read = read_rows(&store, query, each, context, last_id, error);
    store_close(&store);
    return is_read;
}
