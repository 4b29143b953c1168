/* SPDX-License-Identifier: MIT */
/* Any bytes as a request head and as a response head. The verdict does not depend on where the
 * bytes were cut; and what goes on after an edit is a head again, framed as before and free of what
 * must not go on. The first byte of the input chooses rules, the second the cut. */
#include <stdint.h>
#include <stdlib.h>

#include "http/edit.h"

enum { OPTION_BYTES = 2, FIELDS_ADDED_MAX = 6 };

/* What an edited head needs besides the rules: is it still the same message? */
struct rules {
    bool is_trusted, is_second, upgrades, closes, unframes, answers_head;
};

static struct http_head head, again;

/* A failed check stops the fuzzer, which keeps the input. */
static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_parse parse(bool is_request, struct slice bytes, enum http_method method,
                             struct http_head *result, struct http_refusal *refusal)
{
    return is_request ? http_parse_request(bytes, result, refusal)
                      : http_parse_response(bytes, method, result, refusal);
}

/* The first `cut` bytes, in memory of their own, must not be judged otherwise than all of them. */
static void check_cut(bool is_request, struct slice bytes, size_t cut, enum http_method method,
                      enum http_parse verdict, const struct http_refusal *refusal)
{
    char *prefix = malloc(cut + !cut);
    check(prefix != NULL);
    memcpy(prefix, bytes.data, cut);
    struct http_refusal early = {0, NULL};
    enum http_parse result = parse(is_request, slice_make(prefix, cut), method, &again, &early);
    if (result == HTTP_PARSE_DONE)
        check(verdict == HTTP_PARSE_DONE && again.length == head.length &&
              again.framing == head.framing && again.field_count == head.field_count);
    if (result == HTTP_PARSE_BAD)
        check(verdict == HTTP_PARSE_BAD && early.status == refusal->status &&
              early.reason == refusal->reason);
    if (result == HTTP_PARSE_MORE && verdict == HTTP_PARSE_DONE)
        check(cut < head.length);
    free(prefix);
}

static char *join(const struct http_edit *edit)
{
    char *text = malloc(edit->length + 1);
    check(text != NULL && !edit->overflow);
    size_t length = 0;
    for (unsigned i = 0; i < edit->count; i++) {
        memcpy(text + length, edit->slices[i].iov_base, edit->slices[i].iov_len);
        length += edit->slices[i].iov_len;
    }
    check(length == edit->length);
    text[length] = '\0';
    return text;
}

/* Nothing hop-by-hop but what an upgrade or a closing connection needs. */
static void check_fields(const struct rules *rules, bool is_request)
{
    for (unsigned i = 0; i < again.field_count; i++) {
        enum http_field_name token = again.fields[i].token;
        bool is_allowed =
            (rules->upgrades && (token == FIELD_CONNECTION || token == FIELD_UPGRADE)) ||
            (!is_request && rules->closes && token == FIELD_CONNECTION);
        check(is_allowed || !(http_field_flags(token) & FIELD_HOP_BY_HOP));
        check(token != FIELD_X_AUTOMIGRATE || (is_request && rules->is_second));
        check(token != FIELD_LOOKALIKE || !is_request);
    }
}

static void check_request_edit(const struct rules *rules)
{
    char scratch[HTTP_EDIT_SCRATCH];
    struct http_edit edit;
    struct http_refusal refusal;
    struct http_request_edit request = {.peer = SLICE("2001:db8::1"),
                                        .peer_is_trusted = rules->is_trusted,
                                        .protocol = SLICE("https"),
                                        .expect_removed = rules->is_second,
                                        .attempt = rules->is_second ? 2 : 1,
                                        .forward_upgrade = rules->upgrades};
    http_edit_request(&edit, &head, &request, scratch);
    char *text = join(&edit);
    enum http_parse result = http_parse_request(slice_make(text, edit.length), &again, &refusal);
    check(result == HTTP_PARSE_DONE && again.length == edit.length && again.minor == 1);
    check(again.method == head.method && slice_equal(again.method_text, head.method_text));
    check(again.framing == head.framing && again.content_length == head.content_length);
    check(slice_equal(again.host, head.host) && again.path.data == again.target.data);
    check(http_head_field(&again, FIELD_X_FORWARDED_FOR) != NULL);
    check(!rules->is_second || !again.expects_continue);
    check_fields(rules, true);
    free(text);
}

static void check_response_edit(const struct rules *rules, enum http_method method)
{
    struct http_edit edit;
    struct http_refusal refusal;
    struct http_response_edit response = {.close = rules->closes,
                                          .forward_upgrade = rules->upgrades};
    enum http_framing framing = head.framing;
    if (rules->unframes && framing == FRAMING_CLOSE) {
        response.framing = RESPONSE_FRAMING_CHUNK;
        framing = FRAMING_CHUNKED;
    } else if (rules->unframes && framing == FRAMING_CHUNKED) {
        response.framing = RESPONSE_FRAMING_UNCHUNK;
        framing = FRAMING_CLOSE;
    }
    if (rules->is_second)
        response.proxy_status = SLICE("automigrate");
    http_edit_response(&edit, &head, &response);
    char *text = join(&edit);
    enum http_parse result =
        http_parse_response(slice_make(text, edit.length), method, &again, &refusal);
    check(result == HTTP_PARSE_DONE && again.length == edit.length && again.minor == 1);
    check(again.status == head.status && again.framing == framing);
    check(framing != FRAMING_LENGTH || again.content_length == head.content_length);
    check(again.keep_alive == (rules->upgrades || !rules->closes));
    check_fields(rules, false);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < OPTION_BYTES)
        return 0;
    struct rules rules = {data[0] & 1, data[0] & 2,  data[0] & 4,
                          data[0] & 8, data[0] & 16, data[0] & 32};
    struct slice bytes = slice_make((const char *)data + OPTION_BYTES, size - OPTION_BYTES);
    size_t cut = bytes.length * data[1] / UINT8_MAX;
    enum http_method method = rules.answers_head ? METHOD_HEAD : METHOD_GET;
    for (int is_request = 0; is_request < 2; is_request++) {
        struct http_refusal refusal = {0, NULL};
        enum http_parse verdict = parse(is_request, bytes, method, &head, &refusal);
        check(verdict != HTTP_PARSE_BAD || (refusal.status >= 400 && refusal.reason != NULL));
        check_cut(is_request, bytes, cut, method, verdict, &refusal);
        if (verdict != HTTP_PARSE_DONE || head.field_count > HTTP_FIELDS_MAX - FIELDS_ADDED_MAX)
            continue;
        if (is_request)
            check_request_edit(&rules);
        else
            check_response_edit(&rules, method);
    }
    return 0;
}
