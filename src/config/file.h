/* SPDX-License-Identifier: MIT */
/* The configuration file: YAML, read once into one text a key with the line it stands on. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "config/keys.h"

struct config_file {
    char *texts[CONFIG_KEYS_MOST];    /* by place in config_keys; NULL: not in the file or null */
    unsigned lines[CONFIG_KEYS_MOST]; /* 1-based */
};

/* Refuses, with file and line in the message: what is not YAML, unknown and repeated keys, a value
 * where a section belongs and the reverse, lists, anchors, a second document. Values are not
 * looked at. Free with config_file_free. */
[[gnu::warn_unused_result]] bool config_file_read(struct config_file *file, const char *path,
                                                  struct error *error);
void config_file_free(struct config_file *file);
