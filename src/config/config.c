/* SPDX-License-Identifier: MIT */
/* Putting the configuration together: defaults, then the file, then variables, then flags, each
 * value through config/value.h. Runs on the main thread, at start and at a reload. */
#include "config/config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "config/file.h"
#include "config/keys.h"
#include "config/suggest.h"
#include "config/value.h"

extern char **environ;

/* Flags that stand for no key of the table. */
static const char config_flag[] = "config";
static const char verbose_flag[] = "verbose";
static const char config_variable[] = "AUTOMIGRATE_CONFIG";
static const char variable_prefix[] = "AUTOMIGRATE_";

enum { OPTIONS_MOST = CONFIG_KEYS_MOST + 32 };

/* What getopt returns: a short name, or one of these plus a place in a table. */
enum { OPTION_KEY = 1000, OPTION_EXTRA = 2000, OPTION_CONFIG = 3000 };

/* What the command line said, before anything is checked. */
struct command_line {
    const char *texts[CONFIG_KEYS_MOST]; /* by place in config_keys, point into argv */
    const char *config;
    bool verbose;
};

/* ---- the command line ---- */

struct options {
    struct option entries[OPTIONS_MOST];
    size_t count;
    char short_names[2 * OPTIONS_MOST + 2];
};

static void add_option(struct options *options, const char *name, int has_argument, int value)
{
    if (options->count + 1 < OPTIONS_MOST) /* the last entry stays zero, as getopt wants it */
        options->entries[options->count++] = (struct option){name, has_argument, NULL, value};
}

static void make_options(struct options *options, const struct config_extra_flag *extra)
{
    size_t length = 0;
    memset(options, 0, sizeof *options);
    options->short_names[length++] = ':'; /* a missing value is told from an unknown flag */
    options->short_names[length++] = 'v';
    add_option(options, config_flag, required_argument, OPTION_CONFIG);
    add_option(options, verbose_flag, no_argument, 'v');
    for (size_t i = 0; i < config_key_count; i++) {
        if (config_keys[i].flag)
            add_option(options, config_keys[i].flag,
                       config_keys[i].type == KEY_BOOLEAN ? optional_argument : required_argument,
                       OPTION_KEY + (int)i);
    }
    for (int i = 0; extra && extra[i].name; i++) {
        add_option(options, extra[i].name, extra[i].text ? required_argument : no_argument,
                   OPTION_EXTRA + i);
        if (extra[i].short_name && length + 2 < sizeof options->short_names) {
            options->short_names[length++] = extra[i].short_name;
            if (extra[i].text)
                options->short_names[length++] = ':';
        }
    }
}

/* The flag that getopt stumbled over, as it was written but without its value. */
static bool refuse_option(int problem, char **argv, const struct options *options,
                          struct error *error)
{
    char hint[128];
    char name[128];
    const char *written = optind > 0 && argv[optind - 1] ? argv[optind - 1] : "";
    if (written[0] != '-' || written[1] != '-') {
        if (problem == ':')
            return error_set(error, ERROR_USAGE, "-%c: a value is missing behind it", optopt);
        return error_set(error, ERROR_USAGE, "-%c: unknown flag: see --help", optopt);
    }
    struct slice rest = slice_make(written + 2, strlen(written + 2));
    slice_copy(slice_split(&rest, '='), name, sizeof name);
    if (problem == ':')
        return error_set(error, ERROR_USAGE, "--%s: a value is missing behind it", name);
    if (optopt != 0)
        return error_set(error, ERROR_USAGE, "--%s: takes no value: write it alone", name);
    struct suggestion suggestion;
    suggestion_construct(&suggestion, name);
    size_t beginning = 0;
    for (size_t i = 0; i < options->count; i++) {
        suggestion_offer(&suggestion, options->entries[i].name);
        beginning += strncmp(options->entries[i].name, name, strlen(name)) == 0;
    }
    if (beginning > 1)
        return error_set(error, ERROR_USAGE,
                         "--%s: several flags begin so: write the whole name, see --help", name);
    suggestion_text(&suggestion, "--", "", hint, sizeof hint);
    return error_set(error, ERROR_USAGE, "--%s: unknown flag%s", name,
                     hint[0] ? hint : ": see --help");
}

static const struct config_extra_flag *find_extra(const struct config_extra_flag *extra, int option)
{
    if (option >= OPTION_EXTRA && option < OPTION_CONFIG)
        return &extra[option - OPTION_EXTRA];
    for (; extra && extra->name; extra++) {
        if (extra->short_name == option)
            return extra;
    }
    return NULL;
}

static bool read_command_line(int argc, char **argv, const struct config_extra_flag *extra,
                              struct command_line *line, int *first_operand, struct error *error)
{
    struct options options;
    int option;
    make_options(&options, extra);
    opterr = 0;
    optind = 0; /* GNU: start afresh, this may be a second call */
    while ((option = getopt_long(argc, argv, options.short_names, options.entries, NULL)) != -1) {
        if (option == '?' || option == ':')
            return refuse_option(option, argv, &options, error);
        const struct config_extra_flag *own = find_extra(extra, option);
        if (own && own->text)
            *own->text = optarg;
        else if (own)
            *own->flag = true;
        else if (option == OPTION_CONFIG)
            line->config = optarg;
        else if (option >= OPTION_KEY)
            line->texts[option - OPTION_KEY] = optarg ? optarg : "true";
        else
            line->verbose = true;
    }
    *first_operand = optind;
    return true;
}

/* ---- the layers ---- */

static bool apply_defaults(struct config *config, struct error *error)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (!config_value_set(config, &config_keys[i], config_keys[i].default_text,
                              config_keys[i].name, error))
            return false;
    }
    return true;
}

static bool apply_file(struct config *config, const char *path, struct error *error)
{
    struct config_file file;
    if (!config_file_read(&file, path, error))
        return false;
    bool done = true;
    for (size_t i = 0; done && i < config_key_count; i++) {
        char where[ERROR_MESSAGE_SIZE];
        char name[CONFIG_KEY_NAME_SIZE];
        if (!file.texts[i])
            continue;
        snprintf(where, sizeof where, "%.800s:%u: %s", path, file.lines[i],
                 config_key_name(&config_keys[i], name));
        done = config_value_set(config, &config_keys[i], file.texts[i], where, error);
    }
    config_file_free(&file);
    return done;
}

static bool apply_variables(struct config *config, struct error *error)
{
    for (size_t i = 0; i < config_key_count; i++) {
        char name[CONFIG_KEY_NAME_SIZE];
        const char *text = getenv(config_key_variable(&config_keys[i], name));
        if (text && text[0] && !config_value_set(config, &config_keys[i], text, name, error))
            return false;
    }
    return true;
}

static bool apply_flags(struct config *config, const struct command_line *line, struct error *error)
{
    if (line->verbose)
        config->log_level = LOG_DEBUG;
    for (size_t i = 0; i < config_key_count; i++) {
        char where[CONFIG_KEY_NAME_SIZE];
        if (!line->texts[i])
            continue;
        snprintf(where, sizeof where, "--%s", config_keys[i].flag);
        if (line->texts[i][0] == '\0')
            return error_set(error, ERROR_USAGE,
                             "%s: its value is empty: write one or leave the "
                             "flag out",
                             where);
        if (!config_value_set(config, &config_keys[i], line->texts[i], where, error))
            return false;
    }
    return true;
}

/* <database>.automigrate, of the file that a symbolic link names, so that all who reach one
 * database find one directory. */
static bool derive_state_directory(struct config *config, struct error *error)
{
    struct stat status;
    if (config->state_directory[0] || !config->database[0])
        return true;
    char *resolved = NULL;
    if (lstat(config->database, &status) == 0 && S_ISLNK(status.st_mode))
        resolved = realpath(config->database, NULL);
    struct buffer path = {0};
    buffer_printf(&path, "%s.automigrate", resolved ? resolved : config->database);
    free(resolved);
    char *text = buffer_take(&path);
    if (!text)
        return error_set(error, ERROR_MEMORY, "out of memory");
    free(config->state_directory);
    config->state_directory = text;
    return true;
}

/* What no value can be blamed for alone. */
static bool check_together(const struct config *config, struct error *error)
{
    if (config->detect_status_first > config->detect_status_last)
        return error_set(error, ERROR_CONFIGURATION,
                         "detect.status_first (%llu) is above detect.status_last (%llu): exchange "
                         "them",
                         (unsigned long long)config->detect_status_first,
                         (unsigned long long)config->detect_status_last);
    return true;
}

static void warn_of_unknown_variable(const char *name)
{
    char known[CONFIG_KEY_NAME_SIZE];
    char hint[128];
    struct suggestion suggestion;
    suggestion_construct(&suggestion, name);
    suggestion_offer(&suggestion, config_variable);
    for (size_t i = 0; i < config_key_count; i++)
        suggestion_offer(&suggestion, config_key_variable(&config_keys[i], known));
    /* Half of every name is the same prefix, so only a near miss is worth telling. */
    if (suggestion.distance > 3)
        suggestion.nearest[0] = '\0';
    suggestion_text(&suggestion, "", "", hint, sizeof hint);
    LOG(LOG_WARNING, "unknown_variable", "no configuration key has this variable",
        log_text("variable", name), log_text("hint", hint[0] ? hint + 2 : NULL));
}

static void check_variables(void)
{
    for (char **entry = environ; entry && *entry; entry++) {
        char name[128];
        char known[CONFIG_KEY_NAME_SIZE];
        struct slice rest = slice_from_string(*entry);
        slice_copy(slice_split(&rest, '='), name, sizeof name);
        if (strncmp(name, variable_prefix, strlen(variable_prefix)) != 0)
            continue;
        bool is_known = strcmp(name, config_variable) == 0;
        for (size_t i = 0; !is_known && i < config_key_count; i++)
            is_known = strcmp(name, config_key_variable(&config_keys[i], known)) == 0;
        if (!is_known)
            warn_of_unknown_variable(name);
    }
}

bool config_load(int argc, char **argv, const struct config_extra_flag *extra,
                 struct config *config, int *first_operand, struct error *error)
{
    struct command_line line = {.config = NULL};
    *config = (struct config){0};
    *first_operand = argc;
    if (!read_command_line(argc, argv, extra, &line, first_operand, error))
        return false;
    const char *path = line.config ? line.config : getenv(config_variable);
    if (path && !path[0])
        path = NULL;
    if (line.config && !path)
        return error_set(error, ERROR_USAGE, "--config: its value is empty: write a path");
    if (!apply_defaults(config, error) || (path && !apply_file(config, path, error)) ||
        !apply_variables(config, error) || !apply_flags(config, &line, error) ||
        !check_together(config, error) || !derive_state_directory(config, error)) {
        config_free(config);
        return false;
    }
    log_configure(config->log_level, config->log_format);
    check_variables();
    return true;
}

static bool owns_text(const struct config_key *key)
{
    return key->type <= KEY_ADMIN;
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (owns_text(&config_keys[i]))
            free(*(char **)(void *)((char *)config + config_keys[i].offset));
    }
    *config = (struct config){0};
}

bool config_require(const struct config *config, const char *const *keys, struct error *error)
{
    for (; *keys; keys++) {
        const struct config_key *key = config_key_find(*keys);
        char variable[CONFIG_KEY_NAME_SIZE];
        const char *text = *(char *const *)(const void *)((const char *)config + key->offset);
        if (text[0])
            continue;
        return error_set(error, ERROR_USAGE,
                         "%s is not given (%s): write --%s %s, set %s, or write \"%s: …\" into the "
                         "file of --config",
                         *keys, key->help, key->flag, key->argument,
                         config_key_variable(key, variable), *keys);
    }
    return true;
}

/* ---- the help ---- */

enum { HELP_COLUMN = 34 };

static void print_option(char short_name, const char *name, const char *argument, const char *help,
                         const char *default_text)
{
    char left[64];
    char shown[8] = "    ";
    if (short_name)
        snprintf(shown, sizeof shown, "-%c, ", short_name);
    snprintf(left, sizeof left, "  %s--%s%s%s", shown, name, argument ? " " : "",
             argument ? argument : "");
    printf("%-*s %s", HELP_COLUMN, left, help);
    if (default_text && default_text[0])
        printf(" (%s)", default_text);
    printf("\n");
}

void config_print_options(const struct config_extra_flag *extra, bool serving)
{
    printf("Options:\n");
    for (; extra && extra->name; extra++)
        print_option(extra->short_name, extra->name, extra->argument, extra->help, NULL);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->flag && (serving || !key->serving))
            print_option(0, key->flag, key->argument, key->help,
                         key->type == KEY_BOOLEAN ? NULL : key->default_text);
    }
    print_option(0, config_flag, "FILE", "a YAML file with any of the keys", NULL);
    print_option('v', verbose_flag, NULL, "the same as --log-level debug", NULL);
    printf(
        "\nWhat is configured by a flag is also a key of the file (--log-level: log.level) and a\n"
        "variable (AUTOMIGRATE_LOG_LEVEL). Flags beat variables, variables beat the file.\n");
}

const char *config_mode_name(enum config_mode mode)
{
    return config_key_find("mode")->words[mode];
}

const char *config_risk_name(enum config_risk risk)
{
    return config_key_find("policy.auto_apply")->words[risk];
}
