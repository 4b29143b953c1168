/* SPDX-License-Identifier: MIT */
/* Pools of receive buffers. Worker's thread only. */
#include "proxy/blocks.h"

#include <stdlib.h>

struct block_link {
    struct block_link *next;
};

void blocks_construct(struct blocks *blocks, size_t size, size_t keep)
{
    *blocks = (struct blocks){.size = size, .keep = keep};
}

void blocks_destruct(struct blocks *blocks)
{
    while (blocks->first) {
        struct block_link *link = blocks->first;
        blocks->first = link->next;
        free(link);
    }
    blocks->kept = 0;
}

char *blocks_borrow(struct blocks *blocks)
{
    struct block_link *link = blocks->first;
    if (!link)
        return malloc(blocks->size);
    blocks->first = link->next;
    blocks->kept--;
    return (char *)link;
}

void blocks_return(struct blocks *blocks, char *block)
{
    if (!block)
        return;
    if (blocks->kept == blocks->keep) {
        free(block);
        return;
    }
    struct block_link *link = (struct block_link *)(void *)block;
    link->next = blocks->first;
    blocks->first = link;
    blocks->kept++;
}
