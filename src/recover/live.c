/* SPDX-License-Identifier: MIT */
/* Looking at database and files. Recovery thread, but for the first look. */
#include "recover/live.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "database/history.h"
#include "database/schema_read.h"

enum {
    READ_BUSY_TIMEOUT_MS = 1000,
    TROUBLE_LOOK_MS = 1000, /* between looks at what could not be read */
    LOOKS_IN_A_ROW = 5,     /* at a schema that changes while it is read */
};

static void tell_trouble(struct live *live, const struct error *error)
{
    atomic_store(&live->trouble, true);
    live->has_plan = false;
    if (strcmp(live->told_trouble, error->message) == 0)
        return;
    slice_copy(slice_from_string(error->message), live->told_trouble, sizeof live->told_trouble);
    JOURNAL(live->options->journal, EVENT_TROUBLE, error_category(error->code), error->message,
            log_text("category", error_category(error->code)));
}

static void end_trouble(struct live *live)
{
    atomic_store(&live->trouble, false);
    live->told_trouble[0] = '\0';
}

static void close_database(struct live *live)
{
    if (live->is_open)
        database_close(&live->database);
    live->is_open = false;
}

/* Opens it, or opens it anew when another file has taken its place; a file that is gone is not read
 * on. */
static bool open_database(struct live *live, struct error *error)
{
    struct stat status;
    const char *path = live->options->config->database;
    if (stat(path, &status) != 0 || status.st_dev != live->device || status.st_ino != live->inode)
        close_database(live);
    if (live->is_open)
        return true;
    if (!database_open(&live->database, path, DATABASE_READ, READ_BUSY_TIMEOUT_MS, error))
        return false;
    live->is_open = true;
    live->has_plan = false;
    live->data_version = 0;
    if (stat(path, &status) == 0) {
        live->device = status.st_dev;
        live->inode = status.st_ino;
    }
    return true;
}

/* What was wrong may be gone though the files are the same. */
static bool may_pass(const struct error *error)
{
    return error->code == ERROR_MEMORY || error->code == ERROR_IO;
}

static bool load_files(struct live *live, struct error *error)
{
    struct migration_set set = {0};
    uint64_t digest = live->files.digest;
    live->files.loaded = digest; /* a broken directory is read again when it changes again */
    live->broken.code = ERROR_NONE;
    if (!migration_set_load(&set, live->options->config->migrations, error)) {
        live->broken = *error;
        return false;
    }
    plan_free(&live->plan); /* it borrows from the set */
    live->plan = (struct plan){0};
    live->has_plan = false;
    migration_set_free(&live->set);
    live->set = set;
    return true;
}

/* FNV-1a over the applied versions and checksums. */
static uint64_t digest_of(const struct history *history)
{
    uint64_t digest = 0xcbf29ce484222325u;
    for (size_t i = 0; i < history->count; i++) {
        const char *texts[] = {history->rows[i].version, history->rows[i].checksum,
                               history->rows[i].state};
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
            for (const char *c = texts[t] ? texts[t] : ""; *c; c++)
                digest = (digest ^ (unsigned char)*c) * 0x100000001b3u;
            digest = (digest ^ 0xff) * 0x100000001b3u;
        }
    }
    return digest;
}

static bool read_digest(struct live *live, uint64_t *digest, struct error *error)
{
    struct history history = {0};
    if (!history_read(&live->database, &history, error))
        return false;
    *digest = digest_of(&history);
    history_free(&history);
    return true;
}

void live_tell_drifts(const struct live *live)
{
    for (size_t i = 0; i < live->plan.drift_count; i++)
        JOURNAL(live->options->journal, EVENT_DRIFT, live->plan.drifts[i].version,
                live->plan.drifts[i].message, log_number("blocked", live->plan.blocked));
}

/* Makes the live catalogue `next`, in a new generation, when it differs. */
static bool take_catalogue(struct live *live, struct catalogue *next, struct error *error)
{
    struct catalogue_difference difference = {0};
    uint64_t generation = live_generation(live) + 1;
    if (!catalogue_compare(&live->catalogue, next, &difference))
        return error_set(error, ERROR_MEMORY, "out of memory");
    bool first = generation == 1, good = true;
    if (difference.count > 0 || first) {
        good = first || appearances_add(&live->appearances, &difference, generation) ||
               error_set(error, ERROR_MEMORY, "out of memory");
        if (!first && !live->expects_change)
            JOURNAL(live->options->journal, EVENT_APPLIED_ELSEWHERE, NULL,
                    "the schema was changed by another program",
                    log_number("schema_version", next->schema_version),
                    log_number("changes", (int64_t)difference.count));
    }
    if (good) {
        bool changed = difference.count > 0 || first;
        catalogue_difference_free(&difference); /* it borrows from both */
        catalogue_free(&live->catalogue);
        live->catalogue = *next;
        *next = (struct catalogue){0};
        if (changed)
            atomic_store_explicit(&live->generation, generation, memory_order_release);
    } else {
        catalogue_difference_free(&difference);
    }
    return good;
}

/* A plan and a catalogue of one and the same schema. */
static bool make_plan(struct live *live, struct error *error)
{
    const struct config *config = live->options->config;
    const struct plan_limits limits = {.rehearsal_timeout_ms = config->rehearsal_timeout_ms};
    for (int i = 0; i < LOOKS_IN_A_ROW; i++) {
        struct plan plan = {0};
        struct catalogue catalogue = {0};
        uint64_t digest;
        if (!read_digest(live, &digest, error) ||
            !plan_make(&plan, &live->set, &live->database, &limits, error))
            return false;
        if (!schema_read(&live->database, &catalogue, error)) {
            plan_free(&plan);
            return false;
        }
        if (catalogue.schema_version != plan.schema_version) {
            plan_free(&plan);
            catalogue_free(&catalogue);
            continue;
        }
        if (!take_catalogue(live, &catalogue, error)) {
            plan_free(&plan);
            catalogue_free(&catalogue);
            return false;
        }
        plan_free(&live->plan);
        live->plan = plan;
        live->has_plan = true;
        live->history_digest = digest;
        if (live->options->journal)
            live_tell_drifts(live);
        return true;
    }
    return error_set(error, ERROR_LOCK,
                     "the schema of %s changes all the time: it will be looked at again",
                     config->database);
}

/* Whether the plan is still the plan for what is there. */
static bool plan_is_current(struct live *live, bool *current, struct error *error)
{
    int64_t data_version, schema_version;
    if (!database_data_version(&live->database, &data_version, error) ||
        !database_schema_version(&live->database, &schema_version, error))
        return false;
    *current = live->has_plan && schema_version == live->plan.schema_version;
    if (data_version == live->data_version)
        return true;
    live->data_version = data_version;
    /* The commits may have come at any moment until now. */
    live->quiet_since_ns = clock_monotonic_ns();
    uint64_t digest = 0;
    if (*current && !read_digest(live, &digest, error))
        return false;
    *current = *current && digest == live->history_digest;
    return true;
}

static bool look(struct live *live, struct error *error)
{
    bool current;
    files_look(&live->files, live->options->config->migrations, clock_monotonic_ns());
    if (files_are_due(&live->files, clock_monotonic_ns()) || may_pass(&live->broken)) {
        if (!load_files(live, error))
            return false;
        live->files_are_new = true;
    }
    if (live->broken.code != ERROR_NONE) {
        *error = live->broken; /* the set from before is not what is there any more */
        return false;
    }
    if (!open_database(live, error) || !plan_is_current(live, &current, error))
        return false;
    return current || make_plan(live, error);
}

void live_announce(struct live *live)
{
    live->options->announce(live->options->context, live_generation(live), live_is_moving(live));
}

void live_look(struct live *live)
{
    struct error error = {0};
    uint64_t generation = live_generation(live);
    bool moving = live_is_moving(live);
    if (look(live, &error)) {
        end_trouble(live);
        atomic_store_explicit(&live->pending, live->plan.count, memory_order_release);
    } else {
        tell_trouble(live, &error);
    }
    live->expects_change = false;
    if (generation != live_generation(live) || moving != live_is_moving(live))
        live_announce(live);
    /* Told when it is so, not when it was seen: who acts on the event finds it done. */
    if (live->files_are_new && live->has_plan) {
        live->files_are_new = false;
        JOURNAL(live->options->journal, EVENT_FILES_CHANGED, NULL, "the migrations were read again",
                log_number("files", (int64_t)live->set.count),
                log_number("pending", (int64_t)live->plan.count));
    }
}

int live_next_look_ms(const struct live *live)
{
    if (atomic_load(&live->trouble))
        return TROUBLE_LOOK_MS;
    if (!files_changed(&live->files))
        return -1;
    uint64_t now_ns = clock_monotonic_ns(),
             due_ns = live->files.seen_ns + FILES_STILL_MS * NS_PER_MS;
    return due_ns > now_ns ? (int)((due_ns - now_ns) / NS_PER_MS) + 1 : 0;
}

void live_set_changing(struct live *live, bool changing)
{
    atomic_store_explicit(&live->changing, changing, memory_order_release);
    if (changing) {
        live->expects_change = true;
        live_announce(live);
    }
}

bool live_is_quiet_since(const struct live *live, uint64_t sent_ns)
{
    return live->is_open && !atomic_load(&live->trouble) && live->quiet_since_ns < sent_ns;
}

bool live_construct(struct live *live, const struct recover_options *options, struct error *error)
{
    const struct config *config = options->config;
    const char *network = NULL;
    memset(live, 0, sizeof *live);
    live->options = options;
    live->mode = config->mode;
    files_look(&live->files, config->migrations, clock_monotonic_ns());
    if (!load_files(live, error))
        return false;
    if (database_is_on_network(config->database, &network) && live->mode != MODE_OFF) {
        live->mode = MODE_OBSERVE;
        LOG(LOG_WARNING, "observing",
            "the database is on a network file system, where locks cannot be trusted: "
            "nothing is applied by itself",
            log_text("database", config->database), log_text("file_system", network));
    }
    if (look(live, error)) {
        atomic_store(&live->pending, live->plan.count);
        return true;
    }
    /* Somebody holds the database: requests flow, and healing begins when it is free (P7). */
    if (error->code != ERROR_LOCK)
        return false;
    tell_trouble(live, error);
    return true;
}

void live_destruct(struct live *live)
{
    close_database(live);
    plan_free(&live->plan);
    migration_set_free(&live->set);
    catalogue_free(&live->catalogue);
    appearances_free(&live->appearances);
}
