/* SPDX-License-Identifier: MIT */
/* A migration and the set of them: what the operator's directory holds, loaded and checked. The
 * bytes that are loaded here are the bytes that are rehearsed and applied. Immutable once loaded;
 * any thread may read it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum risk { MIGRATION_GREEN, MIGRATION_YELLOW, MIGRATION_RED };
const char *risk_name(enum risk risk); /* "green", "yellow", "red" */

enum { CHECKSUM_SIZE = 65, MIGRATION_SIZE_LIMIT = 64 << 20, MIGRATION_COUNT_LIMIT = 100000 };

struct migration {
    char *version;   /* the leading digits of the file name, as written */
    char *name;      /* what follows them, without ".sql": "zero_trust_schema" */
    char *file_name; /* "001_zero_trust_schema.sql" */
    char *path;
    char *text; /* the whole file, NUL-terminated */
    size_t text_length;
    struct slice up;   /* into text: what stands between the markers */
    struct slice down; /* empty if there is none */
    bool has_down;
    unsigned up_line; /* 1-based line of the file at which `up` begins */
    unsigned down_line;
    bool transaction;      /* false: transaction:false on the up marker */
    bool foreign_keys_off; /* "-- automigrate:foreign_keys off", or its own PRAGMA foreign_keys=OFF
                            */
    enum risk declared_risk; /* "-- automigrate:risk red": may only raise; GREEN when not given */
    uint64_t timeout_ms;     /* "-- automigrate:timeout 30s", 0: the configured one */
    bool depends_declared;   /* otherwise it depends on its predecessor */
    unsigned depends_line;   /* of the file, 0: not declared */
    char **depends;          /* versions */
    size_t depends_count;
    char checksum[CHECKSUM_SIZE]; /* SHA-256, hex, over the text with CRLF made LF */
};

struct migration_set {
    char *directory;
    struct migration *migrations; /* in the order in which they are applied */
    size_t count;
    size_t *by_version; /* indexes into migrations, in the order of versions */
};

/* Reads every *.sql file whose name begins with digits (others are left out), parses it
 * (migrate/formats/native.h), computes checksums, and orders the set: by dependencies, then by
 * version as a number, then by name. Refuses, each with one line that names the file (and line) and
 * the way out: a directory or file that is missing, unreadable or writable by group-and-others'
 * others (S_IWOTH); a symbolic link out of trust is not followed into a writable place; two files
 * with one version (1_ and 001_ are one version); a dependency that does not exist; a cycle,
 * written out a -> b -> a; a file without up section; NUL bytes; unterminated input
 * (sqlite3_complete); a directive that is unknown or has a bad value. An empty directory is an
 * empty set. */
[[gnu::warn_unused_result]] bool migration_set_load(struct migration_set *set,
                                                    const char *directory, struct error *error);
void migration_set_free(struct migration_set *set);
const struct migration *migration_set_find(const struct migration_set *set, const char *version);

/* Versions are numbers of any length: leading zeros do not count, 1 and 001 are one. Text that is
 * not digits only (another tool's row) comes behind all numbers, in its own order. */
int version_compare(const char *a, const char *b);
