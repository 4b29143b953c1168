/* SPDX-License-Identifier: MIT */
/* The subcommands. Each takes its part of the command line (argv[0] is its own name) and returns an
 * exit code of base/error.h. Main thread. */
#pragma once

int cli_serve(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_apply(int argc, char **argv);
int cli_log(int argc, char **argv);
