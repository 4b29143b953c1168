/* SPDX-License-Identifier: MIT */
/* Backups of the application's database. Blocks its thread for as long as the copy takes: never a
 * worker's. The database is read through a connection of its own; the copy is nobody else's until
 * it is finished, so it may be opened as a file too. */
#include "database/backup.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"

enum {
    BACKUP_BUSY_TIMEOUT_MS = 5000,
    LONGEST_LABEL = 80,
    MOST_NAMES = 1000, /* tried until one is free: one a millisecond */
    SPARE_BYTES = 1024 * 1024,
    TIME_SIZE = 24,
};

static bool no_memory(struct error *error)
{
    return error_set(error, ERROR_MEMORY, "backup: out of memory");
}

/* "20261121T024604.123Z": sorts as time does, and is a file name everywhere. */
static void format_time(int64_t wall_ms, char out[TIME_SIZE])
{
    char text[CLOCK_TEXT_SIZE];
    clock_format(wall_ms, text);
    char *end = out;
    for (const char *from = text; *from && end < out + TIME_SIZE - 1; from++) {
        if (*from != '-' && *from != ':')
            *end++ = *from;
    }
    *end = '\0';
}

/* Whether a file name is of our naming: only such files are ever removed. */
static bool is_backup_name(const char *name)
{
    static const char pattern[] = "dddddddd"
                                  "T"
                                  "dddddd"
                                  "."
                                  "ddd"
                                  "Z-";
    size_t length = strlen(name);
    size_t stem = sizeof pattern - 1;
    if (length <= stem + 3 || strcmp(name + length - 3, ".db") != 0)
        return false;
    for (size_t i = 0; i < stem; i++) {
        bool fits = pattern[i] == 'd' ? isdigit((unsigned char)name[i]) : name[i] == pattern[i];
        if (!fits)
            return false;
    }
    return true;
}

/* Labels are versions and words of ours; what could mean something in a path becomes '-'. */
static void append_label(struct buffer *path, const char *label)
{
    size_t length = strnlen(label, LONGEST_LABEL);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)label[i];
        bool plain = isalnum(c) || c == '_' || c == '-' || (c == '.' && i > 0);
        buffer_append(path, plain ? (const char *)&label[i] : "-", 1);
    }
    if (length == 0)
        buffer_append_string(path, "backup");
}

static bool make_directory(const char *directory, struct error *error)
{
    if (mkdir(directory, 0700) == 0 || errno == EEXIST)
        return true;
    int reason = errno;
    return error_set_errno(error, reason == ENOSPC ? ERROR_DISK_FULL : ERROR_PERMISSION, reason,
                           "backup: directory %s cannot be made, make it or choose another with "
                           "--state-directory",
                           directory);
}

static bool look_at_space(struct database *database, const char *directory, struct error *error)
{
    int64_t pages;
    int64_t page_size;
    struct statvfs space;
    if (!database_number(database, "PRAGMA main.page_count", 0, &pages, error) ||
        !database_number(database, "PRAGMA main.page_size", 0, &page_size, error))
        return false;
    if (statvfs(directory, &space) != 0)
        return error_set_errno(error, ERROR_IO, errno, "backup: directory %s cannot be reached",
                               directory);
    uint64_t needed = (uint64_t)pages * (uint64_t)page_size + SPARE_BYTES;
    uint64_t there = (uint64_t)space.f_bavail * space.f_frsize;
    if (needed <= there)
        return true;
    return error_set(error, ERROR_DISK_FULL,
                     "backup of %s needs %llu KiB and %s has %llu KiB free: make room there, or "
                     "choose another place with --state-directory",
                     database->path, (unsigned long long)(needed / 1024), directory,
                     (unsigned long long)(there / 1024));
}

/* Makes the file, empty and for its owner only, before SQLite sees it: there is no moment in which
 * others could open it. */
static char *make_file(const char *directory, const char *label, struct error *error)
{
    int64_t now = clock_wall_ms();
    for (int64_t i = 0; i < MOST_NAMES; i++) {
        char time[TIME_SIZE];
        struct buffer path = {0};
        format_time(now + i, time);
        buffer_printf(&path, "%s/%s-", directory, time);
        append_label(&path, label);
        buffer_append_string(&path, ".db");
        char *name = buffer_take(&path);
        if (!name) {
            no_memory(error);
            return NULL;
        }
        int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0) {
            close(fd);
            return name;
        }
        int reason = errno;
        if (reason != EEXIST)
            error_set_errno(error, reason == ENOSPC ? ERROR_DISK_FULL : ERROR_PERMISSION, reason,
                            "backup: %s cannot be made, make the directory writable for user %u",
                            name, (unsigned)geteuid());
        free(name);
        if (reason != EEXIST)
            return NULL;
    }
    error_set(error, ERROR_IO, "backup: no free name in %s: remove old backups", directory);
    return NULL;
}

static void remove_copy(const char *path)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char *name = NULL;
        if (asprintf(&name, "%s%s", path, suffixes[i]) >= 0) {
            unlink(name);
            free(name);
        }
    }
}

static bool failed(sqlite3 *handle, int result, const char *path, struct error *error)
{
    database_error(handle, result, path, error);
    error_prefix(error, "backup ");
    return false;
}

static bool copy_pages(struct database *database, sqlite3 *copy, const char *path,
                       struct error *error)
{
    /* Nobody reads it before it is done and synced as a whole. */
    int result =
        sqlite3_exec(copy, "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF", NULL, NULL, NULL);
    if (result != SQLITE_OK)
        return failed(copy, result, path, error);
    sqlite3_backup *backup = sqlite3_backup_init(copy, "main", database->handle, "main");
    if (!backup)
        return failed(copy, sqlite3_errcode(copy), path, error);
    /* All in one step: an image of one moment, also when nobody holds the write lock. */
    do {
        result = sqlite3_backup_step(backup, -1);
    } while (result == SQLITE_OK);
    int finished = sqlite3_backup_finish(backup);
    if (result != SQLITE_DONE)
        return failed(copy, finished != SQLITE_OK ? finished : result, path, error);
    return true;
}

static bool copy_database(struct database *database, const char *path, struct error *error)
{
    sqlite3 *copy = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    int result = sqlite3_open_v2(path, &copy, flags, NULL);
    bool copied = result == SQLITE_OK ? copy_pages(database, copy, path, error)
                                      : failed(copy, result, path, error);
    result = sqlite3_close(copy);
    if (copied && result != SQLITE_OK)
        copied = failed(NULL, result, path, error);
    return copied;
}

/* Rows that speak of what the application stored, not of a damaged file. */
static bool is_about_content(const char *row)
{
    static const char *const beginnings[] = {"NULL value in ", "CHECK constraint failed in "};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        if (strncmp(row, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    }
    return false;
}

static bool check_rows(sqlite3_stmt *statement, const char *database_path, struct error *error,
                       int *result)
{
    while ((*result = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *row = (const char *)sqlite3_column_text(statement, 0);
        if (row && (strcmp(row, "ok") == 0 || is_about_content(row)))
            continue;
        return error_set(error, ERROR_CORRUPT,
                         "backup of %s is damaged (%s): the database itself may be, check it with "
                         "PRAGMA integrity_check",
                         database_path, row ? row : "out of memory");
    }
    return true;
}

/* A database that needs a function or collation which only the application has cannot be checked
 * by us; that is said, and the backup stands. */
static bool check_copy(const char *path, const char *database_path, struct error *error)
{
    struct database copy;
    sqlite3_stmt *statement = NULL;
    if (!database_open(&copy, path, DATABASE_WRITE, 0, error))
        return false;
    int result = sqlite3_prepare_v2(copy.handle, "PRAGMA main.quick_check", -1, &statement, NULL);
    bool sound = result != SQLITE_OK || check_rows(statement, database_path, error, &result);
    if (sound && (result & 0xff) == SQLITE_ERROR)
        LOG(LOG_WARNING, "backup_unverified", sqlite3_errmsg(copy.handle), log_text("path", path));
    else if (sound && result != SQLITE_DONE)
        sound = failed(copy.handle, result, path, error);
    sqlite3_finalize(statement);
    database_close(&copy);
    return sound;
}

static bool sync_path(const char *path, int flags, struct error *error)
{
    int fd = open(path, flags | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (!synced)
        error_set_errno(error, errno == ENOSPC ? ERROR_DISK_FULL : ERROR_IO, errno,
                        "backup %s cannot be written to disk", path);
    if (fd >= 0)
        close(fd);
    return synced;
}

static int is_backup(const struct dirent *entry)
{
    return is_backup_name(entry->d_name);
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*b)->d_name, (*a)->d_name);
}

/* Old backups are a matter of space, not of safety: what cannot be removed is said, and stays. */
static void remove_old(const char *directory, uint64_t keep)
{
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, is_backup, newest_first);
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        if ((uint64_t)i >= keep && asprintf(&path, "%s/%s", directory, entries[i]->d_name) >= 0) {
            if (unlink(path) != 0)
                LOG(LOG_WARNING, "backup_not_removed", strerror(errno), log_text("path", path));
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
}

bool backup_take(const char *database_path, const char *directory, const char *label, uint64_t keep,
                 char **path, struct error *error)
{
    struct database database;
    *path = NULL;
    if (!database_open(&database, database_path, DATABASE_READ, BACKUP_BUSY_TIMEOUT_MS, error)) {
        error_prefix(error, "backup: ");
        return false;
    }
    bool taken = make_directory(directory, error) && look_at_space(&database, directory, error);
    char *copy = taken ? make_file(directory, label, error) : NULL;
    taken = copy && copy_database(&database, copy, error) &&
            check_copy(copy, database_path, error) && sync_path(copy, O_RDONLY, error) &&
            sync_path(directory, O_RDONLY | O_DIRECTORY, error);
    database_close(&database);
    if (!taken) {
        if (copy)
            remove_copy(copy);
        free(copy);
        return false;
    }
    remove_old(directory, keep ? keep : 1);
    *path = copy;
    return true;
}
