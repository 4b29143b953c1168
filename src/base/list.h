/* SPDX-License-Identifier: MIT */
/* Doubly linked lists through a link inside the element: an element is on one list per link, and
 * leaving costs nothing to look up. A list is its head; an unlinked link points at itself. Owned
 * and used by one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *previous;
};

static inline void list_construct(struct list *list)
{
    list->next = list->previous = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

static inline void list_append(struct list *list, struct list *link)
{
    link->previous = list->previous;
    link->next = list;
    list->previous->next = link;
    list->previous = link;
}

static inline void list_prepend(struct list *list, struct list *link)
{
    list_append(list->next, link);
}

/* Takes a link out of whatever list it is on; harmless when it is on none. */
static inline void list_remove(struct list *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    list_construct(link);
}

/* The struct of type `type` whose member `member` is `link`. */
#define LIST_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))
