/* SPDX-License-Identifier: MIT */
/* What counts as a change of the migrations directory, and when it counts. */
#include "recover/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "fixture.h"

static const uint64_t second = 1000000000u;

static uint64_t digest(void)
{
    struct files files = {0};
    files_look(&files, place.migrations, second);
    return files.digest;
}

static char *path_of(const char *name)
{
    static char path[PATH_SIZE * 2];
    snprintf(path, sizeof path, "%s/%s", place.migrations, name);
    return path;
}

static void write_in_place(const char *name, const char *text)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void set_time(const char *name)
{
    const struct timespec times[2] = {{1000000000, 5}, {1000000000, 5}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path_of(name), times, 0), 0);
}

static void add_file(void)
{
    place_migration("002_b.sql", "SELECT 1;");
}

static void remove_file(void)
{
    place_remove_migration("001_a.sql");
}

static void longer_content(void)
{
    write_in_place("001_a.sql", "-- migrate:up\nSELECT 11111111;\n");
}

/* Same inode, size and modification time, as a copying tool with a bad idea may leave it. */
static void same_size_and_time(void)
{
    write_in_place("001_a.sql", "-- migrate:up\nSELECT 2;\n");
    set_time("001_a.sql");
}

static void replaced(void)
{
    place_migration("001_a.sql", "SELECT 2;");
    set_time("001_a.sql");
}

static void renamed(void)
{
    char to[PATH_SIZE * 2];
    strcpy(to, path_of("001_z.sql"));
    ck_assert_int_eq(rename(path_of("001_a.sql"), to), 0);
}

static void file_mode(void)
{
    ck_assert_int_eq(chmod(path_of("001_a.sql"), 0646), 0);
}

static void directory_mode(void)
{
    ck_assert_int_eq(chmod(place.migrations, 0757), 0);
}

static void directory_gone(void)
{
    remove_file();
    ck_assert_int_eq(rmdir(place.migrations), 0);
}

static void came_back(void)
{
    ck_assert_int_eq(mkdir(place.migrations, 0755), 0);
}

START_TEST(test_each_change_is_another_digest)
{
    static void (*const changes[])(void) = {add_file,           remove_file,    longer_content,
                                            same_size_and_time, replaced,       renamed,
                                            file_mode,          directory_mode, directory_gone};
    place_migration("001_a.sql", "SELECT 1;");
    set_time("001_a.sql");
    uint64_t before = digest();
    ck_assert_uint_eq(digest(), before);
    changes[_i]();
    ck_assert_msg(digest() != before, "change %d", _i);
    if (changes[_i] == directory_gone) {
        uint64_t gone = digest();
        came_back();
        ck_assert(digest() != gone);
    }
}
END_TEST

START_TEST(test_what_an_editor_leaves_beside_is_no_change)
{
    place_migration("001_a.sql", "SELECT 1;");
    uint64_t before = digest();
    write_in_place(".001_a.sql.swp", "x");
    ck_assert_uint_eq(digest(), before);
    place_run("SELECT 1"); /* nor what happens around the directory */
    ck_assert_uint_eq(digest(), before);
}
END_TEST

START_TEST(test_a_change_counts_once_the_directory_was_still_for_two_seconds)
{
    struct files files = {0};
    uint64_t now = 100 * second;
    place_migration("001_a.sql", "SELECT 1;");
    files_look(&files, place.migrations, now);
    ck_assert(files_changed(&files));
    files.loaded = files.digest;
    ck_assert(!files_changed(&files));
    ck_assert(!files_are_due(&files, now + 100 * second));

    now += 10 * second;
    place_migration("002_b.sql", "SELECT 1;");
    files_look(&files, place.migrations, now);
    ck_assert(files_changed(&files));
    ck_assert(!files_are_due(&files, now));
    ck_assert(!files_are_due(&files, now + 2 * second - 1));
    ck_assert(files_are_due(&files, now + 2 * second));

    /* Another change begins the two seconds anew; a look without one does not. */
    now += second;
    place_migration("003_c.sql", "SELECT 1;");
    files_look(&files, place.migrations, now);
    files_look(&files, place.migrations, now + second);
    ck_assert(!files_are_due(&files, now + 2 * second - 1));
    ck_assert(files_are_due(&files, now + 2 * second));
    files.loaded = files.digest;
    ck_assert(!files_are_due(&files, now + 100 * second));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("files");
    TCase *tcase = tcase_create("files");
    tcase_add_checked_fixture(tcase, place_make, place_remove);
    tcase_add_loop_test(tcase, test_each_change_is_another_digest, 0, 9);
    tcase_add_test(tcase, test_what_an_editor_leaves_beside_is_no_change);
    tcase_add_test(tcase, test_a_change_counts_once_the_directory_was_still_for_two_seconds);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
