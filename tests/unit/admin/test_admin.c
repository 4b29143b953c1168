/* SPDX-License-Identifier: MIT */
/* The operators' server from the outside, over loopback. */
#include <check.h>
#include <curl/curl.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/page.h"
#include "base/buffer.h"
#include "journal/journal.h"

static char directory[64];
static char database[96], migrations[96], state_directory[96], socket_path[96];
static bool is_ready;
static struct admin *admin;

static size_t give_metrics(void *context, struct admin_metric *out, size_t most)
{
    ck_assert_ptr_eq(context, directory);
    ck_assert_uint_ge(most, 1);
    out[0] = (struct admin_metric){"automigrate_x_total", "X.", "counter", NULL, 12};
    return 1;
}

static bool give_readiness(void *context, char reason[128])
{
    (void)context;
    snprintf(reason, 128, "the database is missing");
    return is_ready;
}

static void write_migration(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", migrations, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static void run_sql(const char *sql)
{
    sqlite3 *handle;
    ck_assert_int_eq(sqlite3_open(database, &handle), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
}

static void start(const char *address)
{
    struct error error;
    const struct admin_sources sources = {.context = directory,
                                          .metrics = give_metrics,
                                          .ready = give_readiness,
                                          .database = database,
                                          .migrations = migrations,
                                          .state_directory = state_directory,
                                          .mode = "auto",
                                          .environment = "<staging>",
                                          .version = "1.2.3",
                                          .rehearsal_timeout_ms = 5000};
    admin = admin_start(address, &sources, &error);
    ck_assert_msg(admin, "%s", error.message);
}

static void set_up(void)
{
    snprintf(directory, sizeof directory, "/tmp/automigrate-admin-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(database, sizeof database, "%s/app.db", directory);
    snprintf(migrations, sizeof migrations, "%s/migrations", directory);
    snprintf(state_directory, sizeof state_directory, "%s/state", directory);
    snprintf(socket_path, sizeof socket_path, "%s/admin.sock", directory);
    ck_assert_int_eq(mkdir(migrations, 0755), 0);
    write_migration("001_<cards>.sql", "-- migrate:up\nCREATE TABLE cards(id);\n");
    run_sql("CREATE TABLE other(id)");
    is_ready = true;
}

static void tear_down(void)
{
    char command[160];
    admin_stop(admin);
    admin = NULL;
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    ck_assert_int_eq(system(command), 0);
}

/* ---- asking ---- */

struct reply {
    long status;
    struct buffer body;
    struct buffer head;
};

static size_t append(char *data, size_t size, size_t count, void *buffer)
{
    return buffer_append(buffer, data, size * count) ? size * count : 0;
}

/* `field` is an extra header, `body` what is sent; both may be NULL. */
static struct reply ask(const char *method, const char *path, const char *field, const char *body)
{
    struct reply reply = {0};
    char url[256];
    CURL *curl = curl_easy_init();
    struct curl_slist *fields = field ? curl_slist_append(NULL, field) : NULL;
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", admin_port(admin), path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &reply.head);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
    if (admin_port(admin) == 0)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path);
    if (body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    ck_assert_int_eq(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    curl_slist_free_all(fields);
    curl_easy_cleanup(curl);
    ck_assert(buffer_append_string(&reply.body, "") && buffer_append_string(&reply.head, ""));
    return reply;
}

static void reply_free(struct reply *reply)
{
    buffer_free(&reply->body);
    buffer_free(&reply->head);
}

static json_t *ask_json(const char *path)
{
    struct reply reply = ask("GET", path, NULL, NULL);
    ck_assert_int_eq(reply.status, 200);
    json_t *json = json_loads(reply.body.data, 0, NULL);
    ck_assert_msg(json, "%s", reply.body.data);
    reply_free(&reply);
    return json;
}

/* ---- tests ---- */

static const struct {
    const char *method, *path, *field, *body;
    long status;
    const char *in_head, *in_body;
} requests[] = {
    {"GET", "/healthz", NULL, NULL, 200, "text/plain", "ok\n"},
    {"GET", "/readyz", NULL, NULL, 200, "text/plain", "ready\n"},
    {"GET", "/metrics", NULL, NULL, 200, "version=0.0.4", "\nautomigrate_x_total 12\n"},
    {"GET", "/metrics", NULL, NULL, 200, "version=0.0.4", "{version=\"1.2.3\"} 1\n"},
    {"GET", "/api/v1/status", NULL, NULL, 200, "application/json", "\"version\": \"001\""},
    {"GET", "/api/v1/events", NULL, NULL, 200, "application/json", "\"events\": []"},
    {"GET", "/api/v1/events?limit=0", NULL, NULL, 200, "no-store", "\"last_id\": 0"},
    {"GET", "/api/v1/events?limit=1001", NULL, NULL, 400, "application/json", "up to 1000"},
    {"GET", "/api/v1/events?limit=-1", NULL, NULL, 400, "application/json", "not a number"},
    {"GET", "/api/v1/events?after=x", NULL, NULL, 400, "application/json", "after"},
    {"GET", "/api/v1/events?type=%00x", NULL, NULL, 400, "application/json", "not a type"},
    {"GET", "/", NULL, NULL, 200, "text/html", "&lt;cards&gt;"},
    {"GET", "/", NULL, NULL, 200, "Content-Security-Policy: default-src 'none'", "&lt;staging&gt;"},
    {"HEAD", "/", NULL, NULL, 200, "nosniff", ""},
    {"GET", "/nothing", NULL, NULL, 404, "text/plain", "/healthz"},
    {"GET", "//healthz", NULL, NULL, 404, "text/plain", "/healthz"},
    {"POST", "/", NULL, "a=b", 405, "Allow: GET, HEAD", "use GET"},
    {"POST", "/api/v1/status", NULL, "", 405, "Allow: GET, HEAD", "use GET"},
    {"DELETE", "/healthz", NULL, NULL, 405, "Allow: GET, HEAD", "use GET"},
    {"OPTIONS", "/healthz", NULL, NULL, 405, "Allow: GET, HEAD", "use GET"},
    {"GET", "/healthz", NULL, "body", 400, "text/plain", "no body"},
    {"GET", "/healthz", "Host: evil.example", NULL, 421, "text/plain", "--admin"},
    {"GET", "/", "Host: 127.0.0.1.evil.example:80", NULL, 421, "text/plain", "--admin"},
    {"GET", "/", "Host: [::1].evil.example", NULL, 421, "text/plain", "--admin"},
    {"GET", "/", "Host: localhost.evil.example", NULL, 421, "text/plain", "--admin"},
    {"GET", "/healthz", "Host: localhost:8080", NULL, 200, "text/plain", "ok"},
    {"GET", "/healthz", "Host: [::1]:9180", NULL, 200, "text/plain", "ok"},
    {"GET", "/healthz", "Host: LocalHost", NULL, 200, "text/plain", "ok"},
};

START_TEST(test_p10_requests_are_answered_and_nothing_can_be_changed)
{
    start("127.0.0.1:0");
    struct reply reply =
        ask(requests[_i].method, requests[_i].path, requests[_i].field, requests[_i].body);
    ck_assert_int_eq(reply.status, requests[_i].status);
    ck_assert_msg(strstr(reply.head.data, requests[_i].in_head), "%s", reply.head.data);
    ck_assert_msg(strstr(reply.body.data, requests[_i].in_body), "%s", reply.body.data);
    if (strcmp(requests[_i].in_head, "text/html") == 0)
        ck_assert_ptr_null(strstr(reply.body.data, "<cards>"));
    reply_free(&reply);
}
END_TEST

START_TEST(test_readiness_is_asked_for_each_time)
{
    start("127.0.0.1:0");
    is_ready = false;
    struct reply reply = ask("GET", "/readyz", NULL, NULL);
    ck_assert_int_eq(reply.status, 503);
    ck_assert_str_eq(reply.body.data, "the database is missing\n");
    reply_free(&reply);
}
END_TEST

START_TEST(test_p12_status_is_what_files_and_database_say_now)
{
    start("127.0.0.1:0");
    json_t *status = ask_json("/api/v1/status");
    ck_assert_uint_eq(json_array_size(json_object_get(status, "pending")), 1);
    ck_assert_uint_eq(json_array_size(json_object_get(status, "applied")), 0);
    json_decref(status);
    write_migration("002_more.sql", "-- migrate:up\nCREATE TABLE more(id);\n");
    run_sql("CREATE TABLE cards(id); CREATE TABLE schema_migrations(version TEXT PRIMARY KEY);"
            "INSERT INTO schema_migrations VALUES('001');");
    status = ask_json("/api/v1/status");
    ck_assert_uint_eq(json_array_size(json_object_get(status, "applied")), 1);
    json_t *pending = json_object_get(status, "pending");
    ck_assert_uint_eq(json_array_size(pending), 1);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(pending, 0), "version")),
                     "002");
    json_decref(status);
}
END_TEST

START_TEST(test_p7_a_missing_database_is_told_and_not_made)
{
    start("127.0.0.1:0");
    ck_assert_int_eq(unlink(database), 0);
    struct reply reply = ask("GET", "/api/v1/status", NULL, NULL);
    ck_assert_int_eq(reply.status, 404);
    ck_assert_msg(strstr(reply.body.data, "\"category\": \"not_found\""), "%s", reply.body.data);
    reply_free(&reply);
    reply = ask("GET", "/", NULL, NULL);
    ck_assert_int_eq(reply.status, 404);
    ck_assert_msg(strstr(reply.body.data, "The status cannot be read"), "%s", reply.body.data);
    reply_free(&reply);
    ck_assert_int_ne(access(database, F_OK), 0);
    ck_assert_int_ne(access(state_directory, F_OK), 0);
}
END_TEST

START_TEST(test_events_are_those_of_the_journal)
{
    struct error error;
    struct journal *journal = journal_open(state_directory, "test", 1000000, &error);
    ck_assert_msg(journal, "%s", error.message);
    JOURNAL(journal, EVENT_APPLIED, "001", "<b>first</b>");
    JOURNAL(journal, EVENT_HEALED, "/x", "second");
    journal_close(journal);
    start("127.0.0.1:0");
    json_t *answer = ask_json("/api/v1/events?limit=1");
    json_t *events = json_object_get(answer, "events");
    ck_assert_uint_eq(json_array_size(events), 1);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(events, 0), "type")),
                     "automigrate.healed");
    ck_assert_int_eq(json_integer_value(json_object_get(answer, "last_id")), 2);
    json_decref(answer);
    answer = ask_json("/api/v1/events?type=applied");
    ck_assert_uint_eq(json_array_size(json_object_get(answer, "events")), 1);
    json_decref(answer);
    answer = ask_json("/api/v1/events?after=2");
    ck_assert_uint_eq(json_array_size(json_object_get(answer, "events")), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(answer, "last_id")), 2);
    json_decref(answer);
    struct reply reply = ask("GET", "/", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(reply.body.data, "&lt;b&gt;first&lt;/b&gt;"));
    ck_assert_ptr_null(strstr(reply.body.data, "<b>first"));
    reply_free(&reply);
}
END_TEST

START_TEST(test_a_unix_socket_is_private_replaced_when_abandoned_and_removed)
{
    char address[160];
    struct stat status;
    struct error error;
    const struct admin_sources sources = {.context = NULL};
    snprintf(address, sizeof address, "unix:%s", socket_path);
    start(address);
    ck_assert_int_eq(stat(socket_path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
    struct reply reply = ask("GET", "/healthz", "Host: whatever", NULL);
    ck_assert_int_eq(reply.status, 200);
    reply_free(&reply);
    ck_assert_ptr_null(admin_start(address, &sources, &error));
    ck_assert_int_eq(error.code, ERROR_ADDRESS);
    ck_assert_ptr_nonnull(strstr(error.message, "it is in use: choose another with --admin"));
    admin_stop(admin);
    admin = NULL;
    ck_assert_int_ne(access(socket_path, F_OK), 0);

    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, socket_path, strlen(socket_path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&name, sizeof name), 0);
    close(fd);
    start(address);
    reply = ask("GET", "/healthz", NULL, NULL);
    ck_assert_int_eq(reply.status, 200);
    reply_free(&reply);
}
END_TEST

START_TEST(test_p11_an_address_in_use_is_named_with_the_way_out)
{
    char address[64];
    char expected[256];
    struct error error;
    const struct admin_sources sources = {.context = NULL};
    start("127.0.0.1:0");
    snprintf(address, sizeof address, "127.0.0.1:%u", admin_port(admin));
    snprintf(expected, sizeof expected,
             "cannot listen on admin address %s: it is in use: choose another with --admin "
             "ADDRESS, or --admin off",
             address);
    ck_assert_ptr_null(admin_start(address, &sources, &error));
    ck_assert_int_eq(error.code, ERROR_ADDRESS);
    ck_assert_str_eq(error.message, expected);
}
END_TEST

START_TEST(test_json_text_takes_any_bytes)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"plain", "plain"},
        {"für", "für"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xc3", "\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80x", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *text = json_text(cases[i].bytes);
        ck_assert_str_eq(json_string_value(text), cases[i].text);
        json_decref(text);
    }
    json_t *null = json_text(NULL);
    ck_assert(json_is_null(null));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("admin");
    TCase *cases = tcase_create("admin");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_loop_test(cases, test_p10_requests_are_answered_and_nothing_can_be_changed, 0,
                        sizeof requests / sizeof *requests);
    tcase_add_test(cases, test_readiness_is_asked_for_each_time);
    tcase_add_test(cases, test_p12_status_is_what_files_and_database_say_now);
    tcase_add_test(cases, test_p7_a_missing_database_is_told_and_not_made);
    tcase_add_test(cases, test_events_are_those_of_the_journal);
    tcase_add_test(cases, test_a_unix_socket_is_private_replaced_when_abandoned_and_removed);
    tcase_add_test(cases, test_p11_an_address_in_use_is_named_with_the_way_out);
    tcase_add_test(cases, test_json_text_takes_any_bytes);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    curl_global_cleanup();
    return failed != 0;
}
