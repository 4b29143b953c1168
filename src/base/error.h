/* SPDX-License-Identifier: MIT */
/* An error is a value: a code from one table and a sentence that names the thing, the cause and the
 * way out. The caller owns the struct; a function that can fail fills it and returns false. The
 * table gives each code its category (in events, JSON and the API), the exit code of a command and
 * the HTTP status of the operators' server. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit codes of every subcommand. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_PENDING = 3,
    EXIT_DRIFT = 4,
};

/*      code                  category          exit          HTTP */
// clang-format off
#define ERROR_TABLE(X) \
    X(ERROR_NONE, "none", EXIT_DONE, 200) \
    X(ERROR_USAGE, "usage", EXIT_USAGE, 400) \
    X(ERROR_CONFIGURATION, "configuration", EXIT_USAGE, 400) \
    X(ERROR_NOT_FOUND, "not_found", EXIT_USAGE, 404) \
    X(ERROR_ADDRESS, "address", EXIT_FAILED, 500) \
    X(ERROR_IO, "io", EXIT_FAILED, 500) \
    X(ERROR_MEMORY, "memory", EXIT_FAILED, 503) \
    X(ERROR_LOCK, "lock", EXIT_FAILED, 503) \
    X(ERROR_TIMEOUT, "timeout", EXIT_FAILED, 504) \
    X(ERROR_SQL, "sql", EXIT_FAILED, 500) \
    X(ERROR_SQLITE_FEATURE, "sqlite_feature", EXIT_FAILED, 500) \
    X(ERROR_CONSTRAINT, "constraint", EXIT_FAILED, 500) \
    X(ERROR_FOREIGN_KEY, "foreign_key", EXIT_FAILED, 500) \
    X(ERROR_DISK_FULL, "disk_full", EXIT_FAILED, 507) \
    X(ERROR_READ_ONLY, "read_only", EXIT_FAILED, 500) \
    X(ERROR_CORRUPT, "corrupt", EXIT_FAILED, 500) \
    X(ERROR_PERMISSION, "permission", EXIT_FAILED, 403) \
    X(ERROR_CHECKSUM, "checksum", EXIT_DRIFT, 409) \
    X(ERROR_DEPENDENCY, "dependency", EXIT_FAILED, 409) \
    X(ERROR_POLICY, "policy", EXIT_FAILED, 409) \
    X(ERROR_CONNECTION, "connection", EXIT_FAILED, 502)
// clang-format on

enum error_code {
#define X(code, category, exit, status) code,
    ERROR_TABLE(X)
#undef X
};

enum { ERROR_MESSAGE_SIZE = 1024 };

struct error {
    enum error_code code;
    char message[ERROR_MESSAGE_SIZE]; /* one line, NUL-terminated, cut if longer */
};

/* Fills *error (which may be NULL) and returns false, so that `return error_set(…)` ends a
 * function. Control bytes in the formatted text become spaces: a message is always one line. Any
 * thread. */
[[gnu::format(printf, 3, 4)]] bool error_set(struct error *error, enum error_code code,
                                             const char *format, ...);

/* As error_set, with ": strerror(number)" behind the text. */
[[gnu::format(printf, 4, 5)]] bool error_set_errno(struct error *error, enum error_code code,
                                                   int number, const char *format, ...);

/* Puts text before the message that is there; the code stays. */
[[gnu::format(printf, 2, 3)]] void error_prefix(struct error *error, const char *format, ...);

const char *error_category(enum error_code code);
enum exit_code error_exit_code(enum error_code code);
unsigned error_http_status(enum error_code code);
