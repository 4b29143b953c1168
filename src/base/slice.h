/* SPDX-License-Identifier: MIT */
/* A slice is a base and a length over bytes that somebody else owns. NUL ends nothing here: strings
 * meet NUL only at a library's border. Pure functions, any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *data;
    size_t length;
};

#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})

static inline struct slice slice_make(const char *data, size_t length)
{
    return (struct slice){data, length};
}

/* The bytes of a C string, which stays the owner; NULL gives an empty slice. */
static inline struct slice slice_from_string(const char *string)
{
    return (struct slice){string ? string : "", string ? strlen(string) : 0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

static inline char ascii_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c;
}

/* Equality under ASCII case folding, as HTTP field names (RFC 9110, 5.1) and SQLite identifiers
 * have it. */
bool slice_equal_ignore_case(struct slice a, struct slice b);

/* Whether `s` begins with `prefix`, exactly or under ASCII case folding. */
bool slice_has_prefix(struct slice s, struct slice prefix);
bool slice_has_prefix_ignore_case(struct slice s, struct slice prefix);

/* `s` without spaces and tabs (and, for _space, line ends too) at both ends. */
struct slice slice_trim_blank(struct slice s);
struct slice slice_trim_space(struct slice s);

/* The part of *rest before the first `separator`; *rest becomes what follows it (empty when there
 * was none). */
struct slice slice_split(struct slice *rest, char separator);

/* A decimal number of at most 19 digits and nothing else. */
[[gnu::warn_unused_result]] bool slice_to_uint64(struct slice s, uint64_t *value);

/* A NUL-terminated copy that the caller frees; NULL when memory is out. */
[[gnu::warn_unused_result]] char *slice_to_string(struct slice s);

/* Copies into a caller's array of `size` bytes, cut to fit and always NUL-terminated; returns
 * `out`. */
char *slice_copy(struct slice s, char *out, size_t size);

/* Bytes of the UTF-8 sequence that `text` begins with (RFC 3629: no surrogates, nothing overlong);
 * 0: it begins with none. */
size_t slice_utf8_length(struct slice text);

/* Order under ASCII case folding: the order of SQLite names (sqlite3_stricmp). */
int string_compare_ignore_case(const char *a, const char *b);
