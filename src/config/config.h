/* SPDX-License-Identifier: MIT */
/* The configuration: file, environment and flags become one checked struct that nobody changes
 * afterwards. Flags beat AUTOMIGRATE_… variables, which beat the file, which beats the defaults.
 * Every key stands in one table (config/keys.c) with its name, type, default, bounds and help; the
 * help text, the variables, the file's schema and the tests come from it. Built on one thread, read
 * by all. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"

enum config_mode { MODE_AUTO, MODE_APPROVE, MODE_OBSERVE, MODE_OFF };
enum config_unsafe { UNSAFE_QUIET, UNSAFE_CONFIRMED, UNSAFE_KEY, UNSAFE_NEVER, UNSAFE_ALWAYS };
enum config_risk { RISK_GREEN, RISK_YELLOW, RISK_RED };
enum config_scope { SCOPE_ALL, SCOPE_MAPPED };

/* Key in the file: member. Strings are owned by the struct, never NULL unless said. Times in
 * milliseconds, sizes in bytes, as their names say. In the file and in variables they are written
 * 500ms, 2s, 10m, 1h and 16KiB, 64MiB, 1GiB. */
struct config {
    char *listen;          /* listen: host:port, [v6]:port, :port or unix:/path */
    char *upstream;        /* upstream: http://host:port or unix:/path */
    char *database;        /* database: path */
    char *migrations;      /* migrations: directory */
    char *state_directory; /* state_directory: default <database>.automigrate */
    char *admin;           /* admin: host:port, unix:/path or off; default 127.0.0.1:9180 */
    char *environment;     /* environment: a name shown to operators, "" by default */
    uint64_t workers;      /* workers: threads of the data plane; 0: one a processor */
    bool create_database;  /* create_database */
    enum config_mode mode; /* mode */

    enum log_level log_level;   /* log.level: debug info warning error */
    enum log_format log_format; /* log.format: text json */

    uint64_t upstream_max_connections; /* upstream_options.max_connections: all workers together */
    uint64_t upstream_connect_timeout_ms;  /* upstream_options.connect_timeout */
    uint64_t upstream_response_timeout_ms; /* upstream_options.response_timeout: silence before and
                                              within an answer */
    uint64_t upstream_idle_timeout_ms;  /* upstream_options.idle_timeout: of a pooled connection */
    uint64_t upstream_queue_timeout_ms; /* upstream_options.queue_timeout */
    uint64_t upstream_queue_length; /* upstream_options.queue_length: waiting requests, all workers
                                       together */

    uint64_t client_header_timeout_ms; /* limits.header_timeout */
    uint64_t client_body_timeout_ms;   /* limits.body_timeout: silence within a request body */
    uint64_t client_send_timeout_ms;   /* limits.send_timeout: a client that does not read */
    uint64_t client_idle_timeout_ms;   /* limits.idle_timeout: between requests */
    uint64_t max_connections;          /* limits.max_connections: clients, all workers together */
    uint64_t drain_timeout_ms;         /* limits.drain_timeout: after SIGTERM */
    uint64_t request_buffering_bytes;  /* limits.request_buffering */

    uint64_t detect_status_first; /* detect.status_first: watched statuses, 500 */
    uint64_t detect_status_last;  /* detect.status_last: 599 */
    uint64_t hold_bytes;          /* detect.hold_bytes: how much of an answer is looked at, 64KiB */
    uint64_t hold_timeout_ms;     /* detect.hold_timeout: 1s */

    uint64_t recover_wait_ms; /* recover.wait: how long a request waits for its verdict, 15s */
    enum config_scope recover_scope; /* recover.scope: all mapped */

    enum config_unsafe retry_unsafe; /* retry.unsafe */
    uint64_t retry_max_body_bytes;   /* retry.max_body: 64MiB */
    uint64_t
        retry_memory_bytes; /* retry.memory: of one recorded body before it goes to a file, 1MiB */
    uint64_t retry_memory_total_bytes; /* retry.memory_total: of all that waits for a verdict; past
                                          it, it waits in files, 64MiB */
    uint64_t
        retry_budget_bytes; /* retry.budget: all recorded requests, held answers and files, 1GiB */

    enum config_risk
        policy_auto_apply; /* policy.auto_apply: highest risk applied without an operator, yellow */
    uint64_t policy_lock_budget_ms; /* policy.lock_budget: 2s */

    uint64_t migration_timeout_ms; /* migrations_options.timeout: one migration, 10m */
    uint64_t lock_timeout_ms; /* migrations_options.lock_timeout: lock file and write lock, 10s */
    uint64_t rehearsal_timeout_ms; /* migrations_options.rehearsal_timeout: 5s */
    uint64_t backup_keep;          /* backup.keep: newest N kept, 10 */

    uint64_t journal_keep_ms; /* journal.keep: 90 days, written 90d */
    bool expose;              /* expose: Proxy-Status on a healed answer, true */
};

/* What a subcommand takes from the command line beside the keys: see config/keys.h. */

/* Parses flags (argv[0] is the subcommand's name), AUTOMIGRATE_… variables and the file that
 * --config or AUTOMIGRATE_CONFIG names, and checks every value by itself (not whether files exist).
 * An empty variable counts as not set. Positional arguments that are left are reported through
 * *first_operand, an index into argv, which getopt has permuted. On failure the message names flag,
 * variable, or file and line, the key, and what to write instead; the nearest known key is
 * suggested for a misspelt one; *config is empty and may be freed. Extra flags before the one at
 * fault are set also then, so that --help is heard beside a broken file. On success the log has the
 * configured level and format, and unknown AUTOMIGRATE_… variables were warned of. Free with
 * config_free. One thread (getopt). */
struct config_extra_flag; /* flags of one subcommand only */
[[gnu::warn_unused_result]] bool config_load(int argc, char **argv,
                                             const struct config_extra_flag *extra,
                                             struct config *config, int *first_operand,
                                             struct error *error);
void config_free(struct config *config);

/* Whether the keys of `keys` (full names of text keys, ended by NULL) were given; the message says
 * by which flag, variable and key to give the first that was not. */
[[gnu::warn_unused_result]] bool config_require(const struct config *config,
                                                const char *const *keys, struct error *error);

/* A boolean or string flag that only one subcommand has, as --json or --yes; the table ends with
 * name NULL. */
struct config_extra_flag {
    const char *name;     /* without dashes */
    char short_name;      /* or 0 */
    bool *flag;           /* set to true, or */
    char **text;          /* set to a value that points into argv */
    const char *argument; /* the name of its value in the help, or NULL */
    const char *help;
};

/* The "Options:" part of a subcommand's --help: its own flags, then those of the keys that have
 * flags. `serving` also lists the flags that only `serve` uses. Prints to standard output. */
void config_print_options(const struct config_extra_flag *extra, bool serving);

const char *config_mode_name(enum config_mode mode);
const char *config_risk_name(enum config_risk risk);
