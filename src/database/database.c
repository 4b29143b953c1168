/* SPDX-License-Identifier: MIT */
/* Connections to the application's database, made one way. Each belongs to the thread that opened
 * it, which also closes it; several threads may open several. Nothing here opens the file by any
 * means but SQLite: what must be known beforehand comes from stat. */
#include "database/database.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/slice.h"

/* What SQLite's results mean to us, and what can be done about them. Without a way out the message
 * of SQLite says it all. */
static const struct {
    int result; /* primary or extended; extended ones are looked at first */
    enum error_code code;
    const char *way_out;
} results[] = {
    {SQLITE_CONSTRAINT_FOREIGNKEY, ERROR_FOREIGN_KEY, NULL},
    {SQLITE_IOERR_NOMEM, ERROR_MEMORY, NULL},
    {SQLITE_BUSY, ERROR_LOCK, "another connection holds the database: try again when it is done"},
    {SQLITE_LOCKED, ERROR_LOCK, "another statement holds the table: try again when it is done"},
    {SQLITE_PROTOCOL, ERROR_LOCK, "other connections kept changing it: try again"},
    {SQLITE_NOMEM, ERROR_MEMORY, NULL},
    {SQLITE_FULL, ERROR_DISK_FULL, "make room on its file system"},
    {SQLITE_READONLY, ERROR_READ_ONLY, "make the file and its directory writable for this user"},
    {SQLITE_CORRUPT, ERROR_CORRUPT, "check it with PRAGMA integrity_check, or restore a backup"},
    {SQLITE_NOTADB, ERROR_CORRUPT, "give the SQLite file that the application uses"},
    {SQLITE_CONSTRAINT, ERROR_CONSTRAINT, NULL},
    {SQLITE_INTERRUPT, ERROR_TIMEOUT, NULL},
    {SQLITE_PERM, ERROR_PERMISSION, NULL},
    {SQLITE_AUTH, ERROR_PERMISSION, NULL},
    {SQLITE_CANTOPEN, ERROR_IO, "look at the permissions of the file and of its directory"},
    {SQLITE_IOERR, ERROR_IO, "look at the disk and at the kernel's log"},
    {SQLITE_NOLFS, ERROR_IO, NULL},
};

/* SQLite has one result for all that is wrong with SQL; what this build of it lacks begins so. */
static const char *const feature_messages[] = {
    "no such module: ",    "no such function: ",
    "unknown function: ",  "no such collation sequence: ",
    "no such tokenizer: ",
};

static bool is_feature_message(const char *message)
{
    for (size_t i = 0; i < sizeof feature_messages / sizeof *feature_messages; i++) {
        if (strncmp(message, feature_messages[i], strlen(feature_messages[i])) == 0)
            return true;
    }
    return false;
}

bool database_error(sqlite3 *handle, int result, const char *what, struct error *error)
{
    /* The handle speaks of its latest call, which need not be the one that gave `result`. */
    bool latest = handle && (sqlite3_errcode(handle) & 0xff) == (result & 0xff);
    const char *message = latest ? sqlite3_errmsg(handle) : sqlite3_errstr(result);
    int extended = latest ? sqlite3_extended_errcode(handle) : result;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        if (results[i].result != extended && results[i].result != (result & 0xff))
            continue;
        const char *way_out = results[i].way_out;
        return error_set(error, results[i].code, "%s: %s%s%s", what, message, way_out ? "; " : "",
                         way_out ? way_out : "");
    }
    return error_set(error, is_feature_message(message) ? ERROR_SQLITE_FEATURE : ERROR_SQL,
                     "%s: %s", what, message);
}

/* The same, with the database's path before what was done; of SQL its beginning says enough. */
static bool fail(struct database *database, int result, const char *what, struct error *error)
{
    char beginning[64];
    slice_copy(slice_from_string(what), beginning, sizeof beginning);
    database_error(database->handle, result, beginning, error);
    error_prefix(error, "database %s: ", database->path);
    return false;
}

static bool no_memory(struct error *error)
{
    return error_set(error, ERROR_MEMORY, "out of memory");
}

/* The directory that holds `path`, as given; freed by the caller. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* For a file that is not there yet: its directory resolved, and its own name. */
static char *resolve_missing(const char *path, struct error *error)
{
    struct stat status;
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *resolved = NULL;
    char *real = NULL;
    char *directory = directory_of(path);
    if (!directory)
        goto memory;
    if (lstat(path, &status) == 0) {
        error_set(error, ERROR_NOT_FOUND,
                  "database %s is a symbolic link to a file that does not exist: mend the link",
                  path);
        goto done;
    }
    real = realpath(directory, NULL);
    if (!real) {
        int reason = errno;
        error_set_errno(error, reason == ENOENT ? ERROR_NOT_FOUND : ERROR_PERMISSION, reason,
                        "database %s: its directory %s cannot be reached, check the path", path,
                        directory);
        goto done;
    }
    if (asprintf(&resolved, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name) < 0) {
        resolved = NULL;
        goto memory;
    }
done:
    free(directory);
    free(real);
    return resolved;
memory:
    no_memory(error);
    goto done;
}

char *database_resolve(const char *path, struct error *error)
{
    char *resolved = realpath(path, NULL);
    if (resolved)
        return resolved;
    switch (errno) {
    case ENOENT:
        return resolve_missing(path, error);
    case ENOMEM:
        no_memory(error);
        return NULL;
    default:
        error_set_errno(error, errno == EACCES ? ERROR_PERMISSION : ERROR_NOT_FOUND, errno,
                        "database %s cannot be reached, check the path and its directories", path);
        return NULL;
    }
}

/* What stat can tell before SQLite looks: SQLite's own words for these are all "unable to open". */
static bool look_at_file(const char *path, enum database_access access, struct error *error)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        if (errno == ENOENT && access == DATABASE_CREATE)
            return true;
        if (errno == ENOENT)
            return error_set(error, ERROR_NOT_FOUND,
                             "database %s does not exist: check --database, or give "
                             "--create-database to start with an empty one",
                             path);
        return error_set_errno(error, errno == EACCES ? ERROR_PERMISSION : ERROR_NOT_FOUND, errno,
                               "database %s cannot be reached, check the path and its directories",
                               path);
    }
    if (S_ISDIR(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION,
                         "database %s is a directory: give the database file in it", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION,
                         "database %s is not a regular file: give the application's database file",
                         path);
    if (eaccess(path, R_OK) != 0)
        return error_set_errno(error, ERROR_PERMISSION, errno,
                               "database %s cannot be read by user %u, give it read permission",
                               path, (unsigned)geteuid());
    return true;
}

bool database_configure(struct database *database, uint64_t busy_timeout_ms, struct error *error)
{
    static const struct {
        int option;
        int value;
    } settings[] = {
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
        {SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 0},
        /* On, as applications have it: before 3.42 SQLite calls json_valid() and its like unsafe in
         * a CHECK, an index or a generated column, and would not even open such a schema. Nothing
         * dangerous can be reached: no function of ours is registered, extensions are off. */
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 1},
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
    };
    int result = SQLITE_OK;
    for (size_t i = 0; i < sizeof settings / sizeof *settings && result == SQLITE_OK; i++)
        result = sqlite3_db_config(database->handle, settings[i].option, settings[i].value, NULL);
    if (result == SQLITE_OK) {
        int timeout = busy_timeout_ms > INT_MAX ? INT_MAX : (int)busy_timeout_ms;
        result = sqlite3_busy_timeout(database->handle, timeout);
    }
    return result == SQLITE_OK || fail(database, result, "settings", error);
}

/* The first read: only now SQLite looks into the file. */
static bool check_content(struct database *database, enum database_access access,
                          struct error *error)
{
    int64_t version;
    if (!database_schema_version(database, &version, error)) {
        if (error && error->code == ERROR_CORRUPT &&
            (sqlite3_errcode(database->handle) & 0xff) == SQLITE_NOTADB)
            error_set(
                error, ERROR_CORRUPT,
                "database %s is not an SQLite database, or is encrypted: give the SQLite file "
                "that the application uses",
                database->path);
        return false;
    }
    if (access == DATABASE_READ)
        return database_run(database, "PRAGMA query_only = ON", error);
    if (sqlite3_db_readonly(database->handle, "main") == 1)
        return error_set(
            error, ERROR_READ_ONLY,
            "database %s cannot be written by user %u: make the file and its directory "
            "writable for it",
            database->path, (unsigned)geteuid());
    return true;
}

bool database_open(struct database *database, const char *path, enum database_access access,
                   uint64_t busy_timeout_ms, struct error *error)
{
    *database = (struct database){0};
    if (!path || !*path)
        return error_set(error, ERROR_USAGE, "no database given: name its file with --database");
    if (!look_at_file(path, access, error))
        return false;
    /* Absolute, so that neither "file:…" nor ":memory:" means anything but a file of that name. */
    char *resolved = database_resolve(path, error);
    if (!resolved)
        return false;
    bool opened = false;
    database->path = strdup(path);
    if (!database->path) {
        no_memory(error);
        goto done;
    }
    /* READWRITE falls back to reading by itself where the file is write-protected. Readers ask for
     * it too: a read-only connection that closes last leaves its -wal behind. */
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (access == DATABASE_CREATE)
        flags |= SQLITE_OPEN_CREATE;
    int result = sqlite3_open_v2(resolved, &database->handle, flags, NULL);
    if (result != SQLITE_OK)
        fail(database, result, "open", error);
    else
        opened = database_configure(database, busy_timeout_ms, error) &&
                 check_content(database, access, error);
done:
    free(resolved);
    if (!opened)
        database_close(database);
    return opened;
}

void database_close(struct database *database)
{
    sqlite3_close_v2(database->handle);
    free(database->path);
    *database = (struct database){0};
}

bool database_run(struct database *database, const char *sql, struct error *error)
{
    int result = sqlite3_exec(database->handle, sql, NULL, NULL, NULL);
    return result == SQLITE_OK || fail(database, result, sql, error);
}

bool database_number(struct database *database, const char *sql, int64_t missing, int64_t *number,
                     struct error *error)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(database->handle, sql, -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *number = sqlite3_column_int64(statement, 0);
    else if (result == SQLITE_DONE)
        *number = missing;
    else
        fail(database, result, sql, error);
    sqlite3_finalize(statement);
    return result == SQLITE_ROW || result == SQLITE_DONE;
}

bool database_schema_version(struct database *database, int64_t *version, struct error *error)
{
    return database_number(database, "PRAGMA main.schema_version", 0, version, error);
}

bool database_data_version(struct database *database, int64_t *version, struct error *error)
{
    return database_number(database, "PRAGMA main.data_version", 0, version, error);
}

sqlite3_stmt *database_hold_snapshot(struct database *database, int64_t *schema_version,
                                     struct error *error)
{
    static const char sql[] = "PRAGMA main.schema_version";
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(database->handle, sql, -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        *schema_version = sqlite3_column_int64(statement, 0);
        return statement;
    }
    fail(database, result, sql, error);
    sqlite3_finalize(statement);
    return NULL;
}

bool database_is_on_network(const char *path, const char **name)
{
    /* Numbers without a name are not in every version of <linux/magic.h>. */
    static const struct {
        uint32_t type;
        const char *name;
    } network[] = {
        {NFS_SUPER_MAGIC, "nfs"},   {0xff534d42, "cifs"},     {0xfe534d42, "smb2"},
        {SMB_SUPER_MAGIC, "smb"},   {AFS_SUPER_MAGIC, "afs"}, {0x6b414653, "afs"},
        {CODA_SUPER_MAGIC, "coda"}, {NCP_SUPER_MAGIC, "ncp"}, {0x00c36400, "ceph"},
        {V9FS_MAGIC, "9p"},         {0x01161970, "gfs2"},     {0x7461636f, "ocfs2"},
        {0x0bd00bd0, "lustre"},
    };
    struct statfs status;
    int result = statfs(path, &status);
    if (result != 0) {
        /* A database that is not made yet will lie where its directory does. */
        char *directory = directory_of(path);
        result = directory ? statfs(directory, &status) : -1;
        free(directory);
    }
    if (result != 0)
        return false;
    for (size_t i = 0; i < sizeof network / sizeof *network; i++) {
        if ((uint32_t)status.f_type == network[i].type) {
            *name = network[i].name;
            return true;
        }
    }
    return false;
}
