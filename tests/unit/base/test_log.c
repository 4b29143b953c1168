/* SPDX-License-Identifier: MIT */
/* Log lines: their form survives whatever is in them, and however long it is. */
#include "base/log.h"

#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buffer.h"

/* Standard error into a file while `write_lines` runs; what it holds then, with NUL behind it. */
static char *written(void (*write_lines)(void))
{
    char path[] = "/tmp/automigrate-test-XXXXXX";
    struct buffer text = {0};
    int file = mkstemp(path), saved = dup(STDERR_FILENO);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_ge(dup2(file, STDERR_FILENO), 0);
    write_lines();
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    close(saved);
    off_t length = lseek(file, 0, SEEK_END);
    ck_assert(buffer_reserve(&text, (size_t)length));
    ck_assert_int_eq(pread(file, text.data, (size_t)length, 0), length);
    text.length = (size_t)length;
    close(file);
    char *taken = buffer_take(&text);
    ck_assert_ptr_nonnull(taken);
    return taken;
}

static struct slice field_value;

static void write_field(void)
{
    LOG(LOG_WARNING, "tested", "a message", log_slice("key", field_value), log_number("n", -7),
        log_text("left_out", NULL));
}

/* The value of "key" in a JSON line; the caller lets go of the whole. */
static json_t *json_line(const char *text)
{
    json_error_t error;
    json_t *line = json_loads(text, 0, &error);
    ck_assert_msg(line != NULL, "%s in %s", error.text, text);
    return line;
}

START_TEST(test_a_json_line_holds_what_was_given)
{
    static const struct {
        struct slice value;
        const char *read;
    } cases[] = {
        {SLICE("plain"), "plain"},
        {SLICE(""), ""},
        {SLICE("a \"b\" \\ c"), "a \"b\" \\ c"},
        {SLICE("two\nlines\r\tand\x01\x7f"), "two\nlines\r\tand\x01\x7f"},
        {SLICE("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        /* What is no UTF-8 becomes U+FFFD: JSON readers refuse it. */
        {SLICE("\xff"), "\xef\xbf\xbd"},
        {SLICE("a\xc3"), "a\xef\xbf\xbd"},
        {SLICE("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    log_configure(LOG_INFO, LOG_FORMAT_JSON);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        field_value = cases[i].value;
        char *text = written(write_field);
        json_t *line = json_line(text);
        ck_assert_str_eq(json_string_value(json_object_get(line, "key")), cases[i].read);
        ck_assert_int_eq(json_integer_value(json_object_get(line, "n")), -7);
        ck_assert_str_eq(json_string_value(json_object_get(line, "event")), "tested");
        ck_assert_str_eq(json_string_value(json_object_get(line, "level")), "warning");
        ck_assert_str_eq(json_string_value(json_object_get(line, "message")), "a message");
        ck_assert_uint_eq(strlen(json_string_value(json_object_get(line, "time"))), 24);
        ck_assert_ptr_null(json_object_get(line, "left_out"));
        ck_assert_uint_eq(json_object_size(line), 6);
        json_decref(line);
        free(text);
    }
}
END_TEST

START_TEST(test_a_text_line_quotes_where_it_must)
{
    static const struct {
        struct slice value;
        const char *end;
    } cases[] = {
        {SLICE("plain/path?x"), " key=plain/path?x n=-7\n"},
        {SLICE(""), " key=\"\" n=-7\n"},
        {SLICE("a b"), " key=\"a b\" n=-7\n"},
        {SLICE("a=b"), " key=\"a=b\" n=-7\n"},
        {SLICE("say \"x\" \\"), " key=\"say \\\"x\\\" \\\\\" n=-7\n"},
        {SLICE("x\ntime=now"), " key=\"x\\ntime=now\" n=-7\n"},
        {SLICE("\x1b[31m"), " key=\"\\u001b[31m\" n=-7\n"},
        {SLICE("a\0b"), " key=\"a\\u0000b\" n=-7\n"},
        {SLICE("\xc3\xa4"), " key=\"\xc3\xa4\" n=-7\n"},
        {SLICE("\xfe"), " key=\"\\ufffd\" n=-7\n"},
    };
    log_configure(LOG_INFO, LOG_FORMAT_TEXT);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        field_value = cases[i].value;
        char *text = written(write_field);
        ck_assert_int_eq(strncmp(text, "time=", 5), 0);
        const char *middle = strstr(text, "Z level=warning event=tested message=\"a message\" ");
        ck_assert_ptr_nonnull(middle);
        ck_assert_str_eq(text + strlen(text) - strlen(cases[i].end), cases[i].end);
        ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
        free(text);
    }
}
END_TEST

static const char *long_text;

static void write_long(void)
{
    LOG(LOG_ERROR, "tested", "a message", log_text("first", long_text), log_number("n", 1),
        log_text("second", long_text), log_number("m", 2), log_text("empty", ""));
}

/* Every length around the bound, with characters that take one byte to six. */
START_TEST(test_a_cut_line_keeps_its_form)
{
    static const char *const characters[] = {
        "a", "\"", "\n", "\x02", "\xc3\xa4", "\xf0\x9f\x98\x80", "\xff"};
    const char *character = characters[_i];
    char text[PIPE_BUF * 3];
    size_t size = strlen(character);
    for (size_t count = 300; count * size < sizeof text - 1; count += count < 4200 ? 3 : 997) {
        for (size_t i = 0; i < count; i++)
            memcpy(text + i * size, character, size);
        text[count * size] = '\0';
        long_text = text;
        log_configure(LOG_INFO, LOG_FORMAT_JSON);
        char *line = written(write_long);
        ck_assert_uint_le(strlen(line), PIPE_BUF); /* one piece in a pipe */
        ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
        json_t *object = json_line(line);
        ck_assert_uint_gt(strlen(json_string_value(json_object_get(object, "first"))), 299);
        json_decref(object);
        free(line);
        log_configure(LOG_INFO, LOG_FORMAT_TEXT);
        line = written(write_long);
        ck_assert_uint_le(strlen(line), PIPE_BUF);
        ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
        unsigned quotes = 0;
        for (const char *at = line; *at; at++) {
            quotes += *at == '"';
            at += *at == '\\';
        }
        ck_assert_uint_eq(quotes % 2, 0);
        free(line);
    }
}
END_TEST

static void *write_many(void *context)
{
    (void)context;
    for (int i = 0; i < 500; i++)
        write_field();
    return NULL;
}

static void write_from_threads(void)
{
    static char text[2000];
    pthread_t threads[4];
    memset(text, 'x', sizeof text);
    field_value = slice_make(text, sizeof text);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_many, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

START_TEST(test_lines_of_several_threads_do_not_mix)
{
    log_configure(LOG_INFO, LOG_FORMAT_JSON);
    char *text = written(write_from_threads);
    struct slice rest = slice_from_string(text);
    for (int i = 0; i < 2000; i++) {
        char line[PIPE_BUF];
        json_decref(json_line(slice_copy(slice_split(&rest, '\n'), line, sizeof line)));
    }
    ck_assert_uint_eq(rest.length, 0);
    free(text);
}
END_TEST

/* A pipe that nobody reads must not hold whoever logs (P7). */
START_TEST(test_p7_a_reader_that_has_stopped_reading_costs_lines_and_nothing_else)
{
    enum { LINES = 1000 };
    static char text[1000], out[1 << 20];
    int ends[2], saved = dup(STDERR_FILENO);
    size_t length = 0;
    ssize_t count;
    memset(text, 'x', sizeof text);
    field_value = slice_make(text, sizeof text);
    log_configure(LOG_INFO, LOG_FORMAT_JSON);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    for (int i = 0; i < LINES; i++)
        write_field();
    ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    while ((count = read(ends[0], out + length, sizeof out - length)) > 0)
        length += (size_t)count;
    write_field(); /* there is room again */
    while ((count = read(ends[0], out + length, sizeof out - length)) > 0)
        length += (size_t)count;
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    struct slice rest = slice_make(out, length);
    int64_t lines = 0, dropped = 0;
    while (rest.length > 0) {
        char line[PIPE_BUF];
        json_t *object = json_line(slice_copy(slice_split(&rest, '\n'), line, sizeof line));
        dropped += json_integer_value(json_object_get(object, "lines"));
        lines += json_object_get(object, "key") != NULL;
        json_decref(object);
    }
    ck_assert_int_gt(dropped, 0);
    ck_assert_int_eq(lines + dropped, LINES + 1); /* none is lost unsaid */
}
END_TEST

static void write_below(void)
{
    LOG(LOG_INFO, "tested", "not to be seen");
    LOG(LOG_WARNING, "tested", "to be seen");
}

START_TEST(test_lines_below_the_level_are_dropped)
{
    log_configure(LOG_WARNING, LOG_FORMAT_TEXT);
    char *text = written(write_below);
    ck_assert_ptr_null(strstr(text, "not to be seen"));
    ck_assert_ptr_nonnull(strstr(text, "to be seen"));
    ck_assert(!log_is_on(LOG_INFO));
    ck_assert(log_is_on(LOG_WARNING));
    ck_assert(log_is_on(LOG_ERROR));
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");
    tcase_add_test(tcase, test_a_json_line_holds_what_was_given);
    tcase_add_test(tcase, test_a_text_line_quotes_where_it_must);
    tcase_add_loop_test(tcase, test_a_cut_line_keeps_its_form, 0, 7);
    tcase_add_test(tcase, test_lines_of_several_threads_do_not_mix);
    tcase_add_test(tcase, test_p7_a_reader_that_has_stopped_reading_costs_lines_and_nothing_else);
    tcase_add_test(tcase, test_lines_below_the_level_are_dropped);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
