/* SPDX-License-Identifier: MIT */
/* Growing byte arrays. One owner, no locking. */
#include "base/buffer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

bool buffer_reserve(struct buffer *buffer, size_t length)
{
    if (buffer->failed)
        return false;
    if (length >= SIZE_MAX - buffer->length - 1)
        goto fail;
    size_t need = buffer->length + length + 1;
    if (need <= buffer->capacity)
        return true;
    size_t capacity = buffer->capacity > SIZE_MAX / 2 ? need : buffer->capacity * 2;
    if (capacity < need)
        capacity = need;
    if (capacity < 64)
        capacity = 64;
    char *data = realloc(buffer->data, capacity);
    if (!data)
        goto fail;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
fail:
    buffer->failed = true;
    return false;
}

bool buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (!buffer_reserve(buffer, length))
        return false;
    if (length > 0)
        memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
    return true;
}

bool buffer_append_slice(struct buffer *buffer, struct slice slice)
{
    return buffer_append(buffer, slice.data, slice.length);
}

bool buffer_append_string(struct buffer *buffer, const char *string)
{
    return buffer_append(buffer, string, strlen(string));
}

bool buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    bool done = length >= 0 && buffer_reserve(buffer, (size_t)length);
    if (done) {
        vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    } else {
        buffer->failed = true;
    }
    va_end(again);
    return done;
}

void buffer_shrink(struct buffer *buffer)
{
    if (!buffer->data || buffer->capacity == buffer->length + 1)
        return;
    char *data = realloc(buffer->data, buffer->length + 1);
    if (!data)
        return;
    buffer->data = data;
    buffer->capacity = buffer->length + 1;
    buffer->data[buffer->length] = '\0';
}

void buffer_clear(struct buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
    if (buffer->data)
        buffer->data[0] = '\0';
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

char *buffer_take(struct buffer *buffer)
{
    if (buffer->failed || !buffer_reserve(buffer, 0)) {
        buffer_free(buffer);
        return NULL;
    }
    buffer->data[buffer->length] = '\0';
    char *data = buffer->data;
    *buffer = (struct buffer){0};
    return data;
}
