/* SPDX-License-Identifier: MIT */
/* The data plane: makes workers, and speaks to them. Made and freed by the main thread. */
#include "proxy/proxy.h"

#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/worker.h"

struct proxy {
    const struct config *config;
    struct listen_address address;
    struct retry_budget budget;
    unsigned count;
    struct worker *workers;
};

struct proxy *proxy_new(const struct config *config, const struct healing *healing,
                        struct error *error)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    struct worker *workers = proxy ? calloc(config->workers, sizeof *workers) : NULL;
    if (!workers) {
        free(proxy);
        error_set(error, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    proxy->config = config;
    proxy->workers = workers;
    proxy->budget = (struct retry_budget){.limit = config->retry_budget_bytes,
                                          .memory_limit = config->retry_memory_bytes,
                                          .body_limit = config->retry_max_body_bytes,
                                          .waiting_limit = config->retry_memory_total_bytes};
    bool good = listen_address_parse(config->listen, &proxy->address, error) &&
                listen_address_probe(&proxy->address, error);
    int shared = -1;
    while (good && proxy->count < config->workers) {
        struct worker *worker = &workers[proxy->count];
        good = worker_construct(worker, proxy->count, config, healing, &proxy->budget, error);
        proxy->count++;
        good =
            good && listener_construct(&worker->listener, worker, &proxy->address, shared, error);
        if (proxy->address.is_unix)
            shared = worker->listener.fd;
    }
    if (!good) {
        proxy_free(proxy);
        return NULL;
    }
    return proxy;
}

bool proxy_start(struct proxy *proxy, struct error *error)
{
    for (unsigned i = 0; i < proxy->count; i++) {
        if (!worker_start(&proxy->workers[i], error))
            return false;
    }
    return true;
}

const char *proxy_address(const struct proxy *proxy)
{
    return proxy->address.text;
}

bool proxy_deliver(struct proxy *proxy, const struct verdict *verdict)
{
    struct message message = {.kind = MESSAGE_VERDICT, .verdict = *verdict};
    return verdict->ticket.worker < proxy->count &&
           worker_tell(&proxy->workers[verdict->ticket.worker], &message);
}

void proxy_announce(struct proxy *proxy, uint64_t generation, bool recording)
{
    struct message message = {
        .kind = MESSAGE_SCHEMA, .generation = generation, .recording = recording};
    for (unsigned i = 0; i < proxy->count; i++) {
        /* A worker that is so far behind sends under an older generation: its failures are looked
         * at, not passed. */
        if (!worker_tell(&proxy->workers[i], &message))
            continue;
    }
}

size_t proxy_metrics(const struct proxy *proxy, struct proxy_metric *out, size_t most)
{
    const struct proxy_metric metrics[] = {
#define X(name, metric, type, help) {metric, type, help, 0},
        COUNTER_TABLE(X)
#undef X
    };
    const size_t count =
        sizeof metrics / sizeof *metrics < most ? sizeof metrics / sizeof *metrics : most;
    for (size_t m = 0; m < count; m++) {
        out[m] = metrics[m];
        for (unsigned i = 0; i < proxy->count; i++) {
            const struct counters *counters = &proxy->workers[i].counters;
            const _Atomic uint64_t *values[] = {
#define X(name, metric, type, help) &counters->name,
                COUNTER_TABLE(X)
#undef X
            };
            out[m].value += atomic_load_explicit(values[m], memory_order_relaxed);
        }
    }
    return count;
}

void proxy_stop(struct proxy *proxy)
{
    struct message drain = {.kind = MESSAGE_DRAIN};
    for (unsigned i = 0; i < proxy->count; i++) {
        while (proxy->workers[i].started && !worker_tell(&proxy->workers[i], &drain))
            usleep(1000); /* its inbox is full: it is being emptied */
    }
    for (unsigned i = 0; i < proxy->count; i++)
        worker_join(&proxy->workers[i]);
}

void proxy_free(struct proxy *proxy)
{
    if (!proxy)
        return;
    for (unsigned i = 0; i < proxy->count; i++)
        worker_destruct(&proxy->workers[i]);
    if (proxy->address.is_unix && proxy->count > 0) {
        const struct sockaddr_un *local =
            (const struct sockaddr_un *)(const void *)&proxy->address.address;
        unlink(local->sun_path);
    }
    free(proxy->workers);
    free(proxy);
}
