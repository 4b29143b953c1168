/* SPDX-License-Identifier: MIT */
/* The listening socket of the operators' server, and the check of Host. */
#include "admin/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 64 };

static int refuse(const char *text, const char *reason, struct error *error)
{
    error_set(error, ERROR_ADDRESS,
              "cannot listen on admin address %s: %s: choose another with --admin ADDRESS, or "
              "--admin off",
              text, reason);
    return -1;
}

static int refuse_errno(const char *text, int number, struct error *error)
{
    char reason[128];
    if (number == EADDRINUSE)
        return refuse(text, "it is in use", error);
    return refuse(text, strerror_r(number, reason, sizeof reason), error);
}

/* ---- unix sockets ---- */

/* Whether a socket's file was left by somebody who is gone. */
static bool is_abandoned(const struct sockaddr_un *name)
{
    struct stat status;
    if (lstat(name->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (const struct sockaddr *)name, sizeof *name) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int listen_unix(struct admin_address *address, const char *text, struct error *error)
{
    const char *path = text + strlen("unix:");
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof name.sun_path || strlen(path) >= sizeof address->unix_path)
        return refuse(text, "the path is too long for a socket", error);
    memcpy(name.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return refuse_errno(text, errno, error);
    /* Before bind: Linux gives the file the socket's mode, so it is never open to others. */
    bool bound = fchmod(fd, S_IRUSR | S_IWUSR) == 0 &&
                 bind(fd, (const struct sockaddr *)&name, sizeof name) == 0;
    if (!bound && errno == EADDRINUSE) {
        bound = is_abandoned(&name) && unlink(path) == 0 &&
                bind(fd, (const struct sockaddr *)&name, sizeof name) == 0;
        if (!bound)
            errno = EADDRINUSE;
    }
    if (bound)
        memcpy(address->unix_path, path, strlen(path) + 1);
    if (!bound || listen(fd, BACKLOG) != 0) {
        int number = errno;
        close(fd);
        admin_address_leave(address);
        return refuse_errno(text, number, error);
    }
    return fd;
}

void admin_address_leave(const struct admin_address *address)
{
    if (address->unix_path[0])
        unlink(address->unix_path);
}

/* ---- TCP ---- */

/* Splits host:port; brackets of an IPv6 address are taken off. False when there is no port. */
static bool split(const char *text, char host[ADMIN_HOST_SIZE], const char **port)
{
    const char *colon = strrchr(text, ':');
    if (!colon)
        return false;
    struct slice name = slice_make(text, (size_t)(colon - text));
    if (name.length >= 2 && name.data[0] == '[' && name.data[name.length - 1] == ']')
        name = slice_make(name.data + 1, name.length - 2);
    slice_copy(name, host, ADMIN_HOST_SIZE);
    *port = colon + 1;
    return true;
}

static int listen_on(const struct addrinfo *entry)
{
    static const int on = 1;
    static const int off = 0;
    int fd = socket(entry->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (entry->ai_family == AF_INET6) /* so that ":9180" is every address of both families */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, entry->ai_addr, entry->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &length) != 0)
        return 0;
    if (name.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)&name)->sin6_port);
    return ntohs(((const struct sockaddr_in *)(const void *)&name)->sin_port);
}

static int listen_tcp(struct admin_address *address, const char *text, struct error *error)
{
    const char *port;
    struct addrinfo *found;
    if (!split(text, address->host, &port))
        return refuse(text, "it has no port", error);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int result = getaddrinfo(address->host[0] ? address->host : NULL, port, &hints, &found);
    if (result != 0)
        return refuse(text, gai_strerror(result), error);
    int fd = -1;
    int number = EADDRNOTAVAIL;
    /* IPv6 first where every address is meant, for it takes IPv4 along. */
    for (int pass = 0; pass < 2 && fd < 0; pass++) {
        for (const struct addrinfo *entry = found; entry && fd < 0; entry = entry->ai_next) {
            bool first = !address->host[0] && entry->ai_family == AF_INET6;
            if (first != (pass == 0))
                continue;
            fd = listen_on(entry);
            if (fd < 0)
                number = errno;
        }
    }
    freeaddrinfo(found);
    if (fd < 0)
        return refuse_errno(text, number, error);
    address->port = bound_port(fd);
    return fd;
}

int admin_address_listen(struct admin_address *address, const char *text, struct error *error)
{
    *address = (struct admin_address){0};
    if (strncmp(text, "unix:", 5) == 0)
        return listen_unix(address, text, error);
    return listen_tcp(address, text, error);
}

/* ---- Host ---- */

/* The host of a Host field: without port, without brackets. The whole field when it is malformed,
 * which then matches nothing. */
static struct slice host_part(struct slice field)
{
    const char *end;
    if (field.length > 0 && field.data[0] == '[') {
        end = memchr(field.data, ']', field.length);
        size_t length = end ? (size_t)(end - field.data) + 1 : 0;
        bool whole = end && (length == field.length || field.data[length] == ':');
        return whole ? slice_make(field.data + 1, length - 2) : field;
    }
    end = field.length ? memchr(field.data, ':', field.length) : NULL;
    return end ? slice_make(field.data, (size_t)(end - field.data)) : field;
}

/* The address at which the connection arrived, as text; "" when it cannot be told. */
static void local_address(int fd, char out[NI_MAXHOST])
{
    static const char mapped[] = "::ffff:";
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    out[0] = '\0';
    if (getsockname(fd, (struct sockaddr *)&name, &length) != 0 ||
        getnameinfo((struct sockaddr *)&name, length, out, NI_MAXHOST, NULL, 0, NI_NUMERICHOST) !=
            0) {
        out[0] = '\0';
        return;
    }
    if (strncmp(out, mapped, sizeof mapped - 1) == 0 && strchr(out, '.'))
        memmove(out, out + sizeof mapped - 1, strlen(out) - (sizeof mapped - 1) + 1);
    out[strcspn(out, "%")] = '\0'; /* the interface of a link-local address */
}

bool admin_address_allows_host(const struct admin_address *address, int connection_fd,
                               struct slice host)
{
    char local[NI_MAXHOST];
    char machine[ADMIN_HOST_SIZE] = "";
    if (address->unix_path[0]) /* no browser gets here */
        return true;
    local_address(connection_fd, local);
    if (gethostname(machine, sizeof machine - 1) != 0)
        machine[0] = '\0';
    const char *const names[] = {"localhost", "127.0.0.1", "::1", address->host, local, machine};
    struct slice name = host_part(host);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i][0] && slice_equal_ignore_case(name, slice_from_string(names[i])))
            return true;
    }
    return false;
}
