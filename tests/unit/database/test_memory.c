/* SPDX-License-Identifier: MIT */
/* Memory running out at each allocation in turn, ours and SQLite's: every operation either does all
 * that it promises or says that memory is out, leaks nothing, and works again afterwards. Our
 * allocations are caught by defining the library's functions here. */
#include <check.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "database/backup.h"
#include "database/history.h"
#include "database/schema_read.h"
#include "scratch.h"

static atomic_long allocations_left = -1; /* negative: none fails */
static atomic_bool ran_out;
static sqlite3_mem_methods real;

/* One failure, then all is well again: what is done after a failure is looked at as well. */
static bool runs_out(void)
{
    if (allocations_left < 0 || allocations_left-- > 0)
        return false;
    ran_out = true;
    return true;
}

static void *failing_malloc(int size)
{
    return runs_out() ? NULL : real.xMalloc(size);
}

static void *failing_realloc(void *memory, int size)
{
    return runs_out() ? NULL : real.xRealloc(memory, size);
}

char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = runs_out() ? NULL : malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

char *strndup(const char *text, size_t most)
{
    size_t length = strnlen(text, most);
    char *copy = runs_out() ? NULL : malloc(length + 1);
    if (!copy)
        return NULL;
    copy[length] = '\0';
    return memcpy(copy, text, length);
}

void *reallocarray(void *memory, size_t count, size_t size)
{
    return runs_out() || count > SIZE_MAX / size ? NULL : realloc(memory, count * size);
}

static struct scratch scratch;

static void set_up(void)
{
    sqlite3_mem_methods failing;
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real), SQLITE_OK);
    failing = real;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &failing), SQLITE_OK);
    scratch_construct(&scratch);
    scratch_run(scratch.database,
                "CREATE TABLE cards (id INTEGER PRIMARY KEY, title TEXT NOT NULL DEFAULT 'x', c);"
                "CREATE INDEX by_title ON cards (title); CREATE VIEW v AS SELECT title FROM cards;"
                "CREATE VIRTUAL TABLE places USING rtree(id, x0, x1);"
                "CREATE TRIGGER t AFTER INSERT ON cards BEGIN SELECT 1; END;"
                "CREATE TABLE schema_migrations (version varchar(128) primary key);"
                "INSERT INTO schema_migrations VALUES ('001'), ('002')");
}

static void tear_down(void)
{
    scratch_destruct(&scratch);
}

/* An operation: true when it did what it promises, which it has looked at. */
typedef bool operation(struct database *database, struct error *error);

static bool open_it(struct database *database, struct error *error)
{
    (void)database;
    struct database other;
    bool opened = database_open(&other, scratch.database, DATABASE_WRITE, 0, error);
    if (opened)
        database_close(&other);
    return opened;
}

static bool read_schema(struct database *database, struct error *error)
{
    struct catalogue catalogue;
    if (!schema_read(database, &catalogue, error))
        return false;
    allocations_left = -1;
    ck_assert_uint_eq(catalogue.count, 9);
    ck_assert_uint_eq(catalogue_find(&catalogue, SCHEMA_TABLE, "cards")->column_count, 3);
    ck_assert_uint_eq(catalogue_find(&catalogue, SCHEMA_TABLE, "places")->column_count, 3);
    ck_assert_uint_eq(catalogue_find(&catalogue, SCHEMA_VIEW, "v")->column_count, 1);
    ck_assert(catalogue_find(&catalogue, SCHEMA_TABLE, "places_node")->is_shadow);
    catalogue_free(&catalogue);
    return true;
}

static bool copy_schema(struct database *database, struct error *error)
{
    struct database copy;
    unsigned stubbed;
    char note[256];
    if (!schema_copy(database, &copy, &stubbed, note, error))
        return false;
    allocations_left = -1;
    ck_assert_msg(stubbed == 0, "%s", note);
    ck_assert_int_eq(scratch_number(copy.handle, "SELECT count(*) FROM sqlite_schema"
                                                 " WHERE name NOT LIKE 'sqlite_%'"),
                     9);
    database_close(&copy);
    return true;
}

static bool compare(struct database *database, struct error *error)
{
    long left = allocations_left;
    struct catalogue before = {0};
    struct catalogue after;
    struct catalogue_difference difference;
    allocations_left = -1;
    ck_assert(schema_read(database, &after, error));
    allocations_left = left;
    bool compared = catalogue_compare(&before, &after, &difference);
    if (compared)
        ck_assert_uint_gt(difference.count, 15);
    else
        error_set(error, ERROR_MEMORY, "compare");
    ck_assert_int_eq(compared, difference.changes != NULL);
    catalogue_difference_free(&difference);
    catalogue_free(&after);
    return compared;
}

static bool read_history(struct database *database, struct error *error)
{
    struct history history;
    if (!history_read(database, &history, error))
        return false;
    ck_assert_uint_eq(history.count, 2);
    ck_assert_str_eq(history.rows[1].version, "002");
    history_free(&history);
    return true;
}

static bool add_history(struct database *database, struct error *error)
{
    long left = allocations_left;
    char version[] = "003";
    struct history_row row = {.version = version};
    allocations_left = -1;
    scratch_run_on(database->handle, "BEGIN IMMEDIATE");
    allocations_left = left;
    bool added = history_add(database, &row, error);
    left = allocations_left;
    allocations_left = -1;
    if (added)
        ck_assert_int_eq(
            scratch_number(database->handle, "SELECT count(*) FROM automigrate_history"), 1);
    /* Out of memory, SQLite may have rolled back by itself. */
    if (!sqlite3_get_autocommit(database->handle))
        scratch_run_on(database->handle, "ROLLBACK");
    allocations_left = left;
    return added;
}

static bool take_backup(struct database *database, struct error *error)
{
    (void)database;
    char directory[SCRATCH_PATH_SIZE];
    char *path;
    scratch_path(&scratch, "backups", directory);
    bool taken = backup_take(scratch.database, directory, "001", 1, &path, error);
    ck_assert_int_eq(taken, path != NULL);
    free(path);
    return taken;
}

static const struct {
    const char *name;
    operation *run;
} operations[] = {
    {"database_open", open_it},     {"schema_read", read_schema},   {"schema_copy", copy_schema},
    {"catalogue_compare", compare}, {"history_read", read_history}, {"history_add", add_history},
    {"backup_take", take_backup},
};

START_TEST(test_p11_memory_may_run_out_anywhere)
{
    enum { MOST = 100000 };
    long at = 0;
    for (ran_out = true; ran_out && at < MOST; at++) {
        struct error error = {0};
        /* A connection that has not read the schema yet: that is where SQLite allocates most. */
        struct database database = scratch_database(scratch.database, DATABASE_WRITE);
        ran_out = false;
        allocations_left = at;
        bool done = operations[_i].run(&database, &error);
        allocations_left = -1;
        ck_assert_msg(done || error.code == ERROR_MEMORY, "%s, allocation %ld: %s: %s",
                      operations[_i].name, at, error_category(error.code), error.message);
        error = (struct error){0};
        bool again = operations[_i].run(&database, &error);
        ck_assert_msg(again, "%s, after allocation %ld: %s", operations[_i].name, at,
                      error.message);
        database_close(&database);
    }
    ck_assert_int_lt(at, MOST);
    ck_assert_int_gt(at, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("database/memory");
    TCase *group = tcase_create("memory");
    tcase_add_checked_fixture(group, set_up, tear_down);
    tcase_add_loop_test(group, test_p11_memory_may_run_out_anywhere, 0,
                        sizeof operations / sizeof *operations);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
