/* SPDX-License-Identifier: MIT */
/* Receive buffers, borrowed only while bytes are in flight: an idle connection holds none. A pool
 * keeps a bounded number for reuse, the last returned first, so that the hot one stays in the
 * cache. One pool a worker and size. */
#pragma once

#include <stddef.h>

enum {
    BLOCK_HEAD = 16 * 1024, /* a request head and the small bodies that come with it: the limit of a
                               request head */
    BLOCK_BODY = 64 * 1024, /* what is read of an answer or a large body at a time */
};

struct blocks {
    size_t size; /* of each, bytes */
    size_t kept;
    size_t keep; /* at most */
    struct block_link *first;
};

void blocks_construct(struct blocks *blocks, size_t size, size_t keep);
void blocks_destruct(struct blocks *blocks);

/* NULL when memory is out. */
[[gnu::warn_unused_result]] char *blocks_borrow(struct blocks *blocks);

/* NULL is fine. */
void blocks_return(struct blocks *blocks, char *block);
