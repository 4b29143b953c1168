/* SPDX-License-Identifier: MIT */
/* At start: what the history says was applied by this program, and the journal does not know (it
 * was killed between COMMIT and its event), gets an event "recovered" (P9). Main thread, before
 * others run. */
#pragma once

#include "config/config.h"
#include "journal/journal.h"

void reconcile_journal(const struct config *config, struct journal *journal);
