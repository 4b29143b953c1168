# SPDX-License-Identifier: MIT
"""The applications of tests/apps as processes, and what scripted upstreams answer."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

from scripted import Request, Step, reply  # tests/apps, see conftest.py

from .program import ROOT

CARDS = ROOT / "tests" / "apps" / "cards" / "cards.py"
LIBRARY = ROOT / "tests" / "apps" / "library" / "library.py"
CARDS_MIGRATIONS = ROOT / "migrations"
LIBRARY_MIGRATIONS = ROOT / "tests" / "apps" / "library" / "migrations"


class Application:
    """A Python application that prints where it listens as one JSON line."""

    def __init__(self, script: Path, database: Path, *more: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--database", str(database), *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"{script.name} ended with {self.process.wait()}"
        place = json.loads(line)
        self.url = (
            f"unix:{place['unix']}" if "unix" in place else f"http://127.0.0.1:{place['port']}"
        )

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@dataclass
class Querying:
    """A script that does what applications do: it asks the database, answers 200 when that works
    and otherwise 500 with SQLite's words."""

    database: Path
    sql: str = "SELECT count(*) FROM cards"
    html: bool = False
    size: int = 0  # the failing answer is padded to this size
    framing: str = "length"
    close: bool = False

    def failure(self, message: str) -> bytes:
        if self.html:
            body = f"<h1>Error</h1><pre>sqlite3.OperationalError: {message}</pre>".encode()
        else:
            body = json.dumps({"error": message}).encode()
        return body + b" " * max(0, self.size - len(body))

    def __call__(self, request: Request) -> Iterable[Step]:
        kind = "text/html" if self.html else "application/json"
        try:
            # read-only through the URI: a missing file must not be made by a test
            connection = sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=20)
            try:
                count = connection.execute(self.sql).fetchone()
            finally:
                connection.close()
        except sqlite3.Error as error:
            return reply(500, self.failure(str(error)), self.framing, kind, close=self.close)
        body = json.dumps({"answer": count[0] if count else None, "sha256": request.sha256})
        return reply(200, body.encode(), self.framing, "application/json", close=self.close)
