/* SPDX-License-Identifier: MIT */
/* The Prometheus text format, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). */
#include "admin/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Above this a double no longer holds every whole number. */
static const double WHOLE_MOST = 9007199254740992.0;

/* HELP ends at the line end, and knows two escapes. */
static void write_help(const char *help, struct buffer *out)
{
    for (; *help; help++) {
        if (*help == '\\')
            buffer_append_string(out, "\\\\");
        else if (*help == '\n')
            buffer_append_string(out, "\\n");
        else
            buffer_append(out, help, 1);
    }
}

static void write_value(double value, struct buffer *out)
{
    if (isnan(value))
        buffer_append_string(out, "NaN");
    else if (isinf(value))
        buffer_append_string(out, value > 0 ? "+Inf" : "-Inf");
    else if (fabs(value) < WHOLE_MOST && value == (double)(int64_t)value)
        buffer_printf(out, "%.0f", value);
    else
        buffer_printf(out, "%.17g", value);
}

void metrics_write(const struct admin_metric *metrics, size_t count, struct buffer *out)
{
    const char *told = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct admin_metric *metric = &metrics[i];
        if (!told || strcmp(told, metric->name) != 0) {
            buffer_printf(out, "# HELP %s ", metric->name);
            write_help(metric->help, out);
            buffer_printf(out, "\n# TYPE %s %s\n", metric->name, metric->type);
            told = metric->name;
        }
        buffer_append_string(out, metric->name);
        if (metric->labels && metric->labels[0])
            buffer_printf(out, "{%s}", metric->labels);
        buffer_append_string(out, " ");
        write_value(metric->value, out);
        buffer_append_string(out, "\n");
    }
}

char *metrics_escape(const char *value, char *out, size_t size)
{
    size_t used = 0;
    for (; *value; value++) {
        bool escaped = *value == '\\' || *value == '"' || *value == '\n';
        if (used + (escaped ? 2u : 1u) >= size)
            break;
        if (escaped)
            out[used++] = '\\';
        out[used++] = *value == '\n' ? 'n' : *value;
    }
    out[used] = '\0';
    return out;
}
