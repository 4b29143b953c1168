/* SPDX-License-Identifier: MIT */
/* The watch. Its thread alone uses the inotify descriptor; the main thread starts and stops it. */
#include "watch/watch.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/slice.h"

enum {
    COALESCE_MS = 100,
    BLIND_CLOCK_MS = 2000, /* where inotify cannot be had, or a directory is gone */
};

/* When is looked again, if nothing more happens, after something did. A commit is written before it
 * is there: in WAL mode it comes to light after the last write that inotify can tell, when it has
 * reached the disk. The last is the slow clock, for what inotify cannot see: mmap writes, other
 * hosts. */
static const int pauses_ms[] = {COALESCE_MS, 1000, 30000};
enum { PAUSES = sizeof pauses_ms / sizeof *pauses_ms };

/* A directory, by the name that it is reached under: another one may take its place. */
struct place {
    char path[PATH_MAX];
    int descriptor; /* of inotify, -1: not watched */
};

struct watch {
    pthread_t thread;
    int inotify; /* or -1: blind */
    int stop;    /* eventfd */
    struct place migrations;
    struct place directory;           /* of the database */
    char database[PATH_MAX];          /* as given: it may be a link */
    char database_name[NAME_MAX + 1]; /* in `directory` */
    bool is_blind;                    /* one of the two cannot be watched; it was told */
    void (*changed)(void *context);
    void *context;
};

/* The database's own files: itself, -wal, -journal. Not our lock file beside it, nor -shm, which
 * readers touch. */
static bool is_about_database(const struct watch *watch, const char *name)
{
    size_t length = strlen(watch->database_name);
    return strncmp(name, watch->database_name, length) == 0 &&
           (name[length] == '\0' || strcmp(name + length, "-wal") == 0 ||
            strcmp(name + length, "-journal") == 0);
}

static bool matters(const struct watch *watch, const struct inotify_event *event)
{
    static const uint32_t always =
        IN_Q_OVERFLOW | IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT;
    return (event->mask & always) || event->wd == watch->migrations.descriptor ||
           (event->len > 0 && is_about_database(watch, event->name));
}

/* Reads what is there; whether any of it matters. */
static bool read_events(const struct watch *watch)
{
    _Alignas(struct inotify_event) char bytes[4096];
    bool any = false;
    ssize_t length;
    while ((length = read(watch->inotify, bytes, sizeof bytes)) > 0) {
        const char *end = bytes + length;
        const struct inotify_event *event;
        for (const char *at = bytes; at < end; at += sizeof *event + event->len) {
            event = (const struct inotify_event *)(const void *)at;
            any = any || matters(watch, event);
        }
    }
    return any;
}

/* Watches what the name leads to by now. Adding a directory that is watched gives its descriptor
 * again. */
static bool watch_place(struct watch *watch, struct place *place, const struct place *other)
{
    const uint32_t events = IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE |
                            IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
    int descriptor = inotify_add_watch(watch->inotify, place->path, events);
    if (place->descriptor >= 0 && place->descriptor != descriptor &&
        place->descriptor != other->descriptor)
        inotify_rm_watch(watch->inotify, place->descriptor); /* it has moved on, or has gone */
    place->descriptor = descriptor;
    return descriptor >= 0;
}

static void find_database(struct watch *watch)
{
    char real[PATH_MAX], copy[PATH_MAX];
    if (!realpath(watch->database, real)) {
        if (watch->directory.path[0])
            return; /* gone: it is expected where it was */
        slice_copy(slice_from_string(watch->database), real, sizeof real);
    }
    memcpy(copy, real, sizeof copy);
    slice_copy(slice_from_string(basename(copy)), watch->database_name,
               sizeof watch->database_name);
    memcpy(copy, real, sizeof copy);
    slice_copy(slice_from_string(dirname(copy)), watch->directory.path,
               sizeof watch->directory.path);
}

/* Done again with every look: directories are replaced, and links led elsewhere. */
static void watch_directories(struct watch *watch)
{
    int reason = watch->inotify < 0 ? ENOSYS : 0;
    find_database(watch);
    if (watch->inotify >= 0 && !watch_place(watch, &watch->migrations, &watch->directory))
        reason = errno;
    if (watch->inotify >= 0 && !watch_place(watch, &watch->directory, &watch->migrations))
        reason = errno;
    if (reason != 0 && !watch->is_blind)
        LOG(LOG_WARNING, "watching",
            "a directory cannot be watched: it is looked at every two seconds instead",
            log_text("reason", strerror(reason)), log_text("migrations", watch->migrations.path),
            log_text("database", watch->database));
    watch->is_blind = reason != 0;
}

static int wait_ms(const struct watch *watch, int pause, uint64_t since_ns)
{
    uint64_t most = (uint64_t)pauses_ms[pause];
    uint64_t passed = (clock_monotonic_ns() - since_ns) / NS_PER_MS;
    if (watch->is_blind && most > BLIND_CLOCK_MS)
        most = BLIND_CLOCK_MS;
    return passed < most ? (int)(most - passed) : 0;
}

/* True: the watch is to end. */
static bool is_stopped(const struct watch *watch, int wait)
{
    return poll(&(struct pollfd){.fd = watch->stop, .events = POLLIN}, 1, wait) > 0;
}

/* True once something happened or the pause is over; false: the watch is to end. What does not
 * matter does not put it off. */
static bool wait_for_change(struct watch *watch, int *pause)
{
    uint64_t since_ns = clock_monotonic_ns();
    for (;;) {
        int wait = wait_ms(watch, *pause, since_ns);
        struct pollfd sources[2] = {{.fd = watch->stop, .events = POLLIN},
                                    {.fd = watch->inotify, .events = POLLIN}};
        int ready = poll(sources, 2, wait);
        if (ready > 0 && sources[0].revents)
            return false;
        if (ready > 0 && sources[1].revents && read_events(watch)) {
            *pause = 0;
            return true;
        }
        if (wait == 0) {
            if (*pause < PAUSES - 1)
                ++*pause;
            return true;
        }
    }
}

static void *run(void *context)
{
    struct watch *watch = context;
    int pause = PAUSES - 1;
    while (wait_for_change(watch, &pause)) {
        watch_directories(watch);
        watch->changed(watch->context);
        if (is_stopped(watch, COALESCE_MS))
            return NULL;
    }
    return NULL;
}

struct watch *watch_start(const char *database, const char *migrations,
                          void (*changed)(void *context), void *context, struct error *error)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch) {
        error_set(error, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    watch->changed = changed;
    watch->context = context;
    watch->migrations.descriptor = watch->directory.descriptor = -1;
    slice_copy(slice_from_string(migrations), watch->migrations.path,
               sizeof watch->migrations.path);
    slice_copy(slice_from_string(database), watch->database, sizeof watch->database);
    watch->stop = eventfd(0, EFD_CLOEXEC);
    if (watch->stop < 0) {
        error_set_errno(error, ERROR_IO, errno, "cannot watch %s", database);
        free(watch);
        return NULL;
    }
    watch->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    watch_directories(watch);
    int result = pthread_create(&watch->thread, NULL, run, watch);
    if (result == 0)
        return watch;
    error_set_errno(error, ERROR_IO, result, "cannot start the watch's thread");
    if (watch->inotify >= 0)
        close(watch->inotify);
    close(watch->stop);
    free(watch);
    return NULL;
}

void watch_stop(struct watch *watch)
{
    if (!watch)
        return;
    uint64_t one = 1;
    while (write(watch->stop, &one, sizeof one) < 0 && errno == EINTR)
        continue;
    pthread_join(watch->thread, NULL);
    if (watch->inotify >= 0)
        close(watch->inotify);
    close(watch->stop);
    free(watch);
}
