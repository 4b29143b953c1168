/* SPDX-License-Identifier: MIT */
/* Kept request bodies. Worker's thread; the budget is shared. */
#include "proxy/retry_buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool take(_Atomic uint64_t *used, uint64_t limit, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add_explicit(used, bytes, memory_order_relaxed);
    if (before + bytes <= limit)
        return true;
    atomic_fetch_sub_explicit(used, bytes, memory_order_relaxed);
    return false;
}

bool retry_budget_take(struct retry_budget *budget, uint64_t bytes)
{
    return take(&budget->used, budget->limit, bytes);
}

void retry_budget_give(struct retry_budget *budget, uint64_t bytes)
{
    if (bytes > 0)
        atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}

bool retry_budget_take_waiting(struct retry_budget *budget, uint64_t bytes)
{
    uint64_t limit = budget->waiting_limit > 0 ? budget->waiting_limit : UINT64_MAX;
    return take(&budget->waiting, limit, bytes);
}

void retry_budget_give_waiting(struct retry_budget *budget, uint64_t bytes)
{
    if (bytes > 0)
        atomic_fetch_sub_explicit(&budget->waiting, bytes, memory_order_relaxed);
}

void retry_buffer_construct(struct retry_buffer *kept)
{
    *kept = (struct retry_buffer){.fd = -1};
}

void retry_buffer_free(struct retry_buffer *kept, struct retry_budget *budget)
{
    if (kept->fd >= 0)
        close(kept->fd);
    buffer_free(&kept->memory);
    retry_budget_give(budget, kept->charged);
    retry_buffer_construct(kept);
}

/* A file without a name: it goes with its descriptor, also when we are killed. */
static int open_unnamed(void)
{
    const char *directory = getenv("TMPDIR");
    if (!directory || !*directory)
        directory = "/tmp";
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    struct buffer name = {0};
    buffer_printf(&name, "%s/automigrate.XXXXXX", directory);
    if (name.failed) {
        buffer_free(&name);
        return -1;
    }
    fd = mkostemp(name.data, O_CLOEXEC);
    if (fd >= 0)
        unlink(name.data);
    buffer_free(&name);
    return fd;
}

static bool write_all(int fd, struct slice data, uint64_t offset)
{
    while (data.length > 0) {
        ssize_t written = pwrite(fd, data.data, data.length, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        data = slice_make(data.data + written, data.length - (size_t)written);
        offset += (uint64_t)written;
    }
    return true;
}

bool retry_buffer_spill(struct retry_buffer *kept)
{
    if (kept->memory.length == 0)
        return true;
    int fd = kept->fd >= 0 ? kept->fd : open_unnamed();
    if (fd < 0)
        return false;
    if (!write_all(fd, buffer_slice(&kept->memory), 0)) {
        if (fd != kept->fd)
            close(fd);
        return false;
    }
    kept->fd = fd;
    buffer_free(&kept->memory);
    return true;
}

bool retry_buffer_append(struct retry_buffer *kept, struct retry_budget *budget, struct slice data,
                         bool force)
{
    if (force)
        atomic_fetch_add_explicit(&budget->used, data.length, memory_order_relaxed);
    else if (kept->length + data.length > budget->body_limit ||
             !retry_budget_take(budget, data.length))
        return false;
    bool done;
    if (kept->fd < 0 && kept->memory.length + data.length <= budget->memory_limit) {
        done = buffer_append_slice(&kept->memory, data);
        kept->memory.failed = false;
    } else {
        if (kept->fd < 0)
            kept->fd = open_unnamed();
        /* Each byte at its place in the body: a hole is where memory has it. */
        done = kept->fd >= 0 && write_all(kept->fd, data, kept->length);
    }
    if (!done) {
        retry_budget_give(budget, data.length);
        return false;
    }
    kept->charged += data.length;
    kept->length += data.length;
    return true;
}

struct slice retry_buffer_read(const struct retry_buffer *kept, uint64_t offset, char *scratch,
                               size_t size)
{
    if (offset < kept->memory.length) {
        size_t left = kept->memory.length - (size_t)offset;
        return slice_make(kept->memory.data + offset, left < size ? left : size);
    }
    ssize_t result;
    do {
        result = pread(kept->fd, scratch, size, (off_t)offset);
    } while (result < 0 && errno == EINTR);
    return slice_make(scratch, result > 0 ? (size_t)result : 0);
}
