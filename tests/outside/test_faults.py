# SPDX-License-Identifier: MIT
"""Never worse than no proxy (P7): whatever of ours fails, requests flow."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from harness import files
from harness.program import PROGRAM, Program, environment, wait_until
from harness.applications import Querying
from harness.client import Connection, ask, burst, request
from scripted import CLOSE, Request, reply

MIGRATION = {"001_cards.sql": "CREATE TABLE cards (id INTEGER PRIMARY KEY);"}
FAILURE = b'{"error": "no such table: cards"}'


def quoting(one: Request) -> Any:
    """Fails at /cards whatever the database says; everything else is well."""
    if one.target.startswith("/cards"):
        return reply(500, FAILURE, kind="application/json")
    return reply(200, one.target.encode())


@pytest.mark.parametrize("since", ["after the start", "before the start"])
def test_p7_a_database_that_is_locked_for_ever(
    serve: Any, upstream: Any, place: Path, since: str
) -> None:
    database = files.make_database(place / "app.db")
    app = upstream(quoting)
    directory = files.write_migrations(place / "migrations", MIGRATION)
    variables = {"AUTOMIGRATE_RECOVER_WAIT": "500ms"}
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        if since == "before the start":
            holder.execute("BEGIN EXCLUSIVE")
        proxy = serve(app.url, database, directory, **variables)
        if since == "after the start":
            holder.execute("BEGIN EXCLUSIVE")
        assert ask(proxy.address, request("/fine")).body == b"/fine"
        with Connection(proxy.address) as waiting:
            waiting.send(request("/cards"))
            for number in range(50):  # others are not held up
                assert ask(proxy.address, request(f"/{number}")).body == f"/{number}".encode()
            answer = waiting.read_response()
            assert (answer.status, answer.body) == (500, FAILURE)
        holder.execute("ROLLBACK")
    app.script = Querying(database)  # and afterwards it heals
    assert ask(proxy.address, request("/cards")).status == 200, proxy.log
    assert proxy.stop() == 0


@pytest.mark.threads
def test_p7_locked_while_many_wait_and_released_within_the_wait(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    app = upstream(Querying(database))
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    answers: list[Any] = []
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        clients = threading.Thread(
            target=lambda: answers.extend(
                burst([proxy.address], [request(f"/{n}") for n in range(100)])
            )
        )
        clients.start()
        app.wait_for(100)
        holder.execute("ROLLBACK")
    clients.join(30)
    assert [one.status for one in answers] == [200] * 100, proxy.log[-3000:]
    assert files.history(database) == ["001"]


def test_p7_a_database_that_is_unreadable_after_the_start(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    app = upstream(quoting)
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    database.write_bytes(b"this is no database" * 1000)
    answer = ask(proxy.address, request("/cards"))
    assert (answer.status, answer.body) == (500, FAILURE)
    for number in range(20):
        assert ask(proxy.address, request(f"/{number}")).status == 200
    assert database.read_bytes() == b"this is no database" * 1000


def test_p7_p8_a_database_that_vanishes_is_not_made_again(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    app = upstream(quoting)
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    database.unlink()
    answer = ask(proxy.address, request("/cards"))
    assert (answer.status, answer.body) == (500, FAILURE)
    assert ask(proxy.address, request("/")).status == 200
    assert not database.exists() or not files.history(database)


@pytest.mark.parametrize("kind", ["a file", "beneath a file", "no permission"])
def test_p7_a_state_directory_that_cannot_be_written(
    serve: Any, upstream: Any, place: Path, kind: str
) -> None:
    if kind == "no permission" and os.geteuid() == 0:
        state = Path("/proc/automigrate-state")  # root may write everywhere else
    elif kind == "no permission":
        (place / "closed").mkdir(mode=0o500)
        state = place / "closed" / "state"
    else:
        (place / "file").write_text("in the way")
        state = place / "file" if kind == "a file" else place / "file" / "state"
    database = files.make_database(place / "app.db")
    app = upstream(quoting)
    directory = files.write_migrations(place / "migrations", MIGRATION)
    proxy = serve(app.url, database, directory, "--state-directory", state)
    assert ask(proxy.address, request("/")).body == b"/"
    answer = ask(proxy.address, request("/cards"))
    assert (answer.status, answer.body) == (500, FAILURE)
    assert proxy.events("trouble") or "state" in proxy.log


def test_p7_the_migrations_directory_vanishes(serve: Any, upstream: Any, place: Path) -> None:
    database = files.make_database(place / "app.db")
    app = upstream(quoting)
    directory = files.write_migrations(place / "migrations", MIGRATION)
    proxy = serve(app.url, database, directory)
    directory.rename(place / "elsewhere")
    assert ask(proxy.address, request("/")).body == b"/"
    answer = ask(proxy.address, request("/cards"))
    assert (answer.status, answer.body) == (500, FAILURE)


@pytest.mark.threads
def test_p7_a_waiting_client_that_leaves_does_not_stop_the_migration(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    app = upstream(Querying(database))
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with Connection(proxy.address) as client:
            client.send(request("/cards"))
            app.wait_for(1)
            proxy.wait_for_event("detected")
        holder.execute("ROLLBACK")
    proxy.wait_for_event("applied")
    assert ask(proxy.address, request("/cards")).status == 200
    assert files.history(database) == ["001"]


@pytest.mark.parametrize("size", [1000, 65_536, 65_537, 200_000, 3_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_p6_a_failing_answer_of_any_size_arrives_byte_for_byte(
    serve: Any, upstream: Any, place: Path, size: int, framing: str
) -> None:
    """Parked, judged, and not healed: the part that was held and the part that was not."""
    body = b"no such table: nowhere " + random.Random(size).randbytes(size)
    database = files.make_database(place / "app.db")
    app = upstream(lambda one: reply(500, body, framing))
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    with Connection(proxy.address) as client:
        for _ in range(2):
            answer = client.ask(request("/"))
            assert answer.status == 500 and answer.body == body


def test_p6_the_second_attempt_fails_as_well(serve: Any, upstream: Any, place: Path) -> None:
    """Any final head of the second attempt is passed, and there is no third."""
    database = files.make_database(place / "app.db")
    app = upstream(
        lambda one: reply(
            500,
            FAILURE if one.attempt == 1 else b"something else",
            fields=[("X-N", str(one.attempt))],
        )
    )
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    answer = ask(proxy.address, request("/"))
    assert (answer.status, answer.body) == (500, b"something else")
    assert [one.attempt for one in app.seen()] == [1, 2]
    assert proxy.wait_for_event("not_healed")


def test_p6_the_second_attempt_gets_no_answer_so_the_first_one_counts(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    first = reply(500, FAILURE, fields=[("X-First", "yes")])
    app = upstream(lambda one: first if one.attempt == 1 else [CLOSE])
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", MIGRATION))
    answer = ask(proxy.address, request("/"))
    assert (answer.status, answer.body, answer.field("X-First")) == (500, FAILURE, "yes")
    assert len(app.seen()) == 2


RULES = {  # retry.unsafe, with an Idempotency-Key, with a commit meanwhile: sent again?
    ("quiet", False, False): True,
    ("quiet", False, True): False,
    ("confirmed", False, True): True,
    ("key", False, False): False,
    ("key", True, False): True,
    ("never", True, False): False,
    ("always", False, True): True,
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(map(str, rule)))
def test_p6_a_post_is_sent_again_only_as_the_rule_says(
    serve: Any, upstream: Any, place: Path, rule: tuple[str, bool, bool]
) -> None:
    unsafe, key, commit = rule
    database = files.make_database(place / "app.db", "CREATE TABLE audit (n INTEGER);")
    querying = Querying(database)

    def script(one: Request) -> Any:
        if commit and one.attempt == 1:  # the application wrote something before it failed
            files.execute(database, "INSERT INTO audit VALUES (1);")
        return querying(one)

    app = upstream(script)
    directory = files.write_migrations(place / "migrations", MIGRATION)
    proxy = serve(app.url, database, directory, AUTOMIGRATE_RETRY_UNSAFE=unsafe)
    fields = [("Idempotency-Key", "7f")] if key else []
    answer = ask(proxy.address, request("/", "POST", b"new", fields))
    assert files.history(database) == ["001"], proxy.log
    assert answer.status == (200 if RULES[rule] else 500), proxy.log
    assert len(app.seen()) == (2 if RULES[rule] else 1)
    if not RULES[rule]:
        assert json.loads(answer.body) == json.loads(FAILURE)
        assert proxy.wait_for_event("not_retried")


def test_p7_fewer_descriptors_than_clients_serve_all_in_turn(upstream: Any, place: Path) -> None:
    """The clients that are taken leave descriptors for what they need towards the application."""
    app = upstream(quoting)
    directory = files.write_migrations(place / "migrations", MIGRATION)
    proxy = Program(
        ("serve", "--listen", "127.0.0.1:0", "--admin", "off", "--workers", "2", "--upstream", app.url,
         "--database", files.make_database(place / "app.db"), "--migrations", directory),
        prefix=("prlimit", "--nofile=64"),
    )  # fmt: skip
    try:
        proxy.started()
        assert proxy.wait_for_event("limits")[0]["limit"] == "64"
        answers = burst([proxy.address], [request(f"/{n}") for n in range(200)])
        assert [one.status for one in answers] == [200] * 200
        assert len(proxy.events("accept")) <= 2, proxy.log
    finally:
        assert proxy.stop() == 0


def test_p7_a_log_that_nobody_reads_stops_nothing(upstream: Any, place: Path) -> None:
    app = upstream(quoting)
    directory = files.write_migrations(place / "migrations", MIGRATION)
    socket_path = place / "listen"
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write_end, b"." * 4096)  # it is full
    process = subprocess.Popen(
        [PROGRAM, "serve", "--listen", f"unix:{socket_path}", "--admin", "off", "--upstream", app.url,
         "--database", files.make_database(place / "app.db"), "--migrations", directory],
        stderr=write_end, env=environment({}),
    )  # fmt: skip
    try:
        os.close(write_end)
        wait_until(socket_path.exists, "it listens")
        for number in range(20):
            assert ask(f"unix:{socket_path}", request(f"/{number}")).status == 200
            assert ask(f"unix:{socket_path}", request("/cards")).status == 500
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(read_end)
