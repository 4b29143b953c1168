/* SPDX-License-Identifier: MIT */
/* A byte stream over a non-blocking socket that is registered edge-triggered once: it remembers
 * what epoll told it, and keeps what could not be sent. TLS will live here and nowhere else. Owned
 * by one worker.
 *
 * Flags: `readable` is set by an event and cleared by EAGAIN, or by a short read when no hang-up
 * was reported with it (a short read says that the socket was drained; with a hang-up there is
 * still the end to be read). `writable` is cleared by a short or refused write. A deliberate stop
 * (parked, back-pressure) leaves the flags as they are, and resuming looks at them: no event is
 * lost, none is asked for twice. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buffer.h"

struct transport {
    int fd;
    bool readable;
    bool writable;
    bool peer_closed; /* a hang-up was reported, half or whole */
    bool failed;      /* reset, or writing is impossible */
    bool is_unix; /* EPOLLOUT is asked for only after EAGAIN: with it, every read at the peer wakes
                     us */
    struct buffer
        out; /* accepted by transport_send and not yet sent: back-pressure until it is empty */
    size_t out_sent;
};

enum transport_result { TRANSPORT_BYTES, TRANSPORT_AGAIN, TRANSPORT_END, TRANSPORT_FAILED };

void transport_construct(struct transport *transport, int fd, bool is_unix);

/* Closes the socket and drops unsent bytes; with `abort`, the peer sees a reset instead of an
 * orderly end. */
void transport_destruct(struct transport *transport, bool abort);

/* The events to register with: once, edge-triggered. */
uint32_t transport_events(const struct transport *transport);

/* Takes over what epoll_wait reported. */
void transport_note(struct transport *transport, uint32_t events);

/* One recv. *received > 0 with TRANSPORT_BYTES only. */
enum transport_result transport_receive(struct transport *transport, void *data, size_t size,
                                        size_t *received);

/* Sends all slices, one sendmsg if the socket takes them; what it does not take is copied to `out`.
 * False: the stream is broken or memory is out (`failed` is set). The slices may be changed. */
[[gnu::warn_unused_result]] bool transport_send(struct transport *transport, struct iovec *slices,
                                                unsigned count);

/* Goes on sending `out`. False: broken. */
[[gnu::warn_unused_result]] bool transport_flush(struct transport *transport);

static inline bool transport_is_blocked(const struct transport *transport)
{
    return transport->out.length > 0;
}

/* After transport_send or transport_flush on a unix socket: whether EPOLLOUT must now be asked for.
 */
static inline bool transport_wants_writable(const struct transport *transport)
{
    return transport->is_unix && !transport->writable && transport_is_blocked(transport);
}
