#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A card board: the application that the demonstration puts behind automigrate.

One HTML page and a small JSON API over SQLite, written for the newest schema of migrations/. It
never makes a table: on a database that is behind, each request answers 500 and quotes SQLite, as
web frameworks do while they are being developed. One thread a connection, one database
connection a request.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import signal
import socket
import socketserver
import sqlite3
import sys
import urllib.parse
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BODY_LIMIT = 1024 * 1024
FIRST_BOARD = "First board"

STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --soft: #667085; --line: #e4e7ec;
        --paper: #f7f8fa; --card: #fff; --accent: #2f6f5e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #98a2b3; --line: #30363d; --paper: #14171c; --card: #1d2127;
          --accent: #6cc5a8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif; }
header, main { max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
header { display: flex; align-items: baseline; gap: 1rem; padding-bottom: 0; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 2rem 0 .75rem; }
.soft, header span { color: var(--soft); font-size: .9rem; }
.board { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: .9rem;
         list-style: none; margin: 0; padding: 0; }
.board li { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
            padding: .9rem 1rem; }
.board h3 { margin: 0 0 .25rem; font-size: 1rem; overflow-wrap: anywhere; }
.board p { margin: 0 0 .5rem; overflow-wrap: anywhere; }
form { display: flex; flex-wrap: wrap; gap: .6rem; background: var(--card); padding: 1rem;
       border: 1px solid var(--line); border-radius: .6rem; margin-top: 1.5rem; }
input, select, button { font: inherit; color: inherit; padding: .45rem .7rem;
       border: 1px solid var(--line); border-radius: .4rem; background: var(--paper); }
input { flex: 1 1 12rem; }
button { background: var(--accent); border-color: var(--accent); color: var(--card);
         font-weight: 600; cursor: pointer; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
      padding: 1rem; overflow-x: auto; }
"""


def page(title: str, content: str) -> bytes:
    """A whole HTML page; `content` is markup, `title` is text."""
    return (
        f"<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{content}</body></html>\n"
    ).encode()


def board_page(workspaces: list[dict[str, Any]], cards: list[dict[str, Any]]) -> bytes:
    sections = []
    for workspace in workspaces:
        own = [card for card in cards if card["workspace_id"] == workspace["id"]]
        items = "".join(
            f"<li><h3>{html.escape(card['title'])}</h3>"
            + (f"<p>{html.escape(card['body'])}</p>" if card["body"] else "")
            + f"<span class=soft>place {card['position']}"
            f" · bit {card['card_bitmap']:#x}</span></li>"
            for card in own
        )
        board = f"<ul class=board>{items}</ul>" if own else "<p class=soft>No cards yet.</p>"
        sections.append(f"<section><h2>{html.escape(workspace['name'])}</h2>{board}</section>")
    options = "".join(
        f"<option value={workspace['id']}>{html.escape(workspace['name'])}</option>"
        for workspace in workspaces
    )
    choice = f"<select name=workspace_id aria-label=Board>{options}</select>" if options else ""
    if not sections:
        sections.append("<p class=soft>An empty board: add the first card.</p>")
    form = (
        f"<form method=post action=/cards>{choice}"
        '<input name=title placeholder="A new card" aria-label=Title required maxlength=200>'
        "<input name=body placeholder=Details aria-label=Details maxlength=2000>"
        "<button>Add card</button></form>"
    )
    summary = f"{len(cards)} card{'' if len(cards) == 1 else 's'}"
    return page(
        "Cards",
        f"<header><h1>Cards</h1><span>{summary}</span></header>"
        f"<main>{''.join(sections)}{form}</main>",
    )


class Refusal(Exception):
    """The client's mistake: answered with its status, not with 500."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Store:
    """The board in one database connection."""

    def __init__(self, path: str) -> None:
        # mode=rw: a missing file is an error, not a new database
        self.connection = sqlite3.connect(
            f"{Path(path).absolute().as_uri()}?mode=rw", uri=True, timeout=10
        )
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA foreign_keys = ON")

    def close(self) -> None:
        self.connection.close()

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self.connection.execute(sql, values)]

    def workspaces(self) -> list[dict[str, Any]]:
        return self.rows("SELECT id, name, created_at FROM workspaces ORDER BY id")

    def cards(self) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT id, workspace_id, title, body, position, card_bitmap, created_at"
            " FROM cards ORDER BY workspace_id, position, id"
        )

    def card(self, identifier: int) -> dict[str, Any]:
        found = self.rows(
            "SELECT id, workspace_id, title, body, position, card_bitmap, created_at"
            " FROM cards WHERE id = ?",
            identifier,
        )
        if not found:
            raise Refusal(404, f"there is no card {identifier}")
        return found[0]

    def add_workspace(self, fields: dict[str, Any]) -> dict[str, Any]:
        with self.connection:
            cursor = self.connection.execute(
                "INSERT INTO workspaces (name) VALUES (?)", (text_of(fields, "name"),)
            )
        return self.rows(
            "SELECT id, name, created_at FROM workspaces WHERE id = ?", cursor.lastrowid
        )[0]

    def add_card(self, fields: dict[str, Any]) -> dict[str, Any]:
        """On the board that is named, or the first one, which is made if there is none."""
        title = text_of(fields, "title")
        with self.connection:  # one transaction: a card that cannot be added leaves no board
            workspace = self.board_of(fields)
            cursor = self.connection.execute(
                "INSERT INTO cards (workspace_id, title, body, position, card_bitmap)"
                " VALUES (?1, ?2, ?3, (SELECT COALESCE(MAX(position) + 1, 0) FROM cards"
                " WHERE workspace_id = ?1), 0)",
                (workspace, title, str(fields.get("body", ""))),
            )
        return self.card(cursor.lastrowid or 0)

    def board_of(self, fields: dict[str, Any]) -> int:
        boards = [workspace["id"] for workspace in self.workspaces()]
        if not boards and not fields.get("workspace_id"):
            cursor = self.connection.execute(
                "INSERT INTO workspaces (name) VALUES (?)", (FIRST_BOARD,)
            )
            return cursor.lastrowid or 0
        board = number_of(fields, "workspace_id", boards[0] if boards else 0)
        if board not in boards:
            raise Refusal(422, f"there is no workspace {board}")
        return board

    def change_card(self, identifier: int, fields: dict[str, Any]) -> dict[str, Any]:
        before = self.card(identifier)
        with self.connection:
            self.connection.execute(
                "UPDATE cards SET title = ?, body = ?, position = ?, card_bitmap = ? WHERE id = ?",
                (
                    text_of(fields, "title", before["title"]),
                    str(fields.get("body", before["body"])),
                    number_of(fields, "position", before["position"]),
                    1 << number_of(fields, "position", before["position"]) % 63,
                    identifier,
                ),
            )
        return self.card(identifier)

    def remove_card(self, identifier: int) -> None:
        with self.connection:
            self.connection.execute("DELETE FROM cards WHERE id = ?", (identifier,))


def text_of(fields: dict[str, Any], name: str, default: str = "") -> str:
    value = str(fields.get(name, default)).strip()
    if not value:
        raise Refusal(422, f"{name} is missing")
    return value


def number_of(fields: dict[str, Any], name: str, default: int) -> int:
    try:
        return int(fields.get(name, default))
    except (TypeError, ValueError):
        raise Refusal(422, f"{name} is not a number") from None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "cards"
    timeout = 60
    database: str
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.answer_with(self.get)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.answer_with(self.post)

    def do_PUT(self) -> None:
        self.answer_with(self.put)

    def do_DELETE(self) -> None:
        self.answer_with(self.delete)

    def answer_with(self, action: Any) -> None:
        path = urllib.parse.urlsplit(self.path).path
        try:
            body = self.read_body()
            if path == "/healthz":
                self.send_json(200, {"status": "ok"})
                return
            with closing(Store(self.database)) as store:
                action(store, path, body)
        except Refusal as refusal:
            self.send_failure(path, refusal.status, str(refusal), "")
        except sqlite3.Error as error:
            kind = f"{type(error).__module__}.{type(error).__name__}"
            self.send_failure(path, 500, str(error), f"{kind}: ")

    def read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self.read_chunks()
        length = int(self.headers.get("Content-Length", "0"))
        if length > BODY_LIMIT:
            self.close_connection = True
            raise Refusal(413, "the body is too large")
        return self.rfile.read(length)

    def read_chunks(self) -> bytes:
        body = bytearray()
        while size := int(self.rfile.readline(1024).split(b";")[0], 16):
            if len(body) + size > BODY_LIMIT:
                self.close_connection = True
                raise Refusal(413, "the body is too large")
            body += self.rfile.read(size)
            self.rfile.readline(8)
        while self.rfile.readline(8192) not in (b"\r\n", b"\n", b""):
            continue
        return bytes(body)

    def get(self, store: Store, path: str, body: bytes) -> None:
        if path == "/":
            self.send_html(200, board_page(store.workspaces(), store.cards()))
        elif path == "/api/workspaces":
            self.send_json(200, store.workspaces())
        elif path == "/api/cards":
            self.send_json(200, store.cards())
        elif path.startswith("/api/cards/"):
            self.send_json(200, store.card(self.identifier(path)))
        else:
            raise Refusal(404, f"there is no page {path}")

    def post(self, store: Store, path: str, body: bytes) -> None:
        if path == "/cards":
            form = urllib.parse.parse_qs(body.decode(errors="replace"))
            store.add_card({name: values[0] for name, values in form.items()})
            self.send(303, "text/plain", b"", {"Location": "/"})
        elif path == "/api/workspaces":
            self.send_json(201, store.add_workspace(self.fields(body)))
        elif path == "/api/cards":
            self.send_json(201, store.add_card(self.fields(body)))
        else:
            raise Refusal(404, f"there is no page {path}")

    def put(self, store: Store, path: str, body: bytes) -> None:
        self.send_json(200, store.change_card(self.identifier(path), self.fields(body)))

    def delete(self, store: Store, path: str, body: bytes) -> None:
        store.remove_card(self.identifier(path))
        self.send(204, "", b"")

    def identifier(self, path: str) -> int:
        head, _, tail = path.rpartition("/")
        if head != "/api/cards" or not tail.isdecimal():
            raise Refusal(404, f"there is no page {path}")
        return int(tail)

    def fields(self, body: bytes) -> dict[str, Any]:
        try:
            fields = json.loads(body or b"{}")
        except ValueError:
            raise Refusal(400, "the body is not JSON") from None
        if not isinstance(fields, dict):
            raise Refusal(400, "the body is not a JSON object")
        return fields

    def send_failure(self, path: str, status: int, message: str, prefix: str) -> None:
        if path.startswith("/api/"):
            self.send_json(status, {"error": message})
            return
        text = html.escape(prefix + message)
        self.send_html(
            status,
            page(
                f"{status}",
                f"<header><h1>{status}</h1><span>This page could not be made.</span></header>"
                f"<main><pre>{text}</pre></main>",
            ),
        )

    def send_html(self, status: int, body: bytes) -> None:
        self.send(status, "text/html; charset=utf-8", body)

    def send_json(self, status: int, value: Any) -> None:
        self.send(status, "application/json", json.dumps(value).encode() + b"\n")

    def send(self, status: int, kind: str, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (more or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def address_string(self) -> str:
        return str(self.client_address[0]) if self.client_address else "unix"

    def log_message(self, format: str, *arguments: Any) -> None:
        if os.environ.get("CARDS_LOG"):
            super().log_message(format, *arguments)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def server_bind(self) -> None:
        # HTTPServer's own version looks up the host's name, which can be slow and is not needed
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class UnixServer(Server):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, _ = super().get_request()
        return connection, ("unix", 0)


class UnixHandler(Handler):
    disable_nagle_algorithm = False  # a TCP option


def main() -> int:
    parser = argparse.ArgumentParser(description="A card board over SQLite.")
    parser.add_argument("--database", required=True, help="file; it must exist")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0: any free one")
    parser.add_argument("--unix", help="listen on this path instead")
    arguments = parser.parse_args()

    kind: type[Handler] = UnixHandler if arguments.unix else Handler
    handler = type("BoundHandler", (kind,), {"database": arguments.database})
    if arguments.unix:
        server: Server = UnixServer(arguments.unix, handler)
        address: dict[str, Any] = {"unix": arguments.unix}
    else:
        server = Server(("127.0.0.1", arguments.port), handler)
        address = {"port": server.server_port}
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    print(json.dumps(address), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        if arguments.unix:
            Path(arguments.unix).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
