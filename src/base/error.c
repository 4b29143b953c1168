/* SPDX-License-Identifier: MIT */
/* Errors as values. No state, any thread. */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

#include "base/slice.h"

static const struct {
    const char *category;
    enum exit_code exit;
    unsigned status;
} table[] = {
#define X(code, category, exit, status) [code] = {category, exit, status},
    ERROR_TABLE(X)
#undef X
};

/* Makes it one line, and takes away the character that the buffer's end has cut in two: JSON
 * writers refuse half of one. */
static void tidy(char text[ERROR_MESSAGE_SIZE])
{
    size_t length = strlen(text), begin = length;
    for (char *at = text; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = ' ';
    }
    if (length < ERROR_MESSAGE_SIZE - 1)
        return;
    while (begin > 0 && length - begin < 4 && ((unsigned char)text[begin - 1] & 0xc0) == 0x80)
        begin--;
    if (begin > 0 && ((unsigned char)text[begin - 1] & 0xc0) == 0xc0)
        begin--;
    if (begin < length && slice_utf8_length(slice_make(text + begin, length - begin)) == 0)
        text[begin] = '\0';
}

bool error_set(struct error *error, enum error_code code, const char *format, ...)
{
    if (!error)
        return false;
    va_list arguments;
    va_start(arguments, format);
    error->code = code;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    tidy(error->message);
    return false;
}

bool error_set_errno(struct error *error, enum error_code code, int number, const char *format, ...)
{
    if (!error)
        return false;
    va_list arguments;
    va_start(arguments, format);
    error->code = code;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    size_t used = strlen(error->message);
    char reason[128];
    snprintf(error->message + used, sizeof error->message - used, ": %s",
             strerror_r(number, reason, sizeof reason));
    tidy(error->message);
    return false;
}

void error_prefix(struct error *error, const char *format, ...)
{
    if (!error)
        return;
    char old[ERROR_MESSAGE_SIZE];
    memcpy(old, error->message, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, "%s", old);
    tidy(error->message);
}

const char *error_category(enum error_code code)
{
    return table[code].category;
}

enum exit_code error_exit_code(enum error_code code)
{
    return table[code].exit;
}

unsigned error_http_status(enum error_code code)
{
    return table[code].status;
}
