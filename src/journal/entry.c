/* SPDX-License-Identifier: MIT */
/* Entries: made on the thread that records an event, owned by the queue, then by the writer. */
#include "journal/entry.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"

/* Appends `text`, cut between characters to at most `most` bytes; what is no UTF-8 (and NUL, which
 * JSON readers refuse) becomes U+FFFD. */
static void put_text(struct buffer *out, struct slice text, size_t most)
{
    size_t begin = out->length;
    for (size_t at = 0; at < text.length;) {
        struct slice left = slice_make(text.data + at, text.length - at);
        size_t length = *left.data == '\0' ? 0 : slice_utf8_length(left);
        struct slice character = length > 0 ? slice_make(left.data, length) : SLICE("\xef\xbf\xbd");
        if (out->length - begin + character.length > most || !buffer_append_slice(out, character))
            return;
        at += length > 0 ? length : 1;
    }
}

static char *copy_text(const char *text, size_t most)
{
    struct buffer copy = {0};
    buffer_append_string(&copy, ""); /* an empty text is a string, too */
    put_text(&copy, slice_from_string(text), most);
    return buffer_take(&copy);
}

/* False: out of memory. */
static bool set_field(json_t *data, const struct log_field *field)
{
    if (field->kind == LOG_NUMBER)
        return json_object_set_new(data, field->key, json_integer(field->number)) == 0;
    if (!field->text.data)
        return true;
    struct buffer text = {0};
    put_text(&text, field->text, ENTRY_FIELD_MAX);
    struct slice valid = buffer_slice(&text);
    bool is_set = !text.failed && json_object_set_new(data, field->key,
                                                      json_stringn(valid.data, valid.length)) == 0;
    buffer_free(&text);
    return is_set;
}

/* The fields as one JSON object; NULL: out of memory. */
static char *write_data(const struct log_field *fields)
{
    json_t *data = json_object();
    size_t size = 0;
    bool is_written = data != NULL;
    for (const struct log_field *field = fields; is_written && field->kind != LOG_END; field++) {
        size += strlen(field->key) +
                (field->text.length < ENTRY_FIELD_MAX ? field->text.length : ENTRY_FIELD_MAX);
        if (size > ENTRY_DATA_MAX) {
            is_written = json_object_set_new(data, "cut", json_true()) == 0;
            break;
        }
        is_written = set_field(data, field);
    }
    char *text = is_written ? json_dumps(data, JSON_COMPACT) : NULL;
    json_decref(data);
    return text;
}

struct entry *entry_new(enum event_type type, const char *subject, const char *message,
                        const struct log_field *fields)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->type = type;
    entry->time = entry->last_time = clock_wall_ms();
    entry->count = 1;
    entry->subject = subject ? copy_text(subject, ENTRY_SUBJECT_MAX) : NULL;
    entry->message = copy_text(message, ENTRY_MESSAGE_MAX);
    entry->data = write_data(fields);
    if ((subject && !entry->subject) || !entry->message || !entry->data) {
        entry_free(entry);
        return NULL;
    }
    return entry;
}

void entry_free(struct entry *entry)
{
    if (!entry)
        return;
    free(entry->subject);
    free(entry->message);
    free(entry->data);
    free(entry);
}

bool entry_is_equal(const struct entry *a, const struct entry *b)
{
    if (a->type != b->type || strcmp(a->message, b->message) != 0)
        return false;
    if (!a->subject || !b->subject)
        return a->subject == b->subject;
    return strcmp(a->subject, b->subject) == 0;
}
