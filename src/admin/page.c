/* SPDX-License-Identifier: MIT */
/* The page, from top to bottom. */
#include "admin/page.h"

#include <string.h>

static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n<title>automigrate</title>\n"
    "<style>\n"
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;"
    "color:#1d2430;background:#fff}\n"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\n"
    "table{border-collapse:collapse;width:100%}\n"
    "th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;"
    "border-bottom:1px solid #d7dce3}\n"
    "code,td.number{font-family:ui-monospace,monospace;font-size:.92em}\n"
    "td.number{text-align:right}\n"
    ".green{color:#126b2f}.yellow{color:#7a5a00}.red,.trouble{color:#a81616}\n"
    ".environment{display:inline-block;padding:0 .6rem;border-radius:.3rem;background:#1d2430;"
    "color:#fff}\n"
    "@media(prefers-color-scheme:dark){body{color:#e4e8ee;background:#14181f}"
    "th,td{border-color:#333b47}.green{color:#62c884}.yellow{color:#e0b83d}"
    ".red,.trouble{color:#ff8484}.environment{background:#e4e8ee;color:#14181f}}\n"
    "</style>\n</head>\n<body>\n";

static void put(struct buffer *out, const char *html)
{
    buffer_append_string(out, html);
}

/* Text as HTML text, fit for attribute values too. Control bytes become spaces. */
static void put_text(struct buffer *out, const char *text)
{
    for (; text && *text; text++) {
        switch (*text) {
        case '&':
            put(out, "&amp;");
            break;
        case '<':
            put(out, "&lt;");
            break;
        case '>':
            put(out, "&gt;");
            break;
        case '"':
            put(out, "&quot;");
            break;
        case '\'':
            put(out, "&#39;");
            break;
        default:
            buffer_append(out, (unsigned char)*text < 0x20 ? " " : text, 1);
        }
    }
}

static void put_cell(struct buffer *out, const char *text)
{
    put(out, "<td>");
    put_text(out, text);
    put(out, "</td>");
}

static void put_code_cell(struct buffer *out, const char *text)
{
    put(out, "<td><code>");
    put_text(out, text);
    put(out, "</code></td>");
}

static void put_pending(struct buffer *out, const struct status_report *report)
{
    buffer_printf(out, "<h2>Pending: %zu</h2>\n", report->plan.count);
    if (report->plan.count == 0)
        return;
    put(out, "<table><tr><th>Version</th><th>Name</th><th>Risk</th><th>Why</th>"
             "<th>Rehearsal</th></tr>\n");
    for (size_t i = 0; i < report->plan.count; i++) {
        const struct plan_entry *entry = &report->plan.entries[i];
        const struct state_failure *failure = &report->failures[i];
        put(out, "<tr>");
        put_code_cell(out, entry->migration->version);
        put_cell(out, entry->migration->name);
        buffer_printf(out, "<td class=\"%s\">%s</td>", risk_name(entry->risk),
                      risk_name(entry->risk));
        put_cell(out, entry->risk_reason);
        put(out, "<td>");
        put_text(out, rehearsal_name(entry->rehearsal));
        if (entry->rehearsal == REHEARSAL_FAILS) {
            put(out, ": ");
            put_text(out, entry->failure.message);
        }
        if (failure->checksum[0]) {
            put(out, "<br><span class=\"trouble\">failed ");
            put_text(out, failure->failed_at);
            put(out, ": ");
            put_text(out, failure->message);
            put(out, "</span>");
        }
        put(out, "</td></tr>\n");
    }
    put(out, "</table>\n");
}

static void put_drift(struct buffer *out, const struct plan *plan)
{
    if (plan->drift_count == 0)
        return;
    put(out, "<h2>Drift</h2>\n<ul class=\"trouble\">\n");
    for (size_t i = 0; i < plan->drift_count; i++) {
        put(out, "<li>");
        put_text(out, plan->drifts[i].message);
        put(out, "</li>\n");
    }
    put(out, "</ul>\n");
}

/* The newest first: that is what somebody looks for at night. */
static void put_applied(struct buffer *out, const struct status_report *report)
{
    buffer_printf(out, "<h2>Applied: %zu</h2>\n", report->history.count);
    if (report->history.count == 0)
        return;
    put(out, "<table><tr><th>Version</th><th>Name</th><th>When</th><th>Took</th><th>By</th>"
             "<th>Cause</th></tr>\n");
    for (size_t i = report->history.count; i-- > 0;) {
        const struct history_row *row = &report->history.rows[i];
        put(out, "<tr>");
        put_code_cell(out, row->version);
        put_cell(out, status_report_name(report, row));
        put_cell(out, row->applied_at);
        if (row->applied_at)
            buffer_printf(out, "<td class=\"number\">%lld ms</td>", (long long)row->execution_ms);
        else
            put_cell(out, "");
        put(out, "<td>");
        put_text(out, row->applied_by);
        if (row->host) {
            put(out, "@");
            put_text(out, row->host);
        }
        put(out, "</td>");
        put_cell(out, row->cause);
        put(out, "</tr>\n");
    }
    put(out, "</table>\n");
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void put_events(struct buffer *out, const json_t *events)
{
    static const char prefix[] = "automigrate.";
    if (json_array_size(events) == 0)
        return;
    put(out, "<h2>Events</h2>\n<table><tr><th>When</th><th>Event</th><th>About</th>"
             "<th>What</th></tr>\n");
    for (size_t i = json_array_size(events); i-- > 0;) {
        const json_t *event = json_array_get(events, i);
        const json_t *data = json_object_get(event, "data");
        json_int_t count = json_integer_value(json_object_get(data, "count"));
        const char *type = text_of(event, "type");
        if (strncmp(type, prefix, sizeof prefix - 1) == 0)
            type += sizeof prefix - 1;
        put(out, "<tr>");
        put_cell(out, text_of(event, "time"));
        put_cell(out, type);
        put_code_cell(out, text_of(event, "subject"));
        put(out, "<td>");
        put_text(out, text_of(data, "message"));
        if (count > 1)
            buffer_printf(out, " (%lld times)", (long long)count);
        put(out, "</td></tr>\n");
    }
    put(out, "</table>\n");
}

static void put_trouble(struct buffer *out, const char *what, const char *trouble)
{
    put(out, "<p class=\"trouble\">");
    put(out, what);
    put(out, " cannot be read: ");
    put_text(out, trouble);
    put(out, "</p>\n");
}

static void put_heading(struct buffer *out, const struct status_source *source)
{
    put(out, "<h1>automigrate");
    if (source->environment && source->environment[0]) {
        put(out, " <span class=\"environment\">");
        put_text(out, source->environment);
        put(out, "</span>");
    }
    put(out, "</h1>\n<p>Database <code>");
    put_text(out, source->database);
    put(out, "</code>, migrations <code>");
    put_text(out, source->migrations);
    put(out, "</code>");
    if (source->mode) {
        put(out, ", mode ");
        put_text(out, source->mode);
    }
    put(out, ".</p>\n");
}

void page_write(const struct page *page, struct buffer *out)
{
    put(out, head);
    put_heading(out, page->source);
    if (page->report) {
        put_drift(out, &page->report->plan);
        put_pending(out, page->report);
        put_applied(out, page->report);
    } else {
        put_trouble(out, "The status", page->report_trouble);
    }
    if (page->events)
        put_events(out, page->events);
    else
        put_trouble(out, "The journal", page->events_trouble);
    put(out, "<p>As data: <a href=\"/api/v1/status\">status</a>, "
             "<a href=\"/api/v1/events\">events</a>, <a href=\"/metrics\">metrics</a>. ");
    put(out, "automigrate ");
    put_text(out, page->source->version);
    put(out, "</p>\n</body>\n</html>\n");
}
