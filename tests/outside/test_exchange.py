# SPDX-License-Identifier: MIT
"""The exchange's rules for requests that fail: held, parked, retried, ended (P6, P7)."""

from __future__ import annotations

import hashlib
import signal
import socket
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Iterator

import pytest
from harness import files, program
from harness.applications import Querying
from harness.client import Connection, ask, burst, request
from harness.program import Program, wait_until
from scripted import CLOSE, Gate, Request, head_of, reply

MIGRATION = {"001_cards.sql": "CREATE TABLE cards (id INTEGER PRIMARY KEY);"}
FAILURE = b"no such table: cards"


@pytest.fixture
def database(place: Path) -> Path:
    return files.make_database(place / "app.db")


@pytest.fixture
def migrations(place: Path) -> Path:
    return files.write_migrations(place / "migrations", MIGRATION)


@pytest.fixture
def held_lock(database: Path) -> Iterator[sqlite3.Connection]:
    """Another program has the write lock: the migration, and all who need it, wait."""
    with closing(
        sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def all_parked(proxy: Program, count: int) -> None:
    wait_until(lambda: proxy.metric("automigrate_parked") == count, f"{count} requests wait")


@pytest.mark.parametrize("ending", ["drains", "closes"])
@pytest.mark.parametrize("size", [100_000, 5_000_000])
def test_an_answer_before_the_body_has_come_is_healed_with_the_whole_body(
    serve: Any, upstream: Any, database: Path, migrations: Path, ending: str, size: int
) -> None:
    """A 500 while the body still comes: it is recorded to its end, and sent again whole."""
    failing = reply(500, FAILURE, close=ending == "closes")
    app = upstream(lambda one: reply(200, one.sha256.encode()))
    app.early = lambda one: failing if one.attempt == 1 else []
    proxy = serve(app.url, database, migrations)
    body = bytes(range(256)) * (size // 256)
    answer = ask(proxy.address, request("/", "PUT", body))
    # the connection may be reset under bytes on their way, which may take the answer with it
    allowed = {200, 502} if ending == "closes" else {200}
    assert answer.status in allowed, (answer, proxy.log)
    if answer.status == 200:
        assert answer.body == hashlib.sha256(body).hexdigest().encode()


def test_an_early_refusal_reaches_the_client(
    serve: Any, upstream: Any, database: Path, migrations: Path
) -> None:
    app = upstream(lambda one: reply())
    app.early = lambda one: reply(413, b"too much")
    proxy = serve(app.url, database, migrations)
    with Connection(proxy.address) as client:
        fields = [("Content-Length", "50000000")]
        client.send(request("/", "PUT", fields=fields) + b"x" * 300_000)
        answer = client.read_response()
    assert (answer.status, answer.body) == (413, b"too much")


def test_a_failing_answer_that_comes_slowly_is_not_held_for_ever(
    serve: Any, upstream: Any, database: Path, migrations: Path
) -> None:
    gate = Gate()
    app = upstream(lambda one: [head_of(500, [("Content-Length", "8")]), b"half", gate, b"half"])
    proxy = serve(app.url, database, migrations, AUTOMIGRATE_DETECT_HOLD_TIMEOUT="100ms")
    with Connection(proxy.address) as client:
        client.send(request("/"))
        client.read_head()
        assert b"".join(client.take(4)) == b"half"  # while the application still has the rest
        gate.open()
        assert b"".join(client.take(4)) == b"half"
    assert len(app.seen()) == 1


def test_a_name_in_the_part_that_came_in_time_is_enough(
    serve: Any, upstream: Any, database: Path, migrations: Path
) -> None:
    gate = Gate()

    def script(one: Request) -> Any:
        if one.attempt == 2:
            return reply(200, b"well")
        return [head_of(500, [("Content-Length", "1000")]), FAILURE + b" ", gate]

    app = upstream(script)
    proxy = serve(app.url, database, migrations, AUTOMIGRATE_DETECT_HOLD_TIMEOUT="100ms")
    assert ask(proxy.address, request("/")).body == b"well", proxy.log
    gate.open()


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 599])
def test_every_watched_status_is_healed(
    serve: Any, upstream: Any, database: Path, migrations: Path, status: int
) -> None:
    app = upstream(lambda one: reply(200 if one.attempt == 2 else status, FAILURE))
    proxy = serve(app.url, database, migrations)
    assert ask(proxy.address, request("/")).status == 200, proxy.log


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "PURGE"])
def test_every_method_with_an_answer_to_look_at_is_healed(
    serve: Any, upstream: Any, database: Path, migrations: Path, method: str
) -> None:
    app = upstream(lambda one: reply(200 if one.attempt == 2 else 500, FAILURE))
    proxy = serve(app.url, database, migrations)
    assert ask(proxy.address, request("/", method), method).status == 200, proxy.log
    assert [one.method for one in app.seen()] == [method, method]


def test_pipelined_requests_stay_in_order_when_one_is_healed(
    serve: Any, upstream: Any, database: Path, migrations: Path
) -> None:
    querying = Querying(database)

    def script(one: Request) -> Any:
        if one.target.startswith("/plain"):
            return reply(200, one.target.encode())
        return querying(one)

    app = upstream(script)
    proxy = serve(app.url, database, migrations)
    with Connection(proxy.address) as client:
        client.send(
            request("/plain1") + request("/cards") + request("/plain2", "POST", b"x" * 10_000)
            + request("/cards") + request("/plain3")
        )  # fmt: skip
        assert client.read_response().body == b"/plain1"
        assert client.read_response().status == 200
        assert client.read_response().body == b"/plain2"
        assert client.read_response().status == 200
        assert client.read_response().body == b"/plain3"


@pytest.mark.threads
def test_parked_requests_do_not_hold_the_applications_connections(
    serve: Any, upstream: Any, database: Path, migrations: Path, held_lock: sqlite3.Connection
) -> None:
    """With two connections upstream and 50 requests parked, others still get through."""
    querying = Querying(database)
    app = upstream(lambda one: reply(200, b"through") if one.target == "/plain" else querying(one))
    proxy = serve(app.url, database, migrations, AUTOMIGRATE_UPSTREAM_OPTIONS_MAX_CONNECTIONS="2")
    answers: list[Any] = []
    requests = [request(f"/{n}", "PUT", b"b" * 5000) for n in range(50)]
    clients = threading.Thread(target=lambda: answers.extend(burst([proxy.address], requests)))
    clients.start()
    all_parked(proxy, 50)
    for _ in range(10):
        assert ask(proxy.address, request("/plain")).body == b"through"
    held_lock.execute("ROLLBACK")
    clients.join(30)
    assert Counter(one.status for one in answers) == {200: 50}, proxy.log[-2000:]


@pytest.mark.threads
def test_parked_clients_that_half_close_are_answered_and_those_that_reset_are_dropped(
    serve: Any, upstream: Any, database: Path, migrations: Path, held_lock: sqlite3.Connection
) -> None:
    app = upstream(Querying(database))
    proxy = serve(app.url, database, migrations)
    with Connection(proxy.address) as halved, Connection(proxy.address) as leaving:
        halved.send(request("/halved"))
        leaving.send(request("/leaving"))
        all_parked(proxy, 2)
        halved.socket.shutdown(socket.SHUT_WR)
        leaving.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        leaving.socket.close()
        all_parked(proxy, 1)
        held_lock.execute("ROLLBACK")
        assert halved.read_response().status == 200
    assert [one.attempt for one in app.seen("/leaving")] == [1]


@pytest.mark.threads
def test_requests_that_wait_too_long_get_the_original_answer(
    serve: Any, upstream: Any, database: Path, migrations: Path, held_lock: sqlite3.Connection
) -> None:
    app = upstream(Querying(database))
    proxy = serve(app.url, database, migrations, AUTOMIGRATE_RECOVER_WAIT="300ms")
    answers = burst([proxy.address], [request(f"/{n}") for n in range(20)])
    assert {(one.status, one.body) for one in answers} == {
        (500, b'{"error": "no such table: cards"}')
    }
    assert len(app.seen()) == 20
    assert proxy.wait_for_event("timed_out")
    held_lock.execute("ROLLBACK")
    assert ask(proxy.address, request("/later")).status == 200, proxy.log


@pytest.mark.threads
def test_sigterm_while_requests_are_parked_answers_them_and_ends(
    serve: Any, upstream: Any, database: Path, migrations: Path, held_lock: sqlite3.Connection
) -> None:
    app = upstream(Querying(database))
    proxy = serve(app.url, database, migrations, AUTOMIGRATE_LIMITS_DRAIN_TIMEOUT="1s")
    with Connection(proxy.address) as client:
        client.send(request("/"))
        all_parked(proxy, 1)
        proxy.send_signal(signal.SIGTERM)
        assert client.read_response().status in (200, 500)
    assert proxy.wait(15) == 0, proxy.log
    assert files.history(database) in ([], ["001"])


SLOW = {
    "001_cards.sql": """
        CREATE TABLE cards (id INTEGER PRIMARY KEY);
        CREATE TABLE grown (a INTEGER, filling TEXT);
        INSERT INTO grown SELECT one.n, hex(zeroblob(40)) FROM seeds AS one, seeds AS two;
    """,
}
SEEDS = """
    CREATE TABLE seeds (n INTEGER PRIMARY KEY);
    WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s LIMIT {count})
    INSERT INTO seeds SELECT n FROM s;
"""


@pytest.mark.threads
def test_p5_sigterm_within_a_migration_leaves_all_or_nothing(
    serve: Any, upstream: Any, database: Path, place: Path
) -> None:
    files.execute(database, SEEDS.format(count=1500))
    app = upstream(Querying(database))
    proxy = serve(
        app.url, database, files.write_migrations(place / "migrations", SLOW),
        AUTOMIGRATE_LIMITS_DRAIN_TIMEOUT="200ms",
    )  # fmt: skip
    with Connection(proxy.address) as client:
        client.send(request("/"))
        proxy.wait_for_event("applying")
        wait_until(lambda: files.is_write_locked(database), "the write lock is taken")
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait(30) == 0, proxy.log
    assert files.has_table(database, "cards") == (files.history(database) == ["001"])
    assert not Path(f"{database}-journal").exists()


@pytest.mark.threads
def test_p4_a_proxy_that_waits_for_another_goes_on_when_that_is_killed(
    serve: Any, upstream: Any, database: Path, place: Path
) -> None:
    # WAL, so that the application can still read, and fail, while the migration writes
    files.execute(database, "PRAGMA journal_mode = WAL;" + SEEDS.format(count=1500))
    directory = files.write_migrations(place / "migrations", SLOW)
    app = upstream(Querying(database))
    first, second = (serve(app.url, database, directory) for _ in range(2))
    with Connection(first.address) as lost, Connection(second.address) as waiting:
        lost.send(request("/first"))
        first.wait_for_event("applying")
        wait_until(lambda: files.is_write_locked(database), "the write lock is taken")
        waiting.send(request("/second"))
        all_parked(second, 1)
        first.kill()
        assert waiting.read_response().status == 200, second.log
    assert files.history(database) == ["001"]
    assert files.query(database, "SELECT count(*) FROM grown") == [(1500 * 1500,)]


@pytest.mark.threads
def test_p4_four_commands_at_once_apply_each_migration_once(place: Path, database: Path) -> None:
    directory = files.write_migrations(
        place / "migrations",
        {
            "1_a.sql": "CREATE TABLE marks (n); INSERT INTO marks VALUES (1);",
            "2_b.sql": "INSERT INTO marks VALUES (2);",
            "3_c.sql": "CREATE TABLE cards (id);",
        },
    )
    results: list[program.Result] = []

    def apply() -> None:
        results.append(
            program.run("apply", "--yes", "--database", database, "--migrations", directory)
        )

    threads = [threading.Thread(target=apply) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert [one.code for one in results] == [0] * 4, results
    assert files.query(database, "SELECT n FROM marks ORDER BY n") == [(1,), (2,)]
    assert files.history(database) == ["1", "2", "3"]


def test_a_migration_that_appears_while_it_runs_is_used(
    serve: Any, upstream: Any, database: Path, place: Path
) -> None:
    directory = files.write_migrations(place / "migrations", {})
    app = upstream(Querying(database))
    proxy = serve(app.url, database, directory)
    assert ask(proxy.address, request("/")).status == 500
    files.write_migrations(directory, MIGRATION)
    status = program.run("status", "--json", "--database", database, "--migrations", directory)
    assert [one["version"] for one in status.json["pending"]] == ["001"]
    proxy.wait_for_event("files_changed")
    assert ask(proxy.address, request("/")).status == 200, proxy.log


def test_a_command_that_applies_is_noticed_by_the_server(
    serve: Any, upstream: Any, database: Path, migrations: Path
) -> None:
    app = upstream(Querying(database))
    proxy = serve(app.url, database, migrations)
    done = program.run("apply", "--yes", "--database", database, "--migrations", migrations)
    assert done.code == 0
    assert ask(proxy.address, request("/")).status == 200
    assert [one.attempt for one in app.seen()] == [1]
    assert not proxy.events("applying")


def test_an_application_that_restarts_while_a_request_is_parked(
    serve: Any, upstream: Any, database: Path, migrations: Path, held_lock: sqlite3.Connection
) -> None:
    app = upstream(Querying(database))
    proxy = serve(app.url, database, migrations)
    with Connection(proxy.address) as client:
        client.send(request("/"))
        all_parked(proxy, 1)
        app.stop_listening()
        app.listen(app.port)
        held_lock.execute("ROLLBACK")
        assert client.read_response().status == 200, proxy.log


def test_an_application_that_is_gone_at_the_second_attempt(
    serve: Any, upstream: Any, database: Path, migrations: Path, held_lock: sqlite3.Connection
) -> None:
    """Then the client gets the first answer, which was kept until then."""
    app = upstream(Querying(database))
    proxy = serve(app.url, database, migrations)
    with Connection(proxy.address) as client:
        client.send(request("/"))
        all_parked(proxy, 1)
        app.stop_listening()
        held_lock.execute("ROLLBACK")
        answer = client.read_response()
    assert (answer.status, answer.body) == (500, b'{"error": "no such table: cards"}')


def test_a_second_answer_that_breaks_off_is_not_repaired(
    serve: Any, upstream: Any, database: Path, migrations: Path
) -> None:
    """Its head was final and went out: the client sees that the rest is missing."""
    half = [head_of(200, [("Content-Length", "100")]), b"half", CLOSE]
    app = upstream(lambda one: half if one.attempt == 2 else reply(500, FAILURE))
    proxy = serve(app.url, database, migrations)
    with Connection(proxy.address) as client:
        client.send(request("/"))
        with pytest.raises((EOFError, ConnectionResetError)):
            client.read_response()
    assert len(app.seen()) == 2
