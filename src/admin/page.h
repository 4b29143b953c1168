/* SPDX-License-Identifier: MIT */
/* The page for people: the status as plain HTML, without scripts. Everything that comes from files,
 * database or requests is escaped. Pure, any thread. */
#pragma once

#include <jansson.h>

#include "admin/status_report.h"
#include "base/buffer.h"

/* What the page shows. A part that could not be read is NULL, and its trouble says why. */
struct page {
    const struct status_source *source;
    const struct status_report *report;
    const char *report_trouble;
    const json_t *events; /* array of CloudEvents, oldest first */
    const char *events_trouble;
};

/* Memory running out shows in out->failed. */
void page_write(const struct page *page, struct buffer *out);
