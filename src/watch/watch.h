/* SPDX-License-Identifier: MIT */
/* Notices that the shared database or the migrations directory may have changed, and says so: by
 * inotify on the two directories (files come and go in them), coalesced, and by a slow clock where
 * inotify is blind. It opens neither: what changed is found out by whoever is told. A thread of its
 * own; without it requests flow and recovery works, but learns of other programs' changes only with
 * the next failure. */
#pragma once

#include "base/error.h"

struct watch;

/* Calls `changed(context)` from the watch's thread, at most every 100 ms. */
[[gnu::warn_unused_result]] struct watch *watch_start(const char *database, const char *migrations,
                                                      void (*changed)(void *context), void *context,
                                                      struct error *error);

/* Ends the thread. NULL is fine. */
void watch_stop(struct watch *watch);
