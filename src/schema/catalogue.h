/* SPDX-License-Identifier: MIT */
/* A catalogue: what a database's schema holds, as a value. Read by database/schema_read.h, compared
 * here. Names compare as SQLite compares them: ASCII case folded. Pure; a catalogue is immutable
 * once built and may be read by any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum schema_kind { SCHEMA_TABLE, SCHEMA_INDEX, SCHEMA_VIEW, SCHEMA_TRIGGER, SCHEMA_COLUMN };

struct catalogue_column {
    char *name;
    char *type;        /* as declared, "" if none */
    char *default_sql; /* NULL if none */
    bool not_null;
    int primary_key; /* 1-based position in the key, 0: not part of it */
    int hidden;      /* as PRAGMA table_xinfo: 0 normal, 1 hidden, 2 and 3 generated */
};

struct catalogue_object {
    enum schema_kind kind; /* not SCHEMA_COLUMN */
    char *name;
    char *table; /* of an index or trigger: what it belongs to; else the name itself */
    char *sql;   /* as in sqlite_schema; NULL where that holds none */
    bool is_virtual;
    bool is_shadow;                   /* a table that belongs to a virtual table */
    struct catalogue_column *columns; /* of tables and views */
    size_t column_count;
};

struct catalogue {
    int64_t schema_version;           /* PRAGMA schema_version it was read at */
    struct catalogue_object *objects; /* sorted by kind, then by folded name */
    size_t count;
};

/* One allocation a string; everything is freed here. */
void catalogue_free(struct catalogue *catalogue);

/* Appends; takes ownership of what `object` points to, also on failure (out of memory). Call
 * catalogue_sort at the end. */
[[gnu::warn_unused_result]] bool catalogue_add(struct catalogue *catalogue,
                                               struct catalogue_object object);
void catalogue_sort(struct catalogue *catalogue);

/* NULL when there is none. Tables and views share one name space for readers of data: SCHEMA_TABLE
 * also finds a view. */
const struct catalogue_object *catalogue_find(const struct catalogue *catalogue,
                                              enum schema_kind kind, const char *name);
const struct catalogue_column *catalogue_find_column(const struct catalogue_object *object,
                                                     const char *name);

/* Whether the schema holds the thing: kind SCHEMA_COLUMN wants both names, others `name` in
 * `table`'s place unused. */
bool catalogue_has(const struct catalogue *catalogue, enum schema_kind kind, const char *table,
                   const char *name);

/* One difference: something that `after` has and `before` lacks (ADDED), the reverse (REMOVED), or
 * an object whose definition differs (CHANGED; tables' columns are told one by one as well). */
struct catalogue_change {
    enum { CHANGE_ADDED, CHANGE_REMOVED, CHANGE_CHANGED } change;
    enum schema_kind kind;
    const char *table; /* of columns, indexes, triggers; else the name */
    const char *name;  /* both borrowed from the two catalogues */
};

struct catalogue_difference {
    struct catalogue_change *changes;
    size_t count;
};

/* The difference of two catalogues, in their sorted order. The columns of an added table or
 * view are told too, and those of a view that reads other columns than before though its own text
 * stayed. False: memory. */
[[gnu::warn_unused_result]] bool catalogue_compare(const struct catalogue *before,
                                                   const struct catalogue *after,
                                                   struct catalogue_difference *difference);
void catalogue_difference_free(struct catalogue_difference *difference);

/* Whether two SQL definitions say the same, but for white space, comments and letter case outside
 * quotes. */
bool catalogue_same_definition(const char *a, const char *b);

const char *schema_kind_name(enum schema_kind kind); /* "table" … "column" */
