/* SPDX-License-Identifier: MIT */
/* Slices: comparing and cutting bytes that somebody else owns. Pure, any thread. */
#include "base/slice.h"

#include <stdlib.h>

static bool equal_folded(const char *a, const char *b, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (ascii_lower(a[i]) != ascii_lower(b[i]))
            return false;
    }
    return true;
}

bool slice_equal_ignore_case(struct slice a, struct slice b)
{
    return a.length == b.length && equal_folded(a.data, b.data, a.length);
}

bool slice_has_prefix(struct slice s, struct slice prefix)
{
    return s.length >= prefix.length &&
           (prefix.length == 0 || memcmp(s.data, prefix.data, prefix.length) == 0);
}

bool slice_has_prefix_ignore_case(struct slice s, struct slice prefix)
{
    return s.length >= prefix.length && equal_folded(s.data, prefix.data, prefix.length);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_space(char c)
{
    return is_blank(c) || c == '\r' || c == '\n';
}

static struct slice trim(struct slice s, bool (*drop)(char))
{
    while (s.length > 0 && drop(s.data[0])) {
        s.data++;
        s.length--;
    }
    while (s.length > 0 && drop(s.data[s.length - 1]))
        s.length--;
    return s;
}

struct slice slice_trim_blank(struct slice s)
{
    return trim(s, is_blank);
}

struct slice slice_trim_space(struct slice s)
{
    return trim(s, is_space);
}

struct slice slice_split(struct slice *rest, char separator)
{
    const char *end = rest->length ? memchr(rest->data, separator, rest->length) : NULL;
    struct slice part = *rest;
    if (!end) {
        *rest = slice_make(rest->data + rest->length, 0);
        return part;
    }
    part.length = (size_t)(end - rest->data);
    *rest = slice_make(end + 1, rest->length - part.length - 1);
    return part;
}

bool slice_to_uint64(struct slice s, uint64_t *value)
{
    uint64_t result = 0;
    if (s.length == 0 || s.length > 19)
        return false;
    for (size_t i = 0; i < s.length; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        result = result * 10 + (uint64_t)(s.data[i] - '0');
    }
    *value = result;
    return true;
}

char *slice_to_string(struct slice s)
{
    char *copy = malloc(s.length + 1);
    if (!copy)
        return NULL;
    if (s.length > 0)
        memcpy(copy, s.data, s.length);
    copy[s.length] = '\0';
    return copy;
}

char *slice_copy(struct slice s, char *out, size_t size)
{
    size_t length = s.length < size ? s.length : size - 1;
    if (length > 0)
        memcpy(out, s.data, length);
    out[length] = '\0';
    return out;
}

size_t slice_utf8_length(struct slice text)
{
    static const struct {
        unsigned char first, last; /* lead bytes */
        unsigned char least, most; /* of the second byte */
        unsigned char length;
    } sequences[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    const unsigned char *bytes = (const unsigned char *)text.data;
    for (size_t i = 0; text.length > 0 && i < sizeof sequences / sizeof *sequences; i++) {
        size_t length = sequences[i].length;
        if (bytes[0] < sequences[i].first || bytes[0] > sequences[i].last)
            continue;
        if (length > text.length ||
            (length > 1 && (bytes[1] < sequences[i].least || bytes[1] > sequences[i].most)))
            return 0;
        for (size_t b = 2; b < length; b++) {
            if ((bytes[b] & 0xc0) != 0x80)
                return 0;
        }
        return length;
    }
    return 0;
}

int string_compare_ignore_case(const char *a, const char *b)
{
    while (*a && ascii_lower(*a) == ascii_lower(*b)) {
        a++;
        b++;
    }
    return (unsigned char)ascii_lower(*a) - (unsigned char)ascii_lower(*b);
}
