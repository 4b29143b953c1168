/* SPDX-License-Identifier: MIT */
/* The operators' server: its life, its routes and what every answer has in common. Each request is
 * answered on the thread of libmicrohttpd that read it; a few threads, so that a slow status does
 * not keep a health check waiting. */
#include "admin/admin.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/address.h"
#include "admin/metrics.h"
#include "admin/page.h"
#include "admin/status_report.h"
#include "base/buffer.h"
#include "base/log.h"
#include "journal/journal.h"

enum {
    THREADS = 4,
    CONNECTIONS_MOST = 128,
    CONNECTION_TIMEOUT_S = 30,
    EVENTS_ON_PAGE = 50,
    EVENTS_DEFAULT = 50,
    EVENTS_MOST = 1000,
};

struct admin {
    struct MHD_Daemon *daemon;
    struct admin_address address;
    struct admin_sources sources;
    struct status_source status;
};

/* An answer in the making. The body becomes libmicrohttpd's. */
struct answer {
    unsigned status;
    const char *content_type;
    struct buffer body;
};

static const char plain[] = "text/plain; charset=utf-8";
static const char html[] = "text/html; charset=utf-8";
static const char json[] = "application/json";
static const char prometheus[] = "text/plain; version=0.0.4; charset=utf-8";

static void answer_text(struct answer *answer, unsigned status, const char *text)
{
    answer->status = status;
    answer->content_type = plain;
    buffer_clear(&answer->body);
    buffer_printf(&answer->body, "%s\n", text);
}

/* Takes the value over; NULL is memory that ran out. */
static void answer_json(struct answer *answer, unsigned status, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_INDENT(2)) : NULL;
    json_decref(value);
    answer->status = status;
    answer->content_type = json;
    if (text)
        buffer_printf(&answer->body, "%s\n", text);
    else
        answer->body.failed = true;
    free(text);
}

static void answer_error(struct answer *answer, const struct error *error)
{
    answer_json(answer, error_http_status(error->code),
                json_pack("{s:{s:s, s:o}}", "error", "category", error_category(error->code),
                          "message", json_text(error->message)));
}

/* ---- routes ---- */

static void answer_health(struct admin *admin, struct MHD_Connection *connection,
                          struct answer *answer)
{
    (void)admin;
    (void)connection;
    answer_text(answer, MHD_HTTP_OK, "ok");
}

static void answer_ready(struct admin *admin, struct MHD_Connection *connection,
                         struct answer *answer)
{
    char reason[128] = "";
    (void)connection;
    if (admin->sources.ready(admin->sources.context, reason))
        answer_text(answer, MHD_HTTP_OK, "ready");
    else
        answer_text(answer, MHD_HTTP_SERVICE_UNAVAILABLE, reason);
}

static void answer_metrics(struct admin *admin, struct MHD_Connection *connection,
                           struct answer *answer)
{
    char version[64];
    char labels[96];
    (void)connection;
    struct admin_metric *metrics = calloc(ADMIN_METRICS_MOST, sizeof *metrics);
    if (!metrics) {
        answer->body.failed = true;
        return;
    }
    size_t count =
        admin->sources.metrics(admin->sources.context, metrics + 1, ADMIN_METRICS_MOST - 1);
    snprintf(labels, sizeof labels, "version=\"%s\"",
             metrics_escape(admin->sources.version, version, sizeof version));
    metrics[0] = (struct admin_metric){"automigrate_build_info", "The program's version.", "gauge",
                                       labels, 1};
    answer->status = MHD_HTTP_OK;
    answer->content_type = prometheus;
    metrics_write(metrics, count + 1, &answer->body);
    free(metrics);
}

static void answer_status(struct admin *admin, struct MHD_Connection *connection,
                          struct answer *answer)
{
    struct status_report report;
    struct error error;
    (void)connection;
    if (status_report_make(&report, &admin->status, &error))
        answer_json(answer, MHD_HTTP_OK, status_report_json(&report));
    else
        answer_error(answer, &error);
    status_report_free(&report);
}

static bool keep_event(void *context, json_t *event)
{
    return json_array_append(context, event) == 0;
}

/* The newest events, oldest first; NULL when they cannot be read. The caller releases them. */
static json_t *read_events(const struct admin *admin, const struct journal_query *query,
                           int64_t *last_id, struct error *error)
{
    json_t *events = json_array();
    if (!events) {
        error_set(error, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    if (!journal_read(admin->sources.state_directory, query, keep_event, events, last_id, error)) {
        json_decref(events);
        return NULL;
    }
    return events;
}

/* A number from the query string; `value` stays when it is not given. */
static bool query_number(struct MHD_Connection *connection, const char *name, uint64_t most,
                         uint64_t *value, struct error *error)
{
    const char *text = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
    uint64_t number;
    if (!text)
        return true;
    if (!slice_to_uint64(slice_from_string(text), &number) || number > most)
        return error_set(error, ERROR_USAGE, "%s: \"%.100s\" is not a number up to %llu", name,
                         text, (unsigned long long)most);
    *value = number;
    return true;
}

static bool make_query(struct MHD_Connection *connection, struct journal_query *query,
                       struct error *error)
{
    uint64_t after = 0;
    enum event_type type;
    *query = (struct journal_query){.limit = EVENTS_DEFAULT};
    if (!query_number(connection, "limit", EVENTS_MOST, &query->limit, error) ||
        !query_number(connection, "after", INT64_MAX, &after, error))
        return false;
    if (query->limit == 0)
        query->limit = EVENTS_MOST;
    query->after_id = (int64_t)after;
    query->type = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "type");
    if (query->type && !event_type_from_name(query->type, &type))
        return error_set(error, ERROR_USAGE, "type: \"%.100s\" is not a type of event",
                         query->type);
    return true;
}

static void answer_events(struct admin *admin, struct MHD_Connection *connection,
                          struct answer *answer)
{
    struct journal_query query;
    struct error error;
    int64_t last_id = 0;
    json_t *events = NULL;
    if (make_query(connection, &query, &error)) {
        last_id = query.after_id;
        events = read_events(admin, &query, &last_id, &error);
    }
    if (events)
        answer_json(answer, MHD_HTTP_OK,
                    json_pack("{s:o, s:I}", "events", events, "last_id", (json_int_t)last_id));
    else
        answer_error(answer, &error);
}

static void answer_page(struct admin *admin, struct MHD_Connection *connection,
                        struct answer *answer)
{
    const struct journal_query query = {.limit = EVENTS_ON_PAGE};
    struct status_report report;
    struct error report_error;
    struct error events_error;
    int64_t last_id = 0;
    (void)connection;
    json_t *events = read_events(admin, &query, &last_id, &events_error);
    bool made = status_report_make(&report, &admin->status, &report_error);
    const struct page page = {.source = &admin->status,
                              .report = made ? &report : NULL,
                              .report_trouble = report_error.message,
                              .events = events,
                              .events_trouble = events_error.message};
    answer->status = made ? MHD_HTTP_OK : error_http_status(report_error.code);
    answer->content_type = html;
    page_write(&page, &answer->body);
    status_report_free(&report);
    json_decref(events);
}

static const struct {
    const char *path;
    void (*answer)(struct admin *, struct MHD_Connection *, struct answer *);
} routes[] = {
    {"/healthz", answer_health},       {"/readyz", answer_ready},
    {"/metrics", answer_metrics},      {"/api/v1/status", answer_status},
    {"/api/v1/events", answer_events}, {"/", answer_page},
};

/* ---- what all answers have in common ---- */

/* What is refused whatever the path is. */
static bool is_refused(const struct admin *admin, struct MHD_Connection *connection,
                       const char *method, struct answer *answer)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    /* A request without Host is HTTP/1.0, as old health checks speak it; browsers always send one.
     */
    if (host && (!info || !admin_address_allows_host(&admin->address, info->connect_fd,
                                                     slice_from_string(host))))
        answer_text(answer, MHD_HTTP_MISDIRECTED_REQUEST,
                    "this server is not known by that name: use its address, or start it with the "
                    "name in --admin");
    else if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        answer_text(answer, MHD_HTTP_METHOD_NOT_ALLOWED, "this server is only read: use GET");
    else if ((length && strcmp(length, "0") != 0) ||
             MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding"))
        answer_text(answer, MHD_HTTP_BAD_REQUEST, "a request here has no body");
    else
        return false;
    return true;
}

static void route(struct admin *admin, struct MHD_Connection *connection, const char *path,
                  struct answer *answer)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(path, routes[i].path) == 0) {
            routes[i].answer(admin, connection, answer);
            return;
        }
    }
    answer_text(answer, MHD_HTTP_NOT_FOUND,
                "nothing is here: see /, /healthz, /readyz, /metrics, /api/v1/status, "
                "/api/v1/events");
}

/* MHD_NO closes the connection, which is all that can be done when memory is out. */
static enum MHD_Result send_answer(struct MHD_Connection *connection, struct answer *answer)
{
    static const char *const fields[][2] = {
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Content-Security-Policy",
         "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"},
    };
    struct MHD_Response *response = NULL;
    size_t length = answer->body.length;
    char *body = buffer_take(&answer->body);
    if (body)
        response = MHD_create_response_from_buffer(length, body, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(body);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", answer->content_type);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        MHD_add_response_header(response, fields[i][0], fields[i][1]);
    if (answer->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

/* libmicrohttpd calls twice: when the head is there, and when the (absent) body has ended. Refusals
 * are sent at once, so that no body of theirs is read. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload_data, size_t *upload_size, void **seen)
{
    struct admin *admin = context;
    struct answer answer = {.content_type = plain};
    (void)version;
    (void)upload_data;
    if (!*seen) {
        *seen = admin;
        if (!is_refused(admin, connection, method, &answer))
            return MHD_YES;
        return send_answer(connection, &answer);
    }
    *upload_size = 0;
    route(admin, connection, path, &answer);
    return send_answer(connection, &answer);
}

[[gnu::format(printf, 2, 0)]] static void on_log(void *context, const char *format,
                                                 va_list arguments)
{
    char text[512];
    (void)context;
    vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\n")] = '\0';
    LOG(LOG_DEBUG, "admin_server", text);
}

struct admin *admin_start(const char *address, const struct admin_sources *sources,
                          struct error *error)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin) {
        error_set(error, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    admin->sources = *sources;
    admin->status = (struct status_source){.database = sources->database,
                                           .migrations = sources->migrations,
                                           .state_directory = sources->state_directory,
                                           .rehearsal_timeout_ms = sources->rehearsal_timeout_ms,
                                           .mode = sources->mode,
                                           .environment = sources->environment,
                                           .version = sources->version};
    int fd = admin_address_listen(&admin->address, address, error);
    if (fd < 0) {
        free(admin);
        return NULL;
    }
    admin->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, admin,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MOST, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S,
        MHD_OPTION_END);
    if (!admin->daemon) {
        error_set(error, ERROR_ADDRESS,
                  "the admin server on %s cannot start: the system refuses threads or "
                  "descriptors: raise its limits, or use --admin off",
                  address);
        close(fd);
        admin_address_leave(&admin->address);
        free(admin);
        return NULL;
    }
    return admin;
}

uint16_t admin_port(const struct admin *admin)
{
    return admin->address.port;
}

void admin_stop(struct admin *admin)
{
    if (!admin)
        return;
    MHD_stop_daemon(admin->daemon); /* closes the listening socket too */
    admin_address_leave(&admin->address);
    free(admin);
}
