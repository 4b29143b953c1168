/* SPDX-License-Identifier: MIT */
/* Reading the file, in two passes over the same bytes. The first follows libyaml's events, because
 * they alone carry line numbers: it checks keys and shape and notes where each key stands. The
 * second is libcyaml's, by a schema made from the table of keys, and gives the texts. What the
 * first lets through the second takes; should it not, its own words are passed on. */
#include "config/file.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/buffer.h"
#include "config/suggest.h"

enum { FILE_SIZE_MOST = 1 << 20, SECTIONS_MOST = 32 };

static bool read_bytes(const char *path, struct buffer *bytes, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "%s: cannot be read (%s): --config wants an existing YAML file", path,
                         strerror(errno));
    ssize_t got = 1;
    while (got > 0 && bytes->length <= FILE_SIZE_MOST) {
        if (!buffer_reserve(bytes, 16384)) {
            close(fd);
            return error_set(error, ERROR_MEMORY, "%s: out of memory", path);
        }
        got = read(fd, bytes->data + bytes->length, 16384);
        if (got > 0)
            bytes->length += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    int number = errno;
    close(fd);
    if (got < 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "%s: cannot be read (%s): --config wants a YAML file", path,
                         strerror(number));
    if (bytes->length > FILE_SIZE_MOST)
        return error_set(error, ERROR_CONFIGURATION,
                         "%s: larger than 1 MiB: --config wants a YAML file", path);
    return true;
}

/* ---- first pass: keys, shape and lines ---- */

struct outline {
    const char *path;
    struct config_file *file;
    struct error *error;
    yaml_parser_t parser;
    const char *sections[SECTIONS_MOST]; /* that were met, from the table */
    unsigned section_lines[SECTIONS_MOST];
    size_t section_count;
    bool has_keys;
};

static unsigned line_of(const yaml_event_t *event)
{
    return (unsigned)event->start_mark.line + 1;
}

static bool next_event(struct outline *outline, yaml_event_t *event)
{
    if (yaml_parser_parse(&outline->parser, event))
        return true;
    const yaml_parser_t *parser = &outline->parser;
    if (parser->error == YAML_MEMORY_ERROR)
        return error_set(outline->error, ERROR_MEMORY, "%s: out of memory", outline->path);
    return error_set(outline->error, ERROR_CONFIGURATION,
                     "%s:%zu: not YAML: %s%s%s: write \"key: value\", indented with spaces",
                     outline->path, parser->problem_mark.line + 1, parser->problem,
                     parser->context ? " " : "", parser->context ? parser->context : "");
}

/* Whether a key stands in `section`, or at the top level when that is NULL. */
static bool is_in_section(const struct config_key *key, const char *section)
{
    if (!section || !key->section)
        return key->section == section;
    return strcmp(key->section, section) == 0;
}

/* The section of that name as its first key has it, or NULL. */
static const char *find_section(const char *name)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (config_keys[i].section && strcmp(config_keys[i].section, name) == 0)
            return config_keys[i].section;
    }
    return NULL;
}

static const struct config_key *find_key(const char *section, const char *name)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (is_in_section(key, section) && strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

/* What stands where no key should: a key of another place, a dotted name, or a slip. */
static bool refuse_unknown(struct outline *outline, const char *section, const char *name,
                           unsigned line)
{
    char hint[256];
    const struct config_key *dotted = config_key_find(name);
    const struct config_key *elsewhere = NULL;
    struct suggestion suggestion;
    suggestion_construct(&suggestion, name);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (strcmp(key->name, name) == 0)
            elsewhere = key;
        if (is_in_section(key, section))
            suggestion_offer(&suggestion, key->name);
        else if (!section)
            suggestion_offer(&suggestion, key->section);
    }
    if (!section && dotted && dotted->section)
        snprintf(hint, sizeof hint, ": write \"%s:\" and, indented below it, \"%s:\"",
                 dotted->section, dotted->name);
    else if (suggestion.nearest[0])
        suggestion_text(&suggestion, "\"", "\"", hint, sizeof hint);
    else if (elsewhere && elsewhere->section)
        snprintf(hint, sizeof hint, ": it belongs below \"%s:\"", elsewhere->section);
    else if (elsewhere)
        snprintf(hint, sizeof hint, ": it belongs at the top level");
    else
        snprintf(hint, sizeof hint, ": conf/automigrate.yaml lists all keys");
    return error_set(outline->error, ERROR_CONFIGURATION, "%s:%u: unknown key \"%s%s%.100s\"%s",
                     outline->path, line, section ? section : "", section ? "." : "", name, hint);
}

static bool refuse_repeated(struct outline *outline, const char *name, unsigned line,
                            unsigned first)
{
    return error_set(outline->error, ERROR_CONFIGURATION,
                     "%s:%u: \"%s\" stands here a second time, the first is on line %u: keep one",
                     outline->path, line, name, first);
}

/* The value of a key: one scalar. */
static bool follow_value(struct outline *outline, const struct config_key *key, unsigned line)
{
    char name[CONFIG_KEY_NAME_SIZE];
    size_t place = (size_t)(key - config_keys);
    config_key_name(key, name);
    if (outline->file->lines[place])
        return refuse_repeated(outline, name, line, outline->file->lines[place]);
    outline->file->lines[place] = line;
    outline->has_keys = true;
    yaml_event_t event;
    if (!next_event(outline, &event))
        return false;
    yaml_event_type_t type = event.type;
    bool has_nul = type == YAML_SCALAR_EVENT &&
                   memchr(event.data.scalar.value, '\0', event.data.scalar.length);
    yaml_event_delete(&event);
    if (type != YAML_SCALAR_EVENT)
        return error_set(outline->error, ERROR_CONFIGURATION,
                         "%s:%u: \"%s\" takes one plain value, no list, section or alias",
                         outline->path, line, name);
    if (has_nul)
        return error_set(outline->error, ERROR_CONFIGURATION,
                         "%s:%u: \"%s\" holds a NUL character: remove it", outline->path, line,
                         name);
    return true;
}

static bool follow_mapping(struct outline *outline, const char *section);

/* A section's mapping, or nothing at all, which is what remains when all its keys are comments. */
static bool follow_section(struct outline *outline, const char *section, unsigned line)
{
    for (size_t i = 0; i < outline->section_count; i++) {
        if (outline->sections[i] == section)
            return refuse_repeated(outline, section, line, outline->section_lines[i]);
    }
    if (outline->section_count < SECTIONS_MOST) {
        outline->sections[outline->section_count] = section;
        outline->section_lines[outline->section_count++] = line;
    }
    yaml_event_t event;
    if (!next_event(outline, &event))
        return false;
    yaml_event_type_t type = event.type;
    bool nothing = type == YAML_SCALAR_EVENT && event.data.scalar.length == 0;
    yaml_event_delete(&event);
    if (nothing)
        return true;
    if (type != YAML_MAPPING_START_EVENT)
        return error_set(outline->error, ERROR_CONFIGURATION,
                         "%s:%u: \"%s\" is a section: write its keys, indented, on the lines below",
                         outline->path, line, section);
    return follow_mapping(outline, section);
}

static bool follow_key(struct outline *outline, const char *section, const char *name,
                       unsigned line)
{
    const struct config_key *key = find_key(section, name);
    if (key)
        return follow_value(outline, key, line);
    const char *below = section ? NULL : find_section(name);
    if (below)
        return follow_section(outline, below, line);
    return refuse_unknown(outline, section, name, line);
}

static bool follow_mapping(struct outline *outline, const char *section)
{
    for (;;) {
        yaml_event_t event;
        if (!next_event(outline, &event))
            return false;
        bool done = event.type == YAML_MAPPING_END_EVENT;
        bool followed = true;
        if (!done && event.type == YAML_SCALAR_EVENT)
            followed = follow_key(outline, section, (const char *)event.data.scalar.value,
                                  line_of(&event));
        else if (!done)
            followed = error_set(outline->error, ERROR_CONFIGURATION,
                                 "%s:%u: a key is one word: write \"key: value\"", outline->path,
                                 line_of(&event));
        yaml_event_delete(&event);
        if (done || !followed)
            return followed;
    }
}

/* The stream: nothing, or one document that is a mapping. */
static bool follow_stream(struct outline *outline)
{
    for (unsigned documents = 0;;) {
        yaml_event_t event;
        if (!next_event(outline, &event))
            return false;
        yaml_event_type_t type = event.type;
        unsigned line = line_of(&event);
        bool nothing = type == YAML_SCALAR_EVENT && event.data.scalar.length == 0;
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            return true;
        if (type == YAML_DOCUMENT_START_EVENT && ++documents > 1)
            return error_set(outline->error, ERROR_CONFIGURATION,
                             "%s:%u: a second document begins here: keep one", outline->path, line);
        if (type == YAML_MAPPING_START_EVENT && !follow_mapping(outline, NULL))
            return false;
        if (type == YAML_SEQUENCE_START_EVENT || type == YAML_ALIAS_EVENT ||
            (type == YAML_SCALAR_EVENT && !nothing))
            return error_set(outline->error, ERROR_CONFIGURATION,
                             "%s:%u: no \"key: value\" here: write one key a line", outline->path,
                             line);
    }
}

static bool outline_follow(struct outline *outline, const struct buffer *bytes)
{
    if (!yaml_parser_initialize(&outline->parser))
        return error_set(outline->error, ERROR_MEMORY, "%s: out of memory", outline->path);
    yaml_parser_set_input_string(&outline->parser, (const unsigned char *)bytes->data,
                                 bytes->length);
    bool followed = follow_stream(outline);
    yaml_parser_delete(&outline->parser);
    return followed;
}

/* ---- second pass: texts, by schema ---- */

/* What libcyaml fills: one pointer a top-level key or section, in the order of the table; a
 * section's points to the texts of its keys. */
struct schema {
    cyaml_schema_field_t top[CONFIG_KEYS_MOST + SECTIONS_MOST];
    cyaml_schema_field_t below[CONFIG_KEYS_MOST + SECTIONS_MOST]; /* each section's, ended */
    cyaml_schema_value_t root;
};

static cyaml_schema_field_t text_field(const char *name, size_t place)
{
    return (cyaml_schema_field_t){
        .key = name,
        .data_offset = (uint32_t)(place * sizeof(char *)),
        .value = {.type = CYAML_STRING,
                  .flags = (enum cyaml_flag)(CYAML_FLAG_POINTER_NULL_STR | CYAML_FLAG_OPTIONAL),
                  .data_size = sizeof(char *),
                  .string = {.min = 0, .max = CYAML_UNLIMITED}}};
}

static cyaml_schema_value_t mapping_of(const cyaml_schema_field_t *fields, size_t count)
{
    return (cyaml_schema_value_t){
        .type = CYAML_MAPPING,
        .flags = (enum cyaml_flag)(CYAML_FLAG_POINTER_NULL_STR | CYAML_FLAG_OPTIONAL),
        .data_size = (uint32_t)(count * sizeof(char *)),
        .mapping = {.fields = fields}};
}

static void schema_make(struct schema *schema)
{
    size_t top = 0;
    cyaml_schema_field_t *below = schema->below;
    memset(schema, 0, sizeof *schema);
    for (size_t i = 0; i < config_key_count;) {
        const char *section = config_keys[i].section;
        if (!section) {
            schema->top[top] = text_field(config_keys[i].name, top);
            top++;
            i++;
            continue;
        }
        cyaml_schema_field_t *fields = below;
        size_t count = 0;
        for (; i < config_key_count && is_in_section(&config_keys[i], section); i++, count++)
            *below++ = text_field(config_keys[i].name, count);
        below++; /* a NULL key ends the section's fields */
        schema->top[top] = (cyaml_schema_field_t){.key = section,
                                                  .data_offset = (uint32_t)(top * sizeof(char *)),
                                                  .value = mapping_of(fields, count)};
        top++;
    }
    schema->root = mapping_of(schema->top, top);
}

/* Moves the texts out of what libcyaml made, in the same order in which the schema was made. */
static void take_texts(struct config_file *file, char **root)
{
    size_t top = 0;
    for (size_t i = 0; i < config_key_count; top++) {
        const char *section = config_keys[i].section;
        if (!section) {
            file->texts[i++] = root[top];
            root[top] = NULL;
            continue;
        }
        char **texts = (char **)(void *)root[top];
        for (size_t k = 0; i < config_key_count && is_in_section(&config_keys[i], section);
             i++, k++) {
            file->texts[i] = texts ? texts[k] : NULL;
            if (texts)
                texts[k] = NULL;
        }
    }
}

/* libcyaml's first error line, for the case that it refuses what the outline let through. */
[[gnu::format(printf, 3, 0)]] static void keep_first_line(cyaml_log_t level, void *context,
                                                          const char *format, va_list arguments)
{
    char *line = context;
    if (level < CYAML_LOG_ERROR || line[0])
        return;
    vsnprintf(line, 256, format, arguments);
    line[strcspn(line, "\n")] = '\0';
}

static bool load_texts(struct config_file *file, const char *path, const struct buffer *bytes,
                       struct error *error)
{
    char line[256] = "";
    struct schema *schema = malloc(sizeof *schema);
    if (!schema)
        return error_set(error, ERROR_MEMORY, "%s: out of memory", path);
    schema_make(schema);
    const cyaml_config_t reader = {.log_fn = keep_first_line,
                                   .log_ctx = line,
                                   .mem_fn = cyaml_mem,
                                   .log_level = CYAML_LOG_ERROR,
                                   .flags = CYAML_CFG_NO_ALIAS};
    cyaml_data_t *root = NULL;
    cyaml_err_t result = cyaml_load_data((const uint8_t *)bytes->data, bytes->length, &reader,
                                         &schema->root, &root, NULL);
    if (result == CYAML_OK && root)
        take_texts(file, root);
    cyaml_free(&reader, &schema->root, root, 0);
    free(schema);
    if (result == CYAML_ERR_OOM)
        return error_set(error, ERROR_MEMORY, "%s: out of memory", path);
    if (result != CYAML_OK)
        return error_set(error, ERROR_CONFIGURATION, "%s: cannot be used (%s%s%s)", path,
                         cyaml_strerror(result), line[0] ? ": " : "", line);
    return true;
}

bool config_file_read(struct config_file *file, const char *path, struct error *error)
{
    struct buffer bytes = {0};
    struct outline outline = {.path = path, .file = file, .error = error};
    *file = (struct config_file){0};
    bool done = read_bytes(path, &bytes, error) && outline_follow(&outline, &bytes) &&
                (!outline.has_keys || load_texts(file, path, &bytes, error));
    buffer_free(&bytes);
    if (!done)
        config_file_free(file);
    return done;
}

void config_file_free(struct config_file *file)
{
    for (size_t i = 0; i < CONFIG_KEYS_MOST; i++)
        free(file->texts[i]);
    *file = (struct config_file){0};
}
