/* SPDX-License-Identifier: MIT */
/* The log. Its level and format are the one piece of state; they are atomics, so a reload may
 * change them while other threads write. */
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

/* What a pipe takes in one piece (pipe(7)), so that lines of several threads do not mix there
 * either. A longer line is cut: in its text, never in its form. */
enum { LINE_SIZE = PIPE_BUF, CLOSING_SIZE = sizeof "\"}\n" - 1 };

static _Atomic enum log_level threshold = LOG_INFO;
static _Atomic enum log_format shape = LOG_FORMAT_TEXT;
static _Atomic uint64_t dropped; /* lines that nobody read */

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

/* All of it or nothing; keeps place for what closes the line. */
static bool put(struct line *line, struct slice text)
{
    if (line->length + text.length > LINE_SIZE - CLOSING_SIZE)
        return false;
    memcpy(line->data + line->length, text.data, text.length);
    line->length += text.length;
    return true;
}

static bool put_string(struct line *line, const char *text)
{
    return put(line, slice_from_string(text));
}

/* The first character of `text`, escaped as JSON wants it; *taken is its length. What is no UTF-8
 * becomes U+FFFD, as JSON readers refuse it. */
static struct slice escape(struct slice text, char out[8], size_t *taken)
{
    unsigned char c = (unsigned char)text.data[0];
    *taken = slice_utf8_length(text);
    if (*taken == 0) {
        *taken = 1;
        return SLICE("\\ufffd");
    }
    if (c == '"' || c == '\\')
        snprintf(out, 8, "\\%c", c);
    else if (c == '\n')
        snprintf(out, 8, "\\n");
    else if (c < 0x20 || c == 0x7f)
        snprintf(out, 8, "\\u%04x", c);
    else
        return slice_make(text.data, *taken);
    return slice_from_string(out);
}

/* In double quotes; the text format uses the same escapes. As much of it as there is room for;
 * false: not even the quotes. */
static bool put_quoted(struct line *line, struct slice text)
{
    char escaped[8];
    size_t taken;
    if (line->length + 2 > LINE_SIZE - CLOSING_SIZE)
        return false;
    line->data[line->length++] = '"';
    for (; text.length > 0; text = slice_make(text.data + taken, text.length - taken)) {
        if (!put(line, escape(text, escaped, &taken)))
            break;
    }
    line->data[line->length++] = '"'; /* the place of the closing quote is kept */
    return true;
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

/* A field is there as a whole, perhaps with its text cut, or not at all. */
static void put_text_field(struct line *line, const char *key, struct slice text)
{
    size_t before = line->length;
    if (put_string(line, before > 0 ? " " : "") && put_string(line, key) && put_string(line, "=") &&
        ((is_plain(text) && put(line, text)) || put_quoted(line, text)))
        return;
    line->length = before;
}

static void put_json_field(struct line *line, const char *key, struct slice text)
{
    size_t before = line->length;
    if (put_string(line, before > 1 ? ",\"" : "\"") && put_string(line, key) &&
        put_string(line, "\":") && put_quoted(line, text))
        return;
    line->length = before;
}

static void put_number_field(struct line *line, bool json, const char *key, int64_t number)
{
    size_t before = line->length;
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)number);
    if (put_string(line, json ? ",\"" : " ") && put_string(line, key) &&
        put_string(line, json ? "\":" : "=") && put_string(line, digits))
        return;
    line->length = before;
}

/* A log that cannot be written, or that nobody reads, must not stop the program (P7): the line is
 * dropped and counted, and the number is told when there is room again. */
static void write_line(const struct line *line)
{
    struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&output, 1, 0) == 0) {
        atomic_fetch_add(&dropped, 1);
        return;
    }
    ssize_t result;
    do {
        result = write(STDERR_FILENO, line->data, line->length);
    } while (result < 0 && errno == EINTR);
    uint64_t lost = atomic_exchange(&dropped, 0);
    if (lost > 0)
        LOG(LOG_WARNING, "log", "lines were dropped: standard error was not read",
            log_number("lines", (int64_t)lost));
}

void log_write(enum log_level level, const char *event, const char *message,
               const struct log_field *fields)
{
    struct line line = {.length = 0};
    char time[CLOCK_TEXT_SIZE];
    bool json = atomic_load(&shape) == LOG_FORMAT_JSON;
    void (*put_field)(struct line *, const char *, struct slice) =
        json ? put_json_field : put_text_field;
    if (json)
        put_string(&line, "{");
    put_field(&line, "time", slice_from_string(clock_format(clock_wall_ms(), time)));
    put_field(&line, "level", slice_from_string(level_names[level]));
    put_field(&line, "event", slice_from_string(event));
    put_field(&line, "message", slice_from_string(message));
    for (const struct log_field *field = fields; field->kind != LOG_END; field++) {
        if (field->kind == LOG_NUMBER)
            put_number_field(&line, json, field->key, field->number);
        else if (field->text.data)
            put_field(&line, field->key, field->text);
    }
    if (json)
        line.data[line.length++] = '}';
    line.data[line.length++] = '\n';
    write_line(&line);
}
