/* SPDX-License-Identifier: MIT */
/* Byte streams over edge-triggered sockets. Worker's thread only. */
#include "proxy/transport.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void transport_construct(struct transport *transport, int fd, bool is_unix)
{
    *transport = (struct transport){.fd = fd, .writable = true, .is_unix = is_unix};
}

void transport_destruct(struct transport *transport, bool abort)
{
    if (transport->fd >= 0) {
        if (abort && !transport->is_unix) {
            struct linger reset = {.l_onoff = 1, .l_linger = 0};
            setsockopt(transport->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        close(transport->fd);
    }
    transport->fd = -1;
    buffer_free(&transport->out);
}

uint32_t transport_events(const struct transport *transport)
{
    uint32_t events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    if (!transport->is_unix || transport_wants_writable(transport))
        events |= EPOLLOUT;
    return events;
}

void transport_note(struct transport *transport, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        transport->peer_closed = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        transport->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        transport->writable = true;
}

enum transport_result transport_receive(struct transport *transport, void *data, size_t size,
                                        size_t *received)
{
    *received = 0;
    ssize_t result;
    do {
        result = recv(transport->fd, data, size, 0);
    } while (result < 0 && errno == EINTR);
    if (result > 0) {
        *received = (size_t)result;
        if ((size_t)result < size && !transport->peer_closed)
            transport->readable = false;
        return TRANSPORT_BYTES;
    }
    transport->readable = false;
    if (result == 0) {
        transport->peer_closed = true;
        return TRANSPORT_END;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return TRANSPORT_AGAIN;
    transport->failed = true;
    return TRANSPORT_FAILED;
}

/* Sends what the socket takes and returns how much; a refusal clears `writable`. */
static bool send_some(struct transport *transport, struct iovec *slices, unsigned count,
                      size_t total, size_t *sent)
{
    *sent = 0;
    struct msghdr message = {.msg_iov = slices, .msg_iovlen = count < IOV_MAX ? count : IOV_MAX};
    ssize_t result;
    do {
        result = sendmsg(transport->fd, &message, MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    if (result < 0) {
        transport->writable = false;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return true;
        transport->failed = true;
        return false;
    }
    *sent = (size_t)result;
    if (*sent < total)
        transport->writable = false;
    return true;
}

bool transport_send(struct transport *transport, struct iovec *slices, unsigned count)
{
    if (transport->failed)
        return false;
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += slices[i].iov_len;
    size_t sent = 0;
    if (total == 0)
        return true;
    if (!transport_is_blocked(transport) && !send_some(transport, slices, count, total, &sent))
        return false;
    if (sent == total)
        return true;
    for (unsigned i = 0; i < count; i++) {
        size_t skip = sent < slices[i].iov_len ? sent : slices[i].iov_len;
        sent -= skip;
        buffer_append(&transport->out, (char *)slices[i].iov_base + skip, slices[i].iov_len - skip);
    }
    if (transport->out.failed)
        transport->failed = true;
    return !transport->failed;
}

bool transport_flush(struct transport *transport)
{
    if (transport->failed)
        return false;
    while (transport_is_blocked(transport) && transport->writable) {
        size_t left = transport->out.length - transport->out_sent;
        struct iovec slice = {transport->out.data + transport->out_sent, left};
        size_t sent;
        if (!send_some(transport, &slice, 1, left, &sent))
            return false;
        transport->out_sent += sent;
        if (transport->out_sent == transport->out.length) {
            buffer_free(&transport->out);
            transport->out_sent = 0;
        }
    }
    return true;
}
