/* SPDX-License-Identifier: MIT */
/* Samples in the Prometheus text format. Pure, any thread. */
#pragma once

#include <stddef.h>

#include "admin/admin.h"
#include "base/buffer.h"

/* Appends every sample, with HELP and TYPE once a name. Memory running out shows in out->failed. */
void metrics_write(const struct admin_metric *metrics, size_t count, struct buffer *out);

/* A label's value with backslash, quote and line end escaped; cut to fit. Returns `out`. */
char *metrics_escape(const char *value, char *out, size_t size);
