/* SPDX-License-Identifier: MIT */
/* The state directory and the SQLite files in it. The directory may lie where others can write, so
 * nothing that is found there is followed elsewhere. */
#include "journal/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "database/database.h"

enum { DIRECTORY_MODE = 0700, FILE_MODE = 0600, SQL_SIZE = 128 };

bool store_error(const struct store *store, int result, const char *what, struct error *error)
{
    database_error(store->handle, result, what, error);
    if (error)
        error_prefix(error, "%s: ", store->path);
    return false;
}

int store_run(const struct store *store, const char *sql)
{
    return sqlite3_exec(store->handle, sql, NULL, NULL, NULL);
}

sqlite3_stmt *store_prepare(const struct store *store, const char *sql, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(store->handle, sql, -1, &statement, NULL);
    if (result != SQLITE_OK)
        store_error(store, result, "cannot be used", error);
    return statement;
}

/* What root makes belongs to the owner of the directory around it. By descriptor: whoever may write
 * there may put another file in its place meanwhile. */
static bool hand_over(int fd, const char *path, const char *around, struct error *error)
{
    struct stat status;
    if (geteuid() != 0 || stat(around, &status) != 0 || status.st_uid == 0)
        return true;
    if (fchown(fd, status.st_uid, status.st_gid) == 0)
        return true;
    return error_set_errno(error, ERROR_PERMISSION, errno,
                           "%s cannot be given to the owner of %s; run as that user", path, around);
}

static bool hand_over_directory(const char *path, struct error *error)
{
    char around[PATH_MAX];
    snprintf(around, sizeof around, "%s/..", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot reach the state directory %s", path);
    bool is_done = hand_over(fd, path, around, error);
    close(fd);
    return is_done;
}

static bool make_directory(const char *path, struct error *error)
{
    struct stat status;
    if (mkdir(path, DIRECTORY_MODE) == 0)
        return hand_over_directory(path, error);
    if (errno != EEXIST)
        return error_set_errno(error, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_PERMISSION, errno,
                               "cannot make the state directory %s; name another one with "
                               "--state-directory",
                               path);
    if (lstat(path, &status) != 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot read the state directory %s", path);
    if (S_ISLNK(status.st_mode))
        return error_set(error, ERROR_PERMISSION,
                         "the state directory %s is a symbolic link, which is not followed; name "
                         "the directory itself with --state-directory",
                         path);
    if (!S_ISDIR(status.st_mode))
        return error_set(error, ERROR_IO,
                         "the state directory %s is a file; move it away or name another directory "
                         "with --state-directory",
                         path);
    return true;
}

/* Looks at what is in the file's place. *exists: a regular file. */
static bool check_file(const char *path, bool *exists, struct error *error)
{
    struct stat status;
    *exists = lstat(path, &status) == 0;
    if (!*exists)
        return errno == ENOENT ||
               error_set_errno(error, ERROR_PERMISSION, errno, "cannot reach %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_PERMISSION,
                         "%s is %s, which is not used; remove it, it is made anew", path,
                         S_ISLNK(status.st_mode) ? "a symbolic link" : "no regular file");
    return true;
}

/* SQLite would make the file readable for everybody. Only a file that is not there yet is opened
 * here: closing another descriptor of an open one would drop SQLite's locks. */
static bool make_file(const char *path, const char *directory, struct error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0 && errno == EEXIST) /* by another process, just now */
        return true;
    if (fd < 0)
        return error_set_errno(error, errno == EROFS ? ERROR_READ_ONLY : ERROR_PERMISSION, errno,
                               "cannot make %s; make its directory writable or name another one "
                               "with --state-directory",
                               path);
    bool is_done = hand_over(fd, path, directory, error);
    close(fd);
    return is_done;
}

/* *path: the file in the resolved directory, so that SQLite meets no link and no "file:" address.
 * Stays NULL when the directory does not exist. */
static bool resolve(const char *directory, const char *file, char **path, struct error *error)
{
    *path = NULL;
    char *resolved = realpath(directory, NULL);
    if (!resolved)
        return errno == ENOENT || error_set_errno(error, ERROR_PERMISSION, errno,
                                                  "cannot reach the state directory %s", directory);
    if (asprintf(path, "%s/%s", resolved, file) < 0)
        *path = NULL;
    free(resolved);
    return *path || error_set(error, ERROR_MEMORY, "out of memory");
}

static bool open_handle(struct store *store, struct error *error)
{
    int result = sqlite3_open_v2(store->path, &store->handle,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
    if (result != SQLITE_OK)
        return store_error(store, result, "cannot be opened", error);
    sqlite3_busy_timeout(store->handle, STORE_BUSY_MS);
    return true;
}

static bool read_version(struct store *store, int *version, struct error *error)
{
    sqlite3_stmt *statement = store_prepare(store, "PRAGMA user_version", error);
    if (!statement)
        return false;
    int result = sqlite3_step(statement);
    *version = sqlite3_column_int(statement, 0);
    bool is_read = result == SQLITE_ROW || store_error(store, result, "cannot be read", error);
    sqlite3_finalize(statement);
    return is_read;
}

static bool check_version(struct store *store, const struct store_layout *layout, int version,
                          struct error *error)
{
    if (version <= layout->version)
        return true;
    return error_set(error, ERROR_CONFIGURATION,
                     "%s was made by a newer automigrate (layout %d, known here %d); run that one, "
                     "or name another directory with --state-directory",
                     store->path, version, layout->version);
}

/* Several processes may come here at once; the first makes the tables. */
static bool make_tables(struct store *store, const struct store_layout *layout, struct error *error)
{
    int version;
    char set_version[SQL_SIZE];
    if (!read_version(store, &version, error) || !check_version(store, layout, version, error))
        return false;
    if (version == layout->version)
        return true;
    snprintf(set_version, sizeof set_version, "PRAGMA user_version=%d", layout->version);
    int result = store_run(store, "BEGIN IMMEDIATE");
    if (result != SQLITE_OK)
        return store_error(store, result, "cannot be written", error);
    bool is_made = read_version(store, &version, error);
    if (is_made && version < layout->version) {
        result = store_run(store, layout->schema);
        if (result == SQLITE_OK)
            result = store_run(store, set_version);
        is_made = result == SQLITE_OK || store_error(store, result, "cannot be made", error);
    }
    result = store_run(store, is_made ? "COMMIT" : "ROLLBACK");
    if (is_made && result != SQLITE_OK) {
        store_error(store, result, "cannot be written", error);
        store_run(store, "ROLLBACK");
        return false;
    }
    return is_made;
}

bool store_open(struct store *store, const char *directory, const struct store_layout *layout,
                struct error *error)
{
    bool exists;
    *store = (struct store){0};
    /* "link/" would be looked at behind the link. */
    char *plain = strdup(directory);
    if (!plain)
        return error_set(error, ERROR_MEMORY, "out of memory");
    for (size_t length = strlen(plain); length > 1 && plain[length - 1] == '/'; length--)
        plain[length - 1] = '\0';
    bool is_open =
        make_directory(plain, error) && resolve(plain, layout->file, &store->path, error) &&
        (store->path ||
         error_set(error, ERROR_NOT_FOUND, "the state directory %s has just gone", plain)) &&
        check_file(store->path, &exists, error) &&
        (exists || make_file(store->path, plain, error)) && open_handle(store, error);
    free(plain);
    if (is_open) {
        /* Where WAL cannot be had (a network file system, or another process is switching at this
         * moment) the rollback journal does as well, only slower. */
        store_run(store, "PRAGMA journal_mode=WAL");
        store_run(store, "PRAGMA journal_size_limit=1048576");
        store_run(store,
                  layout->is_synchronous ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
        is_open = make_tables(store, layout, error);
    }
    if (!is_open)
        store_close(store);
    return is_open;
}

bool store_open_to_read(struct store *store, const char *directory,
                        const struct store_layout *layout, bool *exists, struct error *error)
{
    int version = 0;
    *store = (struct store){0};
    *exists = false;
    if (!resolve(directory, layout->file, &store->path, error))
        return false;
    if (!store->path)
        return true;
    /* The last connection to close a file in WAL mode tidies up, which one that may only read
     * cannot: so it is opened for writing, and told not to. */
    bool is_read =
        check_file(store->path, exists, error) &&
        (!*exists || (open_handle(store, error) && read_version(store, &version, error) &&
                      check_version(store, layout, version, error)));
    if (is_read && version > 0) {
        store_run(store, "PRAGMA query_only=1");
        return true;
    }
    *exists = false; /* or its maker has not come further yet */
    store_close(store);
    return is_read;
}

void store_close(struct store *store)
{
    sqlite3_close(store->handle);
    free(store->path);
    *store = (struct store){0};
}
