# SPDX-License-Identifier: MIT
"""Four system calls a request: what the happy path may cost (P1)."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import files
from harness.client import Connection, request
from scripted import reply

REQUESTS = 400
CALL = re.compile(rb"^(\w+)\(")
WAITING = {"epoll_wait", "epoll_pwait", "epoll_pwait2"}


@pytest.mark.figures
@pytest.mark.parametrize("pending", [False, True], ids=["nothing-pending", "pending"])
@pytest.mark.parametrize("kind", ["get", "post"])
def test_p1_steady_state_is_recv_sendmsg_recv_sendmsg(
    serve: Any, upstream: Any, place: Path, pending: bool, kind: str
) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed: apt-get install strace")
    database = files.make_database(place / "app.db")
    migrations = {"001_cards.sql": "CREATE TABLE cards (id INTEGER);"} if pending else {}
    app = upstream(lambda one: reply(200, b"x" * 100))
    proxy = serve(
        app.url, database, files.write_migrations(place / "migrations", migrations),
        "--workers", "1",
    )  # fmt: skip
    data = request("/x") if kind == "get" else request("/x", "POST", b"y" * 200)
    with Connection(proxy.address) as client:
        for _ in range(50):
            assert client.ask(data).status == 200
        tracer = subprocess.Popen(
            ["strace", "-ff", "-o", str(place / "trace"), "-p", str(proxy.pid)],
            stderr=subprocess.PIPE,
        )
        try:
            assert tracer.stderr
            said = tracer.stderr.readline()
            if b"Operation not permitted" in said or b"ptrace" in said:
                pytest.skip(f"this machine does not allow tracing: {said.decode().strip()}")
            assert b"attached" in said, said
            for _ in range(REQUESTS):
                assert client.ask(data).status == 200
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=20)

    threads = []
    for file in place.glob("trace.*"):
        calls = Counter(
            found[1].decode()
            for line in file.read_bytes().splitlines()
            if (found := CALL.match(line))
        )
        threads.append((file, calls))
    file, worker = max(threads, key=lambda one: one[1]["sendmsg"])
    order = [
        name
        for line in file.read_bytes().splitlines()
        if (found := CALL.match(line)) and (name := found[1].decode()) not in WAITING
    ]
    print(f"{kind}: {dict(worker)}")
    # the call that was under way when strace came or went is not counted as one of a request
    work = {name: count for name, count in worker.items() if name not in WAITING}
    received = sum(work.get(name, 0) for name in ("recvfrom", "recvmsg", "read"))
    assert set(work) <= {"recvfrom", "recvmsg", "sendmsg", "restart_syscall"}, worker
    assert abs(received - 2 * REQUESTS) <= 2, worker
    assert abs(work["sendmsg"] - 2 * REQUESTS) <= 2, worker
    middle = [name.replace("recvmsg", "recvfrom") for name in order[40:-40]]
    assert middle in (
        ["recvfrom", "sendmsg"] * (len(middle) // 2),
        ["sendmsg", "recvfrom"] * (len(middle) // 2),
    ), "not one after the other"
