/* SPDX-License-Identifier: MIT */
/* The journal: whoever records an event logs it, copies it and queues it; a thread of its own
 * writes batches. Entries belong to the queue, then to the writer's batch. The table is the
 * writer's once the thread runs. */
#include "journal/journal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/queue.h"
#include "journal/entry.h"
#include "journal/table.h"

enum {
    QUEUE_MAX = 4096, /* entries that wait for the writer */
    BATCH_MAX = 50,
    BATCH_MS = 1000,
    PRUNE_MS = 60 * 60 * 1000,
    RECENT_ROWS = 256, /* log lines remembered, to tell equal ones once */
    RECENT_IN_ROW = 8,
    LOG_FIELDS_MAX = 32,
};

struct journal {
    struct queue queue; /* of struct entry * */
    int stop_fd;        /* readable once the journal is to end */
    pthread_t thread;
    char *source;
    uint64_t keep_ms;
    _Atomic uint64_t dropped;
    _Atomic uint64_t written;
    uint64_t hash_seed;
    /* upper half: of the event's hash; lower: its second */
    _Atomic uint64_t recent[RECENT_ROWS][RECENT_IN_ROW];

    /* the writer's own */
    struct table table;
    struct entry *batch[BATCH_MAX];
    size_t batch_count;
    uint64_t batch_end_ns; /* when it is written at the latest */
    bool batch_is_kept;    /* it met another process's lock and is tried again at batch_end_ns */
    uint64_t prune_ns;
    bool is_in_trouble; /* the log has said that the file cannot be written */
};

/* ---- on the threads that record ---- */

/* FNV-1a, seeded: part of the text comes from clients, who must not find two that look equal. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; text && *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return (hash ^ 0xff) * 0x100000001b3u; /* a byte that no text holds: the end */
}

/* Whether no equal event was logged in this interval: then this one is, for the others. More
 * different events than a row of the table holds push the oldest out, which costs log lines too
 * many. */
static bool is_first(struct journal *journal, enum event_type type, const char *subject,
                     const char *message)
{
    uint64_t hash = hash_text(journal->hash_seed ^ (uint64_t)type, subject);
    hash = hash_text(hash, message);
    hash ^= hash >> 29;
    uint64_t tag = hash >> 32 << 32;
    uint32_t second = (uint32_t)(clock_monotonic_ns() / NS_PER_SECOND) + 1; /* 0: never */
    _Atomic uint64_t *row = journal->recent[hash % RECENT_ROWS];
    _Atomic uint64_t *oldest;
    uint64_t oldest_seen;
    do {
        oldest = NULL;
        for (size_t i = 0; i < RECENT_IN_ROW; i++) {
            uint64_t seen = atomic_load_explicit(&row[i], memory_order_relaxed);
            /* Signed: another thread may be a second ahead. */
            bool is_recent = (uint32_t)seen != 0 &&
                             (int32_t)(second - (uint32_t)seen) < EVENT_INTERVAL_MS / 1000;
            if (is_recent && seen >> 32 << 32 == tag)
                return false;
            if (!oldest || (uint32_t)seen < (uint32_t)oldest_seen) {
                oldest = &row[i];
                oldest_seen = seen;
            }
        }
        /* Lost against another thread, perhaps with the same event: look again. */
    } while (!atomic_compare_exchange_strong_explicit(oldest, &oldest_seen, tag | second,
                                                      memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void write_log(enum log_level level, enum event_type type, const char *subject,
                      const char *message, const struct log_field *fields)
{
    struct log_field all[LOG_FIELDS_MAX + 2];
    size_t count = 0;
    if (!log_is_on(level))
        return;
    all[count++] = log_text("subject", subject);
    while (fields->kind != LOG_END && count <= LOG_FIELDS_MAX)
        all[count++] = *fields++;
    all[count] = (struct log_field){.kind = LOG_END};
    log_write(level, event_name(type), message, all);
}

void journal_record(struct journal *journal, enum event_type type, const char *subject,
                    const char *message, const struct log_field *fields)
{
    enum log_level level = event_level(type);
    if (journal && !is_first(journal, type, subject, message))
        level = LOG_DEBUG;
    write_log(level, type, subject, message, fields);
    if (!journal)
        return;
    struct entry *entry = entry_new(type, subject, message, fields);
    if (entry && queue_push(&journal->queue, &entry))
        return;
    entry_free(entry);
    if (atomic_fetch_add(&journal->dropped, 1) == 0)
        LOG(LOG_WARNING, "trouble",
            "the journal cannot keep up: events are dropped; this log has them, and the metrics "
            "count them");
}

uint64_t journal_dropped(const struct journal *journal)
{
    return journal ? atomic_load_explicit(&journal->dropped, memory_order_relaxed) : 0;
}

uint64_t journal_written(const struct journal *journal)
{
    return journal ? atomic_load_explicit(&journal->written, memory_order_relaxed) : 0;
}

/* ---- on the writer's thread ---- */

/* Said once, until the file can be written again. */
static void tell_trouble(struct journal *journal, const struct error *error)
{
    if (!journal->is_in_trouble)
        LOG(LOG_ERROR, event_name(EVENT_TROUBLE),
            "the journal cannot be written: its events are only in this log",
            log_text("error", error->message));
    journal->is_in_trouble = true;
}

static void tell_relief(struct journal *journal)
{
    if (journal->is_in_trouble)
        LOG(LOG_INFO, event_name(EVENT_TROUBLE), "the journal can be written again",
            log_number("dropped", (int64_t)journal_dropped(journal)));
    journal->is_in_trouble = false;
}

static void count_entries(_Atomic uint64_t *counter, struct entry *const *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        atomic_fetch_add_explicit(counter, (uint64_t)entries[i]->count, memory_order_relaxed);
}

static void empty_batch(struct journal *journal)
{
    for (size_t i = 0; i < journal->batch_count; i++)
        entry_free(journal->batch[i]);
    journal->batch_count = 0;
    journal->batch_is_kept = false;
}

static void drop_batch(struct journal *journal)
{
    count_entries(&journal->dropped, journal->batch, journal->batch_count);
    empty_batch(journal);
}

/* What can be saved of a batch that failed as a whole: one event may be at fault, or the disk has
 * room for a few. */
static void write_one_by_one(struct journal *journal)
{
    struct error error;
    size_t saved = 0;
    for (size_t i = 0; i < journal->batch_count; i++) {
        bool is_written = table_write(&journal->table, &journal->batch[i], 1, &error);
        count_entries(is_written ? &journal->written : &journal->dropped, &journal->batch[i], 1);
        saved += is_written;
        if (!is_written)
            tell_trouble(journal, &error);
    }
    if (saved == journal->batch_count)
        tell_relief(journal);
    empty_batch(journal);
}

/* False: another process holds the file. The batch is kept and tried again later, since one by one
 * each event would wait as long; meanwhile the queue fills up to its bound. */
static bool write_batch(struct journal *journal)
{
    struct error error;
    if (journal->batch_count == 0)
        return true;
    if (table_write(&journal->table, journal->batch, journal->batch_count, &error)) {
        count_entries(&journal->written, journal->batch, journal->batch_count);
        empty_batch(journal);
        tell_relief(journal);
        return true;
    }
    if (error.code == ERROR_LOCK) {
        tell_trouble(journal, &error);
        journal->batch_end_ns = clock_monotonic_ns() + BATCH_MS * NS_PER_MS;
        journal->batch_is_kept = true;
        return false;
    }
    write_one_by_one(journal);
    return true;
}

/* An event that equals one of the batch is counted there: of 20,000 equal ones within 50 ms hardly
 * any is lost, where one statement each would lose 12,000. */
static bool count_in_batch(struct journal *journal, struct entry *entry)
{
    for (size_t i = 0; i < journal->batch_count; i++) {
        struct entry *earlier = journal->batch[i];
        if (!entry_is_equal(earlier, entry) || entry->time - earlier->time >= EVENT_INTERVAL_MS)
            continue;
        earlier->count += entry->count;
        if (entry->last_time > earlier->last_time)
            earlier->last_time = entry->last_time;
        entry_free(entry);
        return true;
    }
    return false;
}

/* Takes entries from the queue until the batch is full. True: it is. */
static bool fill_batch(struct journal *journal)
{
    struct entry *taken[BATCH_MAX];
    size_t count;
    if (journal->batch_count == 0)
        journal->batch_end_ns = clock_monotonic_ns() + BATCH_MS * NS_PER_MS;
    do {
        count = queue_pop(&journal->queue, taken, BATCH_MAX - journal->batch_count);
        for (size_t i = 0; i < count; i++)
            if (!count_in_batch(journal, taken[i]))
                journal->batch[journal->batch_count++] = taken[i];
        /* Equal events may come faster than they are counted: time ends it, too. */
    } while (count > 0 && journal->batch_count < BATCH_MAX &&
             clock_monotonic_ns() < journal->batch_end_ns);
    return journal->batch_count == BATCH_MAX;
}

static void prune(struct journal *journal)
{
    struct error error;
    journal->prune_ns = clock_monotonic_ns() + PRUNE_MS * NS_PER_MS;
    if (journal->keep_ms == 0 || journal->keep_ms > INT64_MAX)
        return;
    if (!table_prune(&journal->table, clock_wall_ms() - (int64_t)journal->keep_ms, &error) &&
        error.code != ERROR_LOCK) /* then the next hour does it */
        tell_trouble(journal, &error);
}

static int timeout_until(uint64_t time_ns)
{
    uint64_t now = clock_monotonic_ns();
    return time_ns <= now ? 0 : (int)((time_ns - now) / NS_PER_MS + 1);
}

/* Sleeps until there is something to do. True: the journal is to end. */
static bool wait_for_work(struct journal *journal)
{
    struct pollfd fds[] = {{.fd = journal->stop_fd, .events = POLLIN},
                           {.fd = journal->queue.fd, .events = POLLIN}};
    if (journal->batch_count == BATCH_MAX)
        fds[1].fd = -1; /* it is kept for another try: no more is taken */
    uint64_t until = journal->batch_count > 0 ? journal->batch_end_ns : journal->prune_ns;
    poll(fds, 2, timeout_until(until));
    return fds[0].revents != 0;
}

/* A full batch is written at once, another when its time has come. */
static void work(struct journal *journal)
{
    do {
        bool is_full = fill_batch(journal);
        bool is_due = clock_monotonic_ns() >= journal->batch_end_ns;
        if (journal->batch_count == 0 || !(is_due || (is_full && !journal->batch_is_kept)))
            return;
    } while (write_batch(journal));
}

static void write_what_is_left(struct journal *journal)
{
    bool goes_on = true;
    for (fill_batch(journal); journal->batch_count > 0; fill_batch(journal)) {
        goes_on = goes_on && write_batch(journal);
        if (!goes_on) /* the end is not put off by another process */
            drop_batch(journal);
    }
}

static void *writer_run(void *argument)
{
    struct journal *journal = argument;
    prune(journal);
    while (!wait_for_work(journal)) {
        work(journal);
        if (clock_monotonic_ns() >= journal->prune_ns)
            prune(journal);
    }
    write_what_is_left(journal);
    return NULL;
}

/* ---- on the thread that owns the journal ---- */

/* Signals are the main thread's. */
static bool start_writer(struct journal *journal, struct error *error)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int result = pthread_create(&journal->thread, NULL, writer_run, journal);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0)
        return error_set_errno(error, ERROR_MEMORY, result, "cannot start the journal's thread");
    pthread_setname_np(journal->thread, "journal");
    return true;
}

static void journal_free(struct journal *journal)
{
    table_close(&journal->table);
    if (journal->stop_fd >= 0)
        close(journal->stop_fd);
    queue_destruct(&journal->queue);
    free(journal->source);
    free(journal);
}

struct journal *journal_open(const char *state_directory, const char *source, uint64_t keep_ms,
                             struct error *error)
{
    struct journal *journal = calloc(1, sizeof *journal);
    if (!journal) {
        error_set(error, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    journal->queue.fd = -1;
    journal->keep_ms = keep_ms;
    journal->source = strdup(source);
    journal->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (getrandom(&journal->hash_seed, sizeof journal->hash_seed, GRND_NONBLOCK) < 0)
        journal->hash_seed = clock_monotonic_ns(); /* a young machine */
    if (!journal->source)
        error_set(error, ERROR_MEMORY, "out of memory");
    else if (journal->stop_fd < 0)
        error_set_errno(error, ERROR_IO, errno, "cannot make an eventfd");
    else if (queue_construct(&journal->queue, sizeof(struct entry *), QUEUE_MAX, error) &&
             table_open(&journal->table, state_directory, journal->source, error) &&
             start_writer(journal, error))
        return journal;
    journal_free(journal);
    return NULL;
}

void journal_close(struct journal *journal)
{
    if (!journal)
        return;
    /* It cannot fail: the counter is far from its end. */
    eventfd_write(journal->stop_fd, 1);
    pthread_join(journal->thread, NULL);
    journal_free(journal);
}
