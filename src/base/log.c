/* SPDX-License-Identifier: MIT */
/* The log. Its level and format are the one piece of state; they are atomics, so a reload may
 * change them while other threads write. */
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_SIZE = 8192 };

static _Atomic enum log_level threshold = LOG_INFO;
static _Atomic enum log_format shape = LOG_FORMAT_TEXT;

static const char *const level_names[] = {"debug", "info", "warning", "error"};

struct line {
    char data[LINE_SIZE];
    size_t length;
};

void log_configure(enum log_level level, enum log_format format)
{
    atomic_store(&threshold, level);
    atomic_store(&shape, format);
}

bool log_is_on(enum log_level level)
{
    return level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

static void put(struct line *line, struct slice text)
{
    size_t room = LINE_SIZE - 2 - line->length; /* keeps place for the line end */
    size_t length = text.length < room ? text.length : room;
    memcpy(line->data + line->length, text.data, length);
    line->length += length;
}

static void put_string(struct line *line, const char *text)
{
    put(line, slice_from_string(text));
}

/* In double quotes, escaped as JSON; the text format uses the same escapes. Bytes past ASCII pass
 * as they are. */
static void put_quoted(struct line *line, struct slice text)
{
    put_string(line, "\"");
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        char escaped[8];
        if (c == '"' || c == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", c);
        else if (c == '\n')
            snprintf(escaped, sizeof escaped, "\\n");
        else if (c < 0x20 || c == 0x7f)
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
        else
            snprintf(escaped, sizeof escaped, "%c", c);
        put_string(line, escaped);
    }
    put_string(line, "\"");
}

static bool is_plain(struct slice text)
{
    if (text.length == 0)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return true;
}

static void put_text_field(struct line *line, const struct log_field *field)
{
    put_string(line, " ");
    put_string(line, field->key);
    put_string(line, "=");
    if (is_plain(field->text))
        put(line, field->text);
    else
        put_quoted(line, field->text);
}

static void put_json_field(struct line *line, const char *key, struct slice text)
{
    put_string(line, line->length > 1 ? "," : "");
    put_quoted(line, slice_from_string(key));
    put_string(line, ":");
    put_quoted(line, text);
}

void log_write(enum log_level level, const char *event, const char *message,
               const struct log_field *fields)
{
    struct line line = {.length = 0};
    char time[CLOCK_TEXT_SIZE];
    bool json = atomic_load(&shape) == LOG_FORMAT_JSON;
    clock_format(clock_wall_ms(), time);
    if (json) {
        put_string(&line, "{");
        put_json_field(&line, "time", slice_from_string(time));
        put_json_field(&line, "level", slice_from_string(level_names[level]));
        put_json_field(&line, "event", slice_from_string(event));
        put_json_field(&line, "message", slice_from_string(message));
    } else {
        const struct log_field head[] = {log_text("time", time),
                                         log_text("level", level_names[level]),
                                         log_text("event", event), log_text("message", message)};
        for (size_t i = 0; i < sizeof head / sizeof *head; i++)
            put_text_field(&line, &head[i]);
        memmove(line.data, line.data + 1, --line.length); /* no space before the first */
    }
    for (const struct log_field *field = fields; field->kind != LOG_END; field++) {
        char digits[24];
        if (field->kind == LOG_TEXT && !field->text.data)
            continue;
        if (field->kind == LOG_TEXT) {
            if (json)
                put_json_field(&line, field->key, field->text);
            else
                put_text_field(&line, field);
            continue;
        }
        snprintf(digits, sizeof digits, "%lld", (long long)field->number);
        put_string(&line, json ? ",\"" : " ");
        put_string(&line, field->key);
        put_string(&line, json ? "\":" : "=");
        put_string(&line, digits);
    }
    if (json && line.length < LINE_SIZE - 1)
        line.data[line.length++] = '}';
    line.data[line.length++] = '\n';
    /* A log that cannot be written must not stop the program (P7). */
    while (write(STDERR_FILENO, line.data, line.length) < 0 && errno == EINTR)
        continue;
}
