#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A lending library: an application that automigrate has never seen.

WSGI on Python's wsgiref, which speaks HTTP/1.0 and closes after each answer, as small deployments
do. Its tables and columns are named unlike those of any other program here, one of them with a
space. `/books` answers HTML, `/api/...` answers JSON; both quote SQLite when a query fails. It
never makes a table.
"""

from __future__ import annotations

import argparse
import html
import json
import signal
import sqlite3
import sys
import traceback
from contextlib import closing
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Callable, Iterable
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

Environment = dict[str, Any]
StartResponse = Callable[..., Any]

BOOKS = """
SELECT isbn, title, shelf FROM books ORDER BY title
"""

LOANS = """
SELECT l.id, b.title, l."due date", l.reader, l.reminders
FROM loans AS l JOIN books AS b ON b.isbn = l.isbn ORDER BY l."due date"
"""

LEND = """
INSERT INTO loans (isbn, "due date", reader, reminders) VALUES (?, ?, ?, 0)
"""


class Library:
    def __init__(self, database: str) -> None:
        self.database = database

    def __call__(self, environment: Environment, start: StartResponse) -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        as_json = path.startswith("/api/")
        try:
            with closing(self.connect()) as connection:
                status, body = self.answer(connection, environment, path)
        except sqlite3.Error as error:
            status = "500 Internal Server Error"
            body = self.failure_json(error) if as_json else self.failure_html()
        kind = "application/json" if as_json else "text/html; charset=utf-8"
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def connect(self) -> sqlite3.Connection:
        uri = f"{Path(self.database).absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def answer(
        self, connection: sqlite3.Connection, environment: Environment, path: str
    ) -> tuple[str, bytes]:
        method = environment["REQUEST_METHOD"]
        if (method, path) == ("GET", "/books"):
            rows = connection.execute(BOOKS).fetchall()
            items = "".join(f"<li>{html.escape(row['title'])}</li>" for row in rows)
            return "200 OK", f"<h1>Books</h1><ul>{items}</ul>".encode()
        if (method, path) == ("GET", "/api/loans"):
            rows = connection.execute(LOANS).fetchall()
            return "200 OK", json.dumps([dict(row) for row in rows]).encode()
        if (method, path) == ("POST", "/api/loans"):
            length = int(environment.get("CONTENT_LENGTH") or 0)
            fields = json.loads(environment["wsgi.input"].read(length))
            with connection:
                connection.execute(LEND, (fields["isbn"], fields["due"], fields["reader"]))
            return "201 Created", b'{"lent": true}'
        return "404 Not Found", b"null"

    def failure_json(self, error: sqlite3.Error) -> bytes:
        return json.dumps({"ok": False, "detail": {"exception": repr(error)}}).encode()

    def failure_html(self) -> bytes:
        """A debugging page: the traceback, escaped."""
        text = html.escape(traceback.format_exc())
        return f"<!doctype html><title>Error</title><h1>Oh dear</h1><pre>{text}</pre>".encode()


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 512


class Handler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing: the tests look at answers."""


def main() -> int:
    parser = argparse.ArgumentParser(description="A lending library over SQLite.")
    parser.add_argument("--database", required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    application = Library(arguments.database)
    server = make_server("127.0.0.1", arguments.port, application, Server, Handler)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    print(json.dumps({"port": server.server_port}), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
