/* SPDX-License-Identifier: MIT */
/* Watching a directory by its stat data. No state but the caller's. */
#include "recover/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"

/* FNV-1a, 64 bits: a change is to be noticed, not proven. */
static const uint64_t BASIS = 0xcbf29ce484222325u;

static uint64_t mix(uint64_t digest, const void *data, size_t length)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < length; i++)
        digest = (digest ^ bytes[i]) * 0x100000001b3u;
    return digest;
}

static uint64_t digest_of(const char *directory)
{
    DIR *listing = opendir(directory);
    uint64_t sum = 0;
    struct stat own;
    if (!listing)
        return 1;
    /* Who may write to it decides whether it is trusted; its times say nothing about the files. */
    if (fstat(dirfd(listing), &own) == 0) {
        uint64_t one = mix(BASIS, &own.st_mode, sizeof own.st_mode);
        sum = mix(one, &own.st_uid, sizeof own.st_uid);
    }
    const struct dirent *entry;
    while ((entry = readdir(listing)) != NULL) {
        struct stat status;
        if (entry->d_name[0] == '.' || fstatat(dirfd(listing), entry->d_name, &status, 0) != 0)
            continue;
        uint64_t one = mix(BASIS, entry->d_name, strlen(entry->d_name));
        one = mix(one, &status.st_size, sizeof status.st_size);
        one = mix(one, &status.st_mtim, sizeof status.st_mtim);
        one = mix(one, &status.st_ctim, sizeof status.st_ctim); /* nobody can set it back */
        one = mix(one, &status.st_ino, sizeof status.st_ino);
        one = mix(one, &status.st_mode, sizeof status.st_mode);
        sum += one; /* whatever order the directory is read in */
    }
    closedir(listing);
    return sum + 2;
}

void files_look(struct files *files, const char *directory, uint64_t now_ns)
{
    uint64_t digest = digest_of(directory);
    if (digest == files->digest)
        return;
    files->digest = digest;
    files->seen_ns = now_ns;
}

bool files_are_due(const struct files *files, uint64_t now_ns)
{
    return files_changed(files) && now_ns - files->seen_ns >= FILES_STILL_MS * NS_PER_MS;
}
