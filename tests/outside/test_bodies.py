# SPDX-License-Identifier: MIT
"""Requests with bodies are healed with the same bytes, and memory stays flat."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest
from harness import client, files
from harness.applications import Querying
from harness.client import Connection, request
from harness.program import Program, wait_until
from scripted import head_of, reply

MIGRATION = {"001_cards.sql": "CREATE TABLE cards (id INTEGER PRIMARY KEY, title TEXT);"}
KIB, MIB, GIB = 1024, 1024**2, 1024**3
SIZES = {"0B": 0, "1B": 1, "10KB": 10_000, "65KB": 65_536, "1MiB": MIB, "20MiB": 20 * MIB}


def some_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_reaches_the_application_twice_with_the_same_bytes(
    serve: Any, upstream: Any, place: Path, size: str, chunked: bool, method: str
) -> None:
    body = some_bytes(SIZES[size])
    database = files.make_database(place / "app.db")
    app = upstream(Querying(database))
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    answer = client.ask(proxy.address, request("/up", method, body, chunked=chunked), method)
    assert answer.status == 200, proxy.log
    assert json.loads(answer.body)["sha256"] == hashlib.sha256(body).hexdigest()
    first, second = app.seen()
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.sha256 == second.sha256 == hashlib.sha256(body).hexdigest()
    assert first.length == second.length == len(body)
    assert first.fields("Content-Length") == second.fields("Content-Length")
    assert first.chunked == second.chunked == chunked


def test_a_body_larger_than_may_be_recorded_passes_and_is_not_sent_again(
    serve: Any, upstream: Any, place: Path
) -> None:
    body = some_bytes(300 * KIB)
    database = files.make_database(place / "app.db")
    app = upstream(Querying(database))
    directory = files.write_migrations(place / "migrations", MIGRATION)
    proxy = serve(app.url, database, directory, AUTOMIGRATE_RETRY_MAX_BODY="128KiB")
    answer = client.ask(proxy.address, request("/up", "PUT", body))
    assert answer.status == 500
    assert json.loads(answer.body) == {"error": "no such table: cards"}
    assert [one.sha256 for one in app.seen()] == [hashlib.sha256(body).hexdigest()]
    assert proxy.wait_for_event("not_retried")


def test_a_post_whose_client_waits_for_100_is_healed(
    serve: Any, upstream: Any, place: Path
) -> None:
    body = some_bytes(200 * KIB)
    database = files.make_database(place / "app.db")
    app = upstream(Querying(database))
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    with Connection(proxy.address) as connection:
        connection.send(
            request(
                "/up",
                "POST",
                fields=[("Expect", "100-continue"), ("Content-Length", str(len(body)))],
            )
        )
        assert connection.read_head().startswith(b"HTTP/1.1 100 ")
        connection.send(body)
        answer = connection.read_response()
    assert answer.status == 200 and not answer.interim, proxy.log
    assert json.loads(answer.body)["sha256"] == hashlib.sha256(body).hexdigest()
    assert "expect" not in app.seen()[1].names


def transfer(proxy: Program, total: int) -> None:
    """`total` bytes, a half up and a half down, two connections each, at the same time."""
    quarter = total // 4
    block = bytes(MIB)
    problems: list[BaseException] = []

    def guarded(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            problems.append(error)

    def upload() -> None:
        with Connection(proxy.address, timeout=600) as connection:
            connection.send(request("/up", "PUT", fields=[("Content-Length", str(quarter))]))
            for _ in range(quarter // len(block)):
                connection.send(block)
            assert connection.read_response().body == str(quarter).encode()

    def download() -> None:
        with Connection(proxy.address, timeout=600) as connection:
            connection.send(request(f"/down/{quarter}"))
            connection.read_head()
            left = quarter - len(connection.buffer)
            room = memoryview(bytearray(MIB))
            while left:
                got = connection.socket.recv_into(room)
                assert got, f"ended {left} bytes early"
                left -= got

    threads = [
        threading.Thread(target=guarded, args=(action,))
        for action in (upload, upload, download, download)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems


class Bulk:
    """An application that takes and gives many bytes without looking at them."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.threads: list[threading.Thread] = []
        self.connections: list[socket.socket] = []
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections.append(connection)
            thread = threading.Thread(target=self.serve, args=(connection,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def serve(self, connection: socket.socket) -> None:
        room, block = memoryview(bytearray(MIB)), bytes(MIB)
        try:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (piece := connection.recv(65536)):
                        return
                    head += piece
                head, _, rest = head.partition(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode()
                if target.startswith("/down/"):
                    size = int(target.removeprefix("/down/"))
                    connection.sendall(head_of(200, [("Content-Length", str(size))]))
                    for _ in range(size // len(block)):
                        connection.sendall(block)
                    continue
                (length,) = [
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ]
                got = len(rest)
                while got < length:
                    received = connection.recv_into(room)
                    if not received:
                        return
                    got += received
                for step in reply(200, str(got).encode()):
                    assert isinstance(step, bytes)
                    connection.sendall(step)
        except OSError:
            return
        finally:
            connection.close()

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.accepting.join(10)
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(10)


@pytest.mark.figures
@pytest.mark.parametrize(
    "total",
    [
        pytest.param(256 * MIB, id="256MiB"),
        pytest.param(8 * GIB, id="8GiB", marks=[pytest.mark.long, pytest.mark.bound(600)]),
    ],
)
@pytest.mark.parametrize("pending", [False, True], ids=["nothing-pending", "pending"])
def test_many_bytes_leave_the_memory_flat(
    serve: Any, place: Path, total: int, pending: bool, record_property: Any
) -> None:
    database = files.make_database(place / "app.db")
    directory = files.write_migrations(place / "migrations", MIGRATION if pending else {})
    bulk = Bulk()
    try:
        proxy = serve(bulk.url, database, directory)
        transfer(proxy, 64 * MIB)  # every buffer that is ever borrowed has been borrowed now
        before = proxy.memory("VmHWM")
        transfer(proxy, total)
        after = proxy.memory("VmHWM")
    finally:
        bulk.close()
    print(f"{total / GIB:.2f} GiB: highest resident {before / MIB:.1f} -> {after / MIB:.1f} MiB")
    record_property("resident_before", before)
    record_property("resident_after", after)
    assert after - before < 8 * MIB


def park(proxy: Program, database: Path, count: int, size: int) -> int:
    """`count` requests with bodies and failing answers of `size` bytes wait while another program
    has the write lock; then they are all healed. Returns the resident memory while they wait."""
    body = some_bytes(size)
    requests = [request(f"/?{n}", "PUT", body) for n in range(count)]
    answers: list[Any] = []
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # the migration waits for this
        clients = threading.Thread(
            target=lambda: answers.extend(client.burst([proxy.address], requests, 60))
        )
        clients.start()
        try:
            wait_until(lambda: proxy.metric("automigrate_parked") == count, "all of them wait")
            resident = proxy.memory()
        finally:
            connection.execute("ROLLBACK")
            clients.join(60)
    assert Counter(one.status for one in answers) == {200: count}, proxy.log[-3000:]
    return resident


@pytest.mark.figures
@pytest.mark.parametrize(
    "count",
    [
        pytest.param(300, id="300"),
        pytest.param(2000, id="2000", marks=[pytest.mark.long, pytest.mark.bound(180)]),
    ],
)
def test_parked_requests_cost_what_they_hold_and_no_more(
    serve: Any, upstream: Any, place: Path, count: int, record_property: Any
) -> None:
    size = 64 * KIB
    database = files.make_database(place / "app.db")
    app = upstream(Querying(database, size=size))
    directory = files.write_migrations(place / "migrations", MIGRATION)
    # the whole test must fit into the wait of a request
    proxy = serve(
        app.url, database, directory,
        AUTOMIGRATE_RECOVER_WAIT="60s", AUTOMIGRATE_MIGRATIONS_OPTIONS_LOCK_TIMEOUT="60s",
    )  # fmt: skip
    before = proxy.memory()
    parked = park(proxy, database, count, size)
    each = (parked - before) / count
    after = proxy.memory()
    print(
        f"{count} parked requests: {before / MIB:.1f} -> {parked / MIB:.1f} MiB,"
        f" {each / KIB:.1f} KiB each, {after / MIB:.1f} MiB after"
    )
    record_property("bytes_each", each)
    # body and answer right-sized, the client's and the exchange's own state, and nothing twice
    assert parked - before < count * (2 * size + 16 * KIB) + 8 * MIB
