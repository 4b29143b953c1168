/* SPDX-License-Identifier: MIT */
/* Errors as values. No state, any thread. */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *category;
    enum exit_code exit;
    unsigned status;
} table[] = {
#define X(code, category, exit, status) [code] = {category, exit, status},
    ERROR_TABLE(X)
#undef X
};

static void one_line(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
    }
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
    one_line(error->message);
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
    one_line(error->message);
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
    one_line(error->message);
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
