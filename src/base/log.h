/* SPDX-License-Identifier: MIT */
/* The log: one event a line on standard error, as key=value pairs or as JSON. One of the program's
 * two globals. A line is formatted on the caller's stack, at most 4 KiB of it, and written with one
 * write(2), so lines of several threads do not mix; long texts are cut, and what still finds no
 * room is left out. Any thread; never on the happy path. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* A field of a line. Text is quoted where it must be; control bytes are escaped. A field whose
 * `text.data` is NULL and kind LOG_TEXT is left out, so optional facts need no branch at the
 * caller. */
struct log_field {
    const char *key;
    enum { LOG_END, LOG_TEXT, LOG_NUMBER } kind;
    struct slice text;
    int64_t number;
};

static inline struct log_field log_text(const char *key, const char *text)
{
    return (struct log_field){key, LOG_TEXT, {text, text ? strlen(text) : 0}, 0};
}

static inline struct log_field log_slice(const char *key, struct slice text)
{
    return (struct log_field){key, LOG_TEXT, text, 0};
}

static inline struct log_field log_number(const char *key, int64_t number)
{
    return (struct log_field){key, LOG_NUMBER, {NULL, 0}, number};
}

/* Before other threads start, or from the thread that reloads. Lines under `level` are dropped. */
void log_configure(enum log_level level, enum log_format format);
bool log_is_on(enum log_level level);

/* Writes `time level event message key=value…`. `fields` ends with a field of kind LOG_END. */
void log_write(enum log_level level, const char *event, const char *message,
               const struct log_field *fields);

/* LOG(LOG_INFO, "started", "listening", log_text("address", a), log_number("workers", n)); */
#define LOG(level, event, message, ...)                                                            \
    do {                                                                                           \
        if (log_is_on(level))                                                                      \
            log_write(level, event, message,                                                       \
                      (const struct log_field[]){                                                  \
                          __VA_ARGS__ __VA_OPT__(, ){NULL, LOG_END, {NULL, 0}, 0}});               \
    } while (0)
