# SPDX-License-Identifier: MIT
"""Databases and migrations as one meets them: odd paths, odd schemas, odd SQL (P2, P5, P8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness import files, program
from harness.applications import Querying
from harness.client import ask, request

CARDS = {"001_cards.sql": "CREATE TABLE cards (id INTEGER PRIMARY KEY, title TEXT);"}

# What the live schema holds when the rehearsal copies it.
SCHEMAS = {
    "fts5": "CREATE VIRTUAL TABLE search USING fts5 (text); INSERT INTO search VALUES ('word');",
    "fts4": "CREATE VIRTUAL TABLE search USING fts4 (text); INSERT INTO search VALUES ('word');",
    "rtree": "CREATE VIRTUAL TABLE places USING rtree (id, x1, x2);",
    "statistics": "CREATE TABLE t (a); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1); ANALYZE;",
    "sequence": """
        CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t DEFAULT VALUES;
    """,
    "without rowid": """
        CREATE TABLE t (a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO t VALUES (1, 2);
    """,
    "strict": "CREATE TABLE t (a INTEGER, b ANY) STRICT;",
    "generated": "CREATE TABLE t (a, b AS (a * 2) STORED, c AS (a + 1)); INSERT INTO t VALUES (1);",
    "a broken view": "CREATE VIEW v AS SELECT * FROM gone;",
    "a trigger on what is gone": """
        CREATE TABLE t (a);
        CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO gone VALUES (1); END;
    """,
    "a view of what comes": "CREATE VIEW v AS SELECT title FROM cards;",
    "foreign keys to what comes": "CREATE TABLE notes (card REFERENCES cards (id));",
    "expression indexes": "CREATE TABLE t (a); CREATE INDEX i ON t (lower(a)) WHERE a IS NOT NULL;",
    "quoted names": """
        CREATE TABLE "a ""b"" c" ("x y", [z], `w`); CREATE VIEW "v ""w""\" AS SELECT 1;
    """,
    "utf-16": "PRAGMA encoding = 'UTF-16'; CREATE TABLE t (a); INSERT INTO t VALUES ('ü');",
    "auto vacuum": "PRAGMA auto_vacuum = FULL; VACUUM; CREATE TABLE t (a);",
    "small pages": "PRAGMA page_size = 512; VACUUM; CREATE TABLE t (a);",
    "many tables": "".join(
        f"CREATE TABLE t{n} (a, b); CREATE INDEX i{n} ON t{n} (a);" for n in range(300)
    ),
    "json in a check": "CREATE TABLE t (a DEFAULT '{}' CHECK (json_valid(a)));",
    "json in a generated column": "CREATE TABLE t (a, b AS (json_extract(a, '$.b')));",
    "json in an index": "CREATE TABLE t (a); CREATE INDEX i ON t (json_extract(a, '$.b'));",
    "json in a view": "CREATE TABLE t (a); CREATE VIEW v AS SELECT json_extract(a, '$.b') FROM t;",
    "dates": "CREATE TABLE t (a DEFAULT (datetime('now')), b DEFAULT CURRENT_TIMESTAMP);",
    "violations from before": """
        CREATE TABLE parents (id INTEGER PRIMARY KEY);
        CREATE TABLE children (parent REFERENCES parents (id));
        INSERT INTO children VALUES (7);
    """,
}


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("wal", [False, True], ids=["delete", "wal"])
def test_a_live_schema_of_any_kind_is_healed_and_left_as_it_was(
    serve: Any, upstream: Any, place: Path, name: str, wal: bool
) -> None:
    database = place / "app.db"
    files.execute(database, SCHEMAS[name])
    if wal:
        files.execute(database, "PRAGMA journal_mode = WAL")
    before = files.schema(database)
    app = upstream(Querying(database))
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", CARDS))
    assert ask(proxy.address, request("/")).status == 200, proxy.log
    after = files.schema(database)
    assert [row for row in after if row[1] != "cards"] == before
    assert files.query(database, "PRAGMA integrity_check") == [("ok",)]
    assert files.query(database, "PRAGMA journal_mode") == [("wal" if wal else "delete",)]


@pytest.mark.parametrize(
    "name",
    ["with space.db", "100%41.db", "what?.db", "hash#1.db", "café.db", "qu'ote\".db", "-x.db"],
)
def test_a_database_path_of_any_kind(serve: Any, upstream: Any, place: Path, name: str) -> None:
    odd = place / "di r%20"
    odd.mkdir()
    database = files.make_database(odd / name)
    app = upstream(Querying(database))
    proxy = serve(app.url, database, files.write_migrations(odd / "mig rations", CARDS))
    assert ask(proxy.address, request("/")).status == 200, proxy.log
    assert files.history(database) == ["001"]
    allowed = {name, f"{name}.automigrate", f"{name}.automigrate.lock", "mig rations"}
    assert {path.name for path in odd.iterdir()} <= allowed
    assert {path.name for path in place.iterdir()} == {odd.name}


def test_two_names_of_one_database_share_lock_and_history(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    (place / "alias").mkdir()
    (place / "alias" / "other.db").symlink_to(database)
    app = upstream(Querying(database))
    directory = files.write_migrations(place / "migrations", CARDS)
    first = serve(app.url, database, directory)
    second = serve(app.url, place / "alias" / "other.db", directory)
    assert ask(second.address, request("/")).status == 200, second.log
    assert ask(first.address, request("/")).status == 200, first.log
    assert files.history(database) == ["001"]
    assert (place / "alias" / "other.db").is_symlink()
    assert not (place / "alias" / "other.db.automigrate.lock").exists()


MIGRATIONS = {
    "trigger with statements and case": """
        CREATE TABLE cards (id INTEGER PRIMARY KEY, n INTEGER);
        CREATE TABLE audit (what TEXT);
        CREATE TRIGGER watch AFTER INSERT ON cards BEGIN
            INSERT INTO audit VALUES (CASE WHEN NEW.n > 1 THEN 'many; more' ELSE 'one' END);
            UPDATE cards SET n = n + 1 WHERE id = NEW.id;
        END;
    """,
    "comments and quotes": """
        /* a ; comment -- with 'quotes */ CREATE TABLE cards ( -- it's ; here
            id INTEGER, "semi;colon" TEXT DEFAULT 'a;''b', [x;y] TEXT, `z;` TEXT);
        -- the end; no statement
    """,
    "empty statements": ";;; CREATE TABLE cards (id INTEGER);;",
    "fts5": """
        CREATE TABLE cards (id INTEGER);
        CREATE VIRTUAL TABLE s USING fts5 (a);
        INSERT INTO s VALUES ('x');
    """,
    "json": """
        CREATE TABLE cards (id INTEGER, a TEXT DEFAULT '{}' CHECK (json_valid(a)),
                            b AS (json_extract(a, '$.b')));
        INSERT INTO cards (id, a) VALUES (1, '{"b": 2}');
    """,
    "a view and an index": """
        CREATE TABLE cards (id INTEGER);
        CREATE VIEW v AS SELECT * FROM cards;
        CREATE INDEX i ON cards (id);
    """,
    "made from a query": "CREATE TABLE cards AS WITH t (id) AS (VALUES (1), (2)) SELECT id FROM t;",
    "a table that comes and goes": "CREATE TABLE t (a); CREATE TABLE cards (id); DROP TABLE t;",
    "a temporary table": "CREATE TEMP TABLE t (a); CREATE TABLE cards (id);",
    "IF NOT EXISTS": "CREATE TABLE IF NOT EXISTS cards (id); CREATE TABLE IF NOT EXISTS same (a);",
    "the same table again": "CREATE TABLE cards (id INTEGER); CREATE TABLE same (a);",
}  # fmt: skip


@pytest.mark.parametrize("name", MIGRATIONS)
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_sql_of_any_shape_is_applied_as_the_shell_would(
    serve: Any, upstream: Any, place: Path, name: str, ends: str
) -> None:
    database = files.make_database(place / "app.db", "CREATE TABLE same (a);")
    directory = files.write_migrations(place / "migrations", {"001_cards.sql": MIGRATIONS[name]})
    file = directory / "001_cards.sql"
    file.write_bytes(file.read_bytes().replace(b"\n", ends.encode()))
    app = upstream(Querying(database))
    proxy = serve(app.url, database, directory, AUTOMIGRATE_POLICY_AUTO_APPLY="red")
    assert ask(proxy.address, request("/")).status == 200, proxy.log

    if "same" not in name and "EXISTS" not in name:
        other = files.make_database(place / "shell.db", "CREATE TABLE same (a);")
        files.execute(other, file.read_bytes().decode())
        assert files.schema(database) == files.schema(other)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE IF NOT EXISTS same (a, b); CREATE TABLE cards (id);",
        "CREATE TABLE same (a, b); CREATE TABLE cards (id);",
        "CREATE TABLE cards (id); CREATE INDEX IF NOT EXISTS i ON same (b);",
    ],
)
def test_an_object_of_that_name_but_another_shape_is_no_success(
    serve: Any, upstream: Any, place: Path, sql: str
) -> None:
    live = "CREATE TABLE same (a INTEGER); CREATE INDEX i ON same (a);"
    database = files.make_database(place / "app.db", live)
    before = files.schema(database)
    app = upstream(Querying(database))
    directory = files.write_migrations(place / "migrations", {"001_cards.sql": sql})
    proxy = serve(app.url, database, directory)
    assert ask(proxy.address, request("/")).status == 500
    assert files.schema(database) == before and files.history(database) == []


REBUILD = """
    CREATE TABLE new_parents (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO new_parents SELECT id, name FROM parents;
    DROP TABLE parents;
    ALTER TABLE new_parents RENAME TO parents;
"""
FAMILY = """
    CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE children (id INTEGER PRIMARY KEY,
                           parent INTEGER REFERENCES parents (id) ON DELETE CASCADE);
    INSERT INTO parents VALUES (1, 'Ada'), (2, 'Grace');
    INSERT INTO children VALUES (10, 1), (11, 1), (12, 2);
"""


@pytest.mark.parametrize("by", ["operator", "request"])
def test_p8_a_rebuild_of_a_referenced_table_does_not_cascade(
    serve: Any, upstream: Any, place: Path, by: str
) -> None:
    database = files.make_database(place / "app.db", FAMILY)
    directory = files.write_migrations(
        place / "migrations", {"001_rebuild.sql": REBUILD, "002_cards.sql": CARDS["001_cards.sql"]}
    )
    if by == "operator":
        done = program.run("apply", "--yes", "--database", database, "--migrations", directory)
        assert done.code == 0, done.error
        assert files.history(database) == ["001", "002"]
    else:
        proxy = serve(upstream(Querying(database)).url, database, directory)
        ask(proxy.address, request("/"))
    assert files.query(database, "SELECT count(*) FROM children") == [(3,)]
    assert files.query(database, "SELECT count(*) FROM parents") == [(2,)]
    assert files.query(database, "PRAGMA foreign_key_check") == []


def test_p5_new_violations_of_foreign_keys_roll_back(place: Path) -> None:
    database = files.make_database(place / "app.db", FAMILY)
    before = files.schema(database)
    sql = "-- automigrate:foreign_keys off\n-- migrate:up\nDELETE FROM parents WHERE id = 2;"
    directory = files.write_migrations(place / "migrations", {"001_orphans.sql": sql})
    done = program.run("apply", "--yes", "--database", database, "--migrations", directory)
    assert done.code == 1 and "001_orphans.sql" in done.error + done.out
    assert files.query(database, "SELECT count(*) FROM parents") == [(2,)]
    assert files.schema(database) == before and files.history(database) == []
