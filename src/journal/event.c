/* SPDX-License-Identifier: MIT */
/* The table of event types, asked. Pure, any thread. */
#include "journal/event.h"

#include <string.h>

static const struct {
    const char *name;
    enum log_level level;
    const char *meaning;
} types[EVENT_TYPE_COUNT] = {
#define X(type, name, level, meaning) [type] = {name, level, meaning},
    EVENT_TABLE(X)
#undef X
};

const char *event_name(enum event_type type)
{
    return types[type].name;
}

enum log_level event_level(enum event_type type)
{
    return types[type].level;
}

const char *event_meaning(enum event_type type)
{
    return types[type].meaning;
}

bool event_type_from_name(const char *name, enum event_type *type)
{
    for (int i = 0; i < EVENT_TYPE_COUNT; i++)
        if (strcmp(types[i].name, name) == 0) {
            *type = (enum event_type)i;
            return true;
        }
    return false;
}
