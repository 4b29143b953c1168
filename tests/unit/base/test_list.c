/* SPDX-License-Identifier: MIT */
/* Lists through links. */
#include "base/list.h"

#include <check.h>

struct item {
    int number;
    struct list link;
};

static void check_order(const struct list *list, const int *numbers, size_t count)
{
    size_t i = 0;
    for (struct list *link = list->next; link != list; link = link->next, i++) {
        ck_assert_uint_lt(i, count);
        ck_assert_int_eq(LIST_ENTRY(link, struct item, link)->number, numbers[i]);
        ck_assert_ptr_eq(link->next->previous, link);
    }
    ck_assert_uint_eq(i, count);
}

START_TEST(test_order_is_that_of_appending_and_prepending)
{
    struct list list;
    struct item items[3] = {{1, {0}}, {2, {0}}, {3, {0}}};
    list_construct(&list);
    ck_assert(list_is_empty(&list));
    list_append(&list, &items[1].link);
    list_append(&list, &items[2].link);
    list_prepend(&list, &items[0].link);
    check_order(&list, (const int[]){1, 2, 3}, 3);
    list_remove(&items[1].link);
    check_order(&list, (const int[]){1, 3}, 2);
    list_append(&list, &items[1].link);
    check_order(&list, (const int[]){1, 3, 2}, 3);
}
END_TEST

START_TEST(test_removing_twice_is_harmless_and_empties)
{
    struct list list;
    struct item item = {1, {0}};
    list_construct(&list);
    list_append(&list, &item.link);
    list_remove(&item.link);
    ck_assert(list_is_empty(&list));
    ck_assert(list_is_empty(&item.link)); /* on none */
    list_remove(&item.link);
    ck_assert(list_is_empty(&list));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("list");
    TCase *tcase = tcase_create("list");
    tcase_add_test(tcase, test_order_is_that_of_appending_and_prepending);
    tcase_add_test(tcase, test_removing_twice_is_harmless_and_empties);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
