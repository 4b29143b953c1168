/* SPDX-License-Identifier: MIT */
/* Reading the operator's files. Who may write them is looked at on the open descriptor, so that
 * what was checked is what is read. Any thread. */
#include "migrate/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_migration_name(const char *name)
{
    size_t length = strlen(name);
    return name[0] >= '0' && name[0] <= '9' && length > 4 && strcmp(name + length - 4, ".sql") == 0;
}

/* False with a message when anybody may write there. */
static bool check_mode(const char *path, mode_t mode, const char *what, struct error *error)
{
    if (!(mode & S_IWOTH))
        return true;
    return error_set(error, ERROR_PERMISSION,
                     "%s: everybody may write to this %s, and what it holds would be run; chmod "
                     "o-w it",
                     path, what);
}

bool source_list(const char *directory, const struct source_visitor *visitor, struct error *error)
{
    DIR *stream = opendir(directory);
    if (!stream) {
        int number = errno;
        return error_set(error, number == EACCES ? ERROR_PERMISSION : ERROR_NOT_FOUND,
                         "migrations directory %s cannot be read: %s; --migrations names it",
                         directory, strerror(number));
    }
    struct stat status;
    bool good = fstat(dirfd(stream), &status) == 0 ||
                error_set_errno(error, ERROR_IO, errno, "migrations directory %s", directory);
    good = good && check_mode(directory, status.st_mode, "directory", error);
    while (good) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry) {
            if (errno != 0)
                good =
                    error_set_errno(error, ERROR_IO, errno, "migrations directory %s", directory);
            break;
        }
        if (is_migration_name(entry->d_name))
            good = visitor->found(visitor->context, entry->d_name, error);
    }
    closedir(stream);
    return good;
}

/* A link leads somewhere else: the directory there decides who can replace the file. */
static bool check_link(const char *path, struct error *error)
{
    char resolved[PATH_MAX];
    struct stat status;
    if (lstat(path, &status) != 0)
        return error_set_errno(error, ERROR_IO, errno, "%s", path);
    if (!S_ISLNK(status.st_mode))
        return true;
    if (!realpath(path, resolved))
        return error_set_errno(error, ERROR_IO, errno, "%s: the link leads nowhere", path);
    const char *parent = dirname(resolved);
    if (stat(parent, &status) != 0)
        return error_set_errno(error, ERROR_IO, errno, "%s", parent);
    return check_mode(path, status.st_mode, "link's directory", error);
}

static bool read_all(int fd, const char *path, char *text, size_t length, struct error *error)
{
    size_t done = 0;
    /* One byte more than expected is asked for, so that a file that grows is noticed. */
    while (done <= length) {
        ssize_t got = read(fd, text + done, length + 1 - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, ERROR_IO, errno, "%s", path);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    if (done != length)
        return error_set(error, ERROR_IO, "%s: it is being written to; try again when that is done",
                         path);
    text[length] = '\0';
    return true;
}

static bool read_file(int fd, const char *path, char **text, size_t *length, struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return error_set_errno(error, ERROR_IO, errno, "%s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_IO, "%s: not a regular file; remove or rename it", path);
    if (!check_mode(path, status.st_mode, "file", error))
        return false;
    if (status.st_size > MIGRATION_SIZE_LIMIT)
        return error_set(error, ERROR_IO, "%s: %lld bytes, more than %d; split it", path,
                         (long long)status.st_size, MIGRATION_SIZE_LIMIT);
    *length = (size_t)status.st_size;
    *text = malloc(*length + 1);
    if (!*text)
        return error_set(error, ERROR_MEMORY, "%s: out of memory; free some and try again", path);
    if (read_all(fd, path, *text, *length, error))
        return true;
    free(*text);
    *text = NULL;
    return false;
}

bool source_read(const char *path, char **text, size_t *length, struct error *error)
{
    /* O_NONBLOCK: opening a fifo must not wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0 && errno == ELOOP) {
        if (!check_link(path, error))
            return false;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    }
    if (fd < 0)
        return error_set_errno(error, errno == EACCES ? ERROR_PERMISSION : ERROR_IO, errno, "%s",
                               path);
    bool good = read_file(fd, path, text, length, error);
    close(fd);
    return good;
}

void source_checksum(const char *text, size_t length, char checksum[CHECKSUM_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char *folded = memmem(text, length, "\r\n", 2) ? malloc(length) : NULL;
    size_t folded_length = 0;
    if (folded) {
        for (size_t i = 0; i < length; i++) {
            if (text[i] != '\r' || i + 1 == length || text[i + 1] != '\n')
                folded[folded_length++] = text[i];
        }
        text = folded;
        length = folded_length;
    }
    SHA256((const unsigned char *)text, length, digest);
    free(folded);
    for (size_t i = 0; i < sizeof digest; i++) {
        checksum[2 * i] = digits[digest[i] >> 4];
        checksum[2 * i + 1] = digits[digest[i] & 15];
    }
    checksum[CHECKSUM_SIZE - 1] = '\0';
}
