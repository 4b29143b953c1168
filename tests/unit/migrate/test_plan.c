/* SPDX-License-Identifier: MIT */
/* Planning: what a rehearsal says about each kind of statement, what it provides, and drift. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

/* What is there before each case of the risk table. */
static const char live[] =
    "CREATE TABLE old (id INTEGER PRIMARY KEY, a TEXT, b UNIQUE);"
    "INSERT INTO old VALUES (1, 'x', 1), (2, 'y', 2);"
    "CREATE TABLE parent (id INTEGER PRIMARY KEY);"
    "CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE "
    "ON UPDATE CASCADE);"
    "CREATE TABLE watched (id INTEGER PRIMARY KEY, a); CREATE TABLE log (x);"
    "CREATE TRIGGER watcher AFTER INSERT ON watched BEGIN DELETE FROM old; END;"
    "CREATE TABLE strict_key (k UNIQUE ON CONFLICT REPLACE);"
    "CREATE VIEW v AS SELECT * FROM old; CREATE INDEX i ON old (a);"
    "CREATE VIRTUAL TABLE words USING fts5(t);";

static const struct {
    const char *sql;
    enum risk risk;
} risks[] = {
    /* What only adds. */
    {"", MIGRATION_GREEN},
    {"CREATE TABLE n (a);", MIGRATION_GREEN},
    {"CREATE TABLE n (a INTEGER PRIMARY KEY AUTOINCREMENT, b UNIQUE, c REFERENCES old);",
     MIGRATION_GREEN},
    {"CREATE TABLE n (a PRIMARY KEY) WITHOUT ROWID;", MIGRATION_GREEN},
    {"CREATE TABLE n (a INT) STRICT;", MIGRATION_GREEN},
    {"CREATE TABLE n (a, b GENERATED ALWAYS AS (a + 1));", MIGRATION_GREEN},
    {"CREATE TABLE n AS SELECT * FROM old;", MIGRATION_GREEN},
    {"CREATE TABLE n AS SELECT * FROM v;", MIGRATION_GREEN},
    {"ALTER TABLE old ADD COLUMN c;", MIGRATION_GREEN},
    {"ALTER TABLE old ADD COLUMN c INTEGER NOT NULL DEFAULT 0;", MIGRATION_GREEN},
    {"CREATE INDEX n ON old (a);", MIGRATION_GREEN},
    {"CREATE INDEX n ON old (a) WHERE a IS NOT NULL;", MIGRATION_GREEN},
    {"CREATE VIEW n AS SELECT * FROM old;", MIGRATION_GREEN},
    {"CREATE VIRTUAL TABLE n USING fts5(a);", MIGRATION_GREEN},
    {"CREATE VIRTUAL TABLE n USING rtree(i, a, b);", MIGRATION_GREEN},
    {"CREATE VIRTUAL TABLE n USING fts5(a); INSERT INTO n VALUES ('x'); INSERT INTO n(n) "
     "VALUES ('rebuild');",
     MIGRATION_GREEN},
    {"CREATE TABLE n (a UNIQUE); CREATE UNIQUE INDEX m ON n (a); INSERT INTO n VALUES (1);",
     MIGRATION_GREEN},
    {"CREATE TABLE n (a); INSERT INTO n SELECT id FROM old;", MIGRATION_GREEN},
    {"CREATE TABLE n (a); INSERT INTO n SELECT id FROM v;", MIGRATION_GREEN},
    {"CREATE TABLE n (a); WITH x AS (SELECT 1) INSERT INTO n SELECT * FROM x;", MIGRATION_GREEN},
    {"CREATE TABLE n (a); UPDATE n SET a = 1;", MIGRATION_GREEN},
    {"CREATE TABLE n (a); CREATE TRIGGER m AFTER INSERT ON n BEGIN SELECT 1; END;",
     MIGRATION_GREEN},
    {"ALTER TABLE old ADD COLUMN c; UPDATE old SET c = id;", MIGRATION_GREEN},
    {"ALTER TABLE old ADD COLUMN c; UPDATE old SET c = replace(a, 'x', 'y') WHERE id > 0;",
     MIGRATION_GREEN},
    {"SELECT count(*) FROM old;", MIGRATION_GREEN},
    {"WITH a AS (SELECT id FROM old) SELECT * FROM a;", MIGRATION_GREEN},
    {"SELECT * FROM pragma_table_info('old');", MIGRATION_GREEN},
    {"PRAGMA table_info(old);", MIGRATION_GREEN},
    {"PRAGMA foreign_key_check;", MIGRATION_GREEN},
    {"PRAGMA user_version;", MIGRATION_GREEN},
    {"DROP TABLE IF EXISTS never_there;", MIGRATION_GREEN},
    {"CREATE TABLE IF NOT EXISTS log (x);", MIGRATION_GREEN},
    {"CREATE INDEX IF NOT EXISTS i ON old (a);", MIGRATION_GREEN},
    /* What an operator wants a backup of. */
    {"CREATE UNIQUE INDEX n ON old (a);", MIGRATION_YELLOW},
    {"CREATE UNIQUE INDEX n ON log (x);", MIGRATION_YELLOW},
    {"CREATE TRIGGER n AFTER INSERT ON old BEGIN SELECT 1; END;", MIGRATION_YELLOW},
    {"CREATE TRIGGER n INSTEAD OF INSERT ON v BEGIN SELECT 1; END;", MIGRATION_YELLOW},
    {"INSERT INTO old (a) VALUES ('x');", MIGRATION_YELLOW},
    {"INSERT INTO old SELECT id + 10, a, b FROM old WHERE 0;", MIGRATION_YELLOW},
    {"INSERT OR IGNORE INTO old (id) VALUES (1);", MIGRATION_YELLOW},
    {"WITH x AS (SELECT 7) INSERT INTO log SELECT * FROM x;", MIGRATION_YELLOW},
    {"INSERT INTO child VALUES (1, 1);", MIGRATION_YELLOW},
    {"DROP VIEW v; CREATE VIEW v AS SELECT id FROM old;", MIGRATION_YELLOW},
    {"DROP INDEX i; CREATE INDEX i ON old (a, id);", MIGRATION_YELLOW},
    {"DROP TRIGGER watcher; CREATE TRIGGER watcher AFTER INSERT ON watched BEGIN SELECT 1; END;",
     MIGRATION_YELLOW},
    {"ALTER TABLE old ADD COLUMN c CHECK (c > 0);", MIGRATION_YELLOW},
    /* What can lose something, or is not known to be safe. */
    {"ALTER TABLE old ADD COLUMN c NOT NULL;", MIGRATION_RED},
    {"DROP TABLE log;", MIGRATION_RED},
    {"DROP VIEW v;", MIGRATION_RED},
    {"DROP INDEX i;", MIGRATION_RED},
    {"DROP INDEX i; CREATE INDEX i ON log (x);", MIGRATION_RED},
    {"DROP TRIGGER watcher;", MIGRATION_RED},
    {"DELETE FROM log;", MIGRATION_RED},
    {"DELETE FROM log WHERE 0;", MIGRATION_RED},
    {"WITH x AS (SELECT 1) DELETE FROM log;", MIGRATION_RED},
    {"UPDATE old SET a = 'z';", MIGRATION_RED},
    {"ALTER TABLE old ADD COLUMN c; UPDATE old SET c = 1, a = 'z';", MIGRATION_RED},
    {"UPDATE parent SET id = 9;", MIGRATION_RED},
    {"WITH x AS (SELECT 1) UPDATE log SET x = 1;", MIGRATION_RED},
    {"REPLACE INTO old VALUES (1, 'x', 1);", MIGRATION_RED},
    {"INSERT OR REPLACE INTO old VALUES (1, 'x', 1);", MIGRATION_RED},
    {"WITH x AS (SELECT 1) REPLACE INTO log SELECT * FROM x;", MIGRATION_RED},
    {"INSERT INTO old (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 'z';", MIGRATION_RED},
    {"INSERT INTO strict_key VALUES (1);", MIGRATION_RED},
    {"CREATE TABLE n (a UNIQUE ON CONFLICT REPLACE); INSERT INTO n VALUES (1);", MIGRATION_RED},
    {"INSERT INTO watched VALUES (1, 1);", MIGRATION_RED},
    {"CREATE TABLE n (a); CREATE TRIGGER m AFTER INSERT ON n BEGIN DELETE FROM old; END; INSERT "
     "INTO n VALUES (1);",
     MIGRATION_RED},
    {"ALTER TABLE watched ADD COLUMN c; CREATE TRIGGER m AFTER UPDATE ON watched BEGIN DELETE "
     "FROM old; END; UPDATE watched SET c = 1;",
     MIGRATION_RED},
    {"ALTER TABLE watched ADD COLUMN c; UPDATE watched SET c = 1;", MIGRATION_RED},
    {"INSERT INTO words VALUES ('x');", MIGRATION_RED},
    {"INSERT INTO words(words) VALUES ('rebuild');", MIGRATION_RED},
    {"ALTER TABLE old RENAME TO older;", MIGRATION_RED},
    {"ALTER TABLE old RENAME COLUMN a TO z;", MIGRATION_RED},
    {"ALTER TABLE old DROP COLUMN b;", MIGRATION_RED},
    {"ALTER TABLE log DROP COLUMN x;", MIGRATION_RED},
    {"CREATE TABLE n (id, a, b); INSERT INTO n SELECT * FROM old; DROP TABLE old; ALTER TABLE n "
     "RENAME TO old;",
     MIGRATION_RED},
    {"ANALYZE;", MIGRATION_RED},
    {"REINDEX;", MIGRATION_RED},
    {"PRAGMA user_version = 7;", MIGRATION_RED},
    {"PRAGMA optimize;", MIGRATION_RED},
    {"CREATE TEMP TABLE n (a);", MIGRATION_RED},
    {"CREATE TEMP TRIGGER n AFTER INSERT ON old BEGIN DELETE FROM old; END;", MIGRATION_RED},
    {"EXPLAIN SELECT 1;", MIGRATION_RED},
    {"BEGIN;", MIGRATION_RED},
    {"COMMIT;", MIGRATION_RED},
    {"SAVEPOINT a;", MIGRATION_RED},
    {"ATTACH '/tmp/x.db' AS x;", MIGRATION_RED},
    {"VACUUM;", MIGRATION_RED},
    {"VACUUM INTO '/tmp/x.db';", MIGRATION_RED},
    {"PRAGMA writable_schema = ON;", MIGRATION_RED},
    {"PRAGMA journal_mode = WAL;", MIGRATION_RED},
    {"SELECT load_extension('x');", MIGRATION_RED},
    {"INSERT INTO schema_migrations VALUES ('1');", MIGRATION_RED},
    {"CREATE TABLE IF NOT EXISTS log (x, y);", MIGRATION_RED},
    {"CREATE TABLE log (x, y);", MIGRATION_RED},
    {"CREATE VIRTUAL TABLE n USING nothing(a);", MIGRATION_RED},
    {"SELECT nothing FROM old;", MIGRATION_RED},
};

START_TEST(test_risk_is_never_lower_than_a_careful_persons)
{
    struct migration_set set;
    struct plan plan;
    fixture_run(live);
    for (size_t i = 0; i < sizeof risks / sizeof *risks; i++) {
        fixture_migration("1_a.sql", risks[i].sql);
        fixture_plan(&set, &plan);
        ck_assert_uint_eq(plan.count, 1);
        const struct plan_entry *entry = &plan.entries[0];
        ck_assert_msg(entry->risk == risks[i].risk, "%s\nis %s: %s (%s)", risks[i].sql,
                      risk_name(entry->risk), entry->risk_reason, entry->failure.message);
        ck_assert_msg(entry->risk_reason[0] != '\0', "%s has no reason", risks[i].sql);
        fixture_plan_free(&set, &plan);
    }
    /* Planning changed nothing. */
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM old"), 2);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM sqlite_schema WHERE name = 'n'"), 0);
}
END_TEST

START_TEST(test_what_an_earlier_pending_file_made_is_fresh_for_the_next)
{
    struct migration_set set;
    struct plan plan;
    fixture_migration("1_a.sql", "CREATE TABLE n (a);");
    fixture_migration("2_b.sql", "INSERT INTO n VALUES (1); UPDATE n SET a = 2; CREATE TRIGGER t "
                                 "AFTER INSERT ON n BEGIN SELECT 1; END;");
    fixture_migration("3_c.sql", "INSERT INTO n VALUES (2);");
    fixture_plan(&set, &plan);
    ck_assert_int_eq(plan.entries[1].risk, MIGRATION_GREEN);
    ck_assert_int_eq(plan.entries[2].risk, MIGRATION_RED);
    ck_assert_ptr_nonnull(strstr(plan.entries[2].risk_reason, "line 2: INSERT INTO n fires"));
    fixture_plan_free(&set, &plan);
}
END_TEST

START_TEST(test_risk_can_be_raised_by_the_file_and_by_having_no_transaction)
{
    struct migration_set set;
    struct plan plan;
    fixture_write("1_a.sql", "-- automigrate:risk yellow\n-- migrate:up\nCREATE TABLE n (a);\n");
    fixture_write("2_b.sql", "-- automigrate:risk green\n-- migrate:up\nDROP TABLE n;\n");
    fixture_write("3_c.sql", "-- migrate:up transaction:false\nCREATE TABLE m (a);\n");
    fixture_plan(&set, &plan);
    ck_assert_int_eq(plan.entries[0].risk, MIGRATION_YELLOW);
    ck_assert_int_eq(plan.entries[1].risk, MIGRATION_RED);
    ck_assert_int_eq(plan.entries[2].risk, MIGRATION_RED);
    ck_assert_int_eq(plan.entries[2].rehearsal, REHEARSAL_OK);
    fixture_plan_free(&set, &plan);
}
END_TEST

/* "kind table.name" for each, in the plan's order. */
static char *provided(const struct plan_entry *entry)
{
    static char text[4096];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < entry->provides_count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s %s.%s; ",
                                 schema_kind_name(entry->provides[i].kind),
                                 entry->provides[i].table, entry->provides[i].name);
    return text;
}

START_TEST(test_provides_is_what_the_schema_gains)
{
    static const struct {
        const char *sql;
        const char *provides;
    } cases[] = {
        {"CREATE TABLE n (a, \"b c\");", "table .n; column n.a; column n.b c; "},
        {"ALTER TABLE old ADD COLUMN c;", "column old.c; "},
        {"CREATE INDEX n ON old (a);", "index old.n; "},
        {"CREATE VIEW n AS SELECT id AS x FROM old;", "view .n; column n.x; "},
        {"CREATE TRIGGER n AFTER INSERT ON old BEGIN SELECT 1; END;", "trigger old.n; "},
        {"CREATE TABLE n (a); DROP TABLE n;", ""},
        {"CREATE TABLE n (a); ALTER TABLE n RENAME TO m; ALTER TABLE m RENAME a TO b;",
         "table .m; column m.b; "},
        {"ALTER TABLE old RENAME a TO z;", "column old.z; column v.z; "},
        /* A rebuild provides what the new table has and the old one had not. */
        {"CREATE TABLE n (x, c); DROP TABLE log; ALTER TABLE n RENAME TO log;", "column log.c; "},
        {"DROP VIEW v; CREATE VIEW v AS SELECT id, a, 1 AS z FROM old;", "column v.z; "},
        {"DROP INDEX i; CREATE INDEX i ON old (a, b);", ""},
        {"CREATE TABLE IF NOT EXISTS log (x);", ""},
        {"CREATE TEMP TABLE n (a);", ""},
        {"CREATE TABLE n (a INTEGER PRIMARY KEY AUTOINCREMENT, b UNIQUE);",
         "table .n; column n.a; column n.b; "},
        {"CREATE VIRTUAL TABLE n USING fts5(a);",
         "table .n; column n.a; column n.n; column n.rank; "},
    };
    struct migration_set set;
    struct plan plan;
    fixture_run(live);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_migration("1_a.sql", cases[i].sql);
        fixture_plan(&set, &plan);
        ck_assert_msg(plan.entries[0].rehearsal == REHEARSAL_OK, "%s: %s", cases[i].sql,
                      plan.entries[0].failure.message);
        ck_assert_msg(strcmp(provided(&plan.entries[0]), cases[i].provides) == 0, "%s\nprovides %s",
                      cases[i].sql, provided(&plan.entries[0]));
        fixture_plan_free(&set, &plan);
    }
}
END_TEST

START_TEST(test_provider_finds_by_kind_and_name)
{
    struct migration_set set;
    struct plan plan;
    size_t index = 99;
    bool ambiguous;
    fixture_migration("1_a.sql",
                      "CREATE TABLE one (id, shared); CREATE VIEW seen AS SELECT 1 AS x;");
    fixture_migration("2_b.sql", "CREATE TABLE two (id2, SHARED); CREATE INDEX i ON two (id2);");
    fixture_plan(&set, &plan);
    ck_assert_ptr_eq(plan_provider(&plan, SCHEMA_TABLE, NULL, "ONE", &index, &ambiguous),
                     &plan.entries[0]);
    ck_assert_ptr_nonnull(plan_provider(&plan, SCHEMA_TABLE, NULL, "seen", &index, &ambiguous));
    ck_assert_ptr_null(plan_provider(&plan, SCHEMA_VIEW, NULL, "one", &index, &ambiguous));
    ck_assert_ptr_null(plan_provider(&plan, SCHEMA_TABLE, NULL, "i", &index, &ambiguous));
    ck_assert_ptr_nonnull(plan_provider(&plan, SCHEMA_INDEX, NULL, "i", &index, &ambiguous));
    ck_assert_uint_eq(index, 1);
    ck_assert_ptr_eq(plan_provider(&plan, SCHEMA_COLUMN, "two", "shared", &index, &ambiguous),
                     &plan.entries[1]);
    ck_assert(!ambiguous);
    ck_assert_ptr_eq(plan_provider(&plan, SCHEMA_COLUMN, NULL, "shared", &index, &ambiguous),
                     &plan.entries[0]);
    ck_assert(ambiguous);
    ck_assert_ptr_eq(plan_provider(&plan, SCHEMA_COLUMN, NULL, "id2", &index, &ambiguous),
                     &plan.entries[1]);
    ck_assert(!ambiguous);
    fixture_plan_free(&set, &plan);
}
END_TEST

START_TEST(test_rehearsal_says_ok_fails_or_depends_on_data)
{
    static const struct {
        const char *sql;
        enum rehearsal rehearsal;
        const char *message; /* in the failure or the reason */
    } cases[] = {
        {"CREATE TABLE n (a);", REHEARSAL_OK, ""},
        {"SELECT 1;\nSELECT 2;\n\nCREATE TABLE n (a,\n b c d,);", REHEARSAL_FAILS,
         "1_a.sql:6: statement 3 (CREATE TABLE n"},
        {"INSERT INTO child VALUES (1, 1);", REHEARSAL_DEPENDS_ON_DATA, "constraint"},
        {"CREATE TABLE n (p NOT NULL REFERENCES parent); INSERT INTO n SELECT max(id) FROM old;",
         REHEARSAL_DEPENDS_ON_DATA, "constraint"},
        {"CREATE TABLE n (a UNIQUE); INSERT INTO n VALUES (1), (1);", REHEARSAL_FAILS,
         "UNIQUE constraint failed"},
        {"CREATE TABLE q (a UNIQUE); CREATE TABLE n (a REFERENCES q (a)); INSERT INTO n VALUES "
         "(1);",
         REHEARSAL_FAILS, "FOREIGN KEY constraint failed"},
        {"CREATE TABLE q (a UNIQUE); CREATE TABLE n (a REFERENCES q (a) DEFERRABLE INITIALLY "
         "DEFERRED); INSERT INTO n VALUES (1);",
         REHEARSAL_FAILS, "FOREIGN KEY constraint failed"},
        {"CREATE TABLE n (a REFERENCES parent DEFERRABLE INITIALLY DEFERRED); INSERT INTO n "
         "VALUES (1);",
         REHEARSAL_DEPENDS_ON_DATA, "foreign keys"},
        {"CREATE UNIQUE INDEX n ON old (a);", REHEARSAL_DEPENDS_ON_DATA, "unique"},
        {"CREATE UNIQUE INDEX n ON log (x);", REHEARSAL_OK, ""},
        {"ALTER TABLE old ADD COLUMN c NOT NULL;", REHEARSAL_FAILS, "table old has rows"},
        {"ALTER TABLE log ADD COLUMN c NOT NULL;", REHEARSAL_OK, ""},
        {"ALTER TABLE old ADD COLUMN c DEFAULT CURRENT_TIMESTAMP;", REHEARSAL_DEPENDS_ON_DATA,
         "new column"},
        {"ATTACH ':memory:' AS x;", REHEARSAL_FAILS, "another database file"},
        {"PRAGMA synchronous = OFF;", REHEARSAL_FAILS, "PRAGMA synchronous is not allowed"},
        {"UPDATE schema_migrations SET version = 1;", REHEARSAL_FAILS, "history"},
        {"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c;",
         REHEARSAL_FAILS, "rehearsal_timeout"},
        {"CREATE TABLE n (a); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
         "INSERT INTO n SELECT zeroblob(4000) FROM c;",
         REHEARSAL_FAILS, "more pages than a rehearsal"},
    };
    fixture_run(live);
    fixture_run("CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct migration_set set;
        struct plan plan;
        struct error error;
        struct database database;
        /* Only what never ends is to meet the time limit, on a slow machine too. */
        bool endless = strcmp(cases[i].message, "rehearsal_timeout") == 0;
        struct plan_limits limits = {.rehearsal_timeout_ms = endless ? 400 : 30000,
                                     .rehearsal_pages = 2000};
        fixture_migration("1_a.sql", cases[i].sql);
        fixture_migration("2_b.sql", "CREATE TABLE behind (a);");
        ck_assert(migration_set_load(&set, fixture.migrations, &error));
        ck_assert(database_open(&database, fixture.database, DATABASE_READ, 1000, &error));
        ck_assert(plan_make(&plan, &set, &database, &limits, &error));
        database_close(&database);
        const struct plan_entry *entry = &plan.entries[0];
        ck_assert_msg(entry->rehearsal == cases[i].rehearsal, "%s: %d, %s", cases[i].sql,
                      entry->rehearsal, entry->failure.message);
        const char *text = entry->failure.message;
        ck_assert_msg(strstr(text, cases[i].message) != NULL, "%s: %s", cases[i].sql, text);
        ck_assert_int_eq(plan.entries[1].rehearsal,
                         entry->rehearsal == REHEARSAL_FAILS ? REHEARSAL_NOT_RUN : REHEARSAL_OK);
        if (entry->rehearsal == REHEARSAL_FAILS)
            ck_assert(entry->risk == MIGRATION_RED && plan.entries[1].risk == MIGRATION_RED);
        fixture_plan_free(&set, &plan);
    }
}
END_TEST

START_TEST(test_foreign_keys_go_off_when_a_referenced_table_is_dropped_or_renamed)
{
    static const struct {
        const char *sql;
        bool off;
    } cases[] = {
        {"CREATE TABLE n (a);", false},
        {"DROP TABLE log;", false},
        {"DROP TABLE child;", false},
        {"DROP TABLE child; DROP TABLE parent;", false},
        {"DROP TABLE parent;", true},
        {"ALTER TABLE parent RENAME TO parents;", true},
        {"ALTER TABLE log RENAME TO logs;", false},
        {"CREATE TABLE n (id INTEGER PRIMARY KEY, x); DROP TABLE parent; ALTER TABLE n RENAME TO "
         "parent;",
         true},
        {"PRAGMA foreign_keys=OFF; CREATE TABLE n (a); PRAGMA foreign_keys=ON;", true},
    };
    struct migration_set set;
    struct plan plan;
    fixture_run(live);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_migration("1_a.sql", cases[i].sql);
        fixture_plan(&set, &plan);
        ck_assert_msg(plan.entries[0].foreign_keys_off == cases[i].off, "%s", cases[i].sql);
        fixture_plan_free(&set, &plan);
    }
}
END_TEST

START_TEST(test_rewritten_bytes_are_those_of_the_tables_gone_over)
{
    static const struct {
        const char *sql;
        uint64_t least, most;
    } cases[] = {
        {"CREATE TABLE n (a);", 0, 0},
        {"ALTER TABLE big ADD COLUMN c;", 0, 0},
        {"ALTER TABLE big ADD COLUMN c; UPDATE big SET c = 1;", 400000, 700000},
        {"CREATE INDEX n ON big (a);", 400000, 700000},
        {"CREATE INDEX n ON small (a);", 0, 1000},
        {"CREATE TABLE n AS SELECT * FROM big;", 400000, 700000},
    };
    struct migration_set set;
    struct plan plan;
    fixture_run("CREATE TABLE big (a); CREATE TABLE small (a); INSERT INTO small VALUES (1);"
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000) "
                "INSERT INTO big SELECT hex(zeroblob(250)) FROM c;");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_migration("1_a.sql", cases[i].sql);
        fixture_plan(&set, &plan);
        uint64_t bytes = plan.entries[0].rewritten_bytes;
        ck_assert_msg(bytes >= cases[i].least && bytes <= cases[i].most, "%s: %llu", cases[i].sql,
                      (unsigned long long)bytes);
        fixture_plan_free(&set, &plan);
    }
}
END_TEST

static const struct drift *find_drift(const struct plan *plan, enum drift_kind kind)
{
    for (size_t i = 0; i < plan->drift_count; i++) {
        if (plan->drifts[i].kind == kind)
            return &plan->drifts[i];
    }
    return NULL;
}

START_TEST(test_drift_is_reported_and_what_changed_blocks)
{
    static const struct {
        const char *rows; /* of the history: (version, checksum, state) */
        const char *kind; /* of the one drift, "" for none */
        const char *message;
        size_t applied, pending;
        bool blocked;
    } cases[] = {
        {"('1', NULL, NULL)", "", "", 1, 1, false},
        {"('001', NULL, 'applied'), ('0002', NULL, NULL)", "", "", 2, 0, false},
        {"('1', 'abc', 'applied')", "changed", "checksum is ", 1, 1, true},
        {"('2', NULL, 'applied')", "late", "1_a.sql is pending", 1, 1, false},
        {"('1', NULL, NULL), ('2', NULL, NULL), ('9', NULL, NULL)", "ahead", "deploy the newer", 2,
         0, false},
        {"('0', NULL, NULL)", "missing", "put the file back", 0, 2, false},
        {"('1', NULL, 'running')", "unfinished", "outside a transaction", 0, 1, true},
        {"('7', NULL, 'failed')", "unfinished", "no file", 0, 2, true},
    };
    struct migration_set set;
    struct plan plan;
    fixture_migration("1_a.sql", "CREATE TABLE a (x);");
    fixture_migration("2_b.sql", "CREATE TABLE b (x);");
    fixture_run("CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY NOT NULL, name, "
                "checksum, state, applied_at, execution_ms, statements, applied_by, host, cause, "
                "batch);");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sql[512];
        snprintf(sql, sizeof sql,
                 "DELETE FROM schema_migrations; INSERT INTO schema_migrations (version, checksum, "
                 "state) VALUES %s",
                 cases[i].rows);
        fixture_run(sql);
        fixture_plan(&set, &plan);
        ck_assert_msg(plan.applied == cases[i].applied && plan.count == cases[i].pending &&
                          plan.blocked == cases[i].blocked,
                      "%s: %zu applied, %zu pending", cases[i].rows, plan.applied, plan.count);
        ck_assert_msg(plan.drift_count == (cases[i].kind[0] != '\0'), "%s: %zu drifts",
                      cases[i].rows, plan.drift_count);
        if (plan.drift_count) {
            ck_assert_str_eq(drift_name(plan.drifts[0].kind), cases[i].kind);
            ck_assert_ptr_nonnull(strstr(plan.drifts[0].message, cases[i].message));
        }
        const struct drift *changed = find_drift(&plan, DRIFT_CHANGED);
        if (changed)
            ck_assert(strstr(changed->message, "abc") &&
                      strstr(changed->message, set.migrations[0].checksum));
        fixture_plan_free(&set, &plan);
    }
}
END_TEST

START_TEST(test_what_the_copy_cannot_hold_is_not_taken_for_harmless)
{
    static const struct {
        const char *sql;
        enum risk risk;
    } cases[] = {
        {"CREATE TABLE n (a);", MIGRATION_GREEN},
        {"ALTER TABLE old ADD COLUMN c;", MIGRATION_GREEN},
        {"INSERT INTO foreign_thing VALUES (1);", MIGRATION_RED},
    };
    struct migration_set set;
    struct plan plan;
    fixture_run(
        "CREATE TABLE old (a); PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES "
        "('table', 'foreign_thing', 'foreign_thing', 0, 'CREATE VIRTUAL TABLE foreign_thing "
        "USING some_module(a)');");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_migration("1_a.sql", cases[i].sql);
        fixture_plan(&set, &plan);
        ck_assert_msg(plan.entries[0].risk == cases[i].risk, "%s: %s", cases[i].sql,
                      plan.entries[0].risk_reason);
        fixture_plan_free(&set, &plan);
    }
    fixture_migration("1_a.sql", "SELECT nothing FROM foreign_thing;");
    fixture_plan(&set, &plan);
    ck_assert_ptr_nonnull(strstr(plan.entries[0].failure.message, "some_module"));
    fixture_plan_free(&set, &plan);
}
END_TEST

START_TEST(test_p8_planning_writes_nothing)
{
    struct migration_set set;
    struct plan plan;
    fixture_run("CREATE TABLE a (x); INSERT INTO a VALUES (1);");
    fixture_migration("1_a.sql", "DROP TABLE a; CREATE TABLE b (x);");
    int64_t version = fixture_number("PRAGMA schema_version");
    fixture_plan(&set, &plan);
    ck_assert_int_eq(plan.schema_version, version);
    fixture_plan_free(&set, &plan);
    ck_assert_int_eq(fixture_number("PRAGMA schema_version"), version);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM a"), 1);
    ck_assert_int_eq(fixture_number("SELECT count(*) FROM sqlite_schema"), 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_risk_is_never_lower_than_a_careful_persons,
        test_what_an_earlier_pending_file_made_is_fresh_for_the_next,
        test_risk_can_be_raised_by_the_file_and_by_having_no_transaction,
        test_provides_is_what_the_schema_gains,
        test_provider_finds_by_kind_and_name,
        test_rehearsal_says_ok_fails_or_depends_on_data,
        test_foreign_keys_go_off_when_a_referenced_table_is_dropped_or_renamed,
        test_rewritten_bytes_are_those_of_the_tables_gone_over,
        test_drift_is_reported_and_what_changed_blocks,
        test_what_the_copy_cannot_hold_is_not_taken_for_harmless,
        test_p8_planning_writes_nothing,
    };
    return fixture_main("plan", tests, sizeof tests / sizeof *tests);
}
