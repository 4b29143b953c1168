/* SPDX-License-Identifier: MIT */
/* A directory of its own for each test, with the application's side of a database: made and changed
 * through plain SQLite, as an application would. Any failure here ends the test. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sqlite3.h>

#include "database/database.h"

enum { SCRATCH_PATH_SIZE = 512 };

struct scratch {
    char directory[64];
    char database[SCRATCH_PATH_SIZE]; /* <directory>/app.db, not made */
};

void scratch_construct(struct scratch *scratch);

/* Removes the directory and all that is in it. */
void scratch_destruct(struct scratch *scratch);

/* "<directory>/<name>" in a buffer of the caller. */
char *scratch_path(const struct scratch *scratch, const char *name, char out[SCRATCH_PATH_SIZE]);

/* The application: opens and, if needed, makes the file, runs SQL, closes. */
void scratch_run(const char *path, const char *sql);
sqlite3 *scratch_open(const char *path);
void scratch_run_on(sqlite3 *handle, const char *sql);

/* The first column of the first row as text, "" when there is none; static storage. */
const char *scratch_text(sqlite3 *handle, const char *sql);
int64_t scratch_number(sqlite3 *handle, const char *sql);

bool scratch_exists(const char *path);

/* Runs `body` in a child that is not root (if we are, it becomes nobody), so that permissions bind
 * it. Whether it returned true. */
bool scratch_as_nobody(bool (*body)(const struct scratch *), const struct scratch *scratch);

/* Opens with no patience; a failure ends the test. */
struct database scratch_database(const char *path, enum database_access access);
