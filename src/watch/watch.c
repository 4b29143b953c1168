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

#include "base/log.h"
#include "base/slice.h"

enum {
    COALESCE_MS = 100,
    SLOW_CLOCK_MS = 30000, /* beside inotify, for what it cannot see: mmap writes, other hosts */
    BLIND_CLOCK_MS = 2000, /* without it */
};

struct watch {
    pthread_t thread;
    int inotify;    /* or -1: blind */
    int stop;       /* eventfd */
    int migrations; /* its watch descriptor */
    char database_name[NAME_MAX + 1];
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

/* Reads what is there; whether any of it matters. */
static bool read_events(const struct watch *watch)
{
    _Alignas(struct inotify_event) char bytes[4096];
    bool matters = false;
    ssize_t length;
    while ((length = read(watch->inotify, bytes, sizeof bytes)) > 0) {
        const char *end = bytes + length;
        const struct inotify_event *event;
        for (const char *at = bytes; at < end; at += sizeof *event + event->len) {
            event = (const struct inotify_event *)(const void *)at;
            matters = matters || event->wd == watch->migrations ||
                      (event->mask & (IN_Q_OVERFLOW | IN_IGNORED)) ||
                      (event->len > 0 && is_about_database(watch, event->name));
        }
    }
    return matters;
}

static void *run(void *context)
{
    const struct watch *watch = context;
    struct pollfd sources[2] = {{.fd = watch->stop, .events = POLLIN},
                                {.fd = watch->inotify, .events = POLLIN}};
    for (;;) {
        int ready = poll(sources, 2, watch->inotify < 0 ? BLIND_CLOCK_MS : SLOW_CLOCK_MS);
        if (sources[0].revents)
            return NULL;
        if (ready == 0 || (ready > 0 && sources[1].revents && read_events(watch))) {
            watch->changed(watch->context);
            if (poll(sources, 1, COALESCE_MS) > 0)
                return NULL;
        }
    }
}

static void watch_directories(struct watch *watch, const char *database, const char *migrations)
{
    const uint32_t events =
        IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE | IN_ATTRIB;
    char real[PATH_MAX], copy[PATH_MAX];
    watch->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (!realpath(database, real))
        slice_copy(slice_from_string(database), real, sizeof real);
    memcpy(copy, real, sizeof copy);
    slice_copy(slice_from_string(basename(copy)), watch->database_name,
               sizeof watch->database_name);
    memcpy(copy, real, sizeof copy);
    if (watch->inotify >= 0)
        watch->migrations = inotify_add_watch(watch->inotify, migrations, events | IN_ONLYDIR);
    if (watch->inotify < 0 || watch->migrations < 0 ||
        inotify_add_watch(watch->inotify, dirname(copy), events | IN_ONLYDIR) < 0) {
        LOG(LOG_WARNING, "watching", "inotify is not to be had: looking every two seconds instead",
            log_text("reason", strerror(errno)));
        if (watch->inotify >= 0)
            close(watch->inotify);
        watch->inotify = -1;
    }
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
    watch->stop = eventfd(0, EFD_CLOEXEC);
    if (watch->stop < 0) {
        error_set_errno(error, ERROR_IO, errno, "cannot watch %s", database);
        free(watch);
        return NULL;
    }
    watch_directories(watch, database, migrations);
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
