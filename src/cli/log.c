/* SPDX-License-Identifier: MIT */
/* automigrate log: the journal's events, for people or as one CloudEvents object a line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/command.h"
#include "cli/columns.h"
#include "config/suggest.h"
#include "journal/journal.h"

enum { FOLLOW_INTERVAL_MS = 500, FOLLOW_FIRST = 20, TYPE_WIDTH = 17, SUBJECT_WIDTH = 12 };

static const struct command log_command = {
    .name = "log",
    .text =
        "Shows the events of the journal, oldest first: what was detected, decided and applied,\n"
        "when and why. Needs --database or --state-directory, and no running server.\n",
    .exit_codes = "  0  done\n  1  failed\n  2  wrong usage\n",
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static enum colour colour_of(const char *type_name)
{
    enum event_type type;
    if (!event_type_from_name(type_name, &type))
        return COLOUR_NONE;
    enum log_level level = event_level(type);
    return level == LOG_ERROR ? COLOUR_RED : level == LOG_WARNING ? COLOUR_YELLOW : COLOUR_NONE;
}

static void print_padded(enum colour colour, const char *text, size_t width)
{
    print_coloured(stdout, colour, text);
    if (strlen(text) < width)
        printf("%*s", (int)(width - strlen(text)), "");
    fputs("  ", stdout);
}

/* Time, type, subject, message. Lines are printed as they come, so the widths are fixed. */
static void print_event(const json_t *event)
{
    static const char prefix[] = "automigrate.";
    const json_t *data = json_object_get(event, "data");
    json_int_t count = json_integer_value(json_object_get(data, "count"));
    const char *type = text_of(event, "type");
    if (strncmp(type, prefix, sizeof prefix - 1) == 0)
        type += sizeof prefix - 1;
    print_padded(COLOUR_FAINT, text_of(event, "time"), 0);
    print_padded(colour_of(type), type, TYPE_WIDTH);
    print_padded(COLOUR_NONE, text_of(event, "subject"), SUBJECT_WIDTH);
    print_coloured(stdout, COLOUR_NONE, text_of(data, "message"));
    if (count > 1)
        printf(" (%lld times)", (long long)count);
    putchar('\n');
}

struct printing {
    bool json;
    bool failed; /* standard output or memory */
};

static bool print_one(void *context, json_t *event)
{
    struct printing *printing = context;
    if (!printing->json) {
        print_event(event);
        return true;
    }
    char *line = json_dumps(event, JSON_COMPACT);
    if (!line) {
        fprintf(stderr, "automigrate: out of memory\n");
        printing->failed = true;
        return false;
    }
    puts(line);
    free(line);
    return true;
}

/* Prints what is there, and with `follow` what comes, until Ctrl-C ends the process or nobody reads
 * any more. */
static int print_events(const char *state_directory, struct journal_query *query, bool json,
                        bool follow)
{
    struct printing printing = {.json = json};
    struct error error;
    const struct timespec interval = {.tv_nsec = FOLLOW_INTERVAL_MS * 1000000L};
    for (;;) {
        int64_t last_id = query->after_id;
        if (!journal_read(state_directory, query, print_one, &printing, &last_id, &error))
            return command_fail(&error, json);
        if (printing.failed || !command_flush())
            return EXIT_FAILED;
        if (!follow)
            return EXIT_DONE;
        if (last_id > query->after_id)
            query->after_id = last_id;
        query->limit = 0;
        nanosleep(&interval, NULL);
    }
}

static bool check_type(const char *name, struct error *error)
{
    char hint[128];
    enum event_type type;
    struct suggestion suggestion;
    if (event_type_from_name(name, &type))
        return true;
    suggestion_construct(&suggestion, name);
    for (int i = 0; i < EVENT_TYPE_COUNT; i++)
        suggestion_offer(&suggestion, event_name((enum event_type)i));
    suggestion_text(&suggestion, "", "", hint, sizeof hint);
    return error_set(error, ERROR_USAGE, "--type: \"%.64s\" is not a type of event%s", name,
                     hint[0] ? hint : ": write applied, apply_failed, detected or another");
}

static bool check_limit(const char *text, uint64_t *limit, struct error *error)
{
    if (slice_to_uint64(slice_from_string(text), limit))
        return true;
    return error_set(error, ERROR_USAGE,
                     "--limit: \"%.64s\" is not a number: write digits only, 0 for all", text);
}

int cli_log(int argc, char **argv)
{
    bool json = false;
    bool follow = false;
    char *limit = NULL;
    char *type = NULL;
    const struct config_extra_flag extra[] = {
        {"json", 0, &json, NULL, NULL, "print one CloudEvents object a line"},
        {"follow", 'f', &follow, NULL, NULL, "go on with new events until Ctrl-C"},
        {"limit", 'n', NULL, &limit, "N", "only the newest N; 0: all (with --follow: 20)"},
        {"type", 't', NULL, &type, "TYPE", "only events of this type, as applied"},
        {NULL, 0, NULL, NULL, NULL, NULL},
    };
    static const char *const required[] = {"database", NULL};
    struct config config;
    struct error error;
    int exit_code;
    if (!command_begin(&log_command, argc, argv, extra, &config, &exit_code))
        return exit_code;
    struct journal_query query = {.limit = follow ? FOLLOW_FIRST : 0, .type = type};
    if ((!config.state_directory[0] && !config_require(&config, required, &error)) ||
        (limit && !check_limit(limit, &query.limit, &error)) || (type && !check_type(type, &error)))
        exit_code = command_fail(&error, false);
    else
        exit_code = print_events(config.state_directory, &query, json, follow);
    config_free(&config);
    return exit_code;
}
