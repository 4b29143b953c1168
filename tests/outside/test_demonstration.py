# SPDX-License-Identifier: MIT
"""What `./dev run` shows, and the board it shows it with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from harness import files
from harness.applications import CARDS, CARDS_MIGRATIONS
from harness.client import ask, request
from harness.program import PROGRAM, ROOT, environment

DEMONSTRATION = ROOT / "tests" / "apps" / "cards" / "demonstration.py"


def begin(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DEMONSTRATION), "--program", str(PROGRAM), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**environment(), "TMPDIR": tempfile.gettempdir()},
    )  # fmt: skip


def processes_in(place: Path) -> list[str]:
    """Processes whose command line names a path in `place`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if str(place).encode() in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


def test_the_demonstration_once_tells_and_ends_with_0() -> None:
    running = begin("--once")
    try:
        out, error = running.communicate(timeout=50)
    finally:
        running.kill()
    assert running.returncode == 0, (out, error)
    assert error == ""
    for words in ("no such table", "001", "002", " ms", "200"):
        assert words in out, out


def test_the_demonstration_stays_up_until_ctrl_c_and_leaves_nothing(place: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, str(DEMONSTRATION), "--program", str(PROGRAM)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**environment(), "TMPDIR": str(place)}, start_new_session=True,
    )  # fmt: skip
    try:
        assert running.stdout
        said = ""
        while "Ctrl-C" not in said:
            line = running.stdout.readline()
            assert line, said
            said += line
        (address,) = set(re.findall(r"http://(127\.0\.0\.1:\d+)/(?=\s|$)", said)[:1])
        page = ask(address, request("/"))
        assert page.status == 200 and b"<h1>Cards</h1>" in page.body
        assert processes_in(place)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does it: to everyone in it
        out, _ = running.communicate(timeout=30)
        assert running.returncode == 0, said + out
    finally:
        running.kill()
        running.wait()
    assert list(place.iterdir()) == []
    assert processes_in(place) == []


def test_the_demonstration_says_clearly_what_is_off(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DEMONSTRATION), "--program", str(place / "nothing"), "--once"],
        capture_output=True, text=True, timeout=30, env=environment(),
    )  # fmt: skip
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1 and "nothing" in done.stderr


CARD = json.dumps({"title": "Write it down"}).encode()


@pytest.mark.parametrize(
    "first",
    [
        request("/"),
        request("/api/cards"),
        request("/api/cards", "POST", CARD),
        request("/cards", "POST", b"title=From+the+form"),
        request("/", "HEAD"),
    ],
    ids=["page", "api", "post", "form", "head"],
)
@pytest.mark.parametrize("upstream_is", ["tcp", "unix"])
def test_the_board_works_at_the_first_request(
    serve: Any, application: Any, place: Path, first: bytes, upstream_is: str
) -> None:
    database = files.make_database(place / "cards.db")
    more = ["--unix", str(place / "cards.sock")] if upstream_is == "unix" else []
    app = application(CARDS, database, *more)
    proxy = serve(app.url, database, CARDS_MIGRATIONS)
    method = first.split(b" ")[0].decode()
    answer = ask(proxy.address, first, method)
    if method == "HEAD":  # has no body to look at: a bare failure
        assert answer.status in (200, 500)
        return
    assert answer.status in (200, 201, 303), proxy.log
    assert files.history(database) == ["001", "002"]


def test_the_boards_trigger_works_after_healing(serve: Any, application: Any, place: Path) -> None:
    database = files.make_database(place / "cards.db")
    proxy = serve(application(CARDS, database).url, database, CARDS_MIGRATIONS)
    for place_on_board in range(3):
        answer = ask(proxy.address, request("/api/cards", "POST", CARD))
        assert answer.status == 201, proxy.log
        assert json.loads(answer.body)["card_bitmap"] == 1 << place_on_board
    changed = ask(proxy.address, request("/api/cards/2", "PUT", b'{"position": 9}'))
    assert json.loads(changed.body)["position"] == 9
    assert ask(proxy.address, request("/api/cards/1", "DELETE")).status == 204
    assert len(json.loads(ask(proxy.address, request("/api/cards")).body)) == 2
