/* SPDX-License-Identifier: MIT */
/* Lasting state that is no history: <state directory>/state.db, shared by every proxy and command
 * on the database, written at once. For now: migrations that failed, by checksum, so that no
 * request makes them run again (nor after a restart, nor in another proxy) until the file changes
 * or an operator applies it. One thread a handle. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct state;

struct state_failure {
    char checksum[65];
    char version[64];
    char message[1024];
    char failed_at[32];
    int64_t schema_version; /* of the live schema it failed on */
};

/* Makes directory and file where they are missing. */
[[gnu::warn_unused_result]] struct state *state_open(const char *state_directory,
                                                     struct error *error);
void state_close(struct state *state);

[[gnu::warn_unused_result]] bool state_remember_failure(struct state *state,
                                                        const struct state_failure *failure,
                                                        struct error *error);
[[gnu::warn_unused_result]] bool state_forget_failure(struct state *state, const char *checksum,
                                                      struct error *error);

/* *found tells whether there is one. */
[[gnu::warn_unused_result]] bool state_find_failure(struct state *state, const char *checksum,
                                                    struct state_failure *failure, bool *found,
                                                    struct error *error);
