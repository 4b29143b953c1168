/* SPDX-License-Identifier: MIT */
/* The frame of a subcommand. */
#include "cli/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/status_report.h"
#include "base/log.h"

enum { EXTRA_MOST = 16 };

static void print_help(const struct command *command, const struct config_extra_flag *extra)
{
    printf("Usage: automigrate %s [options]\n\n%s\n", command->name, command->text);
    config_print_options(extra, command->serving);
    if (command->exit_codes)
        printf("\nExit codes:\n%s", command->exit_codes);
}

int command_fail(const struct error *error, bool json)
{
    fprintf(stderr, "automigrate: %s\n", error->message);
    if (json && !command_print_json(json_pack("{s:{s:s, s:o}}", "error", "category",
                                              error_category(error->code), "message",
                                              json_text(error->message)),
                                    JSON_INDENT(2)))
        return EXIT_FAILED;
    return error_exit_code(error->code);
}

bool command_print_json(json_t *value, size_t flags)
{
    char *text = value ? json_dumps(value, flags) : NULL;
    json_decref(value);
    if (!text) {
        fprintf(stderr, "automigrate: out of memory\n");
        return false;
    }
    puts(text);
    free(text);
    return command_flush();
}

bool command_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    fprintf(stderr, "automigrate: standard output cannot be written: %s\n", strerror(errno));
    return false;
}

/* The subcommand's own flags behind --help. */
static void with_help(const struct config_extra_flag *extra, bool *help,
                      struct config_extra_flag out[EXTRA_MOST])
{
    size_t count = 0;
    out[count++] = (struct config_extra_flag){"help", 'h', help, NULL, NULL, "show this"};
    for (; extra && extra->name && count + 1 < EXTRA_MOST; extra++)
        out[count++] = *extra;
    out[count] = (struct config_extra_flag){NULL, 0, NULL, NULL, NULL, NULL};
}

bool command_begin(const struct command *command, int argc, char **argv,
                   const struct config_extra_flag *extra, struct config *config, int *exit_code)
{
    struct config_extra_flag flags[EXTRA_MOST];
    struct error error;
    bool help = false;
    int operand;
    with_help(extra, &help, flags);
    bool loaded = config_load(argc, argv, flags, config, &operand, &error);
    if (help) {
        print_help(command, flags);
        config_free(config);
        *exit_code = command_flush() ? EXIT_DONE : EXIT_FAILED;
        return false;
    }
    if (loaded && operand < argc)
        loaded = error_set(&error, ERROR_USAGE,
                           "\"%.100s\" is not expected here: %s takes flags only, see automigrate "
                           "%s --help",
                           argv[operand], command->name, command->name);
    if (loaded && command->required)
        loaded = config_require(config, command->required, &error);
    if (!loaded) {
        config_free(config);
        *exit_code = command_fail(&error, false);
        return false;
    }
    if (!command->serving && config->log_level != LOG_DEBUG)
        log_configure(LOG_ERROR + 1, config->log_format);
    return true;
}
