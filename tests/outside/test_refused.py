# SPDX-License-Identifier: MIT
"""What could be read in two ways is refused, and the application never sees it (RFC 9112)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from harness import files
from harness.client import Connection, ask, request
from harness.program import Program
from scripted import Upstream, reply

HOST = b"Host: app.test\r\n"
EVIL = b"GET /evil HTTP/1.1\r\nHost: app.test\r\n\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST /first HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


def get(rest: bytes, start: bytes = b"GET /first HTTP/1.1\r\n") -> bytes:
    return start + rest + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"

# name: (statuses that are right, bytes)
LAST = b"0\r\n\r\n"  # the last chunk

VECTORS: dict[str, tuple[tuple[int, ...], bytes]] = {
    "length beside chunked": ((400,), post(b"Content-Length: 5\r\n" + CHUNKED, LAST + EVIL)),
    "chunked beside length": ((400,), post(CHUNKED + b"Content-Length: 5\r\n", LAST + EVIL)),
    "identity": ((400, 501), post(b"Transfer-Encoding: identity\r\n", EVIL)),
    "gzip, chunked": ((400, 501), post(b"Transfer-Encoding: gzip, chunked\r\n", LAST + EVIL)),
    "xchunked": ((400, 501), post(b"Transfer-Encoding: xchunked\r\n", LAST + EVIL)),
    "chunked, identity": ((400, 501), post(b"Transfer-Encoding: chunked, identity\r\n", EVIL)),
    "chunked twice": ((400, 501), post(CHUNKED + CHUNKED, LAST + EVIL)),
    "chunked with a parameter": ((400, 501), post(b"Transfer-Encoding: chunked;q=1\r\n", LAST)),
    "vertical tab in the coding": ((400,), post(b"Transfer-Encoding: \x0bchunked\r\n", LAST)),
    "empty coding": ((400, 501), post(b"Transfer-Encoding:\r\n", EVIL)),
    "chunked in HTTP/1.0": ((400,), get(HOST + CHUNKED, b"POST /first HTTP/1.0\r\n") + LAST),
    "space before the colon": ((400,), post(b"Transfer-Encoding : chunked\r\n", LAST + EVIL)),
    "tab before the colon": ((400,), post(b"Content-Length\t: 3\r\n", b"abc")),
    "two lengths": ((400,), post(b"Content-Length: 1\r\nContent-Length: 3\r\n", b"abc" + EVIL)),
    "the same length twice": ((400,), post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc")),
    "a list of lengths": ((400,), post(b"Content-Length: 3, 4\r\n", b"abcd")),
    "a signed length": ((400,), post(b"Content-Length: +3\r\n", b"abc")),
    "a negative length": ((400,), post(b"Content-Length: -1\r\n", EVIL)),
    "a hexadecimal length": ((400,), post(b"Content-Length: 0x3\r\n", b"abc")),
    "a length with a space": ((400,), post(b"Content-Length: 1 0\r\n", b"abcdefghij")),
    "a huge length": ((400, 413), post(b"Content-Length: 99999999999999999999\r\n", b"abc")),
    "an empty length": ((400,), post(b"Content-Length: \r\n", EVIL)),
    "folding": ((400,), post(b"X-A: one\r\n two\r\n")),
    "folding that hides a length": ((400,), post(b"X-A: one\r\n\tContent-Length: 3\r\n", b"abc")),
    "folding of the first field": ((400,), get(b" X-A: one\r\n" + HOST)),
    "an empty name": ((400,), post(b": v\r\n" + EVIL)),
    "no colon": ((400,), post(b"nonsense\r\n")),
    "a name with a space": ((400,), post(b"X A: one\r\n")),
    "a name with a parenthesis": ((400,), post(b"X(A): one\r\n")),
    "bare CR in a value": ((400,), post(b"X-A: one\rtwo\r\n")),
    "bare CR as a line end": ((400,), b"GET /first HTTP/1.1\rHost: app.test\r\r"
                              + b"X: y\r\n\r\n"),
    "bare LF as a line end": ((400,), b"GET /first HTTP/1.1\nHost: app.test\n\n"),
    "bare LF before the end": ((400,), b"GET /first HTTP/1.1\r\nHost: app.test\r\nX-A: 1\n\r\n"),
    "NUL in a value": ((400,), post(b"X-A: one\0two\r\n")),
    "NUL in a name": ((400,), post(b"X\0A: one\r\n")),
    "a control byte in a value": ((400,), post(b"X-A: \x01\r\n")),
    "DEL in a value": ((400,), post(b"X-A: \x7f\r\n")),
    "no host": ((400,), get(b"X-A: 1\r\n")),
    "two hosts": ((400,), get(HOST + b"Host: other.test\r\n")),
    "the same host twice": ((400,), get(HOST + HOST)),
    "a host with a path": ((400,), get(b"Host: app.test/evil\r\n")),
    "a host with a space": ((400,), get(b"Host: app test\r\n")),
    "a host with user": ((400,), get(b"Host: me@app.test\r\n")),
    "a space in the target": ((400,), get(HOST, b"GET /a b HTTP/1.1\r\n")),
    "two spaces": ((400,), get(HOST, b"GET  /first HTTP/1.1\r\n")),
    "a control byte in the target": ((400,), get(HOST, b"GET /\x01 HTTP/1.1\r\n")),
    "a fragment-less nothing": ((400,), get(HOST, b"GET HTTP/1.1\r\n")),
    "a relative target": ((400,), get(HOST, b"GET first HTTP/1.1\r\n")),
    "a bad method": ((400,), get(HOST, b"G@T /first HTTP/1.1\r\n")),
    "no version": ((400,), b"GET /first\r\n" + HOST + b"\r\n"),
    "HTTP/2.0": ((505,), get(HOST, b"GET /first HTTP/2.0\r\n")),
    "the preface of HTTP/2": ((400, 505), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/1.10": ((400, 505), get(HOST, b"GET /first HTTP/1.10\r\n")),
    "http/1.1": ((400,), get(HOST, b"GET /first http/1.1\r\n")),
    "CONNECT": ((405, 400, 501), get(b"Host: x.test:443\r\n", b"CONNECT x.test:443 HTTP/1.1\r\n")),
    "TLS": ((400,), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n"),
    "many fields": ((431,), get(HOST + b"".join(b"X-%d: 1\r\n" % n for n in range(5000)))),
    "a long field": ((431,), get(HOST + b"X-A: " + b"a" * 2_000_000 + b"\r\n")),
    "a long target": ((414, 431), get(HOST, b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\n")),
}  # fmt: skip

# Found within a body: by then the application may have been asked, but must never get the whole.
CHUNKS = {
    "a size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "a size in 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a size with a space before": b" 3\r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "no number": b"xyz\r\nabc\r\n0\r\n\r\n",
    "a huge size": b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "bare LF behind the size": b"3\nabc\r\n0\r\n\r\n",
    "bare CR behind the size": b"3\rabc\r\n0\r\n\r\n",
    "bare LF behind the data": b"3\r\nabc\n0\r\n\r\n",
    "more data than the size": b"3\r\nabcd\r\n0\r\n\r\n",
    "bare LF in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;a\0b\r\nabc\r\n0\r\n\r\n",
    "a long extension": b"3;" + b"a" * 100_000 + b"\r\nabc\r\n0\r\n\r\n",
    "bare LF as the last line": b"3\r\nabc\r\n0\r\n\n",
    "a trailer with a space": b"3\r\nabc\r\n0\r\nX A: 1\r\n\r\n",
    "a folded trailer": b"3\r\nabc\r\n0\r\nX: 1\r\n 2\r\n\r\n",
    "many trailers": b"3\r\nabc\r\n0\r\n" + b"X: 1\r\n" * 20_000 + b"\r\n",
}


@pytest.fixture(scope="module")
def refusing() -> Any:
    """One proxy and one upstream for all vectors: each must leave both as they were."""
    with (
        tempfile.TemporaryDirectory(prefix="automigrate-") as name,
        Upstream(lambda one: reply(200, one.target.encode())) as app,
    ):
        place = Path(name)
        proxy = Program(
            [
                "serve", "--listen", "127.0.0.1:0", "--admin", "off", "--upstream", app.url,
                "--database", files.make_database(place / "app.db"),
                "--migrations", files.write_migrations(place / "migrations", {}),
            ]
        ).started()  # fmt: skip
        try:
            yield proxy, app
        finally:
            assert proxy.stop() == 0
        assert not proxy.sanitizer_report(), proxy.log


def send_ignoring_refusal(client: Connection, data: bytes) -> None:
    """Long requests are refused before they are sent whole."""
    try:
        client.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


@pytest.mark.parametrize("name", VECTORS)
def test_an_ambiguous_request_is_refused_and_closed(refusing: Any, name: str) -> None:
    proxy, app = refusing
    statuses, data = VECTORS[name]
    before = len(app.seen())
    with Connection(proxy.address) as client:
        send_ignoring_refusal(client, data)
        answer = client.read_response()
        assert answer.status in statuses
        assert answer.field("Connection").lower() == "close"
        assert client.is_at_end(), "the connection was kept"
    assert len(app.seen()) == before, app.seen()[before:]
    assert ask(proxy.address, request("/after")).body == b"/after"


@pytest.mark.parametrize("name", CHUNKS)
def test_malformed_chunks_are_refused_and_closed(refusing: Any, name: str) -> None:
    proxy, app = refusing
    with Connection(proxy.address) as client:
        send_ignoring_refusal(client, post(CHUNKED, CHUNKS[name] + EVIL))
        answer = client.read_response()
        assert answer.status == 400
        assert client.is_at_end(), "the connection was kept"
    assert not [one for one in app.seen() if one.target == "/evil"]
    assert not [one for one in app.seen("/first") if one.complete]
    assert ask(proxy.address, request("/after")).body == b"/after"


FINE = {
    "empty lines before": b"\r\n\r\n" + request("/ok"),
    "an empty value": request("/ok", fields=[("X-Empty", "")]),
    "tabs in a value": request("/ok", fields=[("X-Tab", "a\tb")]),
    "bytes past ASCII": request("/ok", fields=[("X-Name", "caf\xe9")]),
    "an own method": request("/ok", "PURGE"),
    "HTTP/1.1 with a port": request("/ok", host="app.test:8080"),
    "IPv6 host": request("/ok", host="[::1]:80"),
    "length 0": request("/ok", "POST", b""),
    "GET with a body": request("/ok", "GET", b"abc"),
    "CHUNKED in capitals": post(b"Transfer-Encoding: Chunked\r\n", b"0\r\n\r\n").replace(
        b"/first", b"/ok"
    ),
    "absolute form": get(HOST, b"GET http://other.test/ok HTTP/1.1\r\n"),
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_unusual_but_clear_is_passed(refusing: Any, name: str) -> None:
    proxy, app = refusing
    before = len(app.seen())
    answer = ask(proxy.address, FINE[name])
    assert (answer.status, answer.body) == (200, b"/ok")
    (seen,) = app.seen()[before:]
    if name == "absolute form":
        assert seen.fields("Host") == ["other.test"]
