/* SPDX-License-Identifier: MIT */
/* A whole data plane in the test's process, between an application that the test plays itself and
 * a healing table that does what the test says and remembers what it was asked. The test's thread
 * holds both ends, so that each test is a sequence and waits only for what must come. */
#pragma once

#include <pthread.h>

#include "config/config.h"
#include "peer.h"
#include "proxy/proxy.h"

enum { SCRIPTED_PEERS = 128 };

struct scripted {
    struct config config; /* one worker, long timeouts; a test changes it before scripted_start */
    char directory[64];   /* for unix sockets */
    char listen[128];
    char upstream[128];
    int listener; /* the application's; -1: it does not listen */
    struct peer *peers[SCRIPTED_PEERS];
    unsigned peer_count; /* connections that were accepted, in order */
    struct healing healing;
    struct proxy *proxy;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_worth_holding; /* what the table says; before a request is sent */
    enum healing_answer answer;
    unsigned asked, submitted, taken_back, told; /* how often */
    uint64_t asked_generation;
    struct ticket ticket; /* of the last submit */
    struct ticket taken;
    struct failure failure; /* of the last submit, its slices in the buffers below */
    struct buffer method, target, body;
    enum healing_outcome outcome;
    struct buffer outcome_method, outcome_target;
};

enum scripted_sockets { OVER_TCP, OVER_UNIX };

/* The configuration, and the application's listening socket. Healing says no, then passes. */
void scripted_construct(struct scripted *scripted, enum scripted_sockets sockets);
void scripted_start(struct scripted *scripted);
/* Construct and start with a table that holds and waits, and bodies recorded under generation 1. */
void scripted_begin(struct scripted *scripted, enum scripted_sockets sockets);
void scripted_destruct(struct scripted *scripted);

struct peer scripted_client(struct scripted *scripted);

/* The next connection of the proxy. */
struct peer *scripted_accept(struct scripted *scripted);
bool scripted_nobody_connects(struct scripted *scripted);

/* The next connection on which something has arrived that is not taken yet. */
struct peer *scripted_arrival(struct scripted *scripted);

/* The next request on any connection, and which one. */
struct peer *scripted_request(struct scripted *scripted, struct message *request);

/* The next request if one comes within that time. */
struct peer *scripted_request_within(struct scripted *scripted, struct message *request, int ms);

/* The application does not listen any more; open connections stay. */
void scripted_stop_listening(struct scripted *scripted);

/* Tells the workers, and waits until they know. */
void scripted_announce(struct scripted *scripted, uint64_t generation, bool recording);

/* Waits until one of the counts above, which the healing table makes, is at least `least`. */
void scripted_wait(struct scripted *scripted, const unsigned *count, unsigned least);
unsigned scripted_count(struct scripted *scripted, const unsigned *count);
void scripted_deliver(struct scripted *scripted, enum verdict_kind kind);

uint64_t scripted_metric(struct scripted *scripted, const char *name);
/* Goes round with requests of its own until the metric has that value. */
void scripted_wait_metric(struct scripted *scripted, const char *name, uint64_t value);

/* One request to the proxy that it refuses by itself: its worker has gone round. */
void scripted_go_round(struct scripted *scripted);
