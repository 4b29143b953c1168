/* SPDX-License-Identifier: MIT */
/* Databases in a directory of their own for a test; made and removed by the test's process. */
#include "scratch.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void scratch_construct(struct scratch *scratch)
{
    snprintf(scratch->directory, sizeof scratch->directory, "/tmp/automigrate-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(scratch->directory));
    scratch_path(scratch, "app.db", scratch->database);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

void scratch_destruct(struct scratch *scratch)
{
    ck_assert_int_eq(nftw(scratch->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

char *scratch_path(const struct scratch *scratch, const char *name, char out[SCRATCH_PATH_SIZE])
{
    snprintf(out, SCRATCH_PATH_SIZE, "%s/%s", scratch->directory, name);
    return out;
}

sqlite3 *scratch_open(const char *path)
{
    sqlite3 *handle;
    ck_assert_int_eq(
        sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
        SQLITE_OK);
    return handle;
}

void scratch_run_on(sqlite3 *handle, const char *sql)
{
    char *message = NULL;
    int result = sqlite3_exec(handle, sql, NULL, NULL, &message);
    ck_assert_msg(result == SQLITE_OK, "%s: %s", sql, message ? message : "");
}

void scratch_run(const char *path, const char *sql)
{
    sqlite3 *handle = scratch_open(path);
    scratch_run_on(handle, sql);
    ck_assert_int_eq(sqlite3_close(handle), SQLITE_OK);
}

const char *scratch_text(sqlite3 *handle, const char *sql)
{
    static char text[1024];
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);
    ck_assert_msg(result == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(handle));
    text[0] = '\0';
    if (sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_text(statement, 0))
        snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return text;
}

int64_t scratch_number(sqlite3 *handle, const char *sql)
{
    return atoll(scratch_text(handle, sql));
}

bool scratch_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

bool scratch_as_nobody(bool (*body)(const struct scratch *), const struct scratch *scratch)
{
    enum { NOBODY = 65534 };
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        bool ready = geteuid() != 0 || (setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
                                        setresuid(NOBODY, NOBODY, NOBODY) == 0);
        _exit(ready && body(scratch) ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

struct database scratch_database(const char *path, enum database_access access)
{
    struct database database;
    struct error error = {0};
    ck_assert_msg(database_open(&database, path, access, 0, &error), "%s", error.message);
    return database;
}
