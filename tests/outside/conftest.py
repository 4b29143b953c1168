# SPDX-License-Identifier: MIT
"""Fixtures. Whatever a test starts is ended after it, and everything it wrote is removed; a report
of a sanitizer in any log fails the test that caused it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "apps")]

from harness.applications import Application  # noqa: E402
from harness.program import PROGRAM, Program  # noqa: E402
from scripted import Script, Upstream  # noqa: E402

BOUND = 60  # seconds for one test

Serve = Callable[..., Program]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also the tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: run with --all"))


def pytest_sessionstart(session: pytest.Session) -> None:
    if not os.access(PROGRAM, os.X_OK):
        pytest.exit(f"{PROGRAM} is missing: run ./dev build, or name a program in AUTOMIGRATE", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that hangs fails."""
    marker = item.get_closest_marker("bound")
    bound = marker.args[0] if marker else BOUND

    def expire(number: int, frame: Any) -> None:
        raise AssertionError(f"not done after {bound} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(bound)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the test's own, with a short name: unix socket paths are limited."""
    with tempfile.TemporaryDirectory(prefix="automigrate-") as name:
        path = Path(name)
        yield path
        for directory in [path, *path.rglob("*")]:  # what a test made unreadable can be removed
            if directory.is_dir() and not directory.is_symlink():
                directory.chmod(0o700)


@pytest.fixture
def start(place: Path) -> Iterator[Serve]:
    """Starts the program with any arguments; ends it after the test."""
    programs: list[Program] = []

    def begin(*arguments: str | Path, **variables: str) -> Program:
        program = Program(arguments, variables)
        programs.append(program)
        return program

    yield begin
    problems = []
    for program in programs:
        try:
            program.stop()
        except AssertionError as error:
            problems.append(str(error))
        if report := program.sanitizer_report():
            problems.append(report)
    assert not problems, "\n".join(problems)


@pytest.fixture
def serve(start: Serve) -> Serve:
    """Starts `automigrate serve` on ports from the kernel with two workers, and waits until it
    listens. serve(upstream, database, migrations, "--mode", "off", VARIABLE="value")"""

    def begin(
        upstream: str, database: Path, migrations: Path, *more: str | Path, **variables: str
    ) -> Program:
        own = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2"]
        given = {str(one) for one in more}
        arguments = [
            part
            for flag, value in zip(own[::2], own[1::2])
            if flag not in given
            for part in (flag, value)
        ]
        return start(
            "serve", *arguments, "--upstream", upstream,
            "--database", database, "--migrations", migrations, *more, **variables,
        ).started()  # fmt: skip

    return begin


@pytest.fixture
def upstream() -> Iterator[Callable[..., Upstream]]:
    """Starts a scripted application: upstream(script, unix="")."""
    servers: list[Upstream] = []

    def begin(script: Script, **more: Any) -> Upstream:
        server = Upstream(script, **more).__enter__()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.__exit__()


@pytest.fixture
def application() -> Iterator[Callable[..., Application]]:
    """Starts one of tests/apps: application(CARDS, database)."""
    running: list[Application] = []

    def begin(script: Path, database: Path, *more: str) -> Application:
        running.append(Application(script, database, *more))
        return running[-1]

    yield begin
    for one in running:
        one.stop()
