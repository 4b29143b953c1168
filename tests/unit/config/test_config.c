/* SPDX-License-Identifier: MIT */
/* The configuration from the outside: config_load with files, variables and flags. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/file.h"
#include "config/keys.h"

extern char **environ;
extern const char configuration_file[]; /* from configuration_file.c.in */

static char directory[] = "/tmp/automigrate-config-XXXXXX";
static char file_path[64];

static void make_directory(void)
{
    memcpy(directory + sizeof directory - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(file_path, sizeof file_path, "%s/a.yaml", directory);
    for (char **entry = environ; *entry;) {
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*entry, "="), *entry);
        if (strncmp(name, "AUTOMIGRATE_", 12) == 0)
            unsetenv(name);
        else
            entry++;
    }
}

static void remove_directory(void)
{
    unlink(file_path);
    rmdir(directory);
}

static void write_file(const char *text, size_t length)
{
    FILE *file = fopen(file_path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
}

enum { ARGUMENTS_MOST = 16 };

/* Loads with a command line that is written as words with single spaces. */
static bool load(const char *words, struct config *config, struct error *error)
{
    static char copy[512];
    char *argv[ARGUMENTS_MOST] = {0};
    int argc = 0;
    int first_operand;
    snprintf(copy, sizeof copy, "serve %s", words);
    for (char *word = strtok(copy, " "); word && argc + 1 < ARGUMENTS_MOST;
         word = strtok(NULL, " "))
        argv[argc++] = word;
    return config_load(argc, argv, NULL, config, &first_operand, error);
}

static void expect_failure(const char *words, const char *message)
{
    struct config config;
    struct error error = {.code = ERROR_NONE};
    ck_assert_msg(!load(words, &config, &error), "accepted: %s (%s)", words, message);
    ck_assert_str_eq(error.message, message);
    ck_assert_int_eq(error_exit_code(error.code), EXIT_USAGE);
    config_free(&config);
}

/* ---- values ---- */

static const struct {
    const char *flags;
    const char *message;
} bad_flags[] = {
    {"--mode atuo", "--mode: \"atuo\" is not a mode: write auto, approve, observe or off"},
    {"--log-level loud",
     "--log-level: \"loud\" is not a log level: write debug, info, warning or error"},
    {"--workers many", "--workers: \"many\" is not a number: write digits only"},
    {"--workers -1", "--workers: \"-1\" is not a number: write digits only"},
    {"--workers 1025", "--workers: 1025 is out of bounds: write 0 to 1024"},
    {"--workers 99999999999999999999",
     "--workers: \"99999999999999999999\" is not a number: write digits only"},
    {"--listen 8080",
     "--listen: \"8080\" is only a number: write :8080 for that port on every address"},
    {"--listen localhost",
     "--listen: \"localhost\" has no port: write localhost:PORT or unix:/path"},
    {"--listen localhost:", "--listen: \"localhost:\" has no port: write localhost:PORT or "
                            "unix:/path"},
    {"--listen :70000", "--listen: \"70000\" is not a port: write a number from 1 to 65535"},
    {"--listen ::1:80", "--listen: \"::1:80\" is an IPv6 address without brackets: write [::1]:80"},
    {"--listen [::g]:80",
     "--listen: \"[::g]:80\" has no IPv6 address in its brackets: write [::1]:PORT"},
    {"--listen [::1]", "--listen: \"[::1]\" has no port: write [::1]:PORT or unix:/path"},
    {"--listen http://:80",
     "--listen: \"http://:80\" is a URL: write host:port, :port or unix:/path"},
    {"--listen unix:", "--listen: \"unix:\" has no path: write unix:/path/of/the.socket"},
    {"--upstream localhost:1",
     "--upstream: \"localhost:1\" has no scheme: write http://localhost:1 or unix:/path"},
    {"--upstream :1", "--upstream: \":1\" has no scheme: write http://localhost:1 or unix:/path"},
    {"--upstream https://x:1", "--upstream: \"https://x:1\" asks for TLS, which is not spoken to "
                               "the application: write http://host:port or unix:/path"},
    {"--upstream http://x:1/y", "--upstream: \"http://x:1/y\" has a path, but targets are "
                                "forwarded as they are: write http://x:1"},
    {"--upstream http://:1", "--upstream: \"http://:1\" names no host: write http://localhost:1"},
    {"--upstream http://u@h:1",
     "--upstream: \"http://u@h:1\" is not an address: write http://host:port or unix:/path"},
    {"--upstream ftp://h",
     "--upstream: \"ftp://h\" is not an HTTP URL: write http://host:port or unix:/path"},
    {"--database sqlite:x.db", "--database: \"sqlite:x.db\" is a URI: write the path of the file"},
    {"--database :memory:",
     "--database: \":memory:\" is no file that others could share: write a path"},
    {"--database=", "--database: its value is empty: write one or leave the flag out"},
    {"--create-database=maybe",
     "--create-database: \"maybe\" is neither true nor false: write one of them"},
    {"--databse x", "--databse: unknown flag: did you mean --database?"},
    {"--nonsense", "--nonsense: unknown flag: see --help"},
    {"--log json", "--log: several flags begin so: write the whole name, see --help"},
    {"-q", "-q: unknown flag: see --help"},
    {"--database", "--database: a value is missing behind it"},
    {"--verbose=3", "--verbose: takes no value: write it alone"},
    {"--config=", "--config: its value is empty: write a path"},
};

START_TEST(test_p11_a_bad_flag_is_named_with_what_to_write_instead)
{
    expect_failure(bad_flags[_i].flags, bad_flags[_i].message);
}
END_TEST

static const struct {
    const char *flags;
    const char *listen, *upstream, *admin;
} good_addresses[] = {
    {"--listen :8080", ":8080", "", "127.0.0.1:9180"},
    {"--listen [::1]:0 --admin off", "[::1]:0", "", "off"},
    {"--listen unix:/run/a.sock --admin unix:b.sock", "unix:/run/a.sock", "", "unix:b.sock"},
    {"--upstream http://localhost:8000/", "", "http://localhost:8000", "127.0.0.1:9180"},
    {"--upstream http://app", "", "http://app", "127.0.0.1:9180"},
    {"--upstream http://[fe80::1]:3000", "", "http://[fe80::1]:3000", "127.0.0.1:9180"},
    {"--upstream unix:/run/app.sock", "", "unix:/run/app.sock", "127.0.0.1:9180"},
};

START_TEST(test_addresses_in_their_forms)
{
    struct config config;
    struct error error;
    ck_assert_msg(load(good_addresses[_i].flags, &config, &error), "%s", error.message);
    ck_assert_str_eq(config.listen, good_addresses[_i].listen);
    ck_assert_str_eq(config.upstream, good_addresses[_i].upstream);
    ck_assert_str_eq(config.admin, good_addresses[_i].admin);
    config_free(&config);
}
END_TEST

/* One value of each scaled type, through a variable. */
static const struct {
    const char *variable, *text;
    size_t offset;
    uint64_t value;
    const char *message; /* or NULL */
} scaled[] = {
    {"AUTOMIGRATE_RECOVER_WAIT", "500ms", offsetof(struct config, recover_wait_ms), 500, NULL},
    {"AUTOMIGRATE_RECOVER_WAIT", "2s", offsetof(struct config, recover_wait_ms), 2000, NULL},
    {"AUTOMIGRATE_MIGRATIONS_OPTIONS_TIMEOUT", "10m", offsetof(struct config, migration_timeout_ms),
     600000, NULL},
    {"AUTOMIGRATE_JOURNAL_KEEP", "30d", offsetof(struct config, journal_keep_ms), 2592000000u,
     NULL},
    {"AUTOMIGRATE_RETRY_MAX_BODY", "1GiB", offsetof(struct config, retry_max_body_bytes),
     1073741824u, NULL},
    {"AUTOMIGRATE_RETRY_MAX_BODY", "12", offsetof(struct config, retry_max_body_bytes), 12, NULL},
    {"AUTOMIGRATE_RETRY_MAX_BODY", "0", offsetof(struct config, retry_max_body_bytes), 0, NULL},
    {"AUTOMIGRATE_LIMITS_DRAIN_TIMEOUT", "0", offsetof(struct config, drain_timeout_ms), 0, NULL},
    {"AUTOMIGRATE_RECOVER_WAIT", "2", 0, 0,
     "AUTOMIGRATE_RECOVER_WAIT: \"2\" is not a time: write a number with its unit, as 500ms, 2s, "
     "10m, 1h or 90d"},
    {"AUTOMIGRATE_RECOVER_WAIT", "2h", 0, 0,
     "AUTOMIGRATE_RECOVER_WAIT: 2h is out of bounds: write 1ms to 1h"},
    {"AUTOMIGRATE_RECOVER_WAIT", "9999999999999999999d", 0, 0,
     "AUTOMIGRATE_RECOVER_WAIT: \"9999999999999999999d\" is not a time: write a number with its "
     "unit, as 500ms, 2s, 10m, 1h or 90d"},
    {"AUTOMIGRATE_RETRY_MAX_BODY", "64MB", 0, 0,
     "AUTOMIGRATE_RETRY_MAX_BODY: \"64MB\" is not a size: write a number with its unit, as 16KiB, "
     "64MiB or 1GiB"},
};

START_TEST(test_times_and_sizes_have_units)
{
    struct config config;
    struct error error;
    setenv(scaled[_i].variable, scaled[_i].text, 1);
    if (scaled[_i].message) {
        expect_failure("", scaled[_i].message);
        return;
    }
    ck_assert_msg(load("", &config, &error), "%s", error.message);
    ck_assert_uint_eq(*(uint64_t *)(void *)((char *)&config + scaled[_i].offset), scaled[_i].value);
    config_free(&config);
}
END_TEST

/* ---- the file ---- */

static const struct {
    const char *text;
    const char *message; /* behind the path */
} bad_files[] = {
    {"listen: :80\nupstrem: http://a\n", ":2: unknown key \"upstrem\": did you mean \"upstream\"?"},
    {"log:\n  levl: info\n", ":2: unknown key \"log.levl\": did you mean \"level\"?"},
    {"lmits:\n  max_connections: 3\n", ":1: unknown key \"lmits\": did you mean \"limits\"?"},
    {"log.level: info\n",
     ":1: unknown key \"log.level\": write \"log:\" and, indented below it, \"level:\""},
    {"hold_bytes: 3\n", ":1: unknown key \"hold_bytes\": it belongs below \"detect:\""},
    {"log:\n  workers: 3\n", ":2: unknown key \"log.workers\": it belongs at the top level"},
    {"zzzzzzzzz: 1\n", ":1: unknown key \"zzzzzzzzz\": conf/automigrate.yaml lists all keys"},
    {"mode: auto\nworkers: 1\nmode: off\n",
     ":3: \"mode\" stands here a second time, the first is on line 1: keep one"},
    {"log:\n  level: info\nmode: off\nlog:\n  format: json\n",
     ":4: \"log\" stands here a second time, the first is on line 1: keep one"},
    {"mode: [auto]\n", ":1: \"mode\" takes one plain value, no list, section or alias"},
    {"mode:\n  auto: true\n", ":1: \"mode\" takes one plain value, no list, section or alias"},
    {"listen: &a :80\nmode: *a\n", ":2: \"mode\" takes one plain value, no list, section or alias"},
    {"mode: auto\nlog: json\n",
     ":2: \"log\" is a section: write its keys, indented, on the lines below"},
    {"- mode\n", ":1: no \"key: value\" here: write one key a line"},
    {"just text\n", ":1: no \"key: value\" here: write one key a line"},
    {"mode: auto\n---\nmode: off\n", ":2: a second document begins here: keep one"},
    {"? [a]\n: b\n", ":1: a key is one word: write \"key: value\""},
    {"mode: auto\n\n\nworkers: lots\n", ":4: workers: \"lots\" is not a number: write digits only"},
    {"recover:\n  wait: 5\n",
     ":2: recover.wait: \"5\" is not a time: write a number with its unit, as 500ms, 2s, 10m, 1h "
     "or 90d"},
    {"environment: \"a\\0b\"\n", ":1: \"environment\" holds a NUL character: remove it"},
    {"environment: \"a\\nb\"\n",
     ":1: environment: the value holds control characters: write one line of text"},
    {"log:\n\tlevel: info\n",
     ":2: not YAML: found character that cannot start any token while scanning for the next token: "
     "write \"key: value\", indented with spaces"},
    {"mode: \"auto\n", ":2: not YAML: found unexpected end of stream while scanning a quoted "
                       "scalar: write \"key: value\", indented with spaces"},
};

START_TEST(test_p11_a_mistake_in_the_file_is_named_with_file_line_and_key)
{
    char flags[128];
    char message[ERROR_MESSAGE_SIZE];
    write_file(bad_files[_i].text, strlen(bad_files[_i].text));
    snprintf(flags, sizeof flags, "--config %s", file_path);
    snprintf(message, sizeof message, "%s%s", file_path, bad_files[_i].message);
    expect_failure(flags, message);
}
END_TEST

START_TEST(test_p11_a_missing_file_is_named)
{
    expect_failure("--config /nowhere/a.yaml", "/nowhere/a.yaml: cannot be read (No such file or "
                                               "directory): --config wants an existing YAML file");
    expect_failure("--config /", "/: cannot be read (Is a directory): --config wants a YAML file");
}
END_TEST

static const char *const empty_files[] = {
    "",    "# nothing\n", "---\n", "log:\nlimits:\n", "database:\nmode: ~\nlog:\n  level: null\n",
    "{}\n"};

START_TEST(test_a_file_may_say_nothing)
{
    char flags[128];
    struct config config;
    struct error error;
    write_file(empty_files[_i], strlen(empty_files[_i]));
    snprintf(flags, sizeof flags, "--config %s", file_path);
    ck_assert_msg(load(flags, &config, &error), "%s", error.message);
    ck_assert_int_eq(config.mode, MODE_AUTO);
    ck_assert_int_eq(config.log_level, LOG_INFO);
    ck_assert_str_eq(config.database, "");
    config_free(&config);
}
END_TEST

START_TEST(test_flags_beat_variables_beat_the_file)
{
    static const char text[] = "mode: observe\nworkers: 2\nadmin: off\nlog: {format: json}\n";
    char flags[128];
    struct config config;
    struct error error;
    write_file(text, strlen(text));
    setenv("AUTOMIGRATE_WORKERS", "3", 1);
    setenv("AUTOMIGRATE_MODE", "approve", 1);
    setenv("AUTOMIGRATE_ENVIRONMENT", "", 1);
    snprintf(flags, sizeof flags, "--config %s --mode off --create-database", file_path);
    ck_assert_msg(load(flags, &config, &error), "%s", error.message);
    ck_assert_int_eq(config.mode, MODE_OFF);
    ck_assert_uint_eq(config.workers, 3);
    ck_assert_str_eq(config.admin, "off");
    ck_assert_int_eq(config.log_format, LOG_FORMAT_JSON);
    ck_assert(config.create_database);
    config_free(&config);
    setenv("AUTOMIGRATE_CONFIG", file_path, 1);
    ck_assert_msg(load("", &config, &error), "%s", error.message);
    ck_assert_str_eq(config.admin, "off");
    config_free(&config);
}
END_TEST

/* The value of a key as bytes that can be compared. */
static void compare_key(const struct config_key *key, const struct config *a,
                        const struct config *b)
{
    char name[CONFIG_KEY_NAME_SIZE];
    const char *left = (const char *)a + key->offset;
    const char *right = (const char *)b + key->offset;
    size_t size = key->type == KEY_CHOICE    ? sizeof(int)
                  : key->type == KEY_BOOLEAN ? sizeof(bool)
                                             : sizeof(uint64_t);
    config_key_name(key, name);
    if (key->type <= KEY_ADMIN)
        ck_assert_str_eq(*(char *const *)(const void *)left, *(char *const *)(const void *)right);
    else
        ck_assert_msg(memcmp(left, right, size) == 0, "%s differs", name);
}

START_TEST(test_conf_automigrate_yaml_holds_every_key_with_its_default)
{
    struct config_file file;
    struct config defaults;
    struct config config;
    struct error error;
    char flags[512];
    ck_assert_msg(config_file_read(&file, configuration_file, &error), "%s", error.message);
    for (size_t i = 0; i < config_key_count; i++) {
        char name[CONFIG_KEY_NAME_SIZE];
        ck_assert_msg(file.lines[i] > 0, "%s is not in %s", config_key_name(&config_keys[i], name),
                      configuration_file);
    }
    config_file_free(&file);
    snprintf(flags, sizeof flags, "--config %s", configuration_file);
    ck_assert_msg(load("", &defaults, &error), "%s", error.message);
    ck_assert_msg(load(flags, &config, &error), "%s", error.message);
    for (size_t i = 0; i < config_key_count; i++)
        compare_key(&config_keys[i], &defaults, &config);
    config_free(&defaults);
    config_free(&config);
}
END_TEST

START_TEST(test_every_key_reaches_a_member_of_its_own)
{
    char a[CONFIG_KEY_NAME_SIZE];
    char b[CONFIG_KEY_NAME_SIZE];
    for (size_t i = 0; i < config_key_count; i++) {
        for (size_t k = i + 1; k < config_key_count; k++) {
            ck_assert_str_ne(config_key_name(&config_keys[i], a),
                             config_key_name(&config_keys[k], b));
            ck_assert_str_ne(config_key_variable(&config_keys[i], a),
                             config_key_variable(&config_keys[k], b));
            ck_assert_uint_ne(config_keys[i].offset, config_keys[k].offset);
        }
    }
}
END_TEST

/* ---- what belongs together ---- */

START_TEST(test_the_state_directory_lies_beside_the_database)
{
    struct config config;
    struct error error;
    char flags[128];
    char link_path[64];
    char expected[128];
    ck_assert(load("--database x/app.db", &config, &error));
    ck_assert_str_eq(config.state_directory, "x/app.db.automigrate");
    config_free(&config);
    ck_assert(load("--database app.db --state-directory s", &config, &error));
    ck_assert_str_eq(config.state_directory, "s");
    config_free(&config);
    ck_assert(load("", &config, &error));
    ck_assert_str_eq(config.state_directory, "");
    config_free(&config);

    write_file("", 0);
    snprintf(link_path, sizeof link_path, "%s/link", directory);
    ck_assert_int_eq(symlink(file_path, link_path), 0);
    snprintf(flags, sizeof flags, "--database %s", link_path);
    snprintf(expected, sizeof expected, "%s.automigrate", file_path);
    ck_assert(load(flags, &config, &error));
    unlink(link_path);
    ck_assert_str_eq(config.state_directory, expected);
    config_free(&config);
}
END_TEST

START_TEST(test_p11_what_is_required_is_named_with_flag_variable_and_key)
{
    static const char *const keys[] = {"database", "migrations", NULL};
    struct config config;
    struct error error;
    ck_assert(load("--database a.db", &config, &error));
    ck_assert(!config_require(&config, keys, &error));
    ck_assert_str_eq(error.message,
                     "migrations is not given (the directory with the migrations): write "
                     "--migrations DIRECTORY, set AUTOMIGRATE_MIGRATIONS, or write "
                     "\"migrations: …\" into the file of --config");
    config_free(&config);
    ck_assert(load("--database a.db --migrations m", &config, &error));
    ck_assert(config_require(&config, keys, &error));
    config_free(&config);
}
END_TEST

START_TEST(test_the_range_of_watched_statuses_is_checked)
{
    setenv("AUTOMIGRATE_DETECT_STATUS_FIRST", "503", 1);
    setenv("AUTOMIGRATE_DETECT_STATUS_LAST", "500", 1);
    expect_failure("", "detect.status_first (503) is above detect.status_last (500): exchange "
                       "them");
}
END_TEST

START_TEST(test_a_subcommand_has_flags_of_its_own)
{
    bool help = false;
    bool json = false;
    char *limit = NULL;
    const struct config_extra_flag extra[] = {
        {"help", 'h', &help, NULL, NULL, "this"},
        {"json", 0, &json, NULL, NULL, "as JSON"},
        {"limit", 'n', NULL, &limit, "N", "at most N"},
        {NULL, 0, NULL, NULL, NULL, NULL},
    };
    char words[][16] = {"log", "one", "--json", "-n", "7", "-v", "two"};
    char *argv[8] = {0};
    struct config config;
    struct error error;
    int first_operand;
    for (size_t i = 0; i < 7; i++)
        argv[i] = words[i];
    ck_assert(config_load(7, argv, extra, &config, &first_operand, &error));
    ck_assert(json && !help);
    ck_assert_str_eq(limit, "7");
    ck_assert_int_eq(config.log_level, LOG_DEBUG);
    ck_assert_int_eq(first_operand, 5);
    ck_assert_str_eq(argv[5], "one");
    ck_assert_str_eq(argv[6], "two");
    config_free(&config);

    char bad[][16] = {"log", "--help", "--bogus"};
    for (size_t i = 0; i < 3; i++)
        argv[i] = bad[i];
    argv[3] = NULL;
    ck_assert(!config_load(3, argv, extra, &config, &first_operand, &error));
    ck_assert(help);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *cases = tcase_create("config");
    tcase_add_checked_fixture(cases, make_directory, remove_directory);
    tcase_add_loop_test(cases, test_p11_a_bad_flag_is_named_with_what_to_write_instead, 0,
                        COUNT(bad_flags));
    tcase_add_loop_test(cases, test_addresses_in_their_forms, 0, COUNT(good_addresses));
    tcase_add_loop_test(cases, test_times_and_sizes_have_units, 0, COUNT(scaled));
    tcase_add_loop_test(cases, test_p11_a_mistake_in_the_file_is_named_with_file_line_and_key, 0,
                        COUNT(bad_files));
    tcase_add_test(cases, test_p11_a_missing_file_is_named);
    tcase_add_loop_test(cases, test_a_file_may_say_nothing, 0, COUNT(empty_files));
    tcase_add_test(cases, test_flags_beat_variables_beat_the_file);
    tcase_add_test(cases, test_conf_automigrate_yaml_holds_every_key_with_its_default);
    tcase_add_test(cases, test_every_key_reaches_a_member_of_its_own);
    tcase_add_test(cases, test_the_state_directory_lies_beside_the_database);
    tcase_add_test(cases, test_p11_what_is_required_is_named_with_flag_variable_and_key);
    tcase_add_test(cases, test_the_range_of_watched_statuses_is_checked);
    tcase_add_test(cases, test_a_subcommand_has_flags_of_its_own);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
