/* SPDX-License-Identifier: MIT */
/* What was received of a request body, kept so that it can be sent, and sent again: in memory at
 * first, then in an unlinked temporary file. One budget for the process covers it and held answers;
 * past the budget or the size it says no, and the request goes on without being kept. Owned by one
 * exchange. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

/* Shared by all workers; touched only when something is kept. */
struct retry_budget {
    _Atomic uint64_t used; /* bytes in memory and in temporary files */
    uint64_t limit;
    uint64_t memory_limit; /* of one body before it goes to a file */
    uint64_t body_limit;   /* of one body */

    _Atomic uint64_t waiting; /* bytes in memory of what waits for a verdict */
    uint64_t waiting_limit;   /* past it, what waits goes to files; 0: no bound */
};

/* Takes `bytes` out of the budget, or says no. */
bool retry_budget_take(struct retry_budget *budget, uint64_t bytes);
void retry_budget_give(struct retry_budget *budget, uint64_t bytes);

/* The same for the memory of what waits for a verdict. */
bool retry_budget_take_waiting(struct retry_budget *budget, uint64_t bytes);
void retry_budget_give_waiting(struct retry_budget *budget, uint64_t bytes);

struct retry_buffer {
    struct buffer memory; /* the first bytes */
    int fd;               /* the rest, or -1 */
    uint64_t length;      /* of both */
    uint64_t charged;     /* to the budget */
};

void retry_buffer_construct(struct retry_buffer *kept);
void retry_buffer_free(struct retry_buffer *kept, struct retry_budget *budget);

/* Appends. False: past the budget or the size, or no memory or disk; then nothing of `data` was
 * kept and what was kept before is still there. */
[[gnu::warn_unused_result]] bool retry_buffer_append(struct retry_buffer *kept,
                                                     struct retry_budget *budget, struct slice data,
                                                     bool force);

/* Up to `size` bytes from `offset`: a slice of the memory, or read into `scratch`. Empty when the
 * file cannot be read. */
struct slice retry_buffer_read(const struct retry_buffer *kept, uint64_t offset, char *scratch,
                               size_t size);

/* Moves what is in memory to the file. False: there is no file to be had, or it is full, and what
 * is in memory stays there. */
bool retry_buffer_spill(struct retry_buffer *kept);
