/* SPDX-License-Identifier: MIT */
/* The table of configuration keys: what each is called in the file, as a flag and as a variable,
 * what it may be, where it goes in struct config, and what it is for. Everything that knows keys
 * reads this table. Constant, any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

enum config_type {
    KEY_TEXT,     /* any text without control bytes; "" is "not given" */
    KEY_PATH,     /* a path; URIs and :memory: are refused */
    KEY_LISTEN,   /* host:port, [v6]:port, :port or unix:/path */
    KEY_UPSTREAM, /* http://host:port or unix:/path */
    KEY_ADMIN,    /* as KEY_LISTEN, or off */
    KEY_NUMBER,
    KEY_DURATION, /* milliseconds inside; 500ms, 2s, 10m, 1h, 90d outside */
    KEY_SIZE,     /* bytes inside; 512, 16KiB, 64MiB, 1GiB outside */
    KEY_BOOLEAN,
    KEY_CHOICE, /* an enum; its words in their order */
};

struct config_key {
    const char *section; /* of the file, or NULL for the top level */
    const char *name;
    enum config_type type;
    size_t offset;            /* of the member in struct config */
    const char *default_text; /* as it would be written in the file */
    uint64_t least, most;     /* of numbers, times and sizes, in their inner unit */
    const char *const *words; /* of a choice: NULL-terminated, a word's place is its value */
    const char *noun;         /* of a choice: "mode" */
    const char *flag;         /* without dashes, or NULL */
    const char *argument;     /* the name of the flag's value in the help */
    bool serving;             /* only serve uses it */
    const char *help;
};

enum { CONFIG_KEYS_MOST = 64, CONFIG_KEY_NAME_SIZE = 64 };

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* "upstream_options.max_connections", "AUTOMIGRATE_UPSTREAM_OPTIONS_MAX_CONNECTIONS"; return
 * `out`. */
char *config_key_name(const struct config_key *key, char out[CONFIG_KEY_NAME_SIZE]);
char *config_key_variable(const struct config_key *key, char out[CONFIG_KEY_NAME_SIZE]);

/* The key of that full name; NULL when there is none. */
const struct config_key *config_key_find(const char *name);
