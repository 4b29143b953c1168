/* SPDX-License-Identifier: MIT */
/* Recovery: its thread, its queue, and the passes it makes. What belongs to the thread is marked;
 * the rest is atomics that workers read, and the queue. */
#include "recover/recover.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/queue.h"
#include "database/database.h"
#include "detect/detect.h"
#include "recover/files.h"
#include "recover/judge.h"
#include "recover/live.h"
#include "recover/policy.h"
#include "recover/recovery.h"

enum {
    QUEUE_CAPACITY = 1 << 17,
    TAKEN_AT_ONCE = 1024,
};

enum message_kind { MESSAGE_SUBMISSION, MESSAGE_LOOK, MESSAGE_STOP };

struct recover_message {
    enum message_kind kind;
    struct submission *submission; /* owned by the message */
};

struct recover {
    struct recover_options options;
    struct healing healing;
    struct detect *detect;
    struct detect_scratch **scratches; /* one a worker */
    struct queue queue;
    pthread_t thread;
    bool started;
    struct live live;         /* the thread's */
    struct recovery recovery; /* the thread's */
    _Atomic uint64_t submitted, abandoned;
    atomic_bool look_is_queued;
};

static bool is_worth_holding(void *context, uint64_t generation)
{
    const struct recover *recover = context;
    return live_is_moving(&recover->live) || live_generation(&recover->live) != generation;
}

static const char *const method_names[] = {
    [METHOD_OTHER] = "?",         [METHOD_GET] = "GET",     [METHOD_HEAD] = "HEAD",
    [METHOD_POST] = "POST",       [METHOD_PUT] = "PUT",     [METHOD_DELETE] = "DELETE",
    [METHOD_OPTIONS] = "OPTIONS", [METHOD_PATCH] = "PATCH", [METHOD_TRACE] = "TRACE",
    [METHOD_CONNECT] = "CONNECT",
};

/* "database is locked" while a migration of ours holds the lock is our doing: the request may wait
 * for its end. */
static bool is_locked_by_us(const struct recover *recover, struct slice body)
{
    return live_is_changing(&recover->live) &&
           memmem(body.data, body.length, "database is locked", 18) != NULL;
}

static struct submission *new_submission(const struct failure *failure, struct ticket ticket,
                                         const struct schema_error *errors, size_t count)
{
    struct submission *submission = calloc(1, sizeof *submission + count * sizeof *errors);
    if (!submission)
        return NULL;
    submission->ticket = ticket;
    submission->is_idempotent = http_method_is_idempotent(failure->method);
    submission->has_idempotency_key = failure->has_idempotency_key;
    submission->replayable = failure->replayable;
    submission->status = failure->status;
    submission->generation = failure->generation;
    submission->sent_ns = failure->sent_ns;
    submission->method = method_names[failure->method];
    /* The query may hold what is nobody's business: events tell the path alone. */
    struct slice target = failure->target;
    slice_copy(slice_split(&target, '?'), submission->path, sizeof submission->path);
    submission->count = count;
    memcpy(submission->errors, errors, count * sizeof *errors);
    return submission;
}

static enum healing_answer submit(void *context, const struct failure *failure,
                                  struct ticket ticket)
{
    struct recover *recover = context;
    struct schema_error errors[SCHEMA_ERRORS_MAX];
    size_t count =
        detect_find(recover->detect, recover->scratches[ticket.worker], failure->body, errors);
    bool locked = count == 0 && is_locked_by_us(recover, failure->body);
    if (count == 0 && !locked)
        return HEALING_PASS;
    struct submission *submission = new_submission(failure, ticket, errors, count);
    if (!submission)
        return HEALING_PASS;
    atomic_fetch_add_explicit(&recover->submitted, 1, memory_order_relaxed);
    if (queue_push(&recover->queue, &(struct recover_message){MESSAGE_SUBMISSION, submission}))
        return HEALING_WAIT;
    free(submission);
    return HEALING_PASS;
}

static void take_back(void *context, struct ticket ticket)
{
    struct recover *recover = context;
    (void)ticket; /* its slot's generation moves on, so that the verdict finds nobody */
    atomic_fetch_add_explicit(&recover->abandoned, 1, memory_order_relaxed);
}

static void tell_outcome(void *context, enum healing_outcome outcome, struct slice method,
                         struct slice target, unsigned status, uint64_t waited_ns)
{
    static const struct {
        enum event_type type;
        const char *message;
    } told[] = {
        [OUTCOME_HEALED] = {EVENT_HEALED, "the second attempt was answered well"},
        [OUTCOME_NOT_HEALED] = {EVENT_NOT_HEALED, "the second attempt was no better"},
        [OUTCOME_TIMED_OUT] = {EVENT_TIMED_OUT,
                               "no verdict in time: the client got the application's answer"},
    };
    const struct recover *recover = context;
    char path[128], verb[16];
    slice_copy(slice_split(&target, '?'), path, sizeof path);
    slice_copy(method, verb, sizeof verb);
    JOURNAL(recover->options.journal, told[outcome].type, path, told[outcome].message,
            log_text("method", verb), log_text("path", path), log_number("status", status),
            log_number("waited_ms", (int64_t)(waited_ns / NS_PER_MS)));
}

static void *run(void *context)
{
    struct recover *recover = context;
    static const int forever = -1;
    int timeout_ms = forever;
    for (;;) {
        struct recover_message messages[TAKEN_AT_ONCE];
        struct submission *batch = NULL, **last = &batch;
        bool stop = false;
        poll(&(struct pollfd){.fd = recover->queue.fd, .events = POLLIN}, 1, timeout_ms);
        size_t count;
        do {
            count = queue_pop(&recover->queue, messages, TAKEN_AT_ONCE);
            for (size_t i = 0; i < count; i++) {
                if (messages[i].kind == MESSAGE_SUBMISSION) {
                    *last = messages[i].submission;
                    last = &messages[i].submission->next;
                } else if (messages[i].kind == MESSAGE_LOOK) {
                    atomic_store(&recover->look_is_queued, false);
                } else {
                    stop = true;
                }
            }
        } while (count == TAKEN_AT_ONCE);
        if (stop) {
            submissions_free(batch);
            return NULL;
        }
        live_look(&recover->live);
        if (batch)
            recovery_pass(&recover->recovery, batch); /* frees it */
        timeout_ms = live_next_look_ms(&recover->live);
    }
}

void recover_look(struct recover *recover)
{
    if (atomic_exchange(&recover->look_is_queued, true))
        return;
    if (!queue_push(&recover->queue, &(struct recover_message){MESSAGE_LOOK, NULL}))
        atomic_store(&recover->look_is_queued, false); /* it is awake and looks anyway */
}

struct recover *recover_new(const struct recover_options *options, struct error *error)
{
    struct recover *recover = calloc(1, sizeof *recover);
    const uint64_t workers = options->config->workers;
    if (!recover) {
        error_set(error, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    recover->options = *options;
    recover->queue.fd = -1;
    recover->healing = (struct healing){recover, is_worth_holding, submit, take_back, tell_outcome};
    recover->scratches = calloc(workers, sizeof *recover->scratches);
    recover->detect = recover->scratches ? detect_new(error) : NULL;
    bool good = recover->detect != NULL;
    for (uint64_t i = 0; good && i < workers; i++) {
        recover->scratches[i] = detect_scratch_new(recover->detect);
        good = recover->scratches[i] != NULL || error_set(error, ERROR_MEMORY, "out of memory");
    }
    good =
        good &&
        queue_construct(&recover->queue, sizeof(struct recover_message), QUEUE_CAPACITY, error) &&
        live_construct(&recover->live, &recover->options, error) &&
        recovery_construct(&recover->recovery, &recover->live, &recover->options, error);
    if (!good) {
        recover_free(recover);
        return NULL;
    }
    return recover;
}

bool recover_start(struct recover *recover, struct journal *journal, struct error *error)
{
    recover->options.journal = journal;
    live_tell_drifts(&recover->live);
    live_announce(&recover->live);
    int result = pthread_create(&recover->thread, NULL, run, recover);
    if (result != 0)
        return error_set_errno(error, ERROR_IO, result, "cannot start the recovery thread");
    recover->started = true;
    recover_look(recover);
    return true;
}

const struct healing *recover_healing(struct recover *recover)
{
    return &recover->healing;
}

void recover_figures(struct recover *recover, struct recover_figures *figures)
{
    *figures = (struct recover_figures){
        .generation = live_generation(&recover->live),
        .pending = live_pending(&recover->live),
        .applied = atomic_load(&recover->recovery.applied),
        .failed = atomic_load(&recover->recovery.failed),
        .retried_verdicts = atomic_load(&recover->recovery.retried),
        .submitted = atomic_load(&recover->submitted),
        .abandoned = atomic_load(&recover->abandoned),
        .changing = live_is_changing(&recover->live),
        .trouble = atomic_load(&recover->live.trouble),
        .mode = recover->live.mode,
    };
}

void recover_stop(struct recover *recover)
{
    if (!recover->started)
        return;
    atomic_store(&recover->recovery.stop, true);
    while (!queue_push(&recover->queue, &(struct recover_message){MESSAGE_STOP, NULL}))
        poll(NULL, 0, 1); /* full: it is being emptied */
    pthread_join(recover->thread, NULL);
    recover->started = false;
}

void recover_free(struct recover *recover)
{
    if (!recover)
        return;
    struct recover_message message;
    while (recover->queue.fd >= 0 && queue_pop(&recover->queue, &message, 1) == 1)
        submissions_free(message.submission);
    queue_destruct(&recover->queue);
    recovery_destruct(&recover->recovery);
    live_destruct(&recover->live);
    for (uint64_t i = 0; recover->scratches && i < recover->options.config->workers; i++)
        detect_scratch_free(recover->scratches[i]);
    free(recover->scratches);
    detect_free(recover->detect);
    free(recover);
}
