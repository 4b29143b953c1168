/* SPDX-License-Identifier: MIT */
/* What the tests of this room stand on: a temporary directory with migrations/ and app.db, made
 * before and removed after each test. */
#pragma once

#include <check.h>
#include <stdint.h>

#include "migrate/apply.h"

struct fixture {
    char directory[64];
    char migrations[96];
    char database[96];
    char state[96];
};

extern struct fixture fixture;

void fixture_make(void); /* for tcase_add_checked_fixture */
void fixture_remove(void);

/* A file of the migrations directory; `length` for text with NUL bytes. */
void fixture_write(const char *name, const char *text);
void fixture_write_bytes(const char *name, const void *bytes, size_t length);

/* A file whose up section is `sql`. */
void fixture_migration(const char *name, const char *sql);

/* Runs SQL on app.db, which is made where it is missing, through a connection of its own with
 * foreign keys on. */
void fixture_run(const char *sql);
int64_t fixture_number(const char *sql);
char *fixture_text(const char *sql); /* freed by the caller; NULL without a row */

/* Loads the set and plans; fails the test when that fails. */
void fixture_plan(struct migration_set *set, struct plan *plan);
void fixture_plan_free(struct migration_set *set, struct plan *plan);

/* Options as an operator's apply has them. */
struct apply_options fixture_options(void);

/* Applies the first entry of a new plan; the report is the caller's. */
void fixture_apply(struct apply_report *report);

/* Runs a suite of one case with the fixture. */
int fixture_main(const char *name, const TTest *const *tests, size_t count);
