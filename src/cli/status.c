/* SPDX-License-Identifier: MIT */
/* automigrate status: what is applied, what is pending and why, and what does not fit together. */
#include <stdio.h>
#include <string.h>

#include "admin/status_report.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/plan_text.h"
#include "cli/columns.h"
#include "version.h"

static const char *const required[] = {"database", "migrations", NULL};

static const struct command status_command = {
    .name = "status",
    .text =
        "Shows the migrations that are applied and those that are pending, with their risk and\n"
        "how they fared in a rehearsal on a copy of the schema, and where history and files\n"
        "disagree. Reads only; needs no running server.\n",
    .exit_codes = "  0  everything is applied\n  1  failed\n  2  wrong usage\n"
                  "  3  something is pending\n  4  history and files disagree\n",
    .required = required,
};

static void add_applied(struct columns *columns, const struct status_report *report,
                        const struct history_row *row)
{
    columns_add(columns, COLOUR_GREEN, "[X]");
    columns_add(columns, COLOUR_NONE, row->version);
    columns_add(columns, COLOUR_NONE, status_report_name(report, row));
    columns_add(columns, COLOUR_NONE, row->applied_at);
    if (row->applied_at)
        columns_printf(columns, COLOUR_NONE, "%lld ms", (long long)row->execution_ms);
    else
        columns_add(columns, COLOUR_NONE, NULL);
    columns_add(columns, COLOUR_FAINT, row->cause);
}

static bool print_people(const struct status_report *report)
{
    struct columns columns = {.count = PLAN_COLUMNS};
    printf("Database:   %s\nMigrations: %s\n\n", report->source->database,
           report->source->migrations);
    for (size_t i = 0; i < report->history.count; i++)
        add_applied(&columns, report, &report->history.rows[i]);
    for (size_t i = 0; i < report->plan.count; i++)
        plan_text_add(&columns, &report->plan.entries[i]);
    if (!columns_print(&columns, stdout))
        return false;
    for (size_t i = 0; i < report->plan.count; i++)
        plan_text_print_failures(&report->plan.entries[i], &report->failures[i]);
    plan_text_print_drift(&report->plan);
    printf("%sApplied: %zu\nPending: %zu\n",
           report->history.count + report->plan.count > 0 ? "\n" : "", report->history.count,
           report->plan.count);
    return true;
}

int cli_status(int argc, char **argv)
{
    bool json = false;
    const struct config_extra_flag extra[] = {
        {"json", 0, &json, NULL, NULL, "print one JSON object"},
        {NULL, 0, NULL, NULL, NULL, NULL},
    };
    struct config config;
    struct status_report report;
    struct error error;
    int exit_code;
    if (!command_begin(&status_command, argc, argv, extra, &config, &exit_code))
        return exit_code;
    const struct status_source source = {.database = config.database,
                                         .migrations = config.migrations,
                                         .state_directory = config.state_directory,
                                         .rehearsal_timeout_ms = config.rehearsal_timeout_ms,
                                         .environment = config.environment,
                                         .version = AUTOMIGRATE_VERSION};
    if (!status_report_make(&report, &source, &error)) {
        exit_code = command_fail(&error, json);
    } else {
        exit_code = status_report_exit_code(&report);
        if (json ? !command_print_json(status_report_json(&report), JSON_INDENT(2))
                 : !print_people(&report) || !command_flush())
            exit_code = EXIT_FAILED;
    }
    status_report_free(&report);
    config_free(&config);
    return exit_code;
}
