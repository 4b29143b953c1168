/* SPDX-License-Identifier: MIT */
/* How many bytes of the live database a statement goes over: what the write lock is held for. Reads
 * a handful of rows. On the thread of the connection. */
#pragma once

#include "database/database.h"

/* About the size of the table's rows: its highest rowid times the mean of its first rows, never
 * more than the database's pages. A table that cannot be asked counts as the whole database. */
uint64_t estimate_table(struct database *live, const char *table);

/* Whether the table has a row; true also when it cannot be asked. */
bool estimate_has_rows(struct database *live, const char *table);
