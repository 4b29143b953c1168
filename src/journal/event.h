/* SPDX-License-Identifier: MIT */
/* An event: one decision with its cause (P9). The table of types feeds the journal, the log line
 * and the documentation. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"

/*      type                      name                     level        what it says */
// clang-format off
#define EVENT_TABLE(X) \
    X(EVENT_STARTED,              "started",               LOG_INFO,    "the proxy accepts connections") \
    X(EVENT_STOPPED,              "stopped",               LOG_INFO,    "the proxy has ended") \
    X(EVENT_DETECTED,             "detected",              LOG_INFO,    "a response names a schema error") \
    X(EVENT_CONFIRMED,            "confirmed",             LOG_INFO,    "the database lacks it and a pending migration provides it") \
    X(EVENT_REFUTED,              "refuted",               LOG_INFO,    "the database has what the response says is missing") \
    X(EVENT_UNMAPPED,             "unmapped",              LOG_WARNING, "no pending migration provides what is missing") \
    X(EVENT_AMBIGUOUS,            "ambiguous",             LOG_WARNING, "several tables could be meant") \
    X(EVENT_NOT_ALLOWED,          "not_allowed",           LOG_WARNING, "the policy leaves it to an operator") \
    X(EVENT_APPLYING,             "applying",              LOG_INFO,    "a migration begins") \
    X(EVENT_APPLIED,              "applied",               LOG_INFO,    "a migration was applied") \
    X(EVENT_APPLY_FAILED,         "apply_failed",          LOG_ERROR,   "a migration failed and was rolled back") \
    X(EVENT_ALREADY_FAILED,       "already_failed",        LOG_WARNING, "a migration that failed before is not tried again by itself") \
    X(EVENT_APPLIED_ELSEWHERE,    "applied_elsewhere",     LOG_INFO,    "another program changed the schema") \
    X(EVENT_RETRIED,              "retried",               LOG_INFO,    "requests are sent a second time") \
    X(EVENT_NOT_RETRIED,          "not_retried",           LOG_WARNING, "a request is not sent again, and why") \
    X(EVENT_HEALED,               "healed",                LOG_INFO,    "a request got its answer at the second attempt") \
    X(EVENT_NOT_HEALED,           "not_healed",            LOG_WARNING, "the second attempt failed as well") \
    X(EVENT_TIMED_OUT,            "timed_out",             LOG_WARNING, "a request waited for its verdict as long as it may") \
    X(EVENT_FILES_CHANGED,        "files_changed",         LOG_INFO,    "the migrations directory changed") \
    X(EVENT_DRIFT,                "drift",                 LOG_WARNING, "history and files disagree") \
    X(EVENT_RECOVERED,            "recovered",             LOG_INFO,    "a history row had no event: applied (recovered)") \
    X(EVENT_OBSERVED,             "observed",              LOG_INFO,    "what would have been done in mode auto") \
    X(EVENT_TROUBLE,              "trouble",               LOG_ERROR,   "healing cannot work at the moment")
// clang-format on

enum event_type {
#define X(type, name, level, meaning) type,
    EVENT_TABLE(X)
#undef X
        EVENT_TYPE_COUNT
};

const char *event_name(enum event_type type);
enum log_level event_level(enum event_type type);
const char *event_meaning(enum event_type type);
[[gnu::warn_unused_result]] bool event_type_from_name(const char *name, enum event_type *type);
