/* SPDX-License-Identifier: MIT */
/* The small grammars of HTTP: byte classes in one table that the compiler works out, hosts, lengths
 * and transfer codings. Pure, any thread, owns nothing. */
#include "http/syntax.h"

#define IS_DIGIT(b)   ((b) >= '0' && (b) <= '9')
#define IS_ALPHA(b)   (((b) >= 'A' && (b) <= 'Z') || ((b) >= 'a' && (b) <= 'z'))
#define IS_HEX(b)     (IS_DIGIT(b) || ((b) >= 'A' && (b) <= 'F') || ((b) >= 'a' && (b) <= 'f'))
#define IS_VISIBLE(b) ((b) > 0x20 && (b) != 0x7f)
/* What both grammars have beside letters and digits, then what each adds. */
#define IS_COMMON(b)                                                                               \
    ((b) == '!' || (b) == '$' || (b) == '%' || (b) == '&' || (b) == '\'' || (b) == '*' ||          \
     (b) == '+' || (b) == '-' || (b) == '.' || (b) == '_' || (b) == '~')
#define IS_TOKEN(b)                                                                                \
    (IS_ALPHA(b) || IS_DIGIT(b) || IS_COMMON(b) || (b) == '#' || (b) == '^' || (b) == '`' ||       \
     (b) == '|')
#define IS_HOST(b)                                                                                 \
    (IS_ALPHA(b) || IS_DIGIT(b) || IS_COMMON(b) || (b) == '(' || (b) == ')' || (b) == ';' ||       \
     (b) == '=')

#define CLASS(b)                                                                                   \
    (IS_TOKEN(b) ? BYTE_TOKEN : 0) |                                                               \
        (IS_VISIBLE(b) || (b) == ' ' || (b) == '\t' ? BYTE_VALUE : 0) |                            \
        (IS_VISIBLE(b) && (b) != '#' ? BYTE_TARGET : 0) | (IS_HOST(b) ? BYTE_HOST : 0) |           \
        (IS_HEX(b) ? BYTE_HEX : 0) | (IS_DIGIT(b) ? BYTE_DIGIT : 0)
#define FOUR(b)       CLASS(b), CLASS((b) + 1), CLASS((b) + 2), CLASS((b) + 3)
#define SIXTEEN(b)    FOUR(b), FOUR((b) + 4), FOUR((b) + 8), FOUR((b) + 12)
#define SIXTY_FOUR(b) SIXTEEN(b), SIXTEEN((b) + 16), SIXTEEN((b) + 32), SIXTEEN((b) + 48)

const uint8_t http_byte_class[256] = {SIXTY_FOUR(0), SIXTY_FOUR(64), SIXTY_FOUR(128),
                                      SIXTY_FOUR(192)};

enum { PORT_DIGITS_MAX = 5, PORT_MAX = 65535 };

/* `at` is behind the host: nothing more, or a colon and a port, which may be empty. */
static bool port_is_valid(const char *at, const char *end)
{
    if (at == end)
        return true;
    if (*at++ != ':' || end - at > PORT_DIGITS_MAX)
        return false;
    unsigned port = 0;
    for (; at < end; at++) {
        if (!http_byte_is(*at, BYTE_DIGIT))
            return false;
        port = port * 10 + (unsigned)(*at - '0');
    }
    return port <= PORT_MAX;
}

/* An address in brackets. What it means is the resolver's business; that it holds nothing but an
 * address is ours. */
static bool literal_is_valid(const char *at, const char *end)
{
    const char *first = ++at;
    while (at < end && (http_byte_is(*at, BYTE_HEX) || *at == ':' || *at == '.'))
        at++;
    return at > first && at < end && *at == ']' && port_is_valid(at + 1, end);
}

static bool escapes_are_valid(const char *at, const char *end)
{
    while ((at = memchr(at, '%', (size_t)(end - at)))) {
        if (end - at < 3 || !http_byte_is(at[1], BYTE_HEX) || !http_byte_is(at[2], BYTE_HEX))
            return false;
        at += 3;
    }
    return true;
}

bool http_host_is_valid(struct slice host)
{
    if (host.length == 0)
        return true;
    const char *end = host.data + host.length;
    if (host.data[0] == '[')
        return literal_is_valid(host.data, end);
    const char *name_end = http_skip(host.data, end, BYTE_HOST);
    return name_end > host.data && port_is_valid(name_end, end) &&
           escapes_are_valid(host.data, name_end);
}

bool http_length_parse(struct slice value, uint64_t *length)
{
    return slice_to_uint64(value, length) && *length <= INT64_MAX;
}

enum http_coding http_coding_parse(struct slice value)
{
    static const struct slice chunked = {"chunked", 7};
    if (slice_equal_ignore_case(value, chunked))
        return CODING_CHUNKED;
    bool was_chunked = false;
    do {
        bool is_last = memchr(value.data, ',', value.length) == NULL;
        struct slice coding = slice_trim_blank(slice_split(&value, ','));
        const char *end = coding.data + coding.length;
        if (coding.length == 0 || was_chunked || http_skip(coding.data, end, BYTE_TOKEN) != end)
            return CODING_MALFORMED;
        was_chunked = slice_equal_ignore_case(coding, chunked);
        if (is_last)
            return CODING_UNKNOWN;
    } while (true);
}
