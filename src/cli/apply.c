/* SPDX-License-Identifier: MIT */
/* automigrate apply: an operator's word. Everything that is pending is applied in order, whatever
 * its risk, until the first failure. migrate/run.h does it, as for a recovery; here are the plan's
 * display, the question, the records and the report. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/status_report.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/columns.h"
#include "cli/command.h"
#include "cli/plan_text.h"
#include "database/database.h"
#include "journal/journal.h"
#include "journal/state.h"
#include "migrate/record.h"
#include "migrate/run.h"

static const char *const required[] = {"database", "migrations", NULL};

static const struct command apply_command = {
    .name = "apply",
    .text = "Applies everything that is pending, in order, whatever its risk, until the first\n"
            "failure. Shows the plan first and asks, if standard input is a terminal. Backs up\n"
            "before what is not green. Needs no running server.\n",
    .exit_codes =
        "  0  everything is applied\n  1  failed, or the answer was no\n  2  wrong usage\n"
        "  4  a file was changed after it was applied\n",
    .required = required,
};

/* One call of apply. */
struct application {
    struct config config;
    bool json, yes, dry_run;
    struct migration_set set;
    struct database database; /* reads, for plans; handle NULL until it is open */
    struct plan plan;
    size_t planned;                /* entries of the first plan, all of which were shown */
    struct journal *journal;       /* NULL: events are only logged */
    struct state *state;           /* NULL: failures are not remembered */
    char user[64];                 /* who runs it */
    char batch[64];                /* the same for all of this run */
    json_t *planned_json;          /* NULL unless json */
    json_t *results_json;          /* NULL unless json */
    const struct migration *begun; /* the newest that has its event */
    size_t applied, elsewhere;
    struct error error; /* why it ended early */
};

static void find_user(char *out, size_t size)
{
    struct passwd entry;
    struct passwd *found = NULL;
    char space[1024];
    if (getpwuid_r(getuid(), &entry, space, sizeof space, &found) == 0 && found)
        snprintf(out, size, "%s", found->pw_name);
    else
        snprintf(out, size, "uid %u", (unsigned)getuid());
}

/* ---- the plan ---- */

static bool open_and_plan(struct application *application, struct error *error)
{
    const struct config *config = &application->config;
    const struct plan_limits limits = {.rehearsal_timeout_ms = config->rehearsal_timeout_ms};
    struct database created;
    if (config->create_database && !application->dry_run) {
        if (!database_open(&created, config->database, DATABASE_CREATE, config->lock_timeout_ms,
                           error))
            return false;
        database_close(&created);
    }
    return database_open(&application->database, config->database, DATABASE_READ,
                         config->lock_timeout_ms, error) &&
           plan_make(&application->plan, &application->set, &application->database, &limits, error);
}

/* What blocks is to be mended first: no flag overrides that. Other drift is shown, and the
 * operator's word goes before it. */
static bool check_drift(const struct plan *plan, struct error *error)
{
    const struct drift *blocker = plan_blocker(plan);
    return !blocker ||
           error_set(error, ERROR_CHECKSUM, "nothing was applied: %s", blocker->message);
}

static bool show_plan(struct application *application, struct error *error)
{
    struct columns columns = {.count = PLAN_COLUMNS};
    application->planned = application->plan.count;
    if (application->json) {
        for (size_t i = 0; i < application->plan.count; i++) {
            if (json_array_append_new(application->planned_json,
                                      status_entry_json(&application->plan.entries[i], NULL)) != 0)
                return error_set(error, ERROR_MEMORY, "out of memory");
        }
        return true;
    }
    for (size_t i = 0; i < application->plan.count; i++)
        plan_text_add(&columns, &application->plan.entries[i]);
    if (!columns_print(&columns, stdout))
        return error_set(error, ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < application->plan.count; i++)
        plan_text_print_failures(&application->plan.entries[i], NULL);
    plan_text_print_drift(&application->plan);
    if (application->plan.count == 0)
        printf("Nothing is pending.\n");
    fflush(stdout);
    return true;
}

/* Asks on the terminal; anything but yes is no. */
static bool ask(const struct application *application, struct error *error)
{
    char answer[16] = "";
    if (application->yes || !isatty(STDIN_FILENO))
        return true;
    fprintf(stderr, "Apply %zu migration%s to %s? [y/N] ", application->plan.count,
            application->plan.count == 1 ? "" : "s", application->config.database);
    if (!fgets(answer, sizeof answer, stdin))
        fputc('\n', stderr);
    answer[strcspn(answer, "\n")] = '\0';
    if (string_compare_ignore_case(answer, "y") == 0 ||
        string_compare_ignore_case(answer, "yes") == 0)
        return true;
    return error_set(error, ERROR_POLICY, "nothing was applied: answer y, or give --yes");
}

/* ---- applying ---- */

/* Records only spare others a second look: their not being written is told, and no more. */
static void warn(const struct error *error)
{
    fprintf(stderr, "automigrate: warning: %s\n", error->message);
}

static struct record record_of(const struct application *application)
{
    return (struct record){.journal = application->journal,
                           .state = application->state,
                           .cause = "operator",
                           .batch = application->batch,
                           .who = {{"user", application->user}}};
}

static json_t *statement_json(const struct statement_result *statement)
{
    return json_pack("{s:i, s:i, s:o, s:I, s:I, s:b}", "position", (int)statement->position, "line",
                     (int)statement->line, "sql", json_text(statement->sql), "duration_us",
                     (json_int_t)statement->duration_us, "rows", (json_int_t)statement->rows,
                     "benign", statement->benign);
}

static bool add_json(struct application *application, const struct migration *migration,
                     const struct apply_report *report)
{
    static const char *const outcomes[] = {[APPLY_DONE] = "applied",
                                           [APPLY_ALREADY] = "applied_elsewhere",
                                           [APPLY_CHANGED] = "changed",
                                           [APPLY_FAILED] = "failed",
                                           [APPLY_UNTOUCHED] = "untouched"};
    json_t *statements = json_array();
    bool done = statements != NULL;
    for (unsigned i = 0; done && i < report->statement_count; i++)
        done = json_array_append_new(statements, statement_json(&report->statements[i])) == 0;
    json_t *object = json_pack(
        "{s:o, s:o, s:s, s:I, s:I, s:o, s:o}", "version", json_text(migration->version), "name",
        json_text(migration->name), "outcome", outcomes[report->outcome], "duration_us",
        (json_int_t)report->duration_us, "lock_wait_us", (json_int_t)report->lock_wait_us, "backup",
        json_text(report->backup), "statements", statements);
    return json_array_append_new(application->results_json, object) == 0 && done;
}

static void print_applied(const struct migration *migration, const struct apply_report *report)
{
    print_coloured(stdout, COLOUR_GREEN, "applied");
    printf(" %s ", migration->version);
    print_coloured(stdout, COLOUR_NONE, migration->name);
    printf(": %u statement%s, %.1f ms", report->statement_count,
           report->statement_count == 1 ? "" : "s", (double)report->duration_us / 1000);
    if (report->backup) {
        fputs(", backup ", stdout);
        print_coloured(stdout, COLOUR_NONE, report->backup);
    }
    putchar('\n');
    fflush(stdout);
}

static void print_failed(const struct migration *migration)
{
    print_coloured(stdout, COLOUR_RED, "failed");
    printf(" %s ", migration->version);
    print_coloured(stdout, COLOUR_NONE, migration->name);
    puts(migration->transaction ? ": nothing of it remains"
                                : ": it ran without a transaction, what it did before remains");
    fflush(stdout);
}

static size_t permit(void *context, const struct plan *plan)
{
    struct application *application = context;
    return check_drift(plan, &application->error) ? plan->count : 0;
}

/* Once a migration, however many plans it takes. */
static void before_each(void *context, const struct plan_entry *entry)
{
    struct application *application = context;
    const struct record record = record_of(application);
    if (application->begun != entry->migration)
        record_applying(&record, entry);
    application->begun = entry->migration;
}

static void after_each(void *context, const struct plan *plan, const struct plan_entry *entry,
                       const struct apply_report *report)
{
    struct application *application = context;
    const struct migration *migration = entry->migration;
    const struct record record = record_of(application);
    record_outcome(&record, plan, entry, report);
    if (report->outcome == APPLY_DONE) {
        application->applied++;
        if (!application->json)
            print_applied(migration, report);
    } else if (report->outcome == APPLY_ALREADY) {
        application->elsewhere++;
        if (!application->json)
            printf("%s was applied by somebody else meanwhile\n", migration->version);
    } else {
        application->error = report->error;
        if (report->outcome == APPLY_FAILED && !application->json)
            print_failed(migration);
    }
    if (application->json && !add_json(application, migration, report))
        warn(&(struct error){ERROR_MEMORY, "out of memory: the JSON report is not complete"});
}

static bool apply_all(struct application *application, struct error *error)
{
    const struct config *config = &application->config;
    const struct run run = {
        .database = &application->database,
        .set = &application->set,
        .limits = {.rehearsal_timeout_ms = config->rehearsal_timeout_ms},
        .options = {.state_directory = config->state_directory,
                    .lock_timeout_ms = config->lock_timeout_ms,
                    .migration_timeout_ms = config->migration_timeout_ms,
                    .backup_keep = config->backup_keep,
                    .backup = true,
                    .cause = "operator",
                    .batch = application->batch,
                    .allow_no_transaction = true},
        .context = application,
        .permit = permit,
        .before = before_each,
        .after = after_each,
    };
    enum run_outcome outcome = run_plan(&run, &application->plan, error);
    if (outcome == RUN_NO_PLAN)
        return false;
    if (outcome == RUN_DONE && application->error.code == ERROR_NONE)
        return true;
    if (application->error.code == ERROR_NONE)
        return error_set(error, ERROR_LOCK,
                         "%s: the schema is being changed by others all the time: try again when "
                         "it rests",
                         config->database);
    *error = application->error;
    return false;
}

/* ---- the whole ---- */

static void open_records(struct application *application)
{
    struct error error;
    application->journal = journal_open(application->config.state_directory, "automigrate/apply",
                                        application->config.journal_keep_ms, &error);
    if (!application->journal)
        warn(&error);
    application->state = state_open(application->config.state_directory, &error);
    if (!application->state)
        warn(&error);
}

static void close_records(struct application *application)
{
    uint64_t dropped = journal_dropped(application->journal);
    if (dropped > 0)
        fprintf(stderr, "automigrate: warning: %llu events could not be written to the journal\n",
                (unsigned long long)dropped);
    journal_close(application->journal);
    state_close(application->state);
}

static bool apply_run(struct application *application, struct error *error)
{
    if (!migration_set_load(&application->set, application->config.migrations, error) ||
        !open_and_plan(application, error) || !show_plan(application, error) ||
        !check_drift(&application->plan, error))
        return false;
    if (application->dry_run || application->plan.count == 0)
        return true;
    if (!ask(application, error))
        return false;
    open_records(application);
    bool done = apply_all(application, error);
    close_records(application);
    if (!application->json)
        printf("Applied: %zu\nPending: %zu\n", application->applied,
               application->planned - application->applied - application->elsewhere);
    return done;
}

/* One object: what was planned, what was applied, and why it ended. */
static bool print_result(struct application *application, const struct error *error)
{
    json_t *object = json_pack(
        "{s:o, s:b, s:O, s:O, s:I, s:I}", "database", json_text(application->config.database),
        "dry_run", application->dry_run, "planned", application->planned_json, "results",
        application->results_json, "applied", (json_int_t)application->applied, "pending",
        (json_int_t)(application->planned - application->applied - application->elsewhere));
    if (object && error->code != ERROR_NONE &&
        json_object_set_new(object, "error",
                            json_pack("{s:s, s:o}", "category", error_category(error->code),
                                      "message", json_text(error->message))) != 0) {
        json_decref(object);
        object = NULL;
    }
    return command_print_json(object, JSON_INDENT(2));
}

int cli_apply(int argc, char **argv)
{
    struct application application = {0};
    struct error error = {.code = ERROR_NONE};
    const struct config_extra_flag extra[] = {
        {"yes", 'y', &application.yes, NULL, NULL, "do not ask"},
        {"dry-run", 'n', &application.dry_run, NULL, NULL, "show the plan and apply nothing"},
        {"json", 0, &application.json, NULL, NULL, "print one JSON object"},
        {NULL, 0, NULL, NULL, NULL, NULL},
    };
    int exit_code;
    if (!command_begin(&apply_command, argc, argv, extra, &application.config, &exit_code))
        return exit_code;
    char time[CLOCK_TEXT_SIZE];
    find_user(application.user, sizeof application.user);
    snprintf(application.batch, sizeof application.batch, "%s-%d",
             clock_format(clock_wall_ms(), time), (int)getpid());
    application.planned_json = application.json ? json_array() : NULL;
    application.results_json = application.json ? json_array() : NULL;
    exit_code = apply_run(&application, &error) ? EXIT_DONE : command_fail(&error, false);
    if (application.json ? !print_result(&application, &error) : !command_flush())
        exit_code = EXIT_FAILED;
    json_decref(application.planned_json);
    json_decref(application.results_json);
    plan_free(&application.plan);
    database_close(&application.database);
    migration_set_free(&application.set);
    config_free(&application.config);
    return exit_code;
}
