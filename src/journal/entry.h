/* SPDX-License-Identifier: MIT */
/* An event on its way from whoever records it to the file: everything copied, all text valid UTF-8
 * and bounded, since much of it comes from bodies and SQL. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "journal/event.h"

enum {
    ENTRY_SUBJECT_MAX = 1024,
    ENTRY_MESSAGE_MAX = 2048,
    ENTRY_FIELD_MAX = 4096,     /* bytes of one field's text */
    ENTRY_DATA_MAX = 16 * 1024, /* of all fields; those past it are left out and "cut" is true */
};

struct entry {
    enum event_type type;
    int64_t time;      /* wall clock, ms */
    int64_t last_time; /* of the latest equal one */
    int64_t count;     /* equal events this stands for */
    char *subject;     /* NULL: none */
    char *message;
    char *data; /* the fields as a JSON object */
};

/* NULL: out of memory. The caller owns it. Any thread. */
[[gnu::warn_unused_result]] struct entry *entry_new(enum event_type type, const char *subject,
                                                    const char *message,
                                                    const struct log_field *fields);
void entry_free(struct entry *entry);

/* Whether both tell the same: type, subject and message. */
bool entry_is_equal(const struct entry *a, const struct entry *b);
