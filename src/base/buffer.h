/* SPDX-License-Identifier: MIT */
/* A growing array of bytes with one owner, for text that is put together and for bytes that are
 * kept. Growth doubles; a failed allocation leaves the content as it was and is remembered in
 * `failed`, so that a caller who appends many times checks once at the end. Zero-initialised is
 * empty. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct buffer {
    char *data; /* NULL or capacity bytes, owned; NUL behind the content when not NULL */
    size_t length;
    size_t capacity;
    bool failed;
};

bool buffer_append(struct buffer *buffer, const void *data, size_t length);
bool buffer_append_slice(struct buffer *buffer, struct slice slice);
bool buffer_append_string(struct buffer *buffer, const char *string);
[[gnu::format(printf, 2, 3)]] bool buffer_printf(struct buffer *buffer, const char *format, ...);

/* Room for `length` more bytes behind the content; the caller writes there and adds to `length`
 * itself. */
[[gnu::warn_unused_result]] bool buffer_reserve(struct buffer *buffer, size_t length);

/* Gives back memory beyond the content. */
void buffer_shrink(struct buffer *buffer);
void buffer_clear(struct buffer *buffer);
void buffer_free(struct buffer *buffer);

/* The content as a string that the caller frees; NULL when something failed. The buffer is empty
 * afterwards. */
[[gnu::warn_unused_result]] char *buffer_take(struct buffer *buffer);

static inline struct slice buffer_slice(const struct buffer *buffer)
{
    return slice_make(buffer->data ? buffer->data : "", buffer->length);
}
