/* SPDX-License-Identifier: MIT */
/* Reads the live schema into a catalogue, and copies a schema into an empty in-memory database for
 * rehearsals. */
#pragma once

#include "base/error.h"
#include "database/database.h"
#include "schema/catalogue.h"

/* A consistent catalogue (one read transaction), its schema_version with it. Objects of SQLite's
 * own (sqlite_%) are left out. Free with catalogue_free. */
[[gnu::warn_unused_result]] bool schema_read(struct database *database, struct catalogue *catalogue,
                                             struct error *error);

/* Makes `copy` (an in-memory database that is opened here; close it with database_close) hold the
 * same schema without rows: encoding and user_version too; shadow tables are left to their virtual
 * table; what cannot be made (a missing module or function) is stubbed as a plain table with the
 * same columns and counted in *stubbed, with the first such name in `note` (which may be NULL). */
[[gnu::warn_unused_result]] bool schema_copy(struct database *database, struct database *copy,
                                             unsigned *stubbed, char note[256],
                                             struct error *error);
