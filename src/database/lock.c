/* SPDX-License-Identifier: MIT */
/* The lock file beside the database. Any thread; each taker has a descriptor of its own, so threads
 * of one process exclude each other as processes do. The descriptor belongs to the struct until it
 * is released. */
#include "database/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/slice.h"
#include "database/database.h"

enum { HOLDER_SIZE = 256, LONGEST_STEP_MS = 20, LOCK_MODE = 0600 };

/* Whoever may write the database may take its lock: what runs as another user of its group, or,
 * when root makes the file, as its owner. */
static void share(int fd, const char *database_path)
{
    struct stat database;
    if (stat(database_path, &database) != 0)
        return; /* not made yet: for this user only */
    mode_t mode = LOCK_MODE;
    if (database.st_mode & S_IWGRP)
        mode |= S_IRGRP | S_IWGRP;
    if (database.st_mode & S_IWOTH)
        mode |= S_IROTH | S_IWOTH;
    /* Without the right to give files away the group may still be one of ours. Whoever is shut out
     * by a failure here is told so when it opens the file. */
    if (fchown(fd, geteuid() == 0 ? database.st_uid : (uid_t)-1, database.st_gid) != 0)
        mode &= ~(mode_t)(S_IRGRP | S_IWGRP);
    fchmod(fd, mode);
}

/* Opened first and made only when missing: opening with O_CREAT what somebody else owns is refused
 * in sticky directories (fs.protected_regular). -1 with errno on failure. */
static int open_file(const char *path, const char *database_path)
{
    static const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    for (;;) {
        int fd = open(path, flags);
        if (fd >= 0 || errno != ENOENT)
            return fd;
        fd = open(path, flags | O_CREAT | O_EXCL, LOCK_MODE);
        if (fd >= 0)
            share(fd, database_path);
        if (fd >= 0 || errno != EEXIST) /* otherwise somebody else has just made it */
            return fd;
    }
}

static bool open_failed(const char *path, int reason, struct error *error)
{
    switch (reason) {
    case ELOOP:
        return error_set(error, ERROR_PERMISSION,
                         "lock file %s is a symbolic link: remove it, it is made anew as a file",
                         path);
    case EROFS:
        return error_set_errno(error, ERROR_READ_ONLY, reason,
                               "lock file %s cannot be made, mount its file system for writing",
                               path);
    case EACCES:
    case EPERM:
        return error_set_errno(
            error, ERROR_PERMISSION, reason,
            "lock file %s cannot be opened by user %u, make it and its directory "
            "writable for it",
            path, (unsigned)geteuid());
    default:
        return error_set_errno(error, reason == ENOSPC ? ERROR_DISK_FULL : ERROR_IO, reason,
                               "lock file %s cannot be opened, look at its directory", path);
    }
}

/* Whether the descriptor is still the file of that name: somebody may have removed it by hand while
 * we waited, and then others lock a new one. */
static bool is_current(int fd, const char *path)
{
    struct stat ours;
    struct stat theirs;
    return fstat(fd, &ours) == 0 && lstat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
           ours.st_dev == theirs.st_dev;
}

static void sign(int fd)
{
    char time[CLOCK_TEXT_SIZE];
    char host[65] = "";
    char content[HOLDER_SIZE];
    if (gethostname(host, sizeof host - 1) != 0 || !*host)
        snprintf(host, sizeof host, "unknown");
    int length = snprintf(content, sizeof content, "%ld %s %s %s\n", (long)getpid(), host,
                          clock_format(clock_wall_ms(), time), program_invocation_short_name);
    if (length >= (int)sizeof content)
        length = (int)sizeof content - 1;
    /* For people only: a full disk must not stop anybody from holding the lock. */
    (void)!ftruncate(fd, 0);
    (void)!pwrite(fd, content, (size_t)length, 0);
}

/* Fills the error from what the holder wrote: "pid host time program". */
static bool held(int fd, const char *path, const char *database_path, struct error *error)
{
    char content[HOLDER_SIZE];
    ssize_t length = pread(fd, content, sizeof content, 0);
    struct slice rest = slice_make(content, length > 0 ? (size_t)length : 0);
    struct slice line = slice_split(&rest, '\n');
    struct slice pid = slice_split(&line, ' ');
    struct slice host = slice_split(&line, ' ');
    struct slice since = slice_split(&line, ' ');
    uint64_t number;
    /* Empty while the holder has just begun or ended. */
    if (!slice_to_uint64(pid, &number) || host.length == 0 || since.length == 0)
        return error_set(error, ERROR_LOCK,
                         "database %s is being worked on by another process (lock file %s): try "
                         "again when it has ended",
                         database_path, path);
    return error_set(
        error, ERROR_LOCK,
        "database %s is being worked on by process %.*s (%.*s) on %.*s since %.*s: try "
        "again when it has ended",
        database_path, (int)pid.length, pid.data, (int)line.length, line.data, (int)host.length,
        host.data, (int)since.length, since.data);
}

static void pause_ms(uint64_t ms)
{
    struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000 * NS_PER_MS)};
    nanosleep(&time, NULL);
}

/* Tries until `deadline`. flock has no time limit of its own, and a signal to end it would be the
 * whole process's: so it is asked again, in growing steps. */
static bool wait_for(int fd, uint64_t deadline_ns, int *reason)
{
    for (uint64_t step_ms = 1;;
         step_ms = step_ms * 2 < LONGEST_STEP_MS ? step_ms * 2 : LONGEST_STEP_MS) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        *reason = errno;
        if (*reason != EWOULDBLOCK && *reason != EINTR)
            return false;
        uint64_t now = clock_monotonic_ns();
        if (now >= deadline_ns)
            return false;
        uint64_t left_ms = (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
        pause_ms(step_ms < left_ms ? step_ms : left_ms);
    }
}

static bool take(struct database_lock *lock, const char *path, const char *database_path,
                 uint64_t deadline_ns, struct error *error)
{
    for (;;) {
        struct stat status;
        int reason = 0;
        int fd = open_file(path, database_path);
        if (fd < 0)
            return open_failed(path, errno, error);
        if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
            close(fd);
            return error_set(error, ERROR_PERMISSION,
                             "lock file %s is not a regular file: remove it, it is made anew",
                             path);
        }
        if (!wait_for(fd, deadline_ns, &reason)) {
            if (reason == EWOULDBLOCK || reason == EINTR)
                held(fd, path, database_path, error);
            else
                error_set_errno(error, ERROR_LOCK, reason,
                                "lock file %s cannot be locked on this file system, run with "
                                "--mode observe",
                                path);
            close(fd);
            return false;
        }
        if (is_current(fd, path)) {
            sign(fd);
            lock->fd = fd;
            return true;
        }
        close(fd);
    }
}

bool database_lock_take(struct database_lock *lock, const char *database_path, uint64_t timeout_ms,
                        struct error *error)
{
    lock->fd = -1;
    uint64_t now = clock_monotonic_ns();
    uint64_t most_ms = (UINT64_MAX - now) / NS_PER_MS;
    uint64_t deadline_ns = now + (timeout_ms < most_ms ? timeout_ms : most_ms) * NS_PER_MS;
    char *resolved = database_resolve(database_path, error);
    if (!resolved)
        return false;
    char *path = NULL;
    bool taken = false;
    if (asprintf(&path, "%s.automigrate.lock", resolved) < 0) {
        path = NULL;
        error_set(error, ERROR_MEMORY, "out of memory");
    } else {
        taken = take(lock, path, resolved, deadline_ns, error);
    }
    free(path);
    free(resolved);
    return taken;
}

void database_lock_release(struct database_lock *lock)
{
    if (lock->fd < 0)
        return;
    /* Nobody is named who no longer holds it. Unlocked by name, not by closing: a child that was
     * just being started elsewhere may share the descriptor for a moment. */
    (void)!ftruncate(lock->fd, 0);
    flock(lock->fd, LOCK_UN);
    close(lock->fd);
    lock->fd = -1;
}
