/* SPDX-License-Identifier: MIT */
/* Parsing heads: one pass from the first byte to the empty line, which refuses a head at the first
 * byte or line that can no longer be right. All positions are slices of the caller's bytes; struct
 * http_head is large and only what a message has is ever written. Pure, any thread. */
#include "http/head.h"

#include <string.h>

#include "http/name.h"
#include "http/syntax.h"

struct parser {
    const char *at; /* all before it has been accepted */
    const char *end;
    struct http_head *head;
    struct http_refusal *refusal;
    bool is_request;
};

static const struct {
    struct slice text;
    enum http_method method;
    bool is_idempotent; /* RFC 9110, 9.2.2 */
} methods[] = {
    {{"GET", 3}, METHOD_GET, true},          {{"POST", 4}, METHOD_POST, false},
    {{"HEAD", 4}, METHOD_HEAD, true},        {{"PUT", 3}, METHOD_PUT, true},
    {{"DELETE", 6}, METHOD_DELETE, true},    {{"OPTIONS", 7}, METHOD_OPTIONS, true},
    {{"PATCH", 5}, METHOD_PATCH, false},     {{"TRACE", 5}, METHOD_TRACE, true},
    {{"CONNECT", 7}, METHOD_CONNECT, false},
};

enum { METHOD_COUNT = sizeof(methods) / sizeof(methods[0]) };

bool http_method_is_idempotent(enum http_method method)
{
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        if (methods[i].method == method)
            return methods[i].is_idempotent;
    }
    return false;
}

static enum http_method method_find(struct slice text)
{
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        if (slice_equal(text, methods[i].text))
            return methods[i].method;
    }
    return METHOD_OTHER;
}

[[gnu::cold]] static enum http_parse refuse_with(struct parser *parser, unsigned status,
                                                 const char *reason)
{
    parser->refusal->status = parser->is_request ? status : 502;
    parser->refusal->reason = reason;
    return HTTP_PARSE_BAD;
}

[[gnu::cold]] static enum http_parse refuse(struct parser *parser, const char *reason)
{
    return refuse_with(parser, 400, reason);
}

/* The byte at parser->at cannot be there, where only CRLF may end a line. */
[[gnu::cold]] static enum http_parse refuse_byte(struct parser *parser)
{
    switch (*parser->at) {
    case '\r':
        return refuse(parser, "a bare CR in the head");
    case '\n':
        return refuse(parser, "a bare LF in the head");
    case '\0':
        return refuse(parser, "a NUL byte in the head");
    default:
        return refuse(parser, "a control byte in the head");
    }
}

/* Takes the CRLF that must come now. */
static inline enum http_parse parse_line_end(struct parser *parser)
{
    if (parser->at == parser->end)
        return HTTP_PARSE_MORE;
    if (*parser->at != '\r')
        return refuse_byte(parser);
    if (parser->end - parser->at < 2)
        return HTTP_PARSE_MORE;
    if (parser->at[1] != '\n')
        return refuse_byte(parser);
    parser->at += 2;
    return HTTP_PARSE_DONE;
}

/* Takes "HTTP/1.0" or "HTTP/1.1". */
static enum http_parse parse_version(struct parser *parser)
{
    static const struct slice name = {"HTTP/", 5};
    enum { VERSION_LENGTH = 8 };
    const char *at = parser->at;
    size_t left = (size_t)(parser->end - at);
    if (memcmp(at, name.data, left < name.length ? left : name.length) != 0)
        return refuse(parser, "a malformed HTTP version");
    bool is_bad = (left > 5 && !http_byte_is(at[5], BYTE_DIGIT)) || (left > 6 && at[6] != '.') ||
                  (left > 7 && !http_byte_is(at[7], BYTE_DIGIT));
    if (is_bad)
        return refuse(parser, "a malformed HTTP version");
    if (left < VERSION_LENGTH)
        return HTTP_PARSE_MORE;
    /* RFC 9110, 2.5 lets 1.2 be taken for 1.1; nobody sends it but to find out who does. */
    if (at[5] != '1' || at[7] > '1')
        return refuse_with(parser, 505, "an HTTP version other than 1.0 and 1.1");
    parser->head->minor = (unsigned)(at[7] - '0');
    parser->at += VERSION_LENGTH;
    return HTTP_PARSE_DONE;
}

/* A target in absolute form: http or https, a host, and what the origin form is made of. */
static enum http_parse parse_absolute_target(struct parser *parser)
{
    struct http_head *head = parser->head;
    static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};
    struct slice rest = head->target;
    for (unsigned i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (!slice_has_prefix_ignore_case(head->target, schemes[i]))
            continue;
        rest.data += schemes[i].length;
        rest.length -= schemes[i].length;
    }
    if (rest.data == head->target.data)
        return refuse(parser, "a target that is neither a path nor an http address");
    size_t host_length = 0;
    while (host_length < rest.length && rest.data[host_length] != '/' &&
           rest.data[host_length] != '?')
        host_length++;
    head->host = slice_make(rest.data, host_length);
    head->path = slice_make(rest.data + host_length, rest.length - host_length);
    if (host_length == 0 || !http_host_is_valid(head->host))
        return refuse(parser, "a malformed host in the target");
    return HTTP_PARSE_DONE;
}

static enum http_parse parse_target(struct parser *parser)
{
    struct http_head *head = parser->head;
    head->path = head->target;
    switch (head->target.data[0]) {
    case '/':
        return HTTP_PARSE_DONE;
    case '*':
        if (head->target.length == 1 && head->method == METHOD_OPTIONS)
            return HTTP_PARSE_DONE;
        return refuse(parser, "the target * with a method other than OPTIONS");
    default:
        return parse_absolute_target(parser);
    }
}

static enum http_parse parse_empty_lines(struct parser *parser)
{
    for (unsigned lines = 0; parser->at < parser->end && *parser->at == '\r'; lines++) {
        if (lines == HTTP_EMPTY_LINES_MAX)
            return refuse(parser, "too many empty lines before the request line");
        enum http_parse result = parse_line_end(parser);
        if (result != HTTP_PARSE_DONE)
            return result;
    }
    return HTTP_PARSE_DONE;
}

static enum http_parse parse_request_line(struct parser *parser)
{
    enum http_parse result = parse_empty_lines(parser);
    if (result != HTTP_PARSE_DONE)
        return result;
    struct http_head *head = parser->head;
    const char *start = parser->at;

    parser->at = http_skip(start, parser->end, BYTE_TOKEN);
    if (parser->at == parser->end)
        return HTTP_PARSE_MORE;
    if (parser->at == start || *parser->at != ' ')
        return refuse(parser, "a method that is no token");
    head->method_text = slice_make(start, (size_t)(parser->at - start));
    head->method = method_find(head->method_text);
    if (head->method == METHOD_CONNECT)
        return refuse_with(parser, 405, "CONNECT, which this proxy does not offer");

    const char *target = ++parser->at;
    parser->at = http_skip(target, parser->end, BYTE_TARGET);
    if (parser->at == parser->end)
        return HTTP_PARSE_MORE;
    if (parser->at == target || *parser->at != ' ')
        return refuse(parser, "a malformed request line");
    head->target = slice_make(target, (size_t)(parser->at - target));

    parser->at++;
    result = parse_version(parser);
    if (result != HTTP_PARSE_DONE)
        return result;
    result = parse_target(parser);
    if (result != HTTP_PARSE_DONE)
        return result;
    result = parse_line_end(parser);
    head->start_line = slice_make(start, (size_t)(parser->at - start));
    return result;
}

static enum http_parse parse_status_line(struct parser *parser)
{
    enum { STATUS_MIN = 100, STATUS_MAX = 599, STATUS_DIGITS = 3 };
    struct http_head *head = parser->head;
    const char *start = parser->at;
    enum http_parse result = parse_version(parser);
    if (result != HTTP_PARSE_DONE)
        return result;
    if (parser->at == parser->end)
        return HTTP_PARSE_MORE;
    if (*parser->at != ' ')
        return refuse(parser, "a malformed status line");
    parser->at++;
    for (unsigned i = 0; i < STATUS_DIGITS; i++, parser->at++) {
        if (parser->at == parser->end)
            return HTTP_PARSE_MORE;
        if (!http_byte_is(*parser->at, BYTE_DIGIT))
            return refuse(parser, "a malformed status line");
        head->status = head->status * 10 + (unsigned)(*parser->at - '0');
    }
    if (head->status < STATUS_MIN || head->status > STATUS_MAX)
        return refuse(parser, "a status that is not from 100 to 599");
    if (parser->at < parser->end && *parser->at == ' ')
        parser->at = http_skip_value(parser->at, parser->end);
    else if (parser->at < parser->end && *parser->at != '\r')
        return refuse(parser, "a malformed status line");
    result = parse_line_end(parser);
    head->start_line = slice_make(start, (size_t)(parser->at - start));
    return result;
}

static enum http_parse accept_host(struct parser *parser, struct slice value)
{
    struct http_head *head = parser->head;
    if (!parser->is_request)
        return HTTP_PARSE_DONE;
    if (head->first[FIELD_HOST] >= 0)
        return refuse(parser, "more than one Host");
    if (!http_host_is_valid(value))
        return refuse(parser, "a malformed Host");
    if (head->host.length == 0) /* a target in absolute form has one: RFC 9112, 3.2.2 */
        head->host = value;
    return HTTP_PARSE_DONE;
}

static enum http_parse accept_content_length(struct parser *parser, struct slice value)
{
    struct http_head *head = parser->head;
    if (head->first[FIELD_TRANSFER_ENCODING] >= 0)
        return refuse(parser, "Content-Length beside Transfer-Encoding");
    if (head->first[FIELD_CONTENT_LENGTH] >= 0)
        return refuse(parser, "more than one Content-Length");
    if (!http_length_parse(value, &head->content_length))
        return refuse(parser, "a malformed Content-Length");
    head->framing = FRAMING_LENGTH;
    return HTTP_PARSE_DONE;
}

static enum http_parse accept_transfer_encoding(struct parser *parser, struct slice value)
{
    struct http_head *head = parser->head;
    if (head->first[FIELD_CONTENT_LENGTH] >= 0)
        return refuse(parser, "Content-Length beside Transfer-Encoding");
    if (head->first[FIELD_TRANSFER_ENCODING] >= 0)
        return refuse(parser, "more than one Transfer-Encoding");
    if (head->minor == 0)
        return refuse(parser, "Transfer-Encoding in HTTP/1.0");
    switch (http_coding_parse(value)) {
    case CODING_CHUNKED:
        head->framing = FRAMING_CHUNKED;
        return HTTP_PARSE_DONE;
    case CODING_UNKNOWN:
        return refuse_with(parser, 501, "a Transfer-Encoding other than chunked");
    default:
        return refuse(parser, "a malformed Transfer-Encoding");
    }
}

/* Notes a field of a known name, before it is counted. */
static enum http_parse accept_known(struct parser *parser, const struct http_field *field)
{
    struct http_head *head = parser->head;
    enum http_parse result = HTTP_PARSE_DONE;
    switch (field->token) {
    case FIELD_HOST:
        result = accept_host(parser, field->value);
        break;
    case FIELD_CONTENT_LENGTH:
        result = accept_content_length(parser, field->value);
        break;
    case FIELD_TRANSFER_ENCODING:
        result = accept_transfer_encoding(parser, field->value);
        break;
    default:
        break;
    }
    if (head->first[field->token] < 0)
        head->first[field->token] = (int16_t)head->field_count;
    return result;
}

[[gnu::cold]] static enum http_parse refuse_name(struct parser *parser, const char *line)
{
    bool is_blank = *parser->at == ' ' || *parser->at == '\t';
    if (parser->at == line && is_blank)
        return refuse(parser, "obsolete line folding");
    if (parser->at == line && *parser->at == ':')
        return refuse(parser, "an empty field name");
    if (is_blank)
        return refuse(parser, "white space in or after a field name");
    return refuse(parser, "a malformed field name");
}

/* Takes one field line. */
static inline enum http_parse parse_field(struct parser *parser)
{
    struct http_head *head = parser->head;
    const char *line = parser->at;
    if (head->field_count == HTTP_FIELDS_MAX)
        return refuse_with(parser, 431, "too many header fields");

    parser->at = http_skip(line, parser->end, BYTE_TOKEN);
    if (parser->at == parser->end)
        return HTTP_PARSE_MORE;
    if (*parser->at != ':' || parser->at == line)
        return refuse_name(parser, line);
    struct http_field *field = &head->fields[head->field_count];
    field->name = slice_make(line, (size_t)(parser->at - line));
    field->nominated = false;

    const char *value = parser->at + 1;
    while (value < parser->end && (*value == ' ' || *value == '\t'))
        value++;
    parser->at = http_skip_value(value, parser->end);
    const char *value_end = parser->at;
    enum http_parse result = parse_line_end(parser);
    if (result != HTTP_PARSE_DONE)
        return result;
    while (value_end > value && (value_end[-1] == ' ' || value_end[-1] == '\t'))
        value_end--;
    field->value = slice_make(value, (size_t)(value_end - value));
    field->line = slice_make(line, (size_t)(parser->at - line));
    field->token = http_name_find(field->name);
    if (field->token != FIELD_OTHER)
        result = accept_known(parser, field);
    head->field_count++;
    return result;
}

/* Takes all field lines and the empty line. */
static enum http_parse parse_fields(struct parser *parser)
{
    while (parser->at < parser->end && *parser->at != '\r') {
        enum http_parse result = parse_field(parser);
        if (result != HTTP_PARSE_DONE)
            return result;
    }
    return parse_line_end(parser);
}

/* `option` of Connection is the name of a field: marks the fields of that name. */
static enum http_parse nominate(struct parser *parser, struct slice option)
{
    struct http_head *head = parser->head;
    for (unsigned i = 0; i < head->field_count; i++) {
        struct http_field *field = &head->fields[i];
        if (!slice_equal_ignore_case(field->name, option))
            continue;
        unsigned flags = http_field_flags(field->token);
        if ((flags & FIELD_FRAMING) || field->token == FIELD_HOST) {
            /* Without them the message would be another one. */
            if (parser->is_request)
                return refuse(parser, "a Connection that names Host or a framing field");
            return HTTP_PARSE_DONE;
        }
        field->nominated = !(flags & FIELD_HOP_BY_HOP);
    }
    return HTTP_PARSE_DONE;
}

/* Reads what the Connection fields say (RFC 9110, 7.6.1). A member that is no token names nothing
 * and is passed over: the field does not go on. */
static enum http_parse parse_connection(struct parser *parser)
{
    static const struct slice close = {"close", 5}, keep_alive = {"keep-alive", 10},
                              upgrade = {"upgrade", 7};
    struct http_head *head = parser->head;
    bool says_close = false, says_keep_alive = false, says_upgrade = false;
    unsigned options = 0;
    for (unsigned i = (unsigned)head->first[FIELD_CONNECTION]; i < head->field_count; i++) {
        if (head->fields[i].token != FIELD_CONNECTION)
            continue;
        struct slice rest = head->fields[i].value;
        while (rest.length > 0) {
            struct slice option = slice_trim_blank(slice_split(&rest, ','));
            if (++options > HTTP_CONNECTION_OPTIONS_MAX)
                return refuse(parser, "too many Connection options");
            if (slice_equal_ignore_case(option, keep_alive)) {
                says_keep_alive = true;
                continue;
            }
            if (slice_equal_ignore_case(option, close)) {
                says_close = true;
                continue;
            }
            if (slice_equal_ignore_case(option, upgrade))
                says_upgrade = true;
            enum http_parse result = nominate(parser, option);
            if (result != HTTP_PARSE_DONE)
                return result;
        }
    }
    head->keep_alive = !says_close && (head->minor > 0 || says_keep_alive);
    /* Upgrade in HTTP/1.0 is to be ignored: RFC 9110, 7.8. */
    head->upgrade = says_upgrade && head->minor > 0 && head->first[FIELD_UPGRADE] >= 0;
    return HTTP_PARSE_DONE;
}

static enum http_parse parse_head(struct parser *parser,
                                  enum http_parse (*parse_start_line)(struct parser *parser))
{
    struct http_head *head = parser->head;
    head->method = METHOD_OTHER;
    head->method_text = head->target = head->path = head->host = slice_make("", 0);
    head->status = 0;
    head->framing = FRAMING_NONE;
    head->content_length = 0;
    head->expects_continue = head->upgrade = false;
    head->field_count = 0;
    memset(head->first, 0xff, sizeof(head->first)); /* -1 in each */

    const char *start = parser->at;
    enum http_parse result = parse_start_line(parser);
    if (result != HTTP_PARSE_DONE)
        return result;
    head->keep_alive = head->minor > 0;
    result = parse_fields(parser);
    if (result != HTTP_PARSE_DONE)
        return result;
    head->length = (size_t)(parser->at - start);
    return head->first[FIELD_CONNECTION] < 0 ? HTTP_PARSE_DONE : parse_connection(parser);
}

enum http_parse http_parse_request(struct slice bytes, struct http_head *head,
                                   struct http_refusal *refusal)
{
    struct parser parser = {bytes.data, bytes.data + bytes.length, head, refusal, true};
    enum http_parse result = parse_head(&parser, parse_request_line);
    if (result != HTTP_PARSE_DONE)
        return result;
    if (head->minor > 0 && head->first[FIELD_HOST] < 0)
        return refuse(&parser, "no Host");
    const struct http_field *expect = http_head_field(head, FIELD_EXPECT);
    head->expects_continue =
        expect && head->minor > 0 && slice_equal_ignore_case(expect->value, SLICE("100-continue"));
    return HTTP_PARSE_DONE;
}

enum http_parse http_parse_response(struct slice bytes, enum http_method request_method,
                                    struct http_head *head, struct http_refusal *refusal)
{
    struct parser parser = {bytes.data, bytes.data + bytes.length, head, refusal, false};
    enum http_parse result = parse_head(&parser, parse_status_line);
    if (result != HTTP_PARSE_DONE)
        return result;
    /* RFC 9112, 6.3 */
    if (request_method == METHOD_HEAD || head->status < 200 || head->status == 204 ||
        head->status == 304)
        head->framing = FRAMING_NONE;
    else if (head->framing == FRAMING_NONE)
        head->framing = FRAMING_CLOSE;
    return HTTP_PARSE_DONE;
}
