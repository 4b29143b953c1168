/* SPDX-License-Identifier: MIT */
/* A source of events: what an epoll registration points to. */
#pragma once

#include <stdint.h>

#include "base/list.h"

struct source {
    void (*ready)(struct source *source, uint32_t events); /* events 0: resumed */
    void (*release)(struct source *source);
    struct list link; /* on the worker's list of resumes, or its graveyard */
};

static inline void source_construct(struct source *source, void (*ready)(struct source *, uint32_t))
{
    source->ready = ready;
    source->release = NULL;
    list_construct(&source->link);
}
