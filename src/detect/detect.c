/* SPDX-License-Identifier: MIT */
/* Schema errors in a body: the anchor, the window around it, and which known name the window begins
 * with. Runs on a worker's or the watcher's thread; a struct detect is immutable after detect_new,
 * a scratch belongs to one thread, errors are the caller's. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "detect/detect.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "detect/decode.h"

enum {
    ANCHORS_MAX = 128,  /* anchors looked at in one body: bounds the work a hostile one costs */
    AHEAD_BYTES = 1024, /* escaped bytes read behind an anchor */
    BEHIND_BYTES = 512, /* and before it */
    JIT_STACK_FIRST = 16 * 1024,
    JIT_STACK_MOST = 128 * 1024,
};

/* One literal beginning for all anchors lets PCRE2's JIT skip ahead with vector instructions: a
 * clean page of 64 KiB takes 6 µs, as three alternatives it takes 90 (bench/detect). The group that
 * took part tells the anchor; no escape changes any of these bytes. */
static const char anchor_pattern[] =
    "no (?:such (?:(table)|(column)): |(?<=has no )(column named) )";

/* SQLite tells of a schema that it cannot read by wrapping the error it met there: the database is
 * broken, not behind. Only its own wording, directly before the anchor: an application's "error in
 * view index: OperationalError: " wraps an error of another kind. */
static const char broken_pattern[] =
    "(?:error in (?:table|view|trigger|index) [^:]*: |malformed database schema \\(.*\\) - )"
    "(?:table .*)?$";

/* By the number of the pattern's group. */
enum anchor { ANCHOR_NONE, ANCHOR_TABLE, ANCHOR_COLUMN, ANCHOR_TABLE_COLUMN, ANCHOR_COUNT };

static const struct {
    enum schema_kind kind;
    const char *text; /* for people */
} anchors[ANCHOR_COUNT] = {
    [ANCHOR_TABLE] = {SCHEMA_TABLE, "no such table: "},
    [ANCHOR_COLUMN] = {SCHEMA_COLUMN, "no such column: "},
    [ANCHOR_TABLE_COLUMN] = {SCHEMA_COLUMN, " has no column named "},
};

struct pattern {
    pcre2_code *code;
    bool is_compiled; /* to machine code; otherwise interpreted, where there is no JIT */
};

struct detect {
    struct pattern anchor;
    struct pattern broken;
};

struct detect_scratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static bool pattern_compile(struct pattern *pattern, const char *text, uint32_t options,
                            struct error *error)
{
    int number;
    PCRE2_SIZE offset;
    pattern->code =
        pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &number, &offset, NULL);
    if (!pattern->code) {
        PCRE2_UCHAR message[128];
        pcre2_get_error_message(number, message, sizeof message);
        return error_set(error, number == PCRE2_ERROR_NOMEMORY ? ERROR_MEMORY : ERROR_CONFIGURATION,
                         "cannot compile the pattern %s: %s at byte %zu", text,
                         (const char *)message, offset);
    }
    pattern->is_compiled = pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE) == 0;
    return true;
}

struct detect *detect_new(struct error *error)
{
    struct detect *detect = calloc(1, sizeof *detect);
    if (!detect) {
        error_set(error, ERROR_MEMORY, "cannot prepare detection: out of memory");
        return NULL;
    }
    if (!pattern_compile(&detect->anchor, anchor_pattern, PCRE2_CASELESS, error) ||
        !pattern_compile(&detect->broken, broken_pattern, PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY,
                         error)) {
        detect_free(detect);
        return NULL;
    }
    return detect;
}

void detect_free(struct detect *detect)
{
    if (!detect)
        return;
    pcre2_code_free(detect->anchor.code);
    pcre2_code_free(detect->broken.code);
    free(detect);
}

struct detect_scratch *detect_scratch_new(const struct detect *detect)
{
    struct detect_scratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch)
        return NULL;
    scratch->match = pcre2_match_data_create_from_pattern(detect->anchor.code, NULL);
    scratch->context = pcre2_match_context_create(NULL);
    if (!scratch->match || !scratch->context) {
        detect_scratch_free(scratch);
        return NULL;
    }
    /* Without a stack of its own JIT code takes 32 KiB of the thread's, which does as well. */
    if (detect->anchor.is_compiled || detect->broken.is_compiled)
        scratch->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, NULL);
    if (scratch->stack)
        pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    return scratch;
}

void detect_scratch_free(struct detect_scratch *scratch)
{
    if (!scratch)
        return;
    pcre2_match_data_free(scratch->match);
    pcre2_match_context_free(scratch->context);
    pcre2_jit_stack_free(scratch->stack);
    free(scratch);
}

/* The number of the highest group that took part, plus one; below one: no match. */
static int pattern_match(const struct pattern *pattern, struct detect_scratch *scratch,
                         struct slice text, size_t offset)
{
    return (pattern->is_compiled ? pcre2_jit_match
                                 : pcre2_match)(pattern->code, (PCRE2_SPTR)text.data, text.length,
                                                offset, 0, scratch->match, scratch->context);
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r' || c == '\0';
}

/* The decoded rest of the line behind an anchor. */
static void read_ahead(struct slice body, size_t begin, struct schema_error *error)
{
    char text[AHEAD_BYTES];
    size_t length = 0;
    while (length < AHEAD_BYTES && begin + length < body.length &&
           !is_line_end(body.data[begin + length]))
        length++;
    bool is_cut = length == AHEAD_BYTES;
    memcpy(text, body.data + begin, length);
    length = decode_escapes(text, length);
    for (size_t i = 0; i < length; i++)
        if (is_line_end(text[i])) {
            length = i;
            is_cut = false;
        }
    slice_copy(slice_make(text, length), error->object, sizeof error->object);
    error->is_cut = is_cut || length >= sizeof error->object;
}

/* The decoded line up to `end`, its last bytes when it is long; returns its length. */
static size_t read_behind(struct slice body, size_t end, char out[SCHEMA_ERROR_WINDOW])
{
    char text[BEHIND_BYTES];
    size_t length = 0;
    while (length < BEHIND_BYTES && length < end && !is_line_end(body.data[end - length - 1]))
        length++;
    memcpy(text, body.data + end - length, length);
    length = decode_escapes(text, length);
    size_t begin = length;
    while (begin > 0 && !is_line_end(text[begin - 1]) && length - begin < SCHEMA_ERROR_WINDOW - 1)
        begin--;
    slice_copy(slice_make(text + begin, length - begin), out, SCHEMA_ERROR_WINDOW);
    return length - begin;
}

static bool is_name_byte(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

/* What may follow a byte that ends an identifier in wrapped text, for it to be its end: quotes and
 * brackets occur inside of names too. */
enum follower { ANYTHING, NO_NAME, NO_NAME_OR_SAME, A_TAG, BLANK_OR_QUOTE };

static const struct {
    char end;
    enum follower follower;
} endings[] = {
    {'"', NO_NAME_OR_SAME},  /* JSON, HTML attributes, Ruby's and Python's inspection */
    {'\'', NO_NAME_OR_SAME}, /* .NET: 'no such table: x'. */
    {'`', NO_NAME_OR_SAME},
    {')', NO_NAME}, /* Java, Python's exceptions */
    {']', NO_NAME},
    {'}', NO_NAME},
    {'>', NO_NAME}, /* #<SQLite3::SQLException: no such table: x> */
    {'<', A_TAG},
    {'.', BLANK_OR_QUOTE}, /* of a sentence */
    {':', BLANK_OR_QUOTE}, /* older Rails: no such table: x: SELECT … */
    {',', ANYTHING},
    {';', ANYTHING},
    {'|', ANYTHING},
};

/* What follows a name and a blank when the text of the error is over: names hold blanks, so a blank
 * alone is no end. */
static const char *const phrases[] = {
    "(",                /* Laravel, modernc, Android */
    "[",                /* SQLAlchemy on one line */
    "|",                /* columns of a log */
    "- should this be", /* SQLite 3.41 and newer */
    "in SELECT ",       /* rusqlite, and the following */
    "in INSERT ",
    "in UPDATE ",
    "in DELETE ",
    "in REPLACE ",
    "in WITH ",
    "in /", /* PHP: x in /srv/index.php */
    "in <",
    "at offset ",
    "on line ",
    "at line ",
    "while executing",
    "while compiling",
};

static bool follower_fits(enum follower follower, char end, char next)
{
    switch (follower) {
    case ANYTHING:
        return true;
    case NO_NAME:
        return !is_name_byte(next);
    case NO_NAME_OR_SAME:
        return !is_name_byte(next) && next != end;
    case A_TAG:
        return (ascii_lower(next) >= 'a' && ascii_lower(next) <= 'z') || next == '/' || next == '!';
    case BLANK_OR_QUOTE:
        return next == '\0' || next == ' ' || next == '\t' || next == '"' || next == '\'' ||
               next == '<';
    }
    return false;
}

/* "&next=/": a query string; "&hellip;": an entity that was left as it is. */
static bool is_ampersand_end(const char *rest)
{
    size_t length = 1;
    while (is_name_byte(rest[length]))
        length++;
    return length > 1 && (rest[length] == '=' || rest[length] == ';');
}

/* "at script.pl line 5", "at Database.prepare (…)": a place in source code, in one word. */
static bool is_source_place(const char *rest)
{
    if (!slice_has_prefix(slice_from_string(rest), SLICE("at ")))
        return false;
    const char *word = rest + 3;
    return strcspn(word, "./:\\") < strcspn(word, " \t");
}

static bool may_end_at_mark(const char *rest)
{
    if (rest[0] == '&')
        return is_ampersand_end(rest);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (endings[i].end == rest[0])
            return follower_fits(endings[i].follower, rest[0], rest[1]);
    return false;
}

/* Whether an identifier may end where `rest` begins. */
static bool may_end_at(const char *rest)
{
    if ((unsigned char)rest[0] < 0x20) /* also the window's end, tabs, and a terminal's colours */
        return true;
    if (rest[0] != ' ')
        return may_end_at_mark(rest);
    const char *next = rest + strspn(rest, " \t");
    if (next - rest > 1 || *next == '\0' || (*next == '<' && may_end_at_mark(next)))
        return true;
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (slice_has_prefix_ignore_case(slice_from_string(next), slice_from_string(phrases[i])))
            return true;
    return is_source_place(next);
}

/* Where the name ends, as far as can be told without knowing it: for people. */
static struct slice plausible_name(const char *window)
{
    size_t length = 0;
    bool is_quoted = window[0] == '"';
    while (window[length] && (length == 0 || !may_end_at(window + length)))
        length++;
    if (is_quoted && window[length] == '"')
        length++;
    return slice_make(window, length);
}

/* Where "table " begins last before "has no column named"; SIZE_MAX: nowhere, so the text is not
 * SQLite's. */
static size_t find_table_word(struct slice line)
{
    for (size_t i = line.length; i-- > 0;)
        if (slice_has_prefix_ignore_case(slice_make(line.data + i, line.length - i),
                                         SLICE("table ")) &&
            (i == 0 || !is_name_byte(line.data[i - 1])))
            return i;
    return SIZE_MAX;
}

static void put_text(char text[SCHEMA_ERROR_WINDOW], struct slice part)
{
    size_t length = strlen(text);
    slice_copy(part, text + length, SCHEMA_ERROR_WINDOW - length);
}

/* Fills *error from an anchor at `begin` and the name at `end`. False: no schema error. */
static bool read_error(const struct detect *detect, struct detect_scratch *scratch,
                       struct slice body, enum anchor anchor, size_t begin, size_t end,
                       struct schema_error *error)
{
    char line[SCHEMA_ERROR_WINDOW];
    static const size_t has_length = sizeof " has " - 1;
    size_t line_end = begin;
    if (anchor == ANCHOR_TABLE_COLUMN)
        line_end = begin >= has_length ? begin - has_length : 0;
    size_t line_length = read_behind(body, line_end, line);
    struct slice before = slice_make(line, line_length);
    if (pattern_match(&detect->broken, scratch, before, 0) > 0)
        return false;
    *error = (struct schema_error){.kind = anchors[anchor].kind};
    read_ahead(body, end, error);
    if (error->object[0] == '\0')
        return false;
    if (anchor == ANCHOR_TABLE_COLUMN) {
        size_t word = find_table_word(before);
        if (word == SIZE_MAX)
            return false;
        slice_copy(before, error->table, sizeof error->table);
        put_text(error->text, slice_make(line + word, line_length - word));
    }
    put_text(error->text, slice_from_string(anchors[anchor].text));
    put_text(error->text, plausible_name(error->object));
    return true;
}

/* A page tells the same error several times: in its title, its heading and its trace. */
static bool is_told(const struct schema_error *errors, size_t count,
                    const struct schema_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (errors[i].kind == error->kind &&
            string_compare_ignore_case(errors[i].text, error->text) == 0)
            return true;
    return false;
}

size_t detect_find(const struct detect *detect, struct detect_scratch *scratch, struct slice body,
                   struct schema_error errors[SCHEMA_ERRORS_MAX])
{
    size_t count = 0;
    size_t offset = 0;
    for (int looked = 0; looked < ANCHORS_MAX && count < SCHEMA_ERRORS_MAX; looked++) {
        int groups = pattern_match(&detect->anchor, scratch, body, offset);
        if (groups <= 1)
            break;
        const size_t *bounds = pcre2_get_ovector_pointer(scratch->match);
        size_t begin = bounds[0];
        offset = bounds[1];
        if (read_error(detect, scratch, body, (enum anchor)(groups - 1), begin, offset,
                       &errors[count]) &&
            !is_told(errors, count, &errors[count]))
            count++;
    }
    return count;
}

/* What precedes the name in a column's window: "alias." or "table.", "main.table." or
 * "temp.table.". Only plain words: behind a blank another sentence may have begun. */
static size_t qualifier_length(const char *window)
{
    size_t length = 0;
    while (is_name_byte(window[length]))
        length++;
    return length > 0 && window[length] == '.' ? length + 1 : 0;
}

static size_t database_prefix_length(const char *window)
{
    struct slice text = slice_from_string(window);
    return slice_has_prefix_ignore_case(text, SLICE("main.")) ||
                   slice_has_prefix_ignore_case(text, SLICE("temp."))
               ? sizeof "main." - 1
               : 0;
}

struct wanted {
    struct slice name;
    bool is_cut; /* the window's end proves nothing */
};

static bool name_begins(const char *window, const struct wanted *wanted)
{
    if (!slice_has_prefix_ignore_case(slice_from_string(window), wanted->name))
        return false;
    const char *rest = window + wanted->name.length;
    return rest[0] == '\0' ? !wanted->is_cut : may_end_at(rest);
}

/* no such column: "x" - should this be a string literal in single-quotes? */
static bool quoted_name_begins(const char *window, const struct wanted *wanted)
{
    size_t length = wanted->name.length;
    return window[0] == '"' &&
           slice_has_prefix_ignore_case(slice_from_string(window + 1), wanted->name) &&
           window[1 + length] == '"' && may_end_at(window + 1 + length + 1);
}

static bool column_begins(const char *window, const struct wanted *wanted)
{
    if (name_begins(window, wanted) || quoted_name_begins(window, wanted))
        return true;
    size_t qualifier = qualifier_length(window);
    if (qualifier > 0 && name_begins(window + qualifier, wanted))
        return true;
    size_t database = database_prefix_length(window);
    qualifier = qualifier_length(window + database);
    return qualifier > 0 && name_begins(window + database + qualifier, wanted);
}

/* The name as a decoded window shows it: one that holds what looks like an escape was decoded along
 * with the window. Empty: longer than any window. */
static struct slice shown_name(const char *name, char out[SCHEMA_ERROR_WINDOW])
{
    struct slice text = slice_from_string(name);
    if (text.length >= SCHEMA_ERROR_WINDOW)
        return slice_make(out, 0);
    if (!strpbrk(name, "\\&%"))
        return text;
    memcpy(out, name, text.length);
    return slice_make(out, decode_escapes(out, text.length));
}

bool detect_names_object(const struct schema_error *error, const char *name)
{
    char shown[SCHEMA_ERROR_WINDOW];
    struct wanted wanted = {shown_name(name, shown), error->is_cut};
    if (wanted.name.length == 0)
        return false;
    if (error->kind == SCHEMA_COLUMN)
        return column_begins(error->object, &wanted);
    size_t database = database_prefix_length(error->object);
    return name_begins(error->object, &wanted) ||
           (database > 0 && name_begins(error->object + database, &wanted));
}

bool detect_names_table(const struct schema_error *error, const char *table)
{
    static const char *const befores[] = {"table ", "table main.", "table temp."};
    char shown[SCHEMA_ERROR_WINDOW];
    struct slice window = slice_from_string(error->table);
    struct slice name = shown_name(table, shown);
    if (window.length == 0)
        return true;
    if (name.length == 0)
        return false;
    for (size_t i = 0; i < sizeof befores / sizeof *befores; i++) {
        struct slice before = slice_from_string(befores[i]);
        size_t length = before.length + name.length;
        if (length > window.length)
            continue;
        struct slice end = slice_make(window.data + window.length - length, length);
        if (slice_has_prefix_ignore_case(end, before) &&
            slice_equal_ignore_case(slice_make(end.data + before.length, name.length), name))
            return true;
    }
    return false;
}
