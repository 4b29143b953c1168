/* SPDX-License-Identifier: MIT */
/* A bounded queue of fixed-size messages from any threads to one. The reader sleeps in epoll or
 * poll on the queue's descriptor, an eventfd that becomes readable with the first message: one
 * wake-up for a batch. A full queue refuses, and the sender passes on (P7). The one lock of the
 * program between threads; nothing else is locked under it. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct queue {
    pthread_mutex_t lock;
    int fd; /* eventfd, non-blocking; the reader waits for it to be readable */
    size_t message_size;
    size_t capacity; /* messages */
    size_t first;
    size_t count;
    bool woken;
    char *messages; /* capacity × message_size bytes, grown on demand up to capacity */
    size_t allocated;
};

/* `capacity` bounds the queue; memory is taken as it fills. */
[[gnu::warn_unused_result]] bool queue_construct(struct queue *queue, size_t message_size,
                                                 size_t capacity, struct error *error);

/* Only when no thread uses it any more. Messages that are left are dropped. */
void queue_destruct(struct queue *queue);

/* Copies the message in. False: full, or memory is out; nothing was queued. Any thread. */
[[gnu::warn_unused_result]] bool queue_push(struct queue *queue, const void *message);

/* Moves up to `most` messages into `out` and returns how many; 0 when empty. Resets the descriptor
 * once the queue is empty. Reader only. */
size_t queue_pop(struct queue *queue, void *out, size_t most);
