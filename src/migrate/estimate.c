/* SPDX-License-Identifier: MIT */
/* Estimating sizes without reading tables: dbstat would visit every page, COUNT(*) too. */
#include "migrate/estimate.h"

enum { SAMPLE_ROWS = 64, ROW_OVERHEAD = 8 };

/* One integer; -1 when it cannot be had. */
static int64_t ask(struct database *live, char *sql)
{
    sqlite3_stmt *query = NULL;
    int64_t number = -1;
    if (sql && sqlite3_prepare_v2(live->handle, sql, -1, &query, NULL) == SQLITE_OK &&
        sqlite3_step(query) == SQLITE_ROW)
        number = sqlite3_column_int64(query, 0);
    sqlite3_finalize(query);
    sqlite3_free(sql);
    return number;
}

static int64_t database_bytes(struct database *live)
{
    int64_t pages = ask(live, sqlite3_mprintf("PRAGMA main.page_count"));
    int64_t size = ask(live, sqlite3_mprintf("PRAGMA main.page_size"));
    return pages >= 0 && size > 0 ? pages * size : INT64_MAX; /* not known: too much */
}

/* The mean size of the first rows; -1 when they cannot be read. */
static int64_t mean_row(struct database *live, const char *table)
{
    sqlite3_stmt *query = NULL;
    char *sql = sqlite3_mprintf("SELECT * FROM main.\"%w\" LIMIT %d", table, SAMPLE_ROWS);
    int64_t rows = 0, bytes = 0;
    int result = sql ? sqlite3_prepare_v2(live->handle, sql, -1, &query, NULL) : SQLITE_NOMEM;
    if (result == SQLITE_OK) {
        while ((result = sqlite3_step(query)) == SQLITE_ROW) {
            rows++;
            bytes += ROW_OVERHEAD;
            for (int i = 0; i < sqlite3_column_count(query); i++) {
                int type = sqlite3_column_type(query, i);
                bytes += type == SQLITE_TEXT || type == SQLITE_BLOB
                             ? sqlite3_column_bytes(query, i) + 2
                             : ROW_OVERHEAD;
            }
        }
    }
    sqlite3_finalize(query);
    sqlite3_free(sql);
    if (result != SQLITE_DONE)
        return -1;
    return rows ? bytes / rows : 0;
}

uint64_t estimate_table(struct database *live, const char *table)
{
    int64_t all = database_bytes(live);
    int64_t mean = mean_row(live, table);
    if (mean == 0)
        return 0;
    int64_t rows = ask(live, sqlite3_mprintf("SELECT max(_rowid_) FROM main.\"%w\"", table));
    if (mean < 0 || rows < 0 || rows > all / mean)
        return (uint64_t)all;
    return (uint64_t)(rows * mean);
}

bool estimate_has_rows(struct database *live, const char *table)
{
    return ask(live, sqlite3_mprintf("SELECT EXISTS (SELECT 1 FROM main.\"%w\")", table)) != 0;
}
