/* SPDX-License-Identifier: MIT */
/* One value of one key: from text, as file, variable and flag give it, into its member of struct
 * config. The one place that checks values. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "config/keys.h"

/* Checks `text` and stores it. `where` begins the message: "--mode", "AUTOMIGRATE_MODE",
 * "conf/automigrate.yaml:7: mode". */
[[gnu::warn_unused_result]] bool config_value_set(struct config *config,
                                                  const struct config_key *key, const char *text,
                                                  const char *where, struct error *error);
