/* SPDX-License-Identifier: MIT */
/* What all subcommands begin and end with: flags, --help, required keys, and failing in one line.
 * Main thread. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"

struct command {
    const char *name;            /* "status" */
    const char *text;            /* what it does, for --help: lines of at most 80 columns */
    const char *exit_codes;      /* what its exit codes mean, for --help, or NULL */
    const char *const *required; /* text keys, ended by NULL; NULL: none */
    bool serving;                /* lists the flags that only serve uses, and keeps the log on */
};

/* Loads the configuration and looks at --help. True: go on, and release *config. False: the
 * subcommand ends with *exit_code; what there was to say has been said. Unless `serving`, log lines
 * appear only with --verbose: a command tells what it does itself. */
[[gnu::warn_unused_result]] bool command_begin(const struct command *command, int argc, char **argv,
                                               const struct config_extra_flag *extra,
                                               struct config *config, int *exit_code);

/* "automigrate: message" on standard error, and with `json` also {"error": {category, message}} on
 * standard output. Returns the error's exit code. */
int command_fail(const struct error *error, bool json);

/* Prints and releases one JSON value; NULL is memory that ran out. Returns whether it was written.
 */
bool command_print_json(json_t *value, size_t flags);

/* Whether standard output took all that was printed; says so when not. */
bool command_flush(void);
