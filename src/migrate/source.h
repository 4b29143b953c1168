/* SPDX-License-Identifier: MIT */
/* The files of the operator's directory under the rule of trust: nobody else may be able to change
 * them, since what they hold will be run. */
#pragma once

#include "migrate/migration.h"

/* Calls `found` for every file name of the form <digits>….sql, in no order. False: the directory
 * cannot be trusted or read, or `found` refused; the error says it. */
struct source_visitor {
    bool (*found)(void *context, const char *file_name, struct error *error);
    void *context;
};
[[gnu::warn_unused_result]] bool
source_list(const char *directory, const struct source_visitor *visitor, struct error *error);

/* Reads the whole file into memory that the caller frees, NUL-terminated. Regular files only; a
 * symbolic link is followed only into a place that is trusted as well. */
[[gnu::warn_unused_result]] bool source_read(const char *path, char **text, size_t *length,
                                             struct error *error);

/* SHA-256 in hex, CRLF counted as LF, so that a checkout with other line ends is the same file. */
void source_checksum(const char *text, size_t length, char checksum[CHECKSUM_SIZE]);
