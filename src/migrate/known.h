/* SPDX-License-Identifier: MIT */
/* What a rehearsal knows about the schema as it goes from statement to statement: which objects
 * were there, which this plan made, by which entry. Kept by touched names only, so that a thousand
 * migrations do not read the whole schema a thousand times. One thread. */
#pragma once

#include "database/database.h"
#include "migrate/execute.h"
#include "schema/catalogue.h"

enum { MADE_BEFORE = -1 }; /* was in the live schema */

struct known_column {
    char *name;
    int made_by; /* index of the plan's entry, or MADE_BEFORE */
    bool fresh;  /* this plan added it, so its values are nobody's data */
};

struct known_object {
    enum schema_kind kind; /* not SCHEMA_COLUMN */
    char *name;
    char *table; /* what an index or trigger belongs to, else "" */
    int made_by;
    bool fresh; /* this plan created it; what was renamed is not fresh */
    bool is_virtual;
    bool is_shadow;
    bool replaces;     /* a table with ON CONFLICT REPLACE: an insert may delete */
    bool has_triggers; /* a table or view */
    struct known_column *columns;
    size_t column_count;
};

struct known {
    struct known_object **objects; /* sorted: triggers behind the rest, then by folded name */
    size_t count;
    size_t capacity;
    struct known_object **gone; /* were there when the current entry began, and no longer are */
    size_t gone_count;
    int entry;    /* the current one */
    bool stubbed; /* the copy lacks views or triggers of the live schema */
    bool blind;   /* and since a rename nobody can say on which tables those triggers are */
};

/* Everything of `live` was there before. */
[[gnu::warn_unused_result]] bool known_construct(struct known *known, const struct catalogue *live);
void known_destruct(struct known *known);

/* From here on the entry with this index makes things. */
void known_begin(struct known *known, int entry);

/* A table or view, an index, or a trigger. */
const struct known_object *known_find_relation(const struct known *known, const char *name);
const struct known_object *known_find(const struct known *known, enum schema_kind kind,
                                      const char *name);
const struct known_column *known_find_column(const struct known_object *object, const char *name);

/* Whether the table is one that this plan made: anything may be written there. */
bool known_is_fresh(const struct known *known, const char *table);

/* Takes over what a statement did to the schema of `copy`, by the authorizer's records of it. */
[[gnu::warn_unused_result]] bool known_update(struct known *known, struct database *copy,
                                              const struct authorizer *authorizer,
                                              const struct execution *execution,
                                              struct error *error);

/* Whether the entry before had it already, so that making it again provides nothing. `column` may
 * be NULL. */
bool known_was_there(const struct known *known, const struct known_object *object,
                     const char *column);
