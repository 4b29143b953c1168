/* SPDX-License-Identifier: MIT */
/* Whether the migrations directory has changed: a digest of names, sizes and times, without reading
 * a file. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct files {
    uint64_t digest;
    uint64_t seen_ns; /* when this digest was first seen */
    uint64_t loaded;  /* the digest that was loaded */
};

/* New files count once the directory was still for this long: an editor or a checkout is not
 * half-read. */
enum { FILES_STILL_MS = 2000 };

/* Looks at the directory; one that cannot be read has a digest of its own. */
void files_look(struct files *files, const char *directory, uint64_t now_ns);

static inline bool files_changed(const struct files *files)
{
    return files->digest != files->loaded;
}

/* Changed, and still for long enough. */
bool files_are_due(const struct files *files, uint64_t now_ns);
