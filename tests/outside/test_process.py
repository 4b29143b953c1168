# SPDX-License-Identifier: MIT
"""The process: how it starts and ends, what it leaves, and what only operators reach (P10)."""

from __future__ import annotations

import json
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from harness import files
from harness.applications import Querying
from harness.client import Connection, ask, request, split_address
from harness.program import Program
from scripted import Gate, Request, reply

MIGRATION = {"001_cards.sql": "CREATE TABLE cards (id INTEGER PRIMARY KEY);"}


@pytest.fixture
def running(serve: Any, upstream: Any, place: Path) -> tuple[Program, Any]:
    """The program in front of an application that echoes the target."""
    database = files.make_database(place / "app.db")
    app = upstream(lambda one: reply(200, one.target.encode()))
    return serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION)), app


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_ends_with_0_and_leaves_nothing(
    running: Any, place: Path, number: signal.Signals
) -> None:
    proxy, _ = running
    assert ask(proxy.address, request("/")).status == 200
    assert children_of(proxy.pid) == []
    proxy.send_signal(number)
    assert proxy.wait() == 0, proxy.log
    assert proxy.events("stopped")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(split_address(proxy.address), 5)
    left = {path.name for path in place.iterdir()}
    # the lock file stays by design; SQLite's own files are gone
    assert left <= {"app.db", "migrations", "app.db.automigrate", "app.db.automigrate.lock"}


@pytest.mark.threads
def test_sigterm_lets_requests_finish(serve: Any, upstream: Any, place: Path) -> None:
    gate = Gate()
    app = upstream(lambda one: [gate, *reply(200, b"finished")])
    database = files.make_database(place / "app.db")
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", {}))
    with Connection(proxy.address) as client, Connection(proxy.address) as idle:
        client.send(request("/"))
        gate.wait_until_reached()
        proxy.send_signal(signal.SIGTERM)
        assert idle.is_at_end(), "an idle connection is closed at once"
        gate.open()
        assert client.read_response().body == b"finished"
        assert proxy.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(split_address(proxy.address), 5)


def test_sigterm_does_not_wait_for_ever(serve: Any, upstream: Any, place: Path) -> None:
    gate = Gate()
    app = upstream(lambda one: [gate, *reply(200, b"never")])
    database = files.make_database(place / "app.db")
    proxy = serve(
        app.url, database, files.write_migrations(place / "migrations", {}),
        AUTOMIGRATE_LIMITS_DRAIN_TIMEOUT="200ms",
    )  # fmt: skip
    with Connection(proxy.address) as client:
        client.send(request("/"))
        gate.wait_until_reached()
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait(10) == 0
    gate.open()


def test_the_log_is_one_event_a_line(running: Any) -> None:
    proxy, _ = running
    (line,) = proxy.events("started")
    assert set(line) >= {"time", "level", "event", "message", "address", "admin"}
    assert line["level"] == "info"


def test_serving_again_on_an_address_that_was_just_left(
    start: Any, upstream: Any, place: Path
) -> None:
    app = upstream(lambda one: reply())
    database = files.make_database(place / "app.db")
    directory = files.write_migrations(place / "migrations", {})
    address = "127.0.0.1:0"
    for _ in range(3):
        proxy = start(
            "serve", "--listen", address, "--admin", "off", "--upstream", app.url,
            "--database", database, "--migrations", directory,
        ).started()  # fmt: skip
        address = proxy.address
        with Connection(address) as client:
            assert client.ask(request("/")).status == 200
            proxy.stop()


@pytest.mark.threads
@pytest.mark.parametrize("number", [1, 4])
def test_workers_share_the_work(serve: Any, upstream: Any, place: Path, number: int) -> None:
    app = upstream(lambda one: reply(200, one.target.encode()))
    database = files.make_database(place / "app.db")
    directory = files.write_migrations(place / "migrations", {})
    proxy = serve(app.url, database, directory, "--workers", str(number))
    for n in range(100):
        assert ask(proxy.address, request(f"/{n}")).body == f"/{n}".encode()


ADMIN_TARGETS = ["/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/apply", "/"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_p10_the_proxys_port_has_no_paths_of_ours(running: Any, method: str) -> None:
    proxy, app = running
    for target in ADMIN_TARGETS:
        answer = ask(proxy.address, request(target, method))
        assert answer.body == target.encode()
    assert [one.target for one in app.seen()] == ADMIN_TARGETS


def test_p10_the_admin_port_does_not_relay(running: Any) -> None:
    proxy, app = running
    for target in ("/cards", "/anything"):
        assert ask(proxy.admin, request(target, host=proxy.admin)).status == 404
    assert app.seen() == []


def test_the_admin_server_tells_health_metrics_and_status(running: Any, place: Path) -> None:
    proxy, _ = running
    for _ in range(7):
        ask(proxy.address, request("/"))
    assert ask(proxy.admin, request("/healthz", host=proxy.admin)).status == 200
    metrics = ask(proxy.admin, request("/metrics", host=proxy.admin))
    assert metrics.status == 200 and metrics.field("Content-Type").startswith("text/plain")
    assert proxy.metric("automigrate_requests_total") == 7
    status = json.loads(ask(proxy.admin, request("/api/v1/status", host=proxy.admin)).body)
    assert [one["version"] for one in status["pending"]] == ["001"]


def test_p10_a_foreign_host_is_refused_on_the_admin_port(running: Any) -> None:
    """A page that has its name rebound to loopback must not read the status."""
    proxy, _ = running
    assert ask(proxy.admin, request("/api/v1/status", host="evil.test")).status in (400, 403, 421)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_p10_nothing_changes_state_without_a_word_for_it(running: Any, method: str) -> None:
    proxy, _ = running
    answer = ask(proxy.admin, request("/api/v1/status", method, b"", host=proxy.admin))
    assert answer.status in (401, 403, 404, 405)


def test_admin_off_listens_nowhere(serve: Any, upstream: Any, place: Path) -> None:
    app = upstream(lambda one: reply())
    database = files.make_database(place / "app.db")
    directory = files.write_migrations(place / "migrations", {})
    proxy = serve(app.url, database, directory, "--admin", "off")
    assert ask(proxy.address, request("/")).status == 200
    assert proxy.admin in ("", "off")


@pytest.mark.threads
def test_p7_an_admin_that_is_asked_all_the_time_holds_nothing_up(
    serve: Any, upstream: Any, place: Path
) -> None:
    """Status is read while a migration is needed: neither waits for the other for long."""
    database = files.make_database(place / "app.db")
    app = upstream(Querying(database))
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    stop = threading.Event()
    statuses: list[int] = []

    def look() -> None:
        while not stop.is_set():
            statuses.append(ask(proxy.admin, request("/api/v1/status", host=proxy.admin)).status)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        assert ask(proxy.address, request("/cards")).status == 200
    finally:
        stop.set()
        watcher.join(30)
    assert set(statuses) <= {200, 503}


@pytest.mark.threads
def test_requests_keep_their_own_answers(serve: Any, upstream: Any, place: Path) -> None:
    """Many connections, mixed sizes, some fail: nobody gets another's bytes."""
    database = files.make_database(place / "app.db")

    def script(one: Request) -> Any:
        number = int(one.target[1:])
        body = one.target.encode() * (number % 500 + 1)
        return reply(
            500 if number % 7 == 0 else 200, body, ["length", "chunked", "close"][number % 3]
        )

    app = upstream(script)
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    wrong: list[str] = []

    def client(first: int) -> None:
        with Connection(proxy.address) as connection:
            for number in range(first, first + 100):
                target = f"/{number}"
                answer = connection.ask(request(target))
                if answer.body != target.encode() * (number % 500 + 1):
                    wrong.append(target)

    threads = [threading.Thread(target=client, args=(n * 100,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert wrong == [] and len(app.seen()) == 1600
