/* SPDX-License-Identifier: MIT */
/* Values from text. One function a type, in a table; each says what is wrong and what to write
 * instead. */
#include "config/value.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/slice.h"

enum { UNIX_PATH_LONGEST = sizeof(((struct sockaddr_un *)0)->sun_path) - 1 };

struct reading {
    struct config *config;
    const struct config_key *key;
    const char *text;
    const char *where;
    struct error *error;
};

static void *member(const struct reading *reading)
{
    return (char *)reading->config + reading->key->offset;
}

[[gnu::format(printf, 2, 3)]] static bool refuse(const struct reading *reading, const char *format,
                                                 ...)
{
    char text[ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(reading->error, ERROR_CONFIGURATION, "%s: %s", reading->where, text);
}

static bool store_text(const struct reading *reading, struct slice text)
{
    char *copy = slice_to_string(text);
    if (!copy)
        return error_set(reading->error, ERROR_MEMORY, "%s: out of memory", reading->where);
    char **place = member(reading);
    free(*place);
    *place = copy;
    return true;
}

static bool has_control_bytes(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    }
    return false;
}

static bool read_text(const struct reading *reading)
{
    if (has_control_bytes(reading->text))
        return refuse(reading, "the value holds control characters: write one line of text");
    return store_text(reading, slice_from_string(reading->text));
}

static bool read_path(const struct reading *reading)
{
    struct slice text = slice_from_string(reading->text);
    if (slice_has_prefix(text, SLICE("file:")) || slice_has_prefix(text, SLICE("sqlite:")) ||
        slice_has_prefix(text, SLICE("sqlite3:")) || strstr(reading->text, "://"))
        return refuse(reading, "\"%s\" is a URI: write the path of the file", reading->text);
    if (strcmp(reading->text, ":memory:") == 0)
        return refuse(reading, "\":memory:\" is no file that others could share: write a path");
    return read_text(reading);
}

/* unix:/path */
static bool check_unix(const struct reading *reading)
{
    const char *path = reading->text + strlen("unix:");
    if (path[0] == '\0')
        return refuse(reading, "\"unix:\" has no path: write unix:/path/of/the.socket");
    if (strlen(path) > UNIX_PATH_LONGEST)
        return refuse(reading,
                      "the socket's path has %zu bytes, the system allows %d: "
                      "write a shorter one",
                      strlen(path), UNIX_PATH_LONGEST);
    return true;
}

static bool is_host(struct slice host)
{
    for (size_t i = 0; i < host.length; i++) {
        unsigned char c = (unsigned char)host.data[i];
        if (c <= 0x20 || c >= 0x7f || strchr("/@?#[]\"'\\:", c))
            return false;
    }
    return true;
}

/* `authority` is host:port, [v6]:port or :port; `prefix` is what stood before it. */
static bool check_authority(const struct reading *reading, struct slice authority,
                            const char *prefix, bool port_needed, bool host_needed)
{
    int length = (int)authority.length;
    struct slice host = authority;
    struct slice port = slice_make(authority.data + authority.length, 0);
    bool bracketed = authority.length > 0 && authority.data[0] == '[';
    const char *text = authority.data ? authority.data : "";
    const char *colon = memrchr(text, ':', authority.length);
    const char *bracket = memrchr(text, ']', authority.length);
    if (colon && (!bracketed || (bracket && colon > bracket))) {
        host.length = (size_t)(colon - authority.data);
        port = slice_make(colon + 1, authority.length - host.length - 1);
    }
    if (bracketed) {
        struct in6_addr address;
        char inside[INET6_ADDRSTRLEN];
        if (host.length < 2 || host.data[host.length - 1] != ']' ||
            host.length - 2 >= sizeof inside ||
            inet_pton(AF_INET6,
                      slice_copy(slice_make(host.data + 1, host.length - 2), inside, sizeof inside),
                      &address) != 1)
            return refuse(reading, "\"%s\" has no IPv6 address in its brackets: write %s[::1]:PORT",
                          reading->text, prefix);
    } else if (memchr(host.data, ':', host.length)) {
        return refuse(reading, "\"%s\" is an IPv6 address without brackets: write %s[%.*s]:%.*s",
                      reading->text, prefix, (int)host.length, host.data, (int)port.length,
                      port.data);
    } else if (!is_host(host)) {
        return refuse(reading, "\"%s\" is not an address: write %shost:port or unix:/path",
                      reading->text, prefix);
    }
    if (host_needed && host.length == 0)
        return refuse(reading, "\"%s\" names no host: write %slocalhost%.*s", reading->text, prefix,
                      length, authority.data);
    if (port.length == 0 && (port_needed || colon == authority.data + authority.length - 1))
        return refuse(reading, "\"%s\" has no port: write %s%.*s:PORT or unix:/path", reading->text,
                      prefix, (int)host.length, host.data);
    uint64_t number;
    if (port.length > 0 && (!slice_to_uint64(port, &number) || number > UINT16_MAX))
        return refuse(reading, "\"%.*s\" is not a port: write a number from 1 to 65535",
                      (int)port.length, port.data);
    return true;
}

static bool read_listen(const struct reading *reading)
{
    struct slice text = slice_from_string(reading->text);
    if (text.length == 0)
        return store_text(reading, text);
    if (slice_has_prefix(text, SLICE("unix:")))
        return check_unix(reading) && read_text(reading);
    if (slice_has_prefix(text, SLICE("http://")) || slice_has_prefix(text, SLICE("https://")))
        return refuse(reading, "\"%s\" is a URL: write host:port, :port or unix:/path",
                      reading->text);
    uint64_t number;
    if (slice_to_uint64(text, &number))
        return refuse(reading, "\"%s\" is only a number: write :%s for that port on every address",
                      reading->text, reading->text);
    return check_authority(reading, text, "", true, false) && read_text(reading);
}

static bool read_admin(const struct reading *reading)
{
    if (reading->text[0] == '\0')
        return refuse(reading, "the value is empty: write host:port, unix:/path or off");
    if (strcmp(reading->text, "off") == 0)
        return read_text(reading);
    return read_listen(reading);
}

static bool read_upstream(const struct reading *reading)
{
    struct slice text = slice_from_string(reading->text);
    if (text.length == 0)
        return store_text(reading, text);
    if (slice_has_prefix(text, SLICE("unix:")))
        return check_unix(reading) && read_text(reading);
    if (slice_has_prefix(text, SLICE("https://")))
        return refuse(reading,
                      "\"%s\" asks for TLS, which is not spoken to the application: write "
                      "http://host:port or unix:/path",
                      reading->text);
    if (!slice_has_prefix(text, SLICE("http://"))) {
        if (strstr(reading->text, "://"))
            return refuse(reading,
                          "\"%s\" is not an HTTP URL: write http://host:port or "
                          "unix:/path",
                          reading->text);
        return refuse(reading, "\"%s\" has no scheme: write http://%s%s or unix:/path",
                      reading->text, reading->text[0] == ':' ? "localhost" : "", reading->text);
    }
    struct slice authority = slice_make(text.data + 7, text.length - 7);
    /* The slash of an empty path says nothing; a real path would have to be put before every
     * target, which a proxy that forwards untouched does not do. */
    if (authority.length > 0 && authority.data[authority.length - 1] == '/')
        authority.length--;
    const char *slash = authority.length ? memchr(authority.data, '/', authority.length) : NULL;
    if (slash)
        return refuse(reading,
                      "\"%s\" has a path, but targets are forwarded as they are: write "
                      "%.*s",
                      reading->text, (int)(slash - reading->text), reading->text);
    return check_authority(reading, authority, "http://", false, true) &&
           store_text(reading, slice_make(text.data, authority.length + 7));
}

/* A number with one of `units` behind it; the text of a failure is the caller's. */
struct unit {
    const char *name;
    uint64_t factor;
};

static bool read_scaled(struct slice text, const struct unit *units, uint64_t *value)
{
    size_t digits = 0;
    while (digits < text.length && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    uint64_t number;
    if (!slice_to_uint64(slice_make(text.data, digits), &number))
        return false;
    struct slice unit = slice_make(text.data + digits, text.length - digits);
    for (; units->name; units++) {
        if (slice_equal_ignore_case(unit, slice_from_string(units->name)))
            return !__builtin_mul_overflow(number, units->factor, value);
    }
    return number == 0 && unit.length == 0 && (*value = 0, true);
}

static const struct unit time_units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                         {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit size_units[] = {{"", 1},           {"B", 1},          {"KiB", 1u << 10},
                                         {"MiB", 1u << 20}, {"GiB", 1u << 30}, {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

/* `value` in the largest of `units` that divides it, for messages. */
static char *write_scaled(uint64_t value, const struct unit *units, char out[32])
{
    const struct unit *best = units;
    for (const struct unit *unit = units; unit->name; unit++) {
        if (value % unit->factor == 0 && unit->factor >= best->factor && value > 0)
            best = unit;
    }
    snprintf(out, 32, "%llu%s", (unsigned long long)(value / best->factor), best->name);
    return out;
}

static bool read_bounded(const struct reading *reading, const struct unit *units, const char *what)
{
    uint64_t value;
    char least[32];
    char most[32];
    if (!read_scaled(slice_from_string(reading->text), units, &value))
        return refuse(reading, "\"%s\" is not %s", reading->text, what);
    if (value < reading->key->least || value > reading->key->most)
        return refuse(reading, "%s is out of bounds: write %s to %s", reading->text,
                      write_scaled(reading->key->least, units, least),
                      write_scaled(reading->key->most, units, most));
    *(uint64_t *)member(reading) = value;
    return true;
}

static bool read_number(const struct reading *reading)
{
    return read_bounded(reading, no_units, "a number: write digits only");
}

static bool read_duration(const struct reading *reading)
{
    return read_bounded(reading, time_units,
                        "a time: write a number with its unit, as 500ms, 2s, 10m, 1h or 90d");
}

static bool read_size(const struct reading *reading)
{
    return read_bounded(reading, size_units,
                        "a size: write a number with its unit, as 16KiB, 64MiB or 1GiB");
}

static bool read_boolean(const struct reading *reading)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true}, {"false", false}, {"yes", true}, {"no", false},
                 {"on", true},   {"off", false},   {"1", true},   {"0", false}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (string_compare_ignore_case(reading->text, words[i].word) == 0) {
            *(bool *)member(reading) = words[i].value;
            return true;
        }
    }
    return refuse(reading, "\"%s\" is neither true nor false: write one of them", reading->text);
}

/* "auto, approve, observe or off" */
static void write_words(const char *const *words, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; words[i] && used < size; i++) {
        const char *before = i == 0 ? "" : words[i + 1] ? ", " : " or ";
        used += (size_t)snprintf(out + used, size - used, "%s%s", before, words[i]);
    }
}

static bool read_choice(const struct reading *reading)
{
    const char *const *words = reading->key->words;
    for (int i = 0; words[i]; i++) {
        if (strcmp(reading->text, words[i]) == 0) {
            *(int *)member(reading) = i;
            return true;
        }
    }
    char list[128];
    write_words(words, list, sizeof list);
    return refuse(reading, "\"%s\" is not a %s: write %s", reading->text, reading->key->noun, list);
}

/* Choices are stored through an int: every enum of struct config has one's size. */
_Static_assert(sizeof(enum config_mode) == sizeof(int) && sizeof(enum log_level) == sizeof(int),
               "enumerations have the size of int");

static bool (*const readers[])(const struct reading *) = {
    [KEY_TEXT] = read_text,         [KEY_PATH] = read_path,   [KEY_LISTEN] = read_listen,
    [KEY_UPSTREAM] = read_upstream, [KEY_ADMIN] = read_admin, [KEY_NUMBER] = read_number,
    [KEY_DURATION] = read_duration, [KEY_SIZE] = read_size,   [KEY_BOOLEAN] = read_boolean,
    [KEY_CHOICE] = read_choice,
};

bool config_value_set(struct config *config, const struct config_key *key, const char *text,
                      const char *where, struct error *error)
{
    const struct reading reading = {config, key, text, where, error};
    return readers[key->type](&reading);
}
