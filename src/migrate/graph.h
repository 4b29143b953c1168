/* SPDX-License-Identifier: MIT */
/* The order in which migrations are applied: what a file depends on first, else by version. Pure,
 * any thread. */
#pragma once

#include "migrate/migration.h"

/* Puts set->migrations in that order and makes set->by_version. On entry they are in any order.
 * Refuses two files with one version, dependencies that do not exist, and cycles. */
[[gnu::warn_unused_result]] bool graph_order(struct migration_set *set, struct error *error);
