# SPDX-License-Identifier: MIT
"""Migrations that fail (P5, P6): nothing of them remains, and the client sees what the application
said."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import files, program
from harness.applications import Querying
from harness.client import ask, burst, request

BEFORE = """
    CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT);
    INSERT INTO people (email) VALUES ('ada@example.org'), ('ada@example.org');
"""

FIRST_FOUR = """
    CREATE TABLE cards (id INTEGER PRIMARY KEY, title TEXT);
    CREATE INDEX cards_title ON cards (title);
    INSERT INTO cards (title) VALUES ('one; two');
    ALTER TABLE people ADD COLUMN nickname TEXT;
"""

# The fifth statement: what it is, and SQLite's reason.
FIFTH = {
    # the rehearsal finds these, so nothing is even begun
    "syntax": ("CREATE TABEL oops (id);", "syntax error"),
    "missing_table": ("INSERT INTO nowhere VALUES (1);", "no such table: nowhere"),
    "exists": ("CREATE TABLE people (id TEXT);", "already exists"),
    # only the rows of the live database show these
    "unique": ("CREATE UNIQUE INDEX people_email ON people (email);", "UNIQUE constraint failed"),
    "check": (
        "CREATE TABLE copy (email TEXT CHECK (email IS NULL));"
        "INSERT INTO copy SELECT email FROM people;",
        "CHECK constraint failed",
    ),
}


def migrations(place: Path, fifth: str) -> Path:
    text = FIRST_FOUR + fifth + "\nCREATE TABLE never (id INTEGER);"
    return files.write_migrations(place / "migrations", {"007_five.sql": text})


@pytest.mark.parametrize("fifth", FIFTH)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_p5_p6_an_error_in_the_fifth_statement_leaves_nothing_and_the_original_500(
    serve: Any, upstream: Any, place: Path, fifth: str, framing: str
) -> None:
    statement, reason = FIFTH[fifth]
    database = files.make_database(place / "app.db", BEFORE)
    before = files.schema(database)
    querying = Querying(database, html=True, size=3000, framing=framing)
    app = upstream(querying)
    proxy = serve(app.url, database, migrations(place, statement))

    answer = ask(proxy.address, request("/cards"))
    direct = ask(app.url.removeprefix("http://"), request("/cards"))
    assert answer.status == 500
    assert answer.body == direct.body
    assert answer.head == direct.head, "the head is not the application's"
    assert files.schema(database) == before
    assert files.history(database) == []
    assert files.query(database, "SELECT count(*) FROM people") == [(2,)]

    said = [line for line in proxy.log.splitlines() if "007_five.sql" in line and reason in line]
    assert said, f"no line names file and reason:\n{proxy.log}"
    assert any("statement" in line and ("5" in line or "6" in line) for line in said), said

    tried = len(proxy.events("applying"))
    assert tried <= 1
    answers = burst([proxy.address], [request(f"/cards?{n}") for n in range(100)])
    assert Counter((one.status, one.body) for one in answers) == {(500, direct.body): 100}
    assert len(proxy.events("applying")) == tried, "it was run again"
    assert files.schema(database) == before


def test_p5_a_failed_migration_is_not_tried_again_after_a_restart_until_its_file_changes(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db", BEFORE)
    app = upstream(Querying(database))
    directory = migrations(place, FIFTH["unique"][0])
    proxy = serve(app.url, database, directory)
    assert ask(proxy.address, request("/cards")).status == 500
    assert len(proxy.events("apply_failed")) == 1, proxy.log
    assert proxy.stop() == 0

    again = serve(app.url, database, directory)
    assert ask(again.address, request("/cards")).status == 500
    assert not again.events("applying"), again.log
    assert again.stop() == 0

    migrations(place, "CREATE INDEX people_email ON people (email);")
    mended = serve(app.url, database, directory)
    assert ask(mended.address, request("/cards")).status == 200, mended.log
    assert files.history(database) == ["007"]


def test_p5_what_was_applied_before_the_failing_one_stays_and_what_follows_is_not_begun(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db", BEFORE)
    app = upstream(Querying(database))
    directory = files.write_migrations(
        place / "migrations",
        {
            "1_good.sql": "CREATE TABLE good (id INTEGER);",
            "2_bad.sql": "CREATE UNIQUE INDEX people_email ON people (email);",
            "3_cards.sql": "CREATE TABLE cards (id INTEGER);",
        },
    )
    proxy = serve(app.url, database, directory)
    assert ask(proxy.address, request("/cards")).status == 500
    assert files.history(database) in ([], ["1"])
    assert not files.has_table(database, "cards")
    assert ("1" in files.history(database)) == files.has_table(database, "good")


def test_an_operators_apply_of_a_failing_migration_ends_with_1_and_says_where(place: Path) -> None:
    database = files.make_database(place / "app.db", BEFORE)
    before = files.schema(database)
    done = program.run(
        "apply", "--database", database, "--migrations",
        migrations(place, FIFTH["unique"][0]), "--yes",
    )  # fmt: skip
    assert done.code == 1
    said = done.error + done.out
    assert "007_five.sql" in said and "UNIQUE constraint failed" in said
    assert files.schema(database) == before and files.history(database) == []
