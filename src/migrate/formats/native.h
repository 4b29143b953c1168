/* SPDX-License-Identifier: MIT */
/* Our own file format, which is dbmate's with optional lines of ours: `-- migrate:up`, `--
 * migrate:down`, `-- automigrate:NAME VALUE`. Pure, any thread. */
#pragma once

#include "migrate/migration.h"

/* Fills everything of `migration` that its text says: up, down, directives, foreign_keys_off.
 * `text`, `text_length` and `file_name` are set by the caller, who frees it with what
 * migration_set_free does, also after a failure. Cuts both sections into statements once, so that a
 * file that breaks off is refused here. */
[[gnu::warn_unused_result]] bool native_parse(struct migration *migration, struct error *error);
