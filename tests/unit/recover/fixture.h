/* SPDX-License-Identifier: MIT */
/* What the tests of this room stand on: a directory of its own with migrations/ and app.db, a
 * recovery on it with a journal, and a data plane that only notes verdicts. The application's side
 * goes through plain SQLite. Any failure here ends the test. */
#pragma once

#include <check.h>
#include <pthread.h>
#include <stdint.h>
#include <sqlite3.h>

#include "recover/recover.h"

enum { PATH_SIZE = 160, SLOTS = 4096, WAIT_MS = 30000 };

struct place {
    char directory[64];
    char migrations[PATH_SIZE];
    char database[PATH_SIZE];
    char state[PATH_SIZE];
    struct config config; /* changed by the test before place_begin */
};

/* A recovery that runs, and what it said. */
struct plane {
    struct place *place;
    struct recover *recover;
    struct journal *journal;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t generation; /* as announced */
    unsigned delivered;
    struct {
        unsigned count; /* verdicts */
        enum verdict_kind kind;
    } slots[SLOTS];
    unsigned used;
};

extern struct place place;

void place_make(void); /* for tcase_add_checked_fixture */
void place_remove(void);

/* A file of the migrations directory whose up section is `sql`. */
void place_migration(const char *name, const char *sql);
void place_remove_migration(const char *name);

/* The application: runs SQL on app.db, which is made where it is missing. */
void place_run(const char *sql);
sqlite3 *place_connect(void);
int64_t place_number(const char *sql);

/* Events of a type in the journal, equal ones each; call it behind plane_end. */
int64_t place_events(const char *type);
/* The message of the newest event of a type, "" when there is none; static storage. */
const char *place_message(const char *type);

/* recover_new; then, with a journal, recover_start. */
void plane_new(struct plane *plane, struct place *at);
void plane_start(struct plane *plane);
void plane_begin(struct plane *plane); /* both, on the one place */
void plane_end(struct plane *plane);

uint64_t plane_generation(struct plane *plane); /* as announced */

/* A GET for /cards that was answered with 500 and `body`. */
struct failure plane_failure(struct plane *plane, const char *body);
/* Submits it: the slot it waits in; it must be one that waits. */
unsigned plane_submit(struct plane *plane, const struct failure *failure);
enum verdict_kind plane_verdict(struct plane *plane, unsigned slot);

/* Submits such a GET and waits for its verdict. */
enum verdict_kind plane_ask(struct plane *plane, const char *body);
/* Asks again and again until the verdict is RETRY; the number of times it was PASS. */
unsigned plane_ask_until_retry(struct plane *plane, const char *body);
struct recover_figures plane_figures(struct plane *plane);
/* Waits until a figure is as wanted. */
void plane_wait_until(struct plane *plane, bool (*is_so)(const struct recover_figures *figures));

int place_main(const char *name, const TTest *const *tests, size_t count);
