/* SPDX-License-Identifier: MIT */
/* Escapes undone in place: each kind, in layers, and what is none. */
#include "detect/decode.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    const char *decoded;
} cases[] = {
    {"", ""},
    {"cards", "cards"},
    /* entities */
    {"&quot;&apos;&lt;&gt;&amp;&nbsp;", "\"'<>& "},
    {"&#39;&#039;&#x27;&#X27;", "''''"},
    {"&#x60;&#34;", "`\""},
    {"&#233;&#xe9;&#x8868;&#x1f600;", "éé表😀"},
    {"&amp;amp;quot;", "\""},
    {"&amp;amp;amp;quot;", "&quot;"}, /* deeper than anybody goes */
    {"& &; &# &#; &#x; &#xg; &#39 &quot &unknown; &#12345678;",
     "& &; &# &#; &#x; &#xg; &#39 &quot &unknown; &#12345678;"},
    {"&#xd800;&#x110000;", "\xef\xbf\xbd\xef\xbf\xbd"},
    /* JSON and source text */
    {"\\\"\\'\\`\\/", "\"'`/"},
    {"\\n\\r\\t\\b\\f", "\n\r\t\b\f"},
    {"\\u00e9\\u8868\\u0041", "é表A"},
    {"\\ud83d\\ude00", "😀"},
    {"\\ud83d\\u0041\\ude00", "\xef\xbf\xbd"
                              "A\xef\xbf\xbd"},
    {"\\u{e9}\\u{1f600}", "é😀"},
    {"\\x27\\xe9", "'\\xe9"},
    {"\\", "\\"},
    {"\\u \\u12 \\u{ \\u{} \\u{12 \\x \\x1 \\q", "\\u \\u12 \\u{ \\u{} \\u{12 \\x \\x1 \\q"},
    {"\\\\\\\"", "\""},
    {"\\\\n", "\n"},
    {"\\\\u0041", "A"},
    /* percent */
    {"%27%c3%A9%25", "'é%"},
    {"%2527", "'"},
    {"% %2 %zz 100%", "% %2 %zz 100%"},
    /* mixed */
    {"\\u0026#39;", "'"},
    {"\\&quot;", "\""},
    {"&#37;27", "'"},
    /* an escaped NUL ends a name as a line end does */
    {"a\\u0000b&#0;c%00d\\x00e", "a\nb\nc\nd\ne"},
};

START_TEST(test_escapes_are_undone_and_nothing_else)
{
    size_t length = strlen(cases[_i].text);
    char *text = malloc(length + 1); /* of the exact size but for the NUL that check wants */
    ck_assert_ptr_nonnull(text);
    memcpy(text, cases[_i].text, length);
    length = decode_escapes(text, length);
    text[length] = '\0';
    ck_assert_str_eq(text, cases[_i].decoded);
    free(text);
}
END_TEST

START_TEST(test_a_text_cut_anywhere_is_read_no_further)
{
    size_t length = strlen(cases[_i].text);
    for (size_t end = 0; end <= length; end++) {
        char *text = malloc(end ? end : 1);
        ck_assert_ptr_nonnull(text);
        memcpy(text, cases[_i].text, end);
        ck_assert_uint_le(decode_escapes(text, end), end);
        free(text);
    }
}
END_TEST

int main(void)
{
    enum { COUNT = sizeof cases / sizeof *cases };
    Suite *suite = suite_create("decode");
    TCase *tests = tcase_create("decode");
    tcase_add_loop_test(tests, test_escapes_are_undone_and_nothing_else, 0, COUNT);
    tcase_add_loop_test(tests, test_a_text_cut_anywhere_is_read_no_further, 0, COUNT);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
