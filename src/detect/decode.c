/* SPDX-License-Identifier: MIT */
/* Escapes undone, for the small windows of a body that detection reads. All kinds are undone in one
 * pass, whatever the body claims to be: a page in HTML holds JSON, a JSON answer holds a page. A
 * name that really holds such a sequence is decoded by the same function before it is compared;
 * only a name with an escaped line end in it (a backslash and an n) is lost. Pure, any thread, owns
 * nothing. */
#include "detect/decode.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

/* One escape: how many bytes it takes and what it stands for. `taken` 0: it is none. */
struct escape {
    size_t taken;
    uint32_t code_point;
    bool is_byte; /* code_point is one byte of UTF-8, not a character */
};

static const struct escape no_escape = {0, 0, false};

enum { LAST_CODE_POINT = 0x10ffff, DIGITS_MAX = 7 };

static const struct {
    struct slice name;
    uint32_t code_point;
} entities[] = {
    {{"quot;", 5}, '"'}, {{"apos;", 5}, '\''}, {{"amp;", 4}, '&'},
    {{"lt;", 3}, '<'},   {{"gt;", 3}, '>'},    {{"nbsp;", 5}, ' '},
};

/* What stands behind a backslash, and what both stand for. */
static const char backslash_escapes[][2] = {
    {'n', '\n'}, {'r', '\r'}, {'t', '\t'},  {'b', '\b'},  {'f', '\f'},
    {'"', '"'},  {'/', '/'},  {'\\', '\\'}, {'\'', '\''}, {'`', '`'},
};

static int digit_value(char c, int base)
{
    int value = -1;
    if (c >= '0' && c <= '9')
        value = c - '0';
    else if (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f')
        value = ascii_lower(c) - 'a' + 10;
    return value < base ? value : -1;
}

/* Reads digits at the beginning of `text`, `least` to `most` of them, and returns how many. */
static size_t read_digits(struct slice text, int base, size_t least, size_t most, uint32_t *value)
{
    size_t count = 0;
    *value = 0;
    while (count < most && count < text.length && digit_value(text.data[count], base) >= 0) {
        *value = *value * (uint32_t)base + (uint32_t)digit_value(text.data[count], base);
        count++;
    }
    return count >= least ? count : 0;
}

static struct slice after(struct slice text, size_t length)
{
    return slice_make(text.data + length, text.length - length);
}

static bool begins_with(struct slice text, char c)
{
    return text.length > 0 && text.data[0] == c;
}

/* "&#39;", "&#x27;", "&quot;". */
static struct escape read_entity(struct slice text)
{
    struct slice rest = after(text, 1);
    if (!begins_with(rest, '#')) {
        for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
            if (slice_has_prefix(rest, entities[i].name))
                return (struct escape){1 + entities[i].name.length, entities[i].code_point, false};
        return no_escape;
    }
    rest = after(rest, 1);
    bool is_hexadecimal = begins_with(rest, 'x') || begins_with(rest, 'X');
    if (is_hexadecimal)
        rest = after(rest, 1);
    struct escape escape = no_escape;
    size_t digits = read_digits(rest, is_hexadecimal ? 16 : 10, 1, DIGITS_MAX, &escape.code_point);
    if (digits == 0 || !begins_with(after(rest, digits), ';'))
        return no_escape;
    escape.taken = text.length - rest.length + digits + 1;
    return escape;
}

/* "\u00e9", "\ud83d\ude00" as one character, "\u{e9}". */
static struct escape read_unicode(struct slice text)
{
    struct slice rest = after(text, 2);
    struct escape escape = no_escape;
    if (begins_with(rest, '{')) {
        size_t digits = read_digits(after(rest, 1), 16, 1, DIGITS_MAX, &escape.code_point);
        if (digits == 0 || !begins_with(after(rest, 1 + digits), '}'))
            return no_escape;
        escape.taken = 2 + 1 + digits + 1;
        return escape;
    }
    if (read_digits(rest, 16, 4, 4, &escape.code_point) == 0)
        return no_escape;
    escape.taken = 6;
    uint32_t low;
    struct slice second = after(text, 6);
    if (escape.code_point >= 0xd800 && escape.code_point < 0xdc00 &&
        slice_has_prefix(second, SLICE("\\u")) && read_digits(after(second, 2), 16, 4, 4, &low) &&
        low >= 0xdc00 && low < 0xe000) {
        escape.code_point = 0x10000 + ((escape.code_point - 0xd800) << 10) + (low - 0xdc00);
        escape.taken = 12;
    }
    return escape;
}

static struct escape read_backslash(struct slice text)
{
    struct escape escape = no_escape;
    if (text.length < 2)
        return no_escape;
    if (text.data[1] == 'u')
        return read_unicode(text);
    if (text.data[1] == 'x') {
        /* Past ASCII, "\xe9" is a byte in one language and a character in another: left alone. */
        if (read_digits(after(text, 2), 16, 2, 2, &escape.code_point) && escape.code_point < 0x80)
            escape.taken = 4;
        return escape;
    }
    for (size_t i = 0; i < sizeof backslash_escapes / sizeof *backslash_escapes; i++)
        if (backslash_escapes[i][0] == text.data[1])
            return (struct escape){2, (unsigned char)backslash_escapes[i][1], true};
    return no_escape;
}

static struct escape read_percent(struct slice text)
{
    struct escape escape = {0, 0, true};
    if (read_digits(after(text, 1), 16, 2, 2, &escape.code_point))
        escape.taken = 3;
    return escape;
}

static struct escape read_escape(struct slice text)
{
    switch (text.data[0]) {
    case '&':
        return read_entity(text);
    case '\\':
        return read_backslash(text);
    case '%':
        return read_percent(text);
    default:
        return no_escape;
    }
}

/* Writes a character as UTF-8. Half a surrogate pair and what lies past Unicode have no UTF-8. */
static size_t put_character(uint32_t c, char *out)
{
    if (c == 0)
        c = '\n';
    if ((c >= 0xd800 && c < 0xe000) || c > LAST_CODE_POINT)
        c = 0xfffd;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(leads[length] | c);
    return length;
}

static size_t decode_once(char *text, size_t length)
{
    size_t out = 0;
    for (size_t in = 0; in < length;) {
        struct escape escape = read_escape(slice_make(text + in, length - in));
        if (escape.taken == 0) {
            text[out++] = text[in++];
            continue;
        }
        if (escape.is_byte)
            text[out++] = escape.code_point ? (char)escape.code_point : '\n';
        else
            out += put_character(escape.code_point, text + out);
        in += escape.taken;
    }
    return out;
}

size_t decode_escapes(char *text, size_t length)
{
    for (int pass = 0; pass < DECODE_PASSES; pass++) {
        size_t before = length;
        length = decode_once(text, length);
        if (length == before)
            break;
    }
    return length;
}
