/* SPDX-License-Identifier: MIT */
/* Editing heads: walks the fields of a parsed head once and puts together what goes on. What stays
 * is cut out of the received head in as long pieces as possible, because each slice costs the
 * kernel more than the bytes in it. Pure, any thread; all bytes stay their owners'. */
#include "http/edit.h"

#include <string.h>

#include "http/name.h"

/* The edit as it grows: what of the received head has been walked over and stays is pending, from
 * `kept` on. */
struct writer {
    struct http_edit *edit;
    const char *kept;
    char *scratch; /* NULL: text is added as slices of its own */
    size_t scratch_left;
};

static void add(struct http_edit *edit, const char *data, size_t length)
{
    if (length == 0)
        return;
    edit->length += length;
    if (edit->count > 0) {
        struct iovec *last = &edit->slices[edit->count - 1];
        if ((const char *)last->iov_base + last->iov_len == data) {
            last->iov_len += length;
            return;
        }
    }
    if (edit->count == HTTP_EDIT_SLICES_MAX) {
        edit->overflow = true;
        return;
    }
    /* sendmsg only reads, but its struct has no const. */
    edit->slices[edit->count++] = (struct iovec){(void *)(uintptr_t)data, length};
}

/* Adds the pending part of the received head up to `end`; it goes on at `next`. */
static void keep_until(struct writer *writer, const char *end, const char *next)
{
    add(writer->edit, writer->kept, (size_t)(end - writer->kept));
    writer->kept = next;
}

/* Adds text that is not the received head's: short text goes to the scratch, where neighbours
 * become one slice. */
static void add_text(struct writer *writer, struct slice text)
{
    if (text.length == 0)
        return;
    if (text.length > writer->scratch_left) {
        add(writer->edit, text.data, text.length);
        return;
    }
    memcpy(writer->scratch, text.data, text.length);
    add(writer->edit, writer->scratch, text.length);
    writer->scratch += text.length;
    writer->scratch_left -= text.length;
}

static void add_field(struct writer *writer, struct slice name_and_colon, struct slice value)
{
    add_text(writer, name_and_colon);
    add_text(writer, value);
    add_text(writer, SLICE("\r\n"));
}

static bool is_dropped(const struct http_field *field, uint32_t dropped)
{
    return (dropped & NAME_BIT(field->token)) || field->nominated;
}

static const char *slice_end(struct slice slice)
{
    return slice.data + slice.length;
}

static struct writer writer_begin(struct http_edit *edit, const char *kept)
{
    edit->count = 0;
    edit->overflow = false;
    edit->length = 0;
    return (struct writer){.edit = edit, .kept = kept};
}

/* The end of the last field line: where the empty line begins. */
static const char *fields_end(const struct http_head *head)
{
    if (head->field_count == 0)
        return slice_end(head->start_line);
    return slice_end(head->fields[head->field_count - 1].line);
}

/* The request line in origin form and HTTP/1.1, when it did not come so. */
static void add_request_line(struct writer *writer, const struct http_head *head, bool is_absolute)
{
    if (!is_absolute && head->minor > 0)
        return;
    keep_until(writer, head->target.data, slice_end(head->start_line));
    if (is_absolute && head->path.length == 0 && head->method == METHOD_OPTIONS)
        add_text(writer, SLICE("*")); /* the server itself: RFC 9112, 3.2.4 */
    else if (is_absolute && (head->path.length == 0 || head->path.data[0] != '/'))
        add_text(writer, SLICE("/"));
    add_text(writer, head->path);
    add_text(writer, SLICE(" HTTP/1.1\r\n"));
}

/* The last X-Forwarded-For that names somebody and stays, to which ours is appended, or NULL. */
static const struct http_field *find_forwarded_for(const struct http_head *head)
{
    if (head->first[FIELD_X_FORWARDED_FOR] < 0)
        return NULL;
    for (unsigned i = head->field_count; i-- > 0;) {
        const struct http_field *field = &head->fields[i];
        if (field->token == FIELD_X_FORWARDED_FOR && field->value.length > 0 && !field->nominated)
            return field;
    }
    return NULL;
}

/* Whether a field of that name stays, so that ours is not added. */
static bool stays(const struct http_head *head, enum http_field_name name, uint32_t dropped)
{
    const struct http_field *field = http_head_field(head, name);
    return field && !is_dropped(field, dropped);
}

static void add_forwarded(struct writer *writer, const struct http_head *head,
                          const struct http_request_edit *rules, uint32_t dropped)
{
    if (rules->protocol.length > 0 && !stays(head, FIELD_X_FORWARDED_PROTO, dropped))
        add_field(writer, SLICE("X-Forwarded-Proto: "), rules->protocol);
    if (head->host.length > 0 && !stays(head, FIELD_X_FORWARDED_HOST, dropped))
        add_field(writer, SLICE("X-Forwarded-Host: "), head->host);
}

/* The field lines that stay; `extended` is the one whose value goes on with the peer's address. */
static void keep_fields(struct writer *writer, const struct http_head *head, uint32_t dropped,
                        const struct http_field *extended, struct slice peer)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (is_dropped(field, dropped)) {
            keep_until(writer, field->line.data, slice_end(field->line));
        } else if (field == extended) {
            keep_until(writer, slice_end(field->value), slice_end(field->line));
            add_text(writer, SLICE(", "));
            add_text(writer, peer);
            add_text(writer, SLICE("\r\n"));
        }
    }
    keep_until(writer, fields_end(head), fields_end(head));
}

void http_edit_request(struct http_edit *edit, const struct http_head *head,
                       const struct http_request_edit *rules, char scratch[HTTP_EDIT_SCRATCH])
{
    struct writer writer = writer_begin(edit, head->start_line.data);
    writer.scratch = scratch;
    writer.scratch_left = HTTP_EDIT_SCRATCH;

    bool is_absolute = head->path.data != head->target.data;
    uint32_t dropped = http_names_hop_by_hop | http_names_ours;
    if (rules->peer_is_trusted)
        dropped &= ~(NAME_BIT(FIELD_FORWARDED) | NAME_BIT(FIELD_X_FORWARDED_FOR) |
                     NAME_BIT(FIELD_X_FORWARDED_HOST) | NAME_BIT(FIELD_X_FORWARDED_PROTO));
    if (rules->forward_upgrade)
        dropped &= ~NAME_BIT(FIELD_UPGRADE);
    /* An HTTP/1.0 client waits for no 100, so its upstream is not to send one: RFC 9110, 10.1.1. */
    if (rules->expect_removed || head->minor == 0)
        dropped |= NAME_BIT(FIELD_EXPECT);
    if (is_absolute)
        dropped |= NAME_BIT(FIELD_HOST);
    bool adds_peer = rules->peer.length > 0;
    const struct http_field *extended = NULL;
    if (adds_peer && rules->peer_is_trusted)
        extended = find_forwarded_for(head);
    if (adds_peer && !extended)
        dropped |= NAME_BIT(FIELD_X_FORWARDED_FOR);

    add_request_line(&writer, head, is_absolute);
    if (is_absolute)
        add_field(&writer, SLICE("Host: "), head->host);
    else if (head->first[FIELD_HOST] < 0)
        add_field(&writer, SLICE("Host: "), rules->default_host);
    keep_fields(&writer, head, dropped, extended, rules->peer);
    if (adds_peer && !extended)
        add_field(&writer, SLICE("X-Forwarded-For: "), rules->peer);
    add_forwarded(&writer, head, rules, dropped);
    if (rules->attempt == 2)
        add_text(&writer, SLICE("X-Automigrate-Attempt: 2\r\n"));
    if (rules->forward_upgrade)
        add_text(&writer, SLICE("Connection: upgrade\r\n"));
    add_text(&writer, SLICE("\r\n"));
}

/* The status line with our version and the space that must follow the status even when there is no
 * reason: RFC 9112, 4. */
static void add_status_line(struct writer *writer, const struct http_head *head)
{
    static const struct slice version = {"HTTP/1.1", 8};
    enum { LENGTH_WITHOUT_REASON = sizeof("HTTP/1.1 200\r\n") - 1 };
    struct slice line = head->start_line;
    if (head->minor == 0) {
        add_text(writer, version);
        writer->kept = line.data + version.length;
    }
    if (line.length == LENGTH_WITHOUT_REASON) {
        keep_until(writer, slice_end(line) - 2, slice_end(line));
        add_text(writer, SLICE(" \r\n"));
    }
}

/* What an edited response head ends with, by what is added to it: one slice for all of it. */
enum connection { CONNECTION_SILENT, CONNECTION_CLOSE, CONNECTION_KEEP_ALIVE, CONNECTION_UPGRADE };

static const struct slice response_ends[2][4] = {
#define END(connection, text) [connection] = {text "\r\n", sizeof(text "\r\n") - 1}
    {END(CONNECTION_SILENT, ""), END(CONNECTION_CLOSE, "Connection: close\r\n"),
     END(CONNECTION_KEEP_ALIVE, "Connection: keep-alive\r\n"),
     END(CONNECTION_UPGRADE, "Connection: upgrade\r\n")},
    {END(CONNECTION_SILENT, "Transfer-Encoding: chunked\r\n"),
     END(CONNECTION_CLOSE, "Transfer-Encoding: chunked\r\nConnection: close\r\n"),
     END(CONNECTION_KEEP_ALIVE, "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"),
     END(CONNECTION_UPGRADE, "Transfer-Encoding: chunked\r\nConnection: upgrade\r\n")},
#undef END
};

static enum connection choose_connection(const struct http_response_edit *rules)
{
    if (rules->forward_upgrade)
        return CONNECTION_UPGRADE;
    if (rules->close)
        return CONNECTION_CLOSE;
    return rules->keep_alive_1_0 ? CONNECTION_KEEP_ALIVE : CONNECTION_SILENT;
}

void http_edit_response(struct http_edit *edit, const struct http_head *head,
                        const struct http_response_edit *rules)
{
    struct writer writer = writer_begin(edit, head->start_line.data);
    static const uint32_t framing_fields =
        NAME_BIT(FIELD_CONTENT_LENGTH) | NAME_BIT(FIELD_TRANSFER_ENCODING);
    uint32_t dropped = http_names_hop_by_hop | NAME_BIT(FIELD_X_AUTOMIGRATE);
    if (rules->forward_upgrade)
        dropped &= ~NAME_BIT(FIELD_UPGRADE);
    if (head->status < 200 || head->status == 204) /* RFC 9110, 8.6; RFC 9112, 6.1 */
        dropped |= framing_fields;
    bool is_chunked = rules->framing == RESPONSE_FRAMING_CHUNK;
    if (is_chunked)
        dropped |= framing_fields;
    if (rules->framing == RESPONSE_FRAMING_UNCHUNK)
        dropped |= NAME_BIT(FIELD_TRANSFER_ENCODING) | NAME_BIT(FIELD_TRAILER);

    add_status_line(&writer, head);
    keep_fields(&writer, head, dropped, NULL, slice_make("", 0));
    if (rules->proxy_status.length > 0)
        add_field(&writer, SLICE("Proxy-Status: "), rules->proxy_status);
    enum connection connection = choose_connection(rules);
    if (!is_chunked && connection == CONNECTION_SILENT && rules->proxy_status.length == 0)
        keep_until(&writer, fields_end(head) + 2, NULL); /* its own empty line: no slice more */
    else
        add_text(&writer, response_ends[is_chunked][connection]);
}
