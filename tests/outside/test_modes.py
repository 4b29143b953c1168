# SPDX-License-Identifier: MIT
"""Modes and policy: what is applied without an operator's word, and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness import files
from harness.applications import Querying
from harness.client import Connection, ask, request
from scripted import Gate, head_of

MIGRATION = {"001_cards.sql": "CREATE TABLE cards (id INTEGER PRIMARY KEY);"}
EVENT = {"observe": "observed", "approve": "not_allowed"}


@pytest.mark.parametrize("mode", ["observe", "approve", "off"])
def test_modes_that_apply_nothing_pass_the_original_answer(
    serve: Any, upstream: Any, place: Path, mode: str
) -> None:
    database = files.make_database(place / "app.db")
    app = upstream(Querying(database))
    directory = files.write_migrations(place / "migrations", MIGRATION)
    proxy = serve(app.url, database, directory, "--mode", mode)
    answer = ask(proxy.address, request("/"))
    direct = ask(app.url.removeprefix("http://"), request("/"))
    assert (answer.status, answer.head, answer.body) == (500, direct.head, direct.body)
    assert len(app.seen()) == 2
    assert files.schema(database) == [] and files.history(database) == []
    if mode in EVENT:
        assert proxy.wait_for_event(EVENT[mode])
    else:
        assert not proxy.events("detected")


def test_mode_off_holds_nothing(serve: Any, upstream: Any, place: Path) -> None:
    database = files.make_database(place / "app.db")
    gate, half = Gate(), b"no such table: cards" * 10
    app = upstream(
        lambda one: [head_of(500, [("Content-Length", str(2 * len(half)))]), half, gate, half]
    )
    directory = files.write_migrations(place / "migrations", MIGRATION)
    proxy = serve(app.url, database, directory, "--mode", "off")
    with Connection(proxy.address) as client:
        client.send(request("/"))
        client.read_head()
        assert b"".join(client.take(len(half))) == half
        gate.open()
        assert b"".join(client.take(len(half))) == half


EXISTING = (
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT); INSERT INTO notes VALUES (1, 'a');"
)

RISKS = {
    "green_table": ("CREATE TABLE cards (id INTEGER);", "green"),
    "green_column": ("CREATE TABLE cards (id INTEGER); ALTER TABLE notes ADD COLUMN n;", "green"),
    "yellow_insert": ("CREATE TABLE cards (id); INSERT INTO notes VALUES (2, 'b');", "yellow"),
    "yellow_unique": ("CREATE TABLE cards (id); CREATE UNIQUE INDEX u ON notes (text);", "yellow"),
    "red_drop": ("CREATE TABLE cards (id); DROP TABLE notes;", "red"),
    "red_delete": ("CREATE TABLE cards (id); DELETE FROM notes;", "red"),
    "red_update": ("CREATE TABLE cards (id); UPDATE notes SET text = 'x';", "red"),
    "red_rename": ("CREATE TABLE cards (id); ALTER TABLE notes RENAME TO memos;", "red"),
    "red_replace": ("CREATE TABLE cards (id); REPLACE INTO notes VALUES (1, 'z');", "red"),
    "red_declared": ("-- automigrate:risk red\n-- migrate:up\nCREATE TABLE cards (id);", "red"),
    "red_no_transaction": ("-- migrate:up transaction:false\nCREATE TABLE cards (id);", "red"),
}
ORDER = ["green", "yellow", "red"]


@pytest.mark.parametrize("policy", ["green", "yellow"])
@pytest.mark.parametrize("name", RISKS)
def test_p8_nothing_above_the_policy_is_applied_by_itself(
    serve: Any, upstream: Any, place: Path, name: str, policy: str
) -> None:
    sql, risk = RISKS[name]
    database = files.make_database(place / "app.db", EXISTING)
    before = files.schema(database)
    app = upstream(Querying(database))
    directory = files.write_migrations(place / "migrations", {"001_cards.sql": sql})
    proxy = serve(app.url, database, directory, AUTOMIGRATE_POLICY_AUTO_APPLY=policy)
    answer = ask(proxy.address, request("/"))
    if ORDER.index(risk) <= ORDER.index(policy):
        assert answer.status == 200, proxy.log
        assert files.history(database) == ["001"]
    else:
        assert answer.status == 500
        assert proxy.wait_for_event("not_allowed")
        assert files.schema(database) == before and files.history(database) == []
        assert files.query(database, "SELECT * FROM notes") == [(1, "a")]


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH DATABASE '{place}/other.db' AS other;",
        "PRAGMA writable_schema = ON;",
        "COMMIT;",
        "ROLLBACK;",
        "END;",
        "SELECT load_extension('x');",
        "DELETE FROM schema_migrations;",
        "INSERT INTO schema_migrations (version) VALUES ('999');",
        "VACUUM INTO '{place}/other.db';",
    ],
)
def test_p5_a_migration_is_kept_to_its_own_database_and_transaction(
    serve: Any, upstream: Any, place: Path, statement: str
) -> None:
    sql = "CREATE TABLE cards (id INTEGER);\n" + statement.format(place=place)
    database = files.make_database(place / "app.db", EXISTING)
    before = files.schema(database)
    app = upstream(Querying(database))
    directory = files.write_migrations(place / "migrations", {"001_cards.sql": sql})
    proxy = serve(app.url, database, directory)
    assert ask(proxy.address, request("/")).status == 500
    assert files.schema(database) == before and files.history(database) == []
    assert not (place / "other.db").exists()
