# SPDX-License-Identifier: MIT
"""Many clients at once meet a missing table (P4, P6), and proxies that die while they migrate."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Iterable

import pytest
from harness import files
from harness.applications import Querying
from harness.client import ask, burst, request
from harness.program import Program, wait_until
from scripted import Gate, Request, Step

# Each can be applied once only: a second time would fail, or leave a second row in marks.
MIGRATIONS = {
    "001_cards.sql": """
        CREATE TABLE cards (id INTEGER PRIMARY KEY, title TEXT NOT NULL);
        CREATE TABLE marks (of TEXT NOT NULL);
        INSERT INTO marks VALUES ('001');
    """,
    "002_places.sql": """
        ALTER TABLE cards ADD COLUMN place INTEGER;
        CREATE TABLE more_marks (of TEXT NOT NULL);
        INSERT INTO more_marks VALUES ('002');
    """,
    "003_index.sql": "CREATE INDEX cards_place ON cards (place);",
}
QUERY = "SELECT count(place) FROM cards"

# Quick in the rehearsal, which has no rows; slow on the database, which has.
SEEDS = """
    CREATE TABLE seeds (n INTEGER PRIMARY KEY);
    WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s LIMIT {count})
    INSERT INTO seeds SELECT n FROM s;
"""
SLOW_MIGRATIONS = {
    "001_cards.sql": "CREATE TABLE cards (id INTEGER PRIMARY KEY, title TEXT NOT NULL);",
    "002_grown.sql": """
        CREATE TABLE grown (a INTEGER, b INTEGER, filling TEXT);
        INSERT INTO grown SELECT one.n, two.n, hex(zeroblob(40))
            FROM seeds AS one, seeds AS two;
        ALTER TABLE cards ADD COLUMN place INTEGER;
    """,
}


def assert_applied_once(database: Path, proxies: list[Program]) -> None:
    assert files.history(database) == ["001", "002", "003"]
    assert files.query(database, "SELECT of FROM marks") == [("001",)]
    assert files.query(database, "SELECT of FROM more_marks") == [("002",)]
    applied = Counter(line["subject"] for proxy in proxies for line in proxy.events("applied"))
    assert applied == {"001": 1, "002": 1, "003": 1}


def assert_seen_at_most_twice(requests: list[Request], count: int) -> None:
    seen = Counter(one.target for one in requests)
    assert len(seen) == count
    assert max(seen.values()) <= 2, seen.most_common(3)
    assert all(one.attempt <= 2 for one in requests)
    second = Counter(one.target for one in requests if one.attempt == 2)
    assert not second or max(second.values()) == 1


@pytest.mark.threads
@pytest.mark.parametrize("html", [False, True], ids=["json", "html"])
@pytest.mark.parametrize("wal", [False, True], ids=["delete", "wal"])
def test_p4_500_clients_meet_a_missing_table_and_each_migration_is_applied_once(
    serve: Any, upstream: Any, place: Path, html: bool, wal: bool
) -> None:
    database = files.make_database(place / "app.db", wal=wal)
    app = upstream(Querying(database, QUERY, html=html))
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATIONS))
    answers = burst([proxy.address], [request(f"/cards?{n}") for n in range(500)])
    assert Counter(one.status for one in answers) == {200: 500}, proxy.log[-3000:]
    assert_applied_once(database, [proxy])
    assert_seen_at_most_twice(app.seen(), 500)


@pytest.mark.threads
def test_p4_answers_that_arrive_after_the_apply_are_retried(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    querying = Querying(database, QUERY)
    late = Gate()

    def script(one: Request) -> Iterable[Step]:
        # every fifth first attempt: the query has failed, but its answer is on its way for long
        steps = list(querying(one))
        failed = isinstance(steps[0], bytes) and steps[0].startswith(b"HTTP/1.1 500 ")
        hold = "late" in one.target and one.attempt == 1 and failed
        return [late, *steps] if hold else steps

    app = upstream(script)
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATIONS))
    held = [request(f"/late?{n}") for n in range(100)]
    others = [request(f"/soon?{n}") for n in range(400)]

    def release() -> None:
        # some must have been sent before the schema changed, or nothing is shown
        late.wait_until_reached(20)
        begun.set()
        proxy.wait_for_event("applied", 3)
        late.open()

    begun = threading.Event()
    answers: list[Any] = []
    releaser = threading.Thread(target=release)
    releaser.start()
    early = threading.Thread(target=lambda: answers.extend(burst([proxy.address], held)))
    early.start()
    assert begun.wait(20), "the late answers were never asked for"
    answers += burst([proxy.address], others)
    early.join(30)
    releaser.join(30)
    assert Counter(one.status for one in answers) == {200: 500}, proxy.log[-3000:]
    assert_applied_once(database, [proxy])
    assert_seen_at_most_twice(app.seen(), 500)


@pytest.mark.threads
def test_p4_four_proxies_on_one_database_apply_each_migration_once(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    directory = files.write_migrations(place / "migrations", MIGRATIONS)
    app = upstream(Querying(database, QUERY))
    proxies = [serve(app.url, database, directory) for _ in range(4)]
    requests = [request(f"/cards?{n}") for n in range(400)]
    answers = burst([proxy.address for proxy in proxies], requests)
    logs = "\n".join(proxy.log[-2000:] for proxy in proxies)
    assert Counter(one.status for one in answers) == {200: 400}, logs
    assert_applied_once(database, proxies)
    assert_seen_at_most_twice(app.seen(), 400)


def journal_has_grown(database: Path) -> bool:
    """Pages of the migration have reached the disk, so there is something to roll back."""
    for suffix in ("-journal", "-wal"):
        try:
            if Path(str(database) + suffix).stat().st_size > 100_000:
                return True
        except FileNotFoundError:
            continue
    return database.stat().st_size > 20_000_000


@pytest.mark.threads
@pytest.mark.parametrize("wal", [False, True], ids=["delete", "wal"])
@pytest.mark.parametrize("moment", ["begun", "locked", "written"])
def test_p5_killed_while_it_migrates_leaves_all_or_nothing_and_the_next_start_goes_on(
    serve: Any, upstream: Any, place: Path, wal: bool, moment: str
) -> None:
    seeds = 1500  # 2.25 million rows: seconds, unless it is killed
    database = files.make_database(place / "app.db", SEEDS.format(count=seeds), wal=wal)
    directory = files.write_migrations(place / "migrations", SLOW_MIGRATIONS)
    app = upstream(Querying(database, QUERY))
    proxy = serve(app.url, database, directory)
    client = threading.Thread(target=ask_and_lose, args=(proxy.address,))
    client.start()
    try:
        proxy.wait_for_event("applying", subject="002")
        if moment != "begun":
            wait_until(lambda: files.is_write_locked(database), "the write lock is taken")
        if moment == "written":
            wait_until(lambda: journal_has_grown(database), "pages are written")
        proxy.kill()
    finally:
        client.join(30)

    files.query(database, "SELECT count(*) FROM sqlite_master")  # rolls a hot journal back
    columns = [row[1] for row in files.query(database, "PRAGMA table_info(cards)")]
    if files.history(database) == ["001"]:
        assert columns == ["id", "title"]
        assert not files.has_table(database, "grown")
    else:  # the kill came too late: then it must be whole
        assert files.history(database) == ["001", "002"] and moment == "begun"
        assert "place" in columns
    assert files.query(database, "PRAGMA integrity_check") == [("ok",)]

    files.execute(database, "DELETE FROM seeds WHERE n > 10")  # quick from here on
    following = serve(app.url, database, directory)
    assert ask(following.address, request("/cards")).status == 200, following.log
    assert files.history(database) == ["001", "002"]


def ask_and_lose(address: str) -> None:
    """The client of a proxy that gets killed."""
    try:
        ask(address, request("/cards"))
    except (EOFError, ConnectionError):
        pass


def test_p9_a_history_row_without_an_event_is_recovered_at_start(
    serve: Any, upstream: Any, place: Path
) -> None:
    """Killed between the commit and the journal: the next start says so."""
    database = files.make_database(place / "app.db")
    directory = files.write_migrations(place / "migrations", MIGRATIONS)
    app = upstream(Querying(database, QUERY))
    proxy = serve(app.url, database, directory)
    assert ask(proxy.address, request("/cards")).status == 200
    proxy.stop()
    for journal in (place / "app.db.automigrate").glob("journal.db*"):
        journal.unlink()
    following = serve(app.url, database, directory)
    found = following.wait_for_event("recovered", 3)
    assert sorted(line["subject"] for line in found) == ["001", "002", "003"]


def test_the_answer_comes_from_the_migrated_database(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    app = upstream(Querying(database, "SELECT of FROM marks"))
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATIONS))
    assert json.loads(ask(proxy.address, request("/")).body)["answer"] == "001"
    assert [one.attempt for one in app.seen()] == [1, 2]
