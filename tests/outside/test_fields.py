# SPDX-License-Identifier: MIT
"""Fields that are removed, added and kept on the way (RFC 9110, 7.6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness import files
from harness.client import Response, ask, request
from harness.program import Program
from scripted import Request, Upstream, reply


@pytest.fixture
def exchange(serve: Any, upstream: Any, place: Path) -> Any:
    """Sends request fields, lets the application answer with others; returns what each got."""

    def send(
        fields: list[tuple[str, str]], answer: list[tuple[str, str]] | None = None, **more: Any
    ) -> tuple[Request, Response]:
        app = upstream(lambda one: reply(200, b"fine", fields=answer or []))
        proxy = relay(serve, app, place)
        response = ask(proxy.address, request("/", fields=fields, **more))
        (seen,) = app.seen()
        return seen, response

    return send


def relay(serve: Any, app: Upstream, place: Path) -> Program:
    database = files.make_database(place / "app.db")
    program: Program = serve(app.url, database, files.write_migrations(place / "migrations", {}))
    return program


def test_forwarded_fields_say_who_asked_for_what(exchange: Any) -> None:
    seen, _ = exchange([], host="app.test:8080")
    assert seen.fields("X-Forwarded-For") == ["127.0.0.1"]
    assert seen.fields("X-Forwarded-Proto") == ["http"]
    assert seen.fields("X-Forwarded-Host") == ["app.test:8080"]
    assert seen.fields("Host") == ["app.test:8080"]


def test_a_client_cannot_claim_to_be_somebody_else(exchange: Any) -> None:
    seen, _ = exchange(
        [
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.test"),
            ("X-Forwarded-For", "10.9.8.7"),
            ("x-forwarded-for", "10.9.8.6"),
        ]
    )
    addresses = ", ".join(seen.fields("X-Forwarded-For"))
    assert addresses.endswith("127.0.0.1")
    assert "evil.test" not in ", ".join(seen.fields("X-Forwarded-Host"))
    assert len(seen.fields("X-Forwarded-For")) == 1


@pytest.mark.parametrize(
    "name", ["Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "X-Automigrate-Attempt",
             "X-Automigrate-Anything", "x-automigrate-mode"],
)  # fmt: skip
def test_fields_that_a_client_may_not_send_through(exchange: Any, name: str) -> None:
    seen, _ = exchange([(name, "2"), ("X-Kept", "yes")])
    assert name.lower() not in seen.names
    assert seen.fields("X-Kept") == ["yes"]


def test_fields_that_connection_names_are_removed(exchange: Any) -> None:
    seen, response = exchange(
        [("Connection", "X-Private, keep-alive"), ("X-Private", "secret"), ("X-Public", "yes")],
        [("Connection", "X-Inner"), ("X-Inner", "secret"), ("X-Outer", "yes")],
    )
    assert "x-private" not in seen.names and seen.fields("X-Public") == ["yes"]
    assert not response.fields("X-Inner") and response.fields("X-Outer") == ["yes"]


def test_connection_cannot_remove_what_is_added(exchange: Any) -> None:
    """`Connection: X-Forwarded-For` must not hide who asked."""
    seen, _ = exchange([("Connection", "close, X-Forwarded-For, X-Forwarded-Proto")])
    assert seen.fields("X-Forwarded-For") == ["127.0.0.1"]
    assert seen.fields("X-Forwarded-Proto") == ["http"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding"])
def test_connection_cannot_remove_what_a_message_is_read_by(
    serve: Any, upstream: Any, place: Path, name: str, chunked: bool
) -> None:
    """Nobody may name these (RFC 9110, 7.6.1): refused, or kept; never dropped."""
    app = upstream(lambda one: reply(200, one.body))
    proxy = relay(serve, app, place)
    data = request("/", "POST", b"whole", [("Connection", name)], chunked)
    answer = ask(proxy.address, data)
    assert answer.status == 400 and not app.seen() or answer.body == b"whole"
    assert all(one.fields("Host") == ["app.test"] for one in app.seen())


@pytest.mark.parametrize("name", ["Keep-Alive", "Proxy-Connection", "Upgrade"])
def test_hop_by_hop_fields_of_an_answer_are_removed(exchange: Any, name: str) -> None:
    _, response = exchange([], [(name, "5"), ("X-Kept", "yes")])
    assert not response.fields(name) and response.fields("X-Kept") == ["yes"]


def test_everything_else_is_kept_as_it_was(exchange: Any) -> None:
    sent = [("X-One", "1"), ("x-TWO", " 2  2"), ("X-One", "again"), ("Accept-Encoding", "gzip"),
            ("Cookie", "a=b; c=d"), ("Range", "bytes=0-1"), ("X-Empty", "")]  # fmt: skip
    got = [("Date", "Tue, 15 Nov 1994 08:12:31 GMT"), ("Server", "app/1"), ("Set-Cookie", "a=1"),
           ("Set-Cookie", "b=2"), ("ETag", '"x"'), ("Content-Encoding", "identity")]  # fmt: skip
    seen, response = exchange(sent, got)
    lines = seen.head.split(b"\r\n")
    kept = [f"{name}: {value}".encode() for name, value in sent]
    assert [line for line in lines if line in kept] == kept
    lines = response.head.split(b"\r\n")
    kept = [f"{name}: {value}".encode() for name, value in got]
    assert [line for line in lines if line in kept] == kept


def test_the_status_line_is_the_applications(serve: Any, upstream: Any, place: Path) -> None:
    app = upstream(lambda one: [b"HTTP/1.1 299 Very Odd\r\nContent-Length: 2\r\n\r\nok"])
    answer = ask(relay(serve, app, place).address, request("/"))
    assert answer.head.startswith(b"HTTP/1.1 299 Very Odd\r\n")


@pytest.mark.parametrize(
    "target", ["/a%2Fb?x=1&y=%20", "/..//a/./b", "/?", "/a?b?c", "/%00", "/;p"]
)
def test_targets_pass_as_they_were_written(
    serve: Any, upstream: Any, place: Path, target: str
) -> None:
    app = upstream(lambda one: reply())
    proxy = relay(serve, app, place)
    assert ask(proxy.address, request(target)).status == 200
    assert [one.target for one in app.seen()] == [target]


def test_options_for_the_whole_server(serve: Any, upstream: Any, place: Path) -> None:
    app = upstream(lambda one: reply())
    proxy = relay(serve, app, place)
    assert ask(proxy.address, request("*", "OPTIONS")).status == 200
    assert [one.target for one in app.seen()] == ["*"]


@pytest.mark.parametrize("expose", [True, False])
def test_a_healed_answer_says_so_unless_told_not_to(
    serve: Any, upstream: Any, place: Path, expose: bool
) -> None:
    database = files.make_database(place / "app.db")
    directory = files.write_migrations(
        place / "migrations", {"001_cards.sql": "CREATE TABLE cards (id INTEGER);"}
    )
    app = upstream(
        lambda one: reply(200, b"ok") if one.attempt == 2 else reply(500, b"no such table: cards")
    )
    proxy = serve(app.url, database, directory, AUTOMIGRATE_EXPOSE="true" if expose else "false")
    healed = ask(proxy.address, request("/"))
    assert healed.status == 200
    assert ("automigrate" in healed.field("Proxy-Status")) == expose
    app.script = lambda one: reply(200, b"ok")
    assert not ask(proxy.address, request("/")).fields("Proxy-Status")
