/* SPDX-License-Identifier: MIT */
/* Addresses to listen on: how they are written, and finding out whether they are free (P11). */
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/listener.h"

#define LONG_NAME                                                                                  \
    "/0123456789012345678901234567890123456789012345678901234567890123456789"                      \
    "01234567890123456789012345678901234567"

static const struct {
    const char *text;
    const char *is; /* as it is printed; NULL: it is none */
} addresses[] = {
    {"127.0.0.1:8080", "127.0.0.1:8080"},
    {"127.0.0.1:0", "127.0.0.1:0"},
    {"0.0.0.0:80", "0.0.0.0:80"},
    {"[::1]:8080", "[::1]:8080"},
    {":8080", "[::]:8080"},
    {"127.0.0.1:65535", "127.0.0.1:65535"},
    {"unix:/tmp/a.sock", "unix:/tmp/a.sock"},
    {"unix:a.sock", "unix:a.sock"},
    {"", NULL},
    {":", NULL},
    {"8080", NULL},
    {"127.0.0.1", NULL},
    {"127.0.0.1:", NULL},
    {"127.0.0.1:http", NULL},
    {"127.0.0.1:65536", NULL},
    {"127.0.0.1:99999", NULL},
    {"127.0.0.1:-1", NULL},
    {"127.0.0.1:+80", NULL},
    {"127.0.0.1: 80", NULL},
    {"127.0.0.1:80x", NULL},
    {"127.0.0.1:4294967376", NULL},
    {"256.0.0.1:80", NULL},
    {"unix:", NULL},
    {"unix:" LONG_NAME, NULL},
};

START_TEST(test_p11_an_address_is_read_or_refused_with_the_way_to_write_it)
{
    struct listen_address address;
    struct error error = {0};
    bool is_one = listen_address_parse(addresses[_i].text, &address, &error);
    if (addresses[_i].is) {
        ck_assert_msg(is_one, "%s", error.message);
        ck_assert_str_eq(address.text, addresses[_i].is);
        ck_assert_int_eq(address.is_unix, strncmp(addresses[_i].text, "unix:", 5) == 0);
    } else {
        ck_assert_msg(!is_one, "\"%s\" was read as %s", addresses[_i].text, address.text);
        ck_assert_int_eq(error.code, ERROR_USAGE);
        ck_assert_ptr_nonnull(strstr(error.message, "listen: "));
        ck_assert_ptr_nonnull(strstr(error.message, addresses[_i].text));
    }
}
END_TEST

static int listen_on(const struct listen_address *address)
{
    int fd = socket(address->address.ss_family, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address->address, address->length), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

START_TEST(test_port_0_becomes_the_one_the_kernel_gives_and_one_in_use_is_an_error)
{
    static const char *const texts[] = {"127.0.0.1:0", "[::1]:0"};
    struct listen_address address, again;
    struct error error = {0};
    ck_assert(listen_address_parse(texts[_i], &address, &error));
    ck_assert_msg(listen_address_probe(&address, &error), "%s", error.message);
    ck_assert_ptr_null(strstr(address.text, ":0"));
    again = address;
    ck_assert(listen_address_probe(&again, &error)); /* it was only probed */
    ck_assert_str_eq(again.text, address.text);

    int fd = listen_on(&address);
    int on = 1; /* not even beside one that would share it */
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    ck_assert(!listen_address_probe(&again, &error));
    ck_assert_int_eq(error.code, ERROR_ADDRESS);
    ck_assert_ptr_nonnull(strstr(error.message, address.text));
    ck_assert_ptr_nonnull(strstr(error.message, "in use"));
    close(fd);
    ck_assert(listen_address_probe(&again, &error));
}
END_TEST

START_TEST(test_a_unix_socket_that_nobody_answers_on_is_cleared_away_and_nothing_else_is)
{
    char directory[] = "/tmp/automigrate-test-XXXXXX", text[64];
    struct listen_address address;
    struct error error = {0};
    struct stat status;
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(text, sizeof text, "unix:%s/s", directory);
    const char *path = text + 5;
    ck_assert(listen_address_parse(text, &address, &error));
    ck_assert(listen_address_probe(&address, &error)); /* nothing there */

    int fd = listen_on(&address);
    ck_assert(!listen_address_probe(&address, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "in use"));
    ck_assert_int_eq(lstat(path, &status), 0);
    close(fd); /* its file stays, as after a crash */
    ck_assert(listen_address_probe(&address, &error));
    ck_assert_int_ne(lstat(path, &status), 0);

    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert(!listen_address_probe(&address, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "no socket"));
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(symlink("/etc/hostname", path), 0);
    ck_assert(!listen_address_probe(&address, &error));
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert(!listen_address_probe(&address, &error));
    ck_assert_int_eq(rmdir(path), 0);

    /* One that is busy is somebody's, too. */
    fd = listen_on(&address);
    ck_assert_int_eq(listen(fd, 0), 0);
    int full = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(full, (struct sockaddr *)&address.address, address.length), 0);
    ck_assert(!listen_address_probe(&address, &error));
    ck_assert_int_eq(lstat(path, &status), 0);
    close(full);
    close(fd);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/listener");
    TCase *tests = tcase_create("listener");
    tcase_add_loop_test(tests, test_p11_an_address_is_read_or_refused_with_the_way_to_write_it, 0,
                        (int)(sizeof addresses / sizeof *addresses));
    tcase_add_loop_test(
        tests, test_port_0_becomes_the_one_the_kernel_gives_and_one_in_use_is_an_error, 0, 2);
    tcase_add_test(tests,
                   test_a_unix_socket_that_nobody_answers_on_is_cleared_away_and_nothing_else_is);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
