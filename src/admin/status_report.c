/* SPDX-License-Identifier: MIT */
/* Gathering the status, and its JSON. */
#include "admin/status_report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "database/database.h"

enum { BUSY_TIMEOUT_MS = 2000, READ_ATTEMPTS = 5 };

/* History and plan of one moment: each is a reading of its own, so both are repeated when somebody
 * committed between them. A database that never rests gives the last reading. */
static bool read_database(struct status_report *report, struct database *database,
                          struct error *error)
{
    const struct plan_limits limits = {.rehearsal_timeout_ms =
                                           report->source->rehearsal_timeout_ms};
    for (int attempt = 1;; attempt++) {
        int64_t before;
        int64_t after;
        if (!database_data_version(database, &before, error) ||
            !history_read(database, &report->history, error) ||
            !plan_make(&report->plan, &report->set, database, &limits, error) ||
            !database_data_version(database, &after, error))
            return false;
        if (before == after || attempt == READ_ATTEMPTS)
            return true;
        history_free(&report->history);
        plan_free(&report->plan);
        report->history = (struct history){0};
        report->plan = (struct plan){0};
    }
}

/* What failed before. A state file that is not there says that nothing did, and is not made. */
static bool read_failures(struct status_report *report, struct error *error)
{
    struct buffer path = {0};
    report->failures = calloc(report->plan.count ? report->plan.count : 1, //
                              sizeof *report->failures);
    buffer_printf(&path, "%s/state.db", report->source->state_directory);
    if (!report->failures || path.failed) {
        buffer_free(&path);
        return error_set(error, ERROR_MEMORY, "out of memory");
    }
    bool exists = access(path.data, F_OK) == 0;
    buffer_free(&path);
    if (!exists)
        return true;
    struct state *state = state_open(report->source->state_directory, error);
    if (!state)
        return false;
    bool done = true;
    for (size_t i = 0; done && i < report->plan.count; i++) {
        bool found;
        done = state_find_failure(state, report->plan.entries[i].migration->checksum,
                                  &report->failures[i], &found, error);
        if (done && !found)
            report->failures[i].checksum[0] = '\0';
    }
    state_close(state);
    return done;
}

bool status_report_make(struct status_report *report, const struct status_source *source,
                        struct error *error)
{
    struct database database;
    *report = (struct status_report){.source = source};
    if (!migration_set_load(&report->set, source->migrations, error) ||
        !database_open(&database, source->database, DATABASE_READ, BUSY_TIMEOUT_MS, error))
        return false;
    bool done = read_database(report, &database, error);
    database_close(&database);
    return done && read_failures(report, error);
}

void status_report_free(struct status_report *report)
{
    free(report->failures);
    plan_free(&report->plan);
    history_free(&report->history);
    migration_set_free(&report->set);
    *report = (struct status_report){0};
}

enum exit_code status_report_exit_code(const struct status_report *report)
{
    if (report->plan.drift_count > 0)
        return EXIT_DRIFT;
    return report->plan.count > 0 ? EXIT_PENDING : EXIT_DONE;
}

const char *status_report_name(const struct status_report *report, const struct history_row *row)
{
    if (row->name)
        return row->name;
    const struct migration *migration = migration_set_find(&report->set, row->version);
    return migration ? migration->name : "";
}

const char *rehearsal_name(enum rehearsal rehearsal)
{
    static const char *const names[] = {[REHEARSAL_OK] = "ok",
                                        [REHEARSAL_FAILS] = "fails",
                                        [REHEARSAL_DEPENDS_ON_DATA] = "depends_on_data",
                                        [REHEARSAL_NOT_RUN] = "not_run"};
    return names[rehearsal];
}

const char *drift_kind_name(enum drift_kind kind)
{
    static const char *const names[] = {[DRIFT_CHANGED] = "changed",
                                        [DRIFT_MISSING] = "missing",
                                        [DRIFT_LATE] = "late",
                                        [DRIFT_AHEAD] = "ahead"};
    return names[kind];
}

/* ---- JSON ---- */

json_t *json_text(const char *text)
{
    if (!text)
        return json_null();
    json_t *string = json_string(text);
    if (string)
        return string;
    struct buffer mended = {0};
    for (struct slice rest = slice_from_string(text); rest.length > 0;) {
        size_t length = slice_utf8_length(rest);
        buffer_append_slice(&mended,
                            length > 0 ? slice_make(rest.data, length) : SLICE("\xef\xbf\xbd"));
        length = length > 0 ? length : 1;
        rest = slice_make(rest.data + length, rest.length - length);
    }
    if (!mended.failed && mended.data)
        string = json_string(mended.data);
    buffer_free(&mended);
    return string;
}

/* An object in the making: fields are added without looking, success is asked for once. */
struct making {
    json_t *object;
    bool failed;
};

static struct making begin(void)
{
    json_t *object = json_object();
    return (struct making){object, !object};
}

/* Takes the value over. */
static void put(struct making *making, const char *key, json_t *value)
{
    if (json_object_set_new(making->object, key, value) != 0)
        making->failed = true;
}

static void put_text(struct making *making, const char *key, const char *text)
{
    put(making, key, json_text(text));
}

static void put_number(struct making *making, const char *key, int64_t number)
{
    put(making, key, json_integer(number));
}

static json_t *finish(struct making *making)
{
    if (!making->failed)
        return making->object;
    json_decref(making->object);
    return NULL;
}

static json_t *applied_json(const struct status_report *report, const struct history_row *row)
{
    struct making making = begin();
    put_text(&making, "version", row->version);
    put_text(&making, "name", status_report_name(report, row));
    put_text(&making, "state", row->state);
    put_text(&making, "checksum", row->checksum);
    put_text(&making, "applied_at", row->applied_at);
    put_number(&making, "execution_ms", row->execution_ms);
    put_number(&making, "statements", row->statements);
    put_text(&making, "applied_by", row->applied_by);
    put_text(&making, "host", row->host);
    put_text(&making, "cause", row->cause);
    put_text(&making, "batch", row->batch);
    return finish(&making);
}

static json_t *provided_json(const struct provided *provided)
{
    struct making making = begin();
    put_text(&making, "kind", schema_kind_name(provided->kind));
    if (provided->table && provided->table[0])
        put_text(&making, "table", provided->table);
    put_text(&making, "name", provided->name);
    return finish(&making);
}

static json_t *provides_json(const struct plan_entry *entry)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < entry->provides_count; i++) {
        if (json_array_append_new(array, provided_json(&entry->provides[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *depends_json(const struct migration *migration)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < migration->depends_count; i++) {
        if (json_array_append_new(array, json_text(migration->depends[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

json_t *status_entry_json(const struct plan_entry *entry, const struct state_failure *failure)
{
    const struct migration *migration = entry->migration;
    struct making making = begin();
    put_text(&making, "version", migration->version);
    put_text(&making, "name", migration->name);
    put_text(&making, "file", migration->file_name);
    put_text(&making, "checksum", migration->checksum);
    put_text(&making, "risk", risk_name(entry->risk));
    put_text(&making, "risk_reason", entry->risk_reason);
    put_text(&making, "rehearsal", rehearsal_name(entry->rehearsal));
    if (entry->rehearsal == REHEARSAL_FAILS)
        put_text(&making, "rehearsal_message", entry->failure.message);
    put(&making, "provides", provides_json(entry));
    if (migration->depends_declared)
        put(&making, "depends", depends_json(migration));
    put(&making, "transaction", json_boolean(migration->transaction));
    put_number(&making, "rewritten_bytes", (int64_t)entry->rewritten_bytes);
    if (failure && failure->checksum[0]) {
        struct making failed = begin();
        put_text(&failed, "failed_at", failure->failed_at);
        put_text(&failed, "message", failure->message);
        put(&making, "failed_before", finish(&failed));
    }
    return finish(&making);
}

json_t *status_drift_json(const struct drift *drift)
{
    struct making making = begin();
    put_text(&making, "kind", drift_kind_name(drift->kind));
    put_text(&making, "version", drift->version);
    put_text(&making, "message", drift->message);
    return finish(&making);
}

/* The element of one of the report's lists. */
static json_t *applied_at(const struct status_report *report, size_t i)
{
    return applied_json(report, &report->history.rows[i]);
}

static json_t *pending_at(const struct status_report *report, size_t i)
{
    return status_entry_json(&report->plan.entries[i], &report->failures[i]);
}

static json_t *drift_at(const struct status_report *report, size_t i)
{
    return status_drift_json(&report->plan.drifts[i]);
}

static json_t *list_json(const struct status_report *report, size_t count,
                         json_t *(*at)(const struct status_report *, size_t))
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, at(report, i)) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

json_t *status_report_json(const struct status_report *report)
{
    char time[CLOCK_TEXT_SIZE];
    struct making making = begin();
    put_text(&making, "time", clock_format(clock_wall_ms(), time));
    put_text(&making, "automigrate", report->source->version);
    if (report->source->environment && report->source->environment[0])
        put_text(&making, "environment", report->source->environment);
    if (report->source->mode)
        put_text(&making, "mode", report->source->mode);
    put_text(&making, "database", report->source->database);
    put_text(&making, "migrations", report->source->migrations);
    put_text(&making, "state_directory", report->source->state_directory);
    put_number(&making, "schema_version", report->plan.schema_version);
    put(&making, "blocked", json_boolean(report->plan.blocked));
    put(&making, "applied", list_json(report, report->history.count, applied_at));
    put(&making, "pending", list_json(report, report->plan.count, pending_at));
    put(&making, "drift", list_json(report, report->plan.drift_count, drift_at));
    return finish(&making);
}
