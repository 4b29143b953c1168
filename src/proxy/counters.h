/* SPDX-License-Identifier: MIT */
/* A worker's counters. Only its worker writes, without a locked instruction; anybody may read. One
 * table feeds the struct, the sums and the metrics. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/*      name                 metric                                    type       help */
// clang-format off
#define COUNTER_TABLE(X) \
    X(connections,           "automigrate_connections_total",          "counter", "client connections accepted") \
    X(open_connections,      "automigrate_connections_open",           "gauge",   "client connections open now") \
    X(requests,              "automigrate_requests_total",             "counter", "requests taken from clients") \
    X(refused,               "automigrate_refused_total",              "counter", "requests refused as malformed or too large") \
    X(answers_2xx,           "automigrate_answers_2xx_total",          "counter", "final answers of the upstream with 2xx") \
    X(answers_3xx,           "automigrate_answers_3xx_total",          "counter", "final answers of the upstream with 3xx") \
    X(answers_4xx,           "automigrate_answers_4xx_total",          "counter", "final answers of the upstream with 4xx") \
    X(answers_5xx,           "automigrate_answers_5xx_total",          "counter", "final answers of the upstream with 5xx") \
    X(own_errors,            "automigrate_own_errors_total",           "counter", "502, 503 and 504 made by the proxy") \
    X(upstream_opened,       "automigrate_upstream_opened_total",      "counter", "upstream connections opened") \
    X(upstream_failed,       "automigrate_upstream_failed_total",      "counter", "upstream connections that could not be opened") \
    X(upstream_open,         "automigrate_upstream_open",              "gauge",   "upstream connections open now") \
    X(upstream_waiting,      "automigrate_upstream_waiting",           "gauge",   "requests waiting for an upstream connection") \
    X(failures_passed,       "automigrate_failures_passed_total",      "counter", "watched failures passed on with nothing pending") \
    X(held,                  "automigrate_held_total",                 "counter", "watched answers held for a look") \
    X(parked,                "automigrate_parked_total",               "counter", "requests that waited for a verdict") \
    X(parked_now,            "automigrate_parked",                     "gauge",   "requests waiting for a verdict now") \
    X(retried,               "automigrate_retried_total",              "counter", "requests sent a second time") \
    X(healed,                "automigrate_healed_total",               "counter", "second attempts that got a good answer")
// clang-format on

struct counters {
#define X(name, metric, type, help) _Atomic uint64_t name;
    COUNTER_TABLE(X)
#undef X
};

#define COUNT_BY(counters, name, by)                                                               \
    atomic_store_explicit(&(counters)->name,                                                       \
                          atomic_load_explicit(&(counters)->name, memory_order_relaxed) +          \
                              (uint64_t)(by),                                                      \
                          memory_order_relaxed)
#define COUNT(counters, name) COUNT_BY(counters, name, 1)
