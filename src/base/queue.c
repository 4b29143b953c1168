/* SPDX-License-Identifier: MIT */
/* Messages between threads. The ring grows up to its bound, so that an idle queue of a large bound
 * costs little. */
#include "base/queue.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { FIRST_ALLOCATION = 64 };

bool queue_construct(struct queue *queue, size_t message_size, size_t capacity, struct error *error)
{
    *queue = (struct queue){.message_size = message_size, .capacity = capacity, .fd = -1};
    queue->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (queue->fd < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot make an eventfd");
    pthread_mutex_init(&queue->lock, NULL);
    return true;
}

void queue_destruct(struct queue *queue)
{
    if (queue->fd < 0)
        return;
    close(queue->fd);
    free(queue->messages);
    pthread_mutex_destroy(&queue->lock);
    *queue = (struct queue){.fd = -1};
}

static char *at(struct queue *queue, size_t index)
{
    return queue->messages + (queue->first + index) % queue->allocated * queue->message_size;
}

static bool grow(struct queue *queue)
{
    size_t wanted = queue->allocated ? queue->allocated * 2 : FIRST_ALLOCATION;
    if (wanted > queue->capacity)
        wanted = queue->capacity;
    if (wanted <= queue->allocated)
        return false;
    char *messages = malloc(wanted * queue->message_size);
    if (!messages)
        return false;
    for (size_t i = 0; i < queue->count; i++)
        memcpy(messages + i * queue->message_size, at(queue, i), queue->message_size);
    free(queue->messages);
    queue->messages = messages;
    queue->allocated = wanted;
    queue->first = 0;
    return true;
}

bool queue_push(struct queue *queue, const void *message)
{
    pthread_mutex_lock(&queue->lock);
    bool done = queue->count < queue->allocated || grow(queue);
    if (done) {
        queue->count++;
        memcpy(at(queue, queue->count - 1), message, queue->message_size);
    }
    if (done && !queue->woken) {
        uint64_t one = 1;
        /* Under the lock: a reader that took the message meanwhile would find no wake-up to reset,
         * and then be woken for nothing again and again. It can only fail when 2^64-2 are pending.
         */
        queue->woken = write(queue->fd, &one, sizeof one) == sizeof one;
    }
    pthread_mutex_unlock(&queue->lock);
    return done;
}

size_t queue_pop(struct queue *queue, void *out, size_t most)
{
    pthread_mutex_lock(&queue->lock);
    size_t taken = 0;
    for (; taken < most && queue->count > 0; taken++) {
        memcpy((char *)out + taken * queue->message_size, at(queue, 0), queue->message_size);
        queue->first = (queue->first + 1) % queue->allocated;
        queue->count--;
    }
    if (queue->count == 0 && queue->woken) {
        uint64_t counter;
        /* Under the lock, so that a wake-up that comes now is not swallowed with the old one. */
        if (read(queue->fd, &counter, sizeof counter) >= 0 || errno == EAGAIN)
            queue->woken = false;
    }
    pthread_mutex_unlock(&queue->lock);
    return taken;
}
