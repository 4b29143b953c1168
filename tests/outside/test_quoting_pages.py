# SPDX-License-Identifier: MIT
"""Pages that name a schema error which is none (P1, P2, P3)."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pytest
from harness import files
from harness.client import Connection, ask, request
from scripted import Gate, head_of, reply

UNRELATED = {"001_unrelated.sql": "CREATE TABLE unrelated (id INTEGER);"}
CARDS = "CREATE TABLE cards (id INTEGER PRIMARY KEY, title TEXT);"

# What a page quotes, and the event that says why nothing was done.
QUOTES = {
    "it_is_there": ("no such table: cards", "refuted"),
    "column_is_there": ("no such column: cards.title", "refuted"),
    "insert_column_is_there": ("table cards has no column named title", "refuted"),
    "nobody_provides_it": ("no such table: nowhere", "unmapped"),
    "no_column_like_it": ("no such column: nothing", "unmapped"),
    "sql_in_the_name": ("no such table: x; DROP TABLE cards; --", "unmapped"),
    "path_in_the_name": ("no such table: ../../001_unrelated.sql", "unmapped"),
    "a_version": ("no such table: 001", "unmapped"),
    "a_prefix_of_what_is_provided": ("no such table: unrelate", "unmapped"),
    "a_longer_name": ("no such table: unrelated_too", "unmapped"),
    "quotes": ("no such table: &#x27;&quot;unrelated&quot;&#x27;;", ""),
    "percent": ("no such table: %s%n%n%n", "unmapped"),
    "long": ("no such table: " + "x" * 5000, ""),
}


@pytest.mark.parametrize("quote", QUOTES)
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_p3_a_500_that_only_quotes_changes_nothing_and_leaves_an_event(
    serve: Any, upstream: Any, place: Path, quote: str, kind: str
) -> None:
    text, event = QUOTES[quote]
    database = files.make_database(place / "app.db", CARDS)
    before = files.schema(database)
    body = f"<pre>{text}</pre>".encode() if "html" in kind else f'{{"error": "{text}"}}'.encode()
    app = upstream(lambda one: reply(500, body, kind=kind, fields=[("X-Page", "7")]))
    directory = files.write_migrations(place / "migrations", UNRELATED)
    proxy = serve(app.url, database, directory)
    answer = ask(proxy.address, request("/"))
    direct = ask(app.url.removeprefix("http://"), request("/"))
    assert (answer.status, answer.body, answer.head) == (500, direct.body, direct.head)
    assert len(app.seen()) == 2, "it was sent again"
    if event:
        assert proxy.wait_for_event(event)
    assert not proxy.events("applying")
    assert files.schema(database) == before
    assert files.history(database) == []


def test_p1_a_200_page_with_the_words_streams_untouched_and_undelayed(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    words = b"<p>no such table: unrelated</p>" * 1000
    second_half = Gate()
    app = upstream(
        lambda one: [
            head_of(200, [("Content-Length", str(2 * len(words))), ("Content-Type", "text/html")]),
            words,
            second_half,
            words,
        ]
    )
    directory = files.write_migrations(place / "migrations", UNRELATED)
    proxy = serve(app.url, database, directory)
    with Connection(proxy.address) as client:
        client.send(request("/blog"))
        head = client.read_head()
        assert b"".join(client.take(len(words))) == words  # while the application holds the rest
        assert not second_half.opened.is_set()
        second_half.open()
        assert b"".join(client.take(len(words))) == words
    assert head.startswith(b"HTTP/1.1 200 ")
    assert not files.has_table(database, "unrelated")
    assert len(app.seen()) == 1
    assert not proxy.events("detected")


@pytest.mark.parametrize("status", [200, 404, 499])
def test_p1_a_status_that_is_not_watched_is_passed_through(
    serve: Any, upstream: Any, place: Path, status: int
) -> None:
    database = files.make_database(place / "app.db")
    body = b"no such table: unrelated"
    app = upstream(lambda one: reply(status, body))
    directory = files.write_migrations(place / "migrations", UNRELATED)
    proxy = serve(app.url, database, directory)
    answer = ask(proxy.address, request("/"))
    assert (answer.status, answer.body) == (status, body)
    assert len(app.seen()) == 1 and not files.history(database)


def test_p1_a_failing_answer_with_nothing_pending_is_passed_through_as_it_comes(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = files.make_database(place / "app.db")
    half, gate = b"no such table: cards " * 100, Gate()
    app = upstream(
        lambda one: [head_of(500, [("Content-Length", str(2 * len(half)))]), half, gate, half]
    )
    proxy = serve(app.url, database, files.write_migrations(place / "migrations", {}))
    with Connection(proxy.address) as client:
        client.send(request("/"))
        client.read_head()
        assert b"".join(client.take(len(half))) == half
        gate.open()
        assert b"".join(client.take(len(half))) == half
    assert len(app.seen()) == 1


def test_p3_there_now_but_missing_when_it_was_sent_is_retried(
    serve: Any, upstream: Any, place: Path
) -> None:
    """Somebody else migrates while the request is under way."""
    database = files.make_database(place / "app.db")
    gate = Gate()

    def script(one: Any) -> Any:
        if one.attempt == 2:
            return reply(200, b"here")
        return [gate, *reply(500, b"no such table: cards")]

    app = upstream(script)
    directory = files.write_migrations(place / "migrations", UNRELATED)
    proxy = serve(app.url, database, directory)
    with Connection(proxy.address) as client:
        client.send(request("/"))
        gate.wait_until_reached()
        files.execute(database, CARDS)
        gate.open()
        assert client.read_response().body == b"here", proxy.log
    assert not proxy.events("applying")


@pytest.mark.parametrize(
    "body",
    [
        b"no such table: cards",
        b"<pre>sqlite3.OperationalError: no such table: cards</pre>",
        b'{"error": "no such table: cards"}',
        b'{"error": "{\\"inner\\": \\"no such table: cards\\"}"}',
        b'{"m": "SQLSTATE[HY000]: General error: 1 no such table: cards (SQL: select 1)"}',
        b"SQLite Error 1: &#x27;no such table: cards&#x27;.",
        b"no such table: main.cards",
        b"NO PAGE<br>no such table: CARDS\n",
        b"x" * 60_000 + b" no such table: cards ",
        b"no such column: title",
        b"no such column: c.title",
        b"table cards has no column named title",
    ],
)
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_detected_in_plain_html_and_json_in_every_framing(
    serve: Any, upstream: Any, place: Path, body: bytes, framing: str
) -> None:
    existing = "CREATE TABLE cards (id INTEGER PRIMARY KEY);" if b"column" in body else ""
    database = files.make_database(place / "app.db", existing)
    text = "ALTER TABLE cards ADD COLUMN title TEXT;" if existing else CARDS
    directory = files.write_migrations(place / "migrations", {"001_cards.sql": text})
    app = upstream(lambda one: reply(200 if one.attempt == 2 else 500, body, framing))
    proxy = serve(app.url, database, directory)
    assert ask(proxy.address, request("/")).status == 200, proxy.log
    assert files.history(database) == ["001"]


@pytest.mark.parametrize("table", ["due date", "we'ird", "a.b", 'say "x"', "naïve", "order"])
def test_names_with_spaces_quotes_and_dots(
    serve: Any, upstream: Any, place: Path, table: str
) -> None:
    database = files.make_database(place / "app.db")
    quoted = table.replace('"', '""')
    directory = files.write_migrations(
        place / "migrations", {"001_odd.sql": f'CREATE TABLE "{quoted}" (id INTEGER);'}
    )
    page = f"<pre>no such table: {html.escape(table)}</pre>".encode()
    app = upstream(lambda one: reply(200 if one.attempt == 2 else 500, page, kind="text/html"))
    proxy = serve(app.url, database, directory)
    assert ask(proxy.address, request("/")).status == 200, proxy.log
