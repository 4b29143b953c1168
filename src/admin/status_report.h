/* SPDX-License-Identifier: MIT */
/* What is applied, what is pending and what does not fit together: read from the database and the
 * files at the moment of asking, through a short-lived connection of its own (P12). One shape for
 * the command line, the API and the dashboard. Blocks its thread; any thread that may. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "database/history.h"
#include "journal/state.h"
#include "migrate/migration.h"
#include "migrate/plan.h"

/* Where to look. Strings are borrowed and outlive the report; the last three may be NULL. */
struct status_source {
    const char *database;
    const char *migrations;
    const char *state_directory;
    uint64_t rehearsal_timeout_ms;
    const char *mode;
    const char *environment;
    const char *version; /* of the program */
};

struct status_report {
    const struct status_source *source;
    struct migration_set set;
    struct history history;
    struct plan plan;
    struct state_failure *failures; /* one a plan entry; checksum "" when it never failed */
};

/* Nothing is written, and no file is made. Free with status_report_free, also after a failure. */
[[gnu::warn_unused_result]] bool status_report_make(struct status_report *report,
                                                    const struct status_source *source,
                                                    struct error *error);
void status_report_free(struct status_report *report);

/* Exit code of `status`: EXIT_DRIFT before EXIT_PENDING before EXIT_DONE. */
enum exit_code status_report_exit_code(const struct status_report *report);

/* One object: database, migrations, schema_version, applied[], pending[], drift[] and the rest of
 * the source. NULL when memory is out. */
[[gnu::warn_unused_result]] json_t *status_report_json(const struct status_report *report);

/* One element of pending[]; `failure` may be NULL. */
[[gnu::warn_unused_result]] json_t *status_entry_json(const struct plan_entry *entry,
                                                      const struct state_failure *failure);

/* One element of drift[]. */
[[gnu::warn_unused_result]] json_t *status_drift_json(const struct drift *drift);

/* The name of an applied migration: as the history has it, else as its file has it, else "". */
const char *status_report_name(const struct status_report *report, const struct history_row *row);

const char *rehearsal_name(enum rehearsal rehearsal); /* "ok", "fails", "depends_on_data", … */
const char *drift_kind_name(enum drift_kind kind);    /* "changed", "missing", "late", "ahead" */

/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD. Null for NULL. */
[[gnu::warn_unused_result]] json_t *json_text(const char *text);
