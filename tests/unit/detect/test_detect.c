/* SPDX-License-Identifier: MIT */
/* Detection: what frameworks make of SQLite's texts, and what only looks like them. */
#include "detect/detect.h"

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct detect *detect;
static struct detect_scratch *scratch;
static struct schema_error errors[SCHEMA_ERRORS_MAX];

static void set_up(void)
{
    struct error error;
    detect = detect_new(&error);
    ck_assert_ptr_nonnull(detect);
    scratch = detect_scratch_new(detect);
    ck_assert_ptr_nonnull(scratch);
}

static void tear_down(void)
{
    detect_scratch_free(scratch);
    detect_free(detect);
}

/* From memory of the exact size, so that the address sanitizer sees a byte read too far. */
static size_t find(const char *body, size_t length)
{
    char *copy = malloc(length ? length : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, body, length);
    size_t count = detect_find(detect, scratch, slice_make(copy, length), errors);
    free(copy);
    return count;
}

static const struct schema_error *find_named(const char *body, enum schema_kind kind,
                                             const char *name)
{
    size_t count = find(body, strlen(body));
    for (size_t i = 0; i < count; i++)
        if (errors[i].kind == kind && detect_names_object(&errors[i], name))
            return &errors[i];
    return NULL;
}

#define TABLE  SCHEMA_TABLE
#define COLUMN SCHEMA_COLUMN

static const struct {
    const char *body;
    enum schema_kind kind;
    const char *name;
    const char *table; /* named by "table X has no column named" */
} wrapped[] = {
    /* SQLite itself, its shell and thin bindings */
    {"no such table: users", TABLE, "users", NULL},
    {"no such table: main.users", TABLE, "users", NULL},
    {"no such table: temp.users", TABLE, "users", NULL},
    {"No such table: users", TABLE, "users", NULL},
    {"NO SUCH TABLE: USERS", TABLE, "users", NULL},
    {"no such table: Users", TABLE, "uSERS", NULL},
    {"no such column: bitmap", COLUMN, "bitmap", NULL},
    {"no such column: BitMap", COLUMN, "bitmap", NULL},
    {"no such column: c.bitmap", COLUMN, "bitmap", NULL},
    {"no such column: cards.bitmap", COLUMN, "bitmap", NULL},
    {"no such column: main.cards.bitmap", COLUMN, "bitmap", NULL},
    {"no such column: temp.cards.bitmap", COLUMN, "bitmap", NULL},
    {"no such column: \"bitmap\" - should this be a string literal in single-quotes?", COLUMN,
     "bitmap", NULL},
    {"no such column: bitmap - should this be a string literal in single-quotes?", COLUMN, "bitmap",
     NULL},
    {"no such column: \"bit\"map\" - should this be a string literal in single-quotes?", COLUMN,
     "bit\"map", NULL},
    {"no such column: \"bitmap\"", COLUMN, "bitmap", NULL},
    {"table cards has no column named bitmap", COLUMN, "bitmap", "cards"},
    {"table main.cards has no column named bitmap", COLUMN, "bitmap", "cards"},
    {"table temp.cards has no column named bitmap", COLUMN, "bitmap", "cards"},
    {"TABLE Cards HAS NO COLUMN NAMED Bitmap", COLUMN, "bitmap", "cards"},
    {"Parse error near line 1: no such table: users", TABLE, "users", NULL},
    {"Error: in prepare, no such table: users (1)\n", TABLE, "users", NULL},
    {"Error: near line 3: table cards has no column named bitmap\n", COLUMN, "bitmap", "cards"},
    {"no such table: users\r\n", TABLE, "users", NULL},
    {"no such table: users.", TABLE, "users", NULL},
    {"no such table: users. Run the migrations first.", TABLE, "users", NULL},
    {"no such table: users, no such table: cards", TABLE, "cards", NULL},
    {"\x1b[31mno such table: users\x1b[0m", TABLE, "users", NULL},

    /* names that are no plain words */
    {"no such table: order items", TABLE, "order items", NULL},
    {"no such table: order items (1)", TABLE, "order items", NULL},
    {"no such table: we'ird\n", TABLE, "we'ird", NULL},
    {"no such table: we\"ird\n", TABLE, "we\"ird", NULL},
    {"no such table: we.ird\n", TABLE, "we.ird", NULL},
    {"no such table: main.we.ird\n", TABLE, "we.ird", NULL},
    {"no such table: R&D\n", TABLE, "R&D", NULL},
    {"no such table: 100%25 sure\n", TABLE, "100%25 sure", NULL},
    {"no such table: a&amp;b\n", TABLE, "a&amp;b", NULL},
    {"no such table: C:\\temp\n", TABLE, "C:\\temp", NULL},
    {"no such table: größe\n", TABLE, "größe", NULL},
    {"no such table: 表\n", TABLE, "表", NULL},
    {"no such table: (odd)\n", TABLE, "(odd)", NULL},
    {"no such table: \"quoted\"\n", TABLE, "\"quoted\"", NULL},
    {"no such column: q.order total\n", COLUMN, "order total", NULL},
    {"no such column: a.b\n", COLUMN, "a.b", NULL},
    {"table my table has no column named my column\n", COLUMN, "my column", "my table"},
    {"table we\"ird has no column named it's\n", COLUMN, "it's", "we\"ird"},

    /* Python */
    {"sqlite3.OperationalError: no such table: users", TABLE, "users", NULL},
    {"OperationalError('no such table: users')", TABLE, "users", NULL},
    {"OperationalError(\"no such table: we'ird\")", TABLE, "we'ird", NULL},
    {"OperationalError('no such table: we\\'ird\\'s \"x\"')", TABLE, "we'ird's \"x\"", NULL},
    {"OperationalError at /\nno such table: users\n\nRequest Method: GET\n", TABLE, "users", NULL},
    {"<pre class=\"exception_value\">no such table: we&#x27;ird</pre>", TABLE, "we'ird", NULL},
    {"<td class=\"code\"><pre>OperationalError(&quot;no such table: we&#x27;ird&quot;)</pre></td>",
     TABLE, "we'ird", NULL},
    {"The above exception (no such table: we&#x27;ird) was the direct cause of the following "
     "exception:",
     TABLE, "we'ird", NULL},
    {"<title>sqlite3.OperationalError: no such table: we&#39;ird &#34;x&#34;\n // Werkzeug "
     "Debugger</title>",
     TABLE, "we'ird \"x\"", NULL},
    {"(sqlite3.OperationalError) no such table: users\n[SQL: select * from users]\n(Background on "
     "this error at: https://sqlalche.me/e/14/e3q8)",
     TABLE, "users", NULL},
    {"(sqlite3.OperationalError) no such table: users [SQL: select * from orders]", TABLE, "users",
     NULL},
    {"(sqlite3.OperationalError) table cards has no column named bitmap\n[SQL: INSERT INTO cards "
     "(bitmap) VALUES (?)]\n[parameters: ('no',)]",
     COLUMN, "bitmap", "cards"},
    {"<h2>OperationalError: (sqlite3.OperationalError) no such table: users\n[SQL: x]</h2>", TABLE,
     "users", NULL},
    {"{\"detail\":\"(sqlite3.OperationalError) no such table: users\\n[SQL: SELECT 1]\"}", TABLE,
     "users", NULL},
    {"{\"error\": \"no such column: c.bitmap\"}", COLUMN, "bitmap", NULL},
    {"{\"error\": \"table cards has no column named bitmap\", \"status\": 500}", COLUMN, "bitmap",
     "cards"},
    {"{\"error\": \"table gr\\u00f6\\u00dfe has no column named h\\u00f6he\"}", COLUMN, "höhe",
     "größe"},

    /* Ruby */
    {"SQLite3::SQLException: no such table: users", TABLE, "users", NULL},
    {"SQLite3::SQLException: no such table: users: SELECT \"users\".* FROM \"users\"", TABLE,
     "users", NULL},
    {"{\"status\":500,\"error\":\"Internal Server Error\",\"exception\":\"#\\u003c"
     "ActiveRecord::StatementInvalid: SQLite3::SQLException: no such table: users\\u003e\","
     "\"traces\":{}}",
     TABLE, "users", NULL},
    {"#<ActiveRecord::StatementInvalid: SQLite3::SQLException: no such table: users>", TABLE,
     "users", NULL},
    {"<h2>SQLite3::SQLException: no such table: it&#39;s &quot;it&quot;</h2>", TABLE, "it's \"it\"",
     NULL},

    /* PHP */
    {"SQLSTATE[HY000]: General error: 1 no such table: users (Connection: sqlite, SQL: select * "
     "from \"users\")",
     TABLE, "users", NULL},
    {"SQLSTATE[HY000]: General error: 1 no such table: users (SQL: select 1)", TABLE, "users",
     NULL},
    {"PDOException: SQLSTATE[HY000]: General error: 1 no such table: users in /srv/app/db.php:12",
     TABLE, "users", NULL},
    {"<b>Fatal error</b>: no such table: users in <b>/srv/app/db.php</b> on line <b>5</b>", TABLE,
     "users", NULL},
    {"{\"message\":\"SQLSTATE[HY000]: General error: 1 table cards has no column named bitmap "
     "(SQL: "
     "insert)\"}",
     COLUMN, "bitmap", "cards"},
    {"no such table: it&#039;s &quot;it&quot;\n", TABLE, "it's \"it\"", NULL},
    {"{\"message\":\"no such table: a\\/b\"}", TABLE, "a/b", NULL},

    /* JavaScript */
    {"SqliteError: no such table: users\n    at Database.prepare (/srv/app.js:3:1)", TABLE, "users",
     NULL},
    {"SqliteError: no such table: users at Database.prepare (/srv/app.js:3:1)", TABLE, "users",
     NULL},
    {"{\"code\":\"SQLITE_ERROR\",\"message\":\"no such table: users\"}", TABLE, "users", NULL},
    {"SQLITE_ERROR: no such table: users", TABLE, "users", NULL},
    {"select * from `x` - SQLITE_ERROR: no such table: users", TABLE, "users", NULL},
    {"insert into cards - SQLITE_ERROR: table cards has no column named bitmap", COLUMN, "bitmap",
     "cards"},
    {"<pre>SqliteError: no such column: &quot;bitmap&quot; - should this be a string literal in "
     "single-quotes?<br> &nbsp; &nbsp;at Database.prepare",
     COLUMN, "bitmap", NULL},
    {"<pre>SqliteError: no such table: users<br> &nbsp; &nbsp;at Database.prepare", TABLE, "users",
     NULL},
    {"{\"errors\":[{\"message\":\"no such table: users\",\"path\":[\"users\"]}]}", TABLE, "users",
     NULL},
    {"{ message: 'no such table: users', code: 'SQLITE_ERROR' }", TABLE, "users", NULL},

    /* Go, Rust, Java, .NET, Elixir, Perl */
    {"SQL logic error: no such table: users (1)", TABLE, "users", NULL},
    {"{\"error\":\"no such table: a\\u003cb\\u003e \\u0026 c\"}", TABLE, "a<b> & c", NULL},
    {"error returned from database: (code: 1) no such table: users", TABLE, "users", NULL},
    {"no such table: users in SELECT * FROM users at offset 14", TABLE, "users", NULL},
    {"no such column: bitmap in UPDATE cards SET bitmap = 1 at offset 17", COLUMN, "bitmap", NULL},
    {"Database(SqliteError { code: 1, message: \"no such table: users\" })", TABLE, "users", NULL},
    {"[SQLITE_ERROR] SQL error or missing database (no such table: t_user)", TABLE, "t_user", NULL},
    {"### Cause: org.sqlite.SQLiteException: [SQLITE_ERROR] SQL error or missing database (table "
     "cards has no column named bitmap)\n",
     COLUMN, "bitmap", "cards"},
    {"android.database.sqlite.SQLiteException: no such table: users (code 1 SQLITE_ERROR): , while "
     "compiling: SELECT",
     TABLE, "users", NULL},
    {"SQLite Error 1: 'no such table: users'.", TABLE, "users", NULL},
    {"SQLite Error 1: &#x27;no such column: c.bitmap&#x27;.", COLUMN, "bitmap", NULL},
    {"{\"title\":\"SQLite Error 1: \\u0027table cards has no column named bitmap\\u0027.\"}",
     COLUMN, "bitmap", "cards"},
    {"** (Exqlite.Error) no such table: users\nSELECT u0.\"id\" FROM \"users\" AS u0", TABLE,
     "users", NULL},
    {"DBD::SQLite::db prepare failed: no such table: users at script.pl line 5.", TABLE, "users",
     NULL},
    {"level=error err=\"no such table: users\" path=/", TABLE, "users", NULL},
    {"level=error err=no such table: users;path=/", TABLE, "users", NULL},

    /* escaped more than once, or for an address */
    {"{\"body\":\"{\\\"error\\\":\\\"no such table: users\\\"}\"}", TABLE, "users", NULL},
    {"{\"body\":\"{\\\"error\\\":\\\"no such table: users\\\\n[SQL: 1]\\\"}\"}", TABLE, "users",
     NULL},
    {"{\"body\":\"{\\\"error\\\":\\\"no such table: we\\\\\\\"ird\\\"}\"}", TABLE, "we\"ird", NULL},
    {"{\"body\":\"{\\\"error\\\":\\\"no such table: \\\\u8868\\\"}\"}", TABLE, "表", NULL},
    {"{\"error\":\"no such table: \\ud83d\\ude00 faces\"}", TABLE, "😀 faces", NULL},
    {"{\"error\":\"no such table: we&#39;ird\\u003cbr\\u003e\"}", TABLE, "we'ird", NULL},
    {"<code>{&quot;error&quot;:&quot;no such table: we\\&quot;ird&quot;}</code>", TABLE, "we\"ird",
     NULL},
    {"<p>no such table: we&amp;#39;ird</p>", TABLE, "we'ird", NULL},
    {"/?error=no such table: we%27ird&next=/", TABLE, "we'ird", NULL},
    {"/?error=no such table: gr%C3%B6%C3%9Fe", TABLE, "größe", NULL},
    {"/?error=no such table: we%2527ird", TABLE, "we'ird", NULL},
    {"\"no such table: \\u{8868}\"", TABLE, "表", NULL},
    {"'no such table: we\\x27ird'", TABLE, "we'ird", NULL},
    {"<p>no such table: users &hellip;</p>", TABLE, "users &hellip;", NULL},
    {"<p>no such table: users&hellip;</p>", TABLE, "users", NULL},
    {"<div>no such table: users </div>", TABLE, "users", NULL},
};

START_TEST(test_wrapped_error_names_its_object)
{
    const struct schema_error *error =
        find_named(wrapped[_i].body, wrapped[_i].kind, wrapped[_i].name);
    ck_assert_msg(error != NULL, "not found: %s", wrapped[_i].body);

    char other[64];
    snprintf(other, sizeof other, "%s_archive", wrapped[_i].name);
    ck_assert_msg(!detect_names_object(error, other), "longer name: %s", wrapped[_i].body);
    snprintf(other, sizeof other, "x%s", wrapped[_i].name);
    ck_assert_msg(!detect_names_object(error, other), "name with more before: %s",
                  wrapped[_i].body);
    ck_assert(!detect_names_object(error, ""));

    ck_assert_msg((error->table[0] != '\0') == (wrapped[_i].table != NULL), "%s", wrapped[_i].body);
    ck_assert(detect_names_table(error, wrapped[_i].table ? wrapped[_i].table : "anything"));
    if (wrapped[_i].table) {
        snprintf(other, sizeof other, "%s_archive", wrapped[_i].table);
        ck_assert(!detect_names_table(error, other));
        ck_assert(!detect_names_table(error, wrapped[_i].table + 1));
        ck_assert(!detect_names_table(error, ""));
    }
}
END_TEST

/* A word that is the beginning of the name is another name: the next byte belongs to it. */
START_TEST(test_every_shorter_word_is_another_name)
{
    const char *name = wrapped[_i].name;
    const struct schema_error *error = find_named(wrapped[_i].body, wrapped[_i].kind, name);
    ck_assert_ptr_nonnull(error);
    for (size_t length = 1; length < strlen(name); length++) {
        char shorter[64] = "";
        memcpy(shorter, name, length);
        unsigned char next = (unsigned char)name[length];
        bool is_word = next >= 0x80 || next == '_' || (next >= '0' && next <= '9') ||
                       (ascii_lower((char)next) >= 'a' && ascii_lower((char)next) <= 'z');
        if (is_word)
            ck_assert_msg(!detect_names_object(error, shorter), "%s: %s", wrapped[_i].body,
                          shorter);
    }
}
END_TEST

/* Nothing here may name that object: of the named kind, or of any when the body holds no error. */
static const struct {
    const char *body;
    const char *name;
} innocent[] = {
    {"", "cards"},
    {"Internal Server Error", "cards"},
    {"no such", "cards"},
    {"no such table", "cards"},
    {"no such table:", "cards"},
    {"no such table: ", "cards"},
    {"no such table: \ncards", "cards"},
    {"no such table cards", "cards"},
    {"no  such table: cards", "cards"},
    {"no such tables: cards", "cards"},
    {"nosuch table: cards", "cards"},
    {"no such table column: cards.bitmap", "bitmap"},
    {"no such view: cards", "cards"},
    {"no such index: cards", "cards"},
    {"no such trigger: cards", "cards"},
    {"no such function: cards", "cards"},
    {"no such module: cards", "cards"},
    {"no such collation sequence: cards", "cards"},
    {"no such savepoint: cards", "cards"},
    {"ambiguous column name: cards", "cards"},
    {"duplicate column name: cards", "cards"},
    {"table cards already exists", "cards"},
    {"table cards has 3 columns but 4 values were supplied", "cards"},
    {"relation \"cards\" does not exist", "cards"},
    {"has no column named bitmap", "bitmap"},
    {"This has no column named bitmap", "bitmap"},
    {"vegetable has no column named bitmap", "bitmap"},
    {"vegetable soup has no column named bitmap", "bitmap"},
    {"table\nhas no column named bitmap", "bitmap"},
    {"table cards has no column named", "cards"},

    /* the schema is broken, not behind */
    {"error in view v: no such table: main.cards", "cards"},
    {"error in view v after rename: no such table: main.cards", "cards"},
    {"error in trigger t after rename: no such column: new.bitmap", "bitmap"},
    {"error in trigger t after drop column: no such column: bitmap", "bitmap"},
    {"error in index i after drop column: no such column: bitmap", "bitmap"},
    {"error in table t after drop column: no such column: bitmap", "bitmap"},
    {"error in trigger t: table cards has no column named bitmap", "bitmap"},
    {"{\"error\":\"error in view \\\"v\\\": no such table: cards\"}", "cards"},
    {"<p>error in view we&#39;ird: no such table: cards</p>", "cards"},
    {"malformed database schema (v) - no such table: main.cards", "cards"},
    {"malformed database schema (cards_index) - no such column: bitmap", "bitmap"},
    {"malformed database schema (v) - error in view v: no such table: cards", "cards"},

    /* another object */
    {"no such table: cards_archive", "cards"},
    {"no such table: cards-archive", "cards"},
    {"no such table: cards archive", "cards"},
    {"no such table: cards.archive", "cards"},
    {"no such table: cards2", "cards"},
    {"no such table: cardsé", "cards"},
    {"no such table: cards's", "cards"},
    {"no such table: cards\"s", "cards"},
    {"no such table: cards''", "cards"},
    {"no such table: cards$", "cards"},
    {"no such table: cards<2", "cards"},
    {"no such table: cards(2)b", "cards(2"},
    {"no such table: cards in stock", "cards"},
    {"no such table: cards at home", "cards"},
    {"no such table: cards - old", "cards"},
    {"no such table: my cards", "cards"},
    {"no such table: card", "cards"},
    {"no such table: R&amp;D", "R"},
    {"no such table: car\\u0064s_archive", "cards"},
    {"no such table: cards&#95;archive", "cards"},
    {"no such table: cards%5Farchive", "cards"},
    {"no such table: cards\\\\_old", "cards"},
    {"no such column: bitmap2", "bitmap"},
    {"no such column: bitmap.x", "bitmap"},
    {"no such column: \"bitmap2\" - should this be a string literal in single-quotes?", "bitmap"},
    {"no such column: \"bitmap\"s\" - should this be a string literal in single-quotes?", "bitmap"},
    {"table cards has no column named bitmaps", "bitmap"},

    /* another database, or an alias where there is none */
    {"no such table: archive.cards", "cards"},
    {"no such table: main2.cards", "cards"},
    {"no such table: main.archive.cards", "cards"},
    {"no such table: main.main.cards", "cards"},
    {"no such column: archive.cards.bitmap", "bitmap"},
    {"no such column: x in SELECT c.bitmap FROM c", "bitmap"},
    {"no such column: x. Not c.bitmap", "bitmap"},
    {"no such column: x (c.bitmap)", "bitmap"},

    /* what an SQL text says in an error of another kind */
    {"UNIQUE constraint failed: cards.id [SQL: SELECT 'no such thing' FROM cards]", "cards"},
    {"[SQL: SELECT * FROM cards]\nno such table: users", "cards"},
    {"no such table: users (SQL: select * from cards)", "cards"},
};

START_TEST(test_p3_nothing_else_is_named)
{
    size_t count = find(innocent[_i].body, strlen(innocent[_i].body));
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(!detect_names_object(&errors[i], innocent[_i].name), "%s", innocent[_i].body);
}
END_TEST

static const char *const silent[] = {
    "",
    "no such table: ",
    "no such view: cards",
    "has no column named bitmap",
    "error in view v: no such table: main.cards",
    "error in trigger t after rename: no such column: new.bitmap",
    "malformed database schema (v) - no such table: cards",
    "malformed database schema (v) - table cards has no column named bitmap",
};

START_TEST(test_a_body_without_schema_error_tells_none)
{
    ck_assert_uint_eq(find(silent[_i], strlen(silent[_i])), 0);
}
END_TEST

/* An application's own words are not SQLite's about a broken schema. */
START_TEST(test_a_wrapped_error_of_an_applications_view_counts)
{
    ck_assert_ptr_nonnull(find_named("error in view index: OperationalError: no such table: cards",
                                     SCHEMA_TABLE, "cards"));
    ck_assert_ptr_nonnull(find_named("error in view v: no such table: a\nno such table: cards",
                                     SCHEMA_TABLE, "cards"));
}
END_TEST

static const struct {
    const char *body;
    const char *text;
} texts[] = {
    {"OperationalError: no such table: cards\n  at", "no such table: cards"},
    {"{\"error\":\"NO SUCH TABLE: cards\",\"x\":1}", "no such table: cards"},
    {"<pre>no such table: we&#x27;ird</pre>", "no such table: we'ird"},
    {"(no such column: c.bitmap)", "no such column: c.bitmap"},
    {"no such column: \"x\" - should this be a string literal in single-quotes?",
     "no such column: \"x\""},
    {"[SQL error] (table my cards has no column named bitmap)",
     "table my cards has no column named bitmap"},
    {"no such table: cards\tand more", "no such table: cards"},
};

START_TEST(test_text_for_people_ends_with_the_name)
{
    ck_assert_uint_eq(find(texts[_i].body, strlen(texts[_i].body)), 1);
    ck_assert_str_eq(errors[0].text, texts[_i].text);
}
END_TEST

START_TEST(test_a_repeated_error_is_told_once)
{
    const char *body = "<title>no such table: cards</title><pre>no such table: Cards</pre>"
                       "OperationalError('no such table: cards')\nno such table: users\n"
                       "no such column: cards\nno such table: cards";
    ck_assert_uint_eq(find(body, strlen(body)), 3);
    ck_assert(detect_names_object(&errors[0], "cards"));
    ck_assert(detect_names_object(&errors[1], "users"));
    ck_assert_int_eq(errors[2].kind, SCHEMA_COLUMN);
}
END_TEST

START_TEST(test_errors_are_bounded)
{
    char body[64 * 1024];
    size_t length = 0;
    for (int i = 0; length + 64 < sizeof body; i++)
        length += (size_t)snprintf(body + length, 64, "no such table: t%d\n", i);
    ck_assert_uint_eq(find(body, length), SCHEMA_ERRORS_MAX);
    for (int i = 0; i < SCHEMA_ERRORS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        ck_assert(detect_names_object(&errors[i], name));
    }
}
END_TEST

/* A hostile page that repeats itself may hide an error, but costs a bounded number of windows. */
START_TEST(test_p7_a_page_of_repetitions_ends)
{
    char body[64 * 1024];
    size_t length = 0;
    while (length + 64 < sizeof body)
        length += (size_t)snprintf(body + length, 64, "no such table: same;");
    memcpy(body + length, "no such table: last", sizeof "no such table: last" - 1);
    length += sizeof "no such table: last" - 1;
    ck_assert_uint_eq(find(body, length), 1);
}
END_TEST

/* Whatever part of a body is held, reading stays inside it, and a name that is whole is found. */
START_TEST(test_every_part_of_a_body_is_safe)
{
    const char *body = wrapped[_i].body;
    size_t length = strlen(body);
    for (size_t begin = 0; begin <= length; begin++)
        for (size_t end = begin; end <= length; end++) {
            size_t count = find(body + begin, end - begin);
            for (size_t i = 0; i < count; i++) {
                ck_assert(strlen(errors[i].text) < SCHEMA_ERROR_WINDOW);
                ck_assert(errors[i].object[0] != '\0');
            }
            if (end == length && begin == 0)
                ck_assert_ptr_nonnull(find_named(body, wrapped[_i].kind, wrapped[_i].name));
        }
}
END_TEST

/* Names and bodies around the window's size: a name that may go on is not believed. */
START_TEST(test_a_name_longer_than_the_window_is_not_named)
{
    char body[2048];
    for (size_t length = 200; length < 300; length++) {
        char name[512] = "";
        memset(name, 'n', length);
        snprintf(body, sizeof body, "no such table: %s", name);
        const struct schema_error *error = find_named(body, SCHEMA_TABLE, name);
        ck_assert_msg((error != NULL) == (length < SCHEMA_ERROR_WINDOW), "%zu", length);
        name[length - 1] = '\0';
        ck_assert(!find_named(body, SCHEMA_TABLE, name));
        memset(name, 'n', length);
        snprintf(body, sizeof body, "table %s has no column named x", name);
        error = find_named(body, SCHEMA_COLUMN, "x");
        if (error)
            ck_assert(detect_names_table(error, name));
        ck_assert((error != NULL) == (length < SCHEMA_ERROR_WINDOW - strlen("table ")));
    }
    /* one character of an emoji name is 12 bytes of JSON, and a long line of them is cut */
    memcpy(body, "no such table: ", 15);
    size_t end = 15;
    while (end + 13 < sizeof body) {
        memcpy(body + end, "\\ud83d\\ude00", 12);
        end += 12;
    }
    ck_assert_uint_eq(find(body, end), 1);
    ck_assert(errors[0].is_cut);
}
END_TEST

START_TEST(test_random_bytes_are_safe)
{
    static char body[64 * 1024];
    static const char *const parts[] = {
        "no such table: ", "no such column: ", "table ", " has no column named ", "&#x", "\\u", "%",
        "error in view "};
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof body; i++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            body[i] = (char)(state >> 56);
        }
        for (size_t i = 0; round > 0 && i + 64 < sizeof body; i += 1 + (size_t)body[i + 1] % 61) {
            const char *part = parts[(unsigned char)body[i] % (sizeof parts / sizeof *parts)];
            memcpy(body + i, part, strlen(part));
            i += strlen(part);
        }
        size_t count = find(body, sizeof body);
        ck_assert(round > 0 || count == 0);
        for (size_t i = 0; i < count; i++) {
            detect_names_object(&errors[i], "cards");
            detect_names_table(&errors[i], "cards");
        }
    }
}
END_TEST

START_TEST(test_a_scratch_serves_many_bodies)
{
    for (int i = 0; i < 1000; i++) {
        ck_assert_ptr_nonnull(find_named("no such table: cards", SCHEMA_TABLE, "cards"));
        ck_assert_uint_eq(find("nothing", 7), 0);
    }
    detect_free(NULL);
    detect_scratch_free(NULL);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

int main(void)
{
    Suite *suite = suite_create("detect");
    TCase *cases = tcase_create("detect");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_loop_test(cases, test_wrapped_error_names_its_object, 0, COUNT(wrapped));
    tcase_add_loop_test(cases, test_every_shorter_word_is_another_name, 0, COUNT(wrapped));
    tcase_add_loop_test(cases, test_p3_nothing_else_is_named, 0, COUNT(innocent));
    tcase_add_loop_test(cases, test_a_body_without_schema_error_tells_none, 0, COUNT(silent));
    tcase_add_test(cases, test_a_wrapped_error_of_an_applications_view_counts);
    tcase_add_loop_test(cases, test_text_for_people_ends_with_the_name, 0, COUNT(texts));
    tcase_add_test(cases, test_a_repeated_error_is_told_once);
    tcase_add_test(cases, test_errors_are_bounded);
    tcase_add_test(cases, test_p7_a_page_of_repetitions_ends);
    tcase_add_loop_test(cases, test_every_part_of_a_body_is_safe, 0, COUNT(wrapped));
    tcase_add_test(cases, test_a_name_longer_than_the_window_is_not_named);
    tcase_add_test(cases, test_random_bytes_are_safe);
    tcase_add_test(cases, test_a_scratch_serves_many_bodies);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
