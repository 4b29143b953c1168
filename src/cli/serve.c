/* SPDX-License-Identifier: MIT */
/* automigrate serve: wires the rooms together (configuration, journal, recovery, watch, data plane,
 * operators' server), waits for signals, and takes everything down again in the reverse order. Main
 * thread. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "database/database.h"
#include "journal/journal.h"
#include "proxy/proxy.h"
#include "recover/reconcile.h"
#include "recover/recover.h"
#include "version.h"
#include "watch/watch.h"

enum {
    OPEN_BUSY_TIMEOUT_MS = 1000,
    /* Held answers and kept requests are blocks of their own above this size, so that their memory
     * goes back to the system when a burst is over (mallopt(3)). */
    OWN_MAPPING_BYTES = 32 * 1024,
    DESCRIPTORS_BESIDE_CONNECTIONS = 32, /* databases, journal, admin, watch, log */
    DESCRIPTORS_A_WORKER = 6,            /* its epolls, inbox, listener and libcurl's own */
};

static const char *const required[] = {"listen", "upstream", "database", "migrations", NULL};

static const struct command serve_command = {
    .name = "serve",
    .text = "Stands in front of an application and forwards every request. When the application\n"
            "fails because its SQLite database is behind its code, the pending migrations are\n"
            "applied once and the request is sent again, once.\n",
    .exit_codes =
        "  0  ended by SIGTERM or SIGINT\n  1  failed\n  2  wrong usage or configuration\n",
    .required = required,
    .serving = true,
};

struct server {
    struct config config;
    struct journal *journal;
    struct recover *recover; /* NULL in mode off */
    struct watch *watch;
    struct proxy *proxy;
    struct admin *admin;
};

static bool deliver(void *context, const struct verdict *verdict)
{
    const struct server *server = context;
    return proxy_deliver(server->proxy, verdict);
}

static void announce(void *context, uint64_t generation, bool recording)
{
    const struct server *server = context;
    if (server->proxy)
        proxy_announce(server->proxy, generation, recording);
}

static void look(void *context)
{
    const struct server *server = context;
    recover_look(server->recover);
}

static size_t metrics(void *context, struct admin_metric *out, size_t most)
{
    struct server *server = context;
    struct proxy_metric counted[64];
    size_t count = proxy_metrics(server->proxy, counted, sizeof counted / sizeof *counted),
           used = 0;
    for (size_t i = 0; i < count && used < most; i++)
        out[used++] = (struct admin_metric){.name = counted[i].name,
                                            .help = counted[i].help,
                                            .type = counted[i].type,
                                            .value = (double)counted[i].value};
    struct recover_figures figures = {.mode = MODE_OFF};
    if (server->recover)
        recover_figures(server->recover, &figures);
    const struct admin_metric healing[] = {
        {"automigrate_pending", "pending migrations", "gauge", NULL, (double)figures.pending},
        {"automigrate_schema_generation", "schemas seen since the start", "counter", NULL,
         (double)figures.generation},
        {"automigrate_migrating", "1 while a migration runs", "gauge", NULL, figures.changing},
        {"automigrate_trouble", "1 while database or migrations cannot be read", "gauge", NULL,
         figures.trouble},
        {"automigrate_applied_total", "migrations applied by this process", "counter", NULL,
         (double)figures.applied},
        {"automigrate_apply_failed_total", "migrations that failed", "counter", NULL,
         (double)figures.failed},
        {"automigrate_submitted_total", "answers that named a schema error", "counter", NULL,
         (double)figures.submitted},
        {"automigrate_retry_verdicts_total", "requests to be sent a second time", "counter", NULL,
         (double)figures.retried_verdicts},
        {"automigrate_abandoned_total", "requests that left before their verdict", "counter", NULL,
         (double)figures.abandoned},
        {"automigrate_events_written_total", "events in the journal", "counter", NULL,
         server->journal ? (double)journal_written(server->journal) : 0},
        {"automigrate_events_dropped_total", "events that could not be written", "counter", NULL,
         server->journal ? (double)journal_dropped(server->journal) : 0},
    };
    for (size_t i = 0; i < sizeof healing / sizeof *healing && used < most; i++)
        out[used++] = healing[i];
    return used;
}

static bool ready(void *context, char reason[128])
{
    const struct server *server = context;
    struct recover_figures figures = {0};
    if (server->recover)
        recover_figures(server->recover, &figures);
    if (figures.trouble)
        snprintf(reason, 128, "database or migrations cannot be read: see the log");
    return !figures.trouble;
}

/* As many descriptors as the kernel lets us have. Where the configured connections need more, fewer
 * are taken, so that those that are get through: clients must not use up what their requests need
 * towards the application. */
static void fit_to_descriptor_limit(struct config *config)
{
    struct rlimit limit;
    uint64_t beside = DESCRIPTORS_BESIDE_CONNECTIONS + config->workers * DESCRIPTORS_A_WORKER;
    uint64_t needed = config->max_connections + config->upstream_max_connections + beside;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max >= needed)
        return;
    uint64_t free_for_both = limit.rlim_max > beside + 2 ? limit.rlim_max - beside : 2;
    if (config->upstream_max_connections > free_for_both / 2)
        config->upstream_max_connections = free_for_both / 2;
    config->max_connections = free_for_both - config->upstream_max_connections;
    LOG(LOG_WARNING, "limits",
        "the descriptor limit is lower than the configured connections: fewer are taken; raise it "
        "(ulimit -n, "
        "LimitNOFILE=) or lower limits.max_connections",
        log_number("limit", (int64_t)limit.rlim_max), log_number("needed", (int64_t)needed),
        log_number("max_connections", (int64_t)config->max_connections),
        log_number("upstream_max_connections", (int64_t)config->upstream_max_connections));
}

/* Whether it is there and is a database; made only on the operator's word (P8). That somebody has
 * it locked is no reason not to start (P7). */
static bool prepare_database(const struct config *config, struct error *error)
{
    struct database database;
    enum database_access access = config->create_database ? DATABASE_CREATE : DATABASE_READ;
    if (!database_open(&database, config->database, access, OPEN_BUSY_TIMEOUT_MS, error))
        return error->code == ERROR_LOCK;
    database_close(&database);
    return true;
}

static bool start_healing(struct server *server, struct error *error)
{
    const struct config *config = &server->config;
    struct error trouble;
    if (config->mode == MODE_OFF)
        return true;
    if (!prepare_database(config, error))
        return false;
    const struct recover_options options = {
        .config = config, .context = server, .deliver = deliver, .announce = announce};
    server->recover = recover_new(&options, error);
    if (!server->recover)
        return false;
    /* Only now is anything written beside the database. */
    server->journal = journal_open(config->state_directory, "automigrate/serve",
                                   config->journal_keep_ms, &trouble);
    if (!server->journal)
        LOG(LOG_ERROR, "journal", "events go to this log only",
            log_text("reason", trouble.message));
    reconcile_journal(config, server->journal);
    return true;
}

static bool start_admin(struct server *server, const char *mode, struct error *error)
{
    const struct config *config = &server->config;
    if (strcmp(config->admin, "off") == 0)
        return true;
    const struct admin_sources sources = {.context = server,
                                          .metrics = metrics,
                                          .ready = ready,
                                          .database = config->database,
                                          .migrations = config->migrations,
                                          .state_directory = config->state_directory,
                                          .mode = mode,
                                          .environment = config->environment,
                                          .version = AUTOMIGRATE_VERSION,
                                          .rehearsal_timeout_ms = config->rehearsal_timeout_ms};
    server->admin = admin_start(config->admin, &sources, error);
    return server->admin != NULL;
}

/* The admin address as it is reached: with the port that the kernel gave. */
static const char *admin_text(const struct server *server, char out[256])
{
    const char *address = server->config.admin;
    if (!server->admin || admin_port(server->admin) == 0)
        return address;
    struct slice whole = slice_from_string(address);
    const char *colon = memrchr(whole.data, ':', whole.length);
    snprintf(out, 256, "%.*s:%u", colon ? (int)(colon - address) : 0, address,
             admin_port(server->admin));
    return out;
}

static bool start(struct server *server, struct error *error)
{
    struct config *config = &server->config;
    struct recover_figures figures = {.mode = MODE_OFF};
    struct error trouble;
    if (config->workers == 0) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        config->workers = processors > 0 ? (uint64_t)processors : 1;
    }
    fit_to_descriptor_limit(config);
    if (!start_healing(server, error))
        return false;
    if (server->recover)
        recover_figures(server->recover, &figures);
    const char *mode = config_mode_name(figures.mode);
    server->proxy =
        proxy_new(config, server->recover ? recover_healing(server->recover) : NULL, error);
    if (!server->proxy || !start_admin(server, mode, error))
        return false;
    if (server->recover && !recover_start(server->recover, server->journal, error))
        return false;
    if (server->recover)
        server->watch = watch_start(config->database, config->migrations, look, server, &trouble);
    if (server->recover && !server->watch)
        LOG(LOG_WARNING, "watching", trouble.message);
    if (!proxy_start(server->proxy, error))
        return false;
    char address[256];
    JOURNAL(server->journal, EVENT_STARTED, NULL, "accepting connections",
            log_text("address", proxy_address(server->proxy)),
            log_text("upstream", config->upstream), log_text("admin", admin_text(server, address)),
            log_text("mode", mode), log_number("workers", (int64_t)config->workers),
            log_number("pending", (int64_t)figures.pending), log_text("database", config->database),
            log_text("version", AUTOMIGRATE_VERSION), log_number("pid", getpid()));
    return true;
}

/* Requests first, then what they needed. */
static void stop(struct server *server)
{
    if (server->proxy)
        proxy_stop(server->proxy);
    watch_stop(server->watch);
    if (server->recover)
        recover_stop(server->recover);
    admin_stop(server->admin);
    recover_free(server->recover);
    proxy_free(server->proxy);
}

static void wait_for_end(struct server *server, const sigset_t *signals)
{
    for (;;) {
        int number = sigwaitinfo(signals, NULL);
        if (number == SIGTERM || number == SIGINT) {
            LOG(LOG_INFO, "stopping", "accepting no more connections; what is under way may end",
                log_number("drain_timeout_ms", (int64_t)server->config.drain_timeout_ms));
            return;
        }
        if (number == SIGHUP && server->recover)
            recover_look(server->recover);
    }
}

int cli_serve(int argc, char **argv)
{
    static const struct config_extra_flag extra[] = {{NULL, 0, NULL, NULL, NULL, NULL}};
    struct server server = {0};
    struct error error = {0};
    sigset_t signals;
    int exit_code;
    if (!command_begin(&serve_command, argc, argv, extra, &server.config, &exit_code))
        return exit_code;
    mallopt(M_MMAP_THRESHOLD, OWN_MAPPING_BYTES);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before there are threads: they inherit it */
    exit_code = EXIT_DONE;
    if (start(&server, &error))
        wait_for_end(&server, &signals);
    else
        exit_code = command_fail(&error, false);
    stop(&server);
    if (exit_code == EXIT_DONE)
        JOURNAL(server.journal, EVENT_STOPPED, NULL, "ended", log_number("pid", getpid()));
    journal_close(server.journal);
    config_free(&server.config);
    return exit_code;
}
