#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The demonstration: a card board on an empty database, behind automigrate.

Starts both, makes the first requests, tells what happened as `automigrate log` and `automigrate
status` report it, and stays up until Ctrl-C (or ends after the telling with --once). Everything
is in a temporary directory, which is removed at the end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import shlex
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

CARDS = Path(__file__).resolve().with_name("cards.py")
MIGRATIONS = CARDS.parents[3] / "migrations"

START_BOUND = 20.0  # seconds
JOURNAL_BOUND = 10.0  # events are written in batches, a second at most after they happened


class Trouble(Exception):
    """Something is off; the message says what."""


@dataclass
class Answer:
    line: str  # the request, as "GET /"
    status: int
    reason: str
    body: bytes
    duration_ms: float
    proxy_status: str


class Process:
    """A child whose output is read line by line, with a time limit."""

    def __init__(self, name: str, command: list[str], stream: str) -> None:
        self.name = name
        self.last_lines: list[str] = []
        self.lines: queue.Queue[str | None] = queue.Queue()
        try:
            # a session of its own: Ctrl-C reaches the demonstration, which ends its children
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                text=True,
                errors="replace",
                **{stream: subprocess.PIPE},  # type: ignore[call-overload]
            )
        except OSError as error:
            raise Trouble(f"{command[0]} cannot be started: {error.strerror}") from None
        self.stream = getattr(self.child, stream)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        for line in self.stream:
            self.last_lines = [*self.last_lines[-7:], line.rstrip()]
            self.lines.put(line)
        self.lines.put(None)

    def wait_for(self, found: Callable[[str], Any], what: str) -> Any:
        """The first thing that `found` finds in a line."""
        end = time.monotonic() + START_BOUND
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise Trouble(f"{self.name} did not say {what} in {START_BOUND:.0f} s") from None
            if line is None:
                said = "; ".join(self.last_lines) or "nothing"
                raise Trouble(f"{self.name} ended with {self.child.wait()} and said: {said}")
            if value := found(line):
                return value

    def stop(self) -> None:
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def started_addresses(line: str) -> tuple[str, str] | None:
    """Where the proxy and its operators' server listen, from the log line that says so."""
    if "event=started" not in line:
        return None
    pairs = dict(pair.split("=", 1) for pair in shlex.split(line) if "=" in pair)
    return pairs["address"], pairs["admin"]


def ask(address: str, method: str, target: str, fields: dict[str, Any] | None = None) -> Answer:
    host, port = address.rsplit(":", 1)
    body = json.dumps(fields).encode() if fields else None
    headers = {"Content-Type": "application/json"} if fields else {}
    with closing(http.client.HTTPConnection(host, int(port), timeout=30)) as connection:
        begin = time.monotonic()
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        content = response.read()
        return Answer(
            f"{method} {target}",
            response.status,
            response.reason,
            content,
            (time.monotonic() - begin) * 1000,
            response.getheader("Proxy-Status", ""),
        )


def run_json(program: str, *arguments: str) -> list[Any]:
    """What a command prints: one JSON value, or one a line."""
    done = subprocess.run(
        [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )
    # 3: something is pending, which is for the caller to judge
    if done.returncode not in (0, 3):
        raise Trouble(
            f"`automigrate {arguments[0]}` ended with {done.returncode}: {done.stderr.strip()}"
        )
    decoder, values, rest = json.JSONDecoder(), [], done.stdout.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        values.append(value)
        rest = rest[end:].strip()
    return values


def events_until(program: str, where: list[str], kind: str) -> list[dict[str, Any]]:
    """The journal, once it holds an event of that kind."""
    end = time.monotonic() + JOURNAL_BOUND
    pause = threading.Event()
    while True:
        events = run_json(program, "log", "--json", *where)
        if any(event["type"] == f"automigrate.{kind}" for event in events):
            return events
        if time.monotonic() > end:
            raise Trouble(f"the journal has no event `{kind}` after {JOURNAL_BOUND:.0f} s")
        pause.wait(0.1)


def tell_answer(answer: Answer) -> None:
    size = f"{len(answer.body):,} bytes"
    print(f"\n  {answer.line}")
    print(
        f"    the client got    {answer.status} {answer.reason}, {size},"
        f" in {answer.duration_ms:.1f} ms"
    )
    if answer.proxy_status:
        print(f"    with the field    Proxy-Status: {answer.proxy_status}")


def tell_events(events: list[dict[str, Any]]) -> None:
    """What went on inside, in the journal's order."""
    for event in events:
        kind = event["type"].removeprefix("automigrate.")
        subject, data = event.get("subject") or "", event["data"]
        if kind == "detected":
            print(f"    failed inside     {subject}")
        elif kind == "confirmed":
            print(f"    confirmed         {data['message']}")
        elif kind == "applied":
            print(f"    applied           {data['message']}")
        elif kind == "healed":
            print(f"    healed            {data['message']}")


def check(answers: list[Answer], status: dict[str, Any]) -> None:
    for answer in answers:
        if not 200 <= answer.status < 300:
            raise Trouble(f"{answer.line} was answered {answer.status}: {answer.body[:200]!r}")
    if status["pending"]:
        versions = ", ".join(entry["version"] for entry in status["pending"])
        raise Trouble(f"still pending: {versions}")


def demonstrate(program: str, once: bool, stack: ExitStack) -> None:
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="automigrate-cards-")))
    database = place / "cards.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM")  # makes the file, with nothing in it
    where = ["--database", str(database), "--migrations", str(MIGRATIONS)]

    print("A card board, written for the newest schema, on a database without any table.")
    cards = Process(
        "the card board", [sys.executable, str(CARDS), "--database", str(database)], "stdout"
    )
    stack.callback(cards.stop)
    port = cards.wait_for(lambda line: json.loads(line)["port"], "its port")
    command = [program, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    command += ["--upstream", f"http://127.0.0.1:{port}", *where]
    proxy = Process("automigrate", command, "stderr")
    stack.callback(proxy.stop)
    address, admin = proxy.wait_for(started_addresses, "where it listens")

    direct = ask(f"127.0.0.1:{port}", "GET", "/api/cards")
    print(
        "\n  GET /api/cards, past the proxy\n"
        f"    the client got    {direct.status} {direct.body.decode().strip()}"
    )

    first = ask(address, "GET", "/")
    tell_answer(first)
    events = events_until(program, where, "healed")
    (status,) = run_json(program, "status", "--json", *where)
    tell_events(events)

    second = ask(address, "GET", "/api/cards")
    tell_answer(second)
    third = ask(address, "POST", "/api/cards", {"title": "It works"})
    tell_answer(third)
    (status,) = run_json(program, "status", "--json", *where)
    check([first, second, third], status)
    print(f"\n  status              {len(status['applied'])} applied, nothing pending")
    if once:
        return
    print(f"\n  the board           http://{address}/")
    print(f"  for operators       http://{admin}/")
    print(f"  its log             {shlex.join([program, 'log', *where])}")
    print("\nCtrl-C ends both and removes everything.", flush=True)
    while cards.child.poll() is None and proxy.child.poll() is None:
        signal.sigtimedwait([], 0.5)
    name = "the card board" if cards.child.poll() is not None else "automigrate"
    raise Trouble(f"{name} has ended by itself")


def interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description="automigrate in front of a card board.")
    parser.add_argument("--program", required=True, help="the automigrate to show")
    parser.add_argument("--once", action="store_true", help="end after the telling")
    arguments = parser.parse_args()
    if not os.access(arguments.program, os.X_OK):
        print(f"{arguments.program} is no program: run ./dev build first", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)  # also when a script runs this in the background
    try:
        with ExitStack() as stack:
            demonstrate(str(Path(arguments.program).resolve()), arguments.once, stack)
    except KeyboardInterrupt:
        print()
    except (Trouble, OSError, http.client.HTTPException, subprocess.TimeoutExpired) as trouble:
        print(f"the demonstration failed: {trouble}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
