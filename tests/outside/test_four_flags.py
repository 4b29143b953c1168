# SPDX-License-Identifier: MIT
"""Four flags in front of an application it has never seen."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from harness import files, program
from harness.applications import LIBRARY, LIBRARY_MIGRATIONS
from harness.client import ask, request

VERSIONS = ["1", "2", "3", "10"]
LOAN = b'{"isbn": "978-0131103627", "due": "2030-01-01", "reader": "Ada"}'

REQUESTS = {
    "html": request("/books"),
    "json": request("/api/loans"),
    "post": request("/api/loans", "POST", LOAN, [("Content-Type", "application/json")]),
}


def apply_first(place: Path, database: Path, count: int) -> None:
    """An operator has applied the first `count` migrations."""
    some = files.write_migrations(place / "some", {})
    for version in VERSIONS[:count]:
        (source,) = LIBRARY_MIGRATIONS.glob(f"{version}_*.sql")
        (some / source.name).write_text(source.read_text())
        (some / source.name).chmod(0o644)
    done = program.run("apply", "--database", database, "--migrations", some, "--yes")
    assert done.code == 0, done.error
    assert files.history(database) == VERSIONS[:count]


def default_admin_port_is_free() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 9180)) != 0


@pytest.mark.parametrize("applied", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["html", "json", "post"])
def test_first_request_gets_200_and_a_second_start_applies_nothing(
    start: Any, application: Any, place: Path, applied: int, kind: str
) -> None:
    database = files.make_database(place / "library.db")
    if applied:
        apply_first(place, database, applied)
    before = files.history_rows(database) if applied else []
    app = application(LIBRARY, database)
    four = [
        "serve", "--listen", "127.0.0.1:0", "--upstream", app.url,
        "--database", database, "--migrations", LIBRARY_MIGRATIONS,
    ]  # fmt: skip
    # nothing else, unless another program on this machine has the operators' default port
    variables = {} if default_admin_port_is_free() else {"AUTOMIGRATE_ADMIN": "127.0.0.1:0"}

    first = start(*four, **variables).started()
    answer = ask(first.address, REQUESTS[kind])
    assert answer.status == (201 if kind == "post" else 200), (answer, first.log)
    # /books needs only 1 and 3: what comes behind 3 may still be missing when 3 was there
    expected = VERSIONS if kind != "html" or applied < 3 else VERSIONS[:applied]
    rows = files.history_rows(database)
    assert sorted(files.history(database)) == sorted(expected), first.log
    assert set(before) <= set(rows), "a row of an earlier apply was changed"
    assert len(first.events("applied")) == len(expected) - applied
    assert first.stop() == 0

    second = start(*four, **variables).started()
    again = ask(second.address, REQUESTS[kind])
    assert again.status == answer.status
    assert files.history_rows(database) == rows
    assert not second.events("applying")


def test_a_database_migrated_without_a_history_is_not_touched(
    serve: Any, application: Any, place: Path
) -> None:
    """Everything is there, but nobody wrote it down: nothing fails, so nothing is done."""
    database = files.make_database(place / "library.db")
    for version in VERSIONS:
        (source,) = LIBRARY_MIGRATIONS.glob(f"{version}_*.sql")
        files.execute(database, source.read_text().split("-- migrate:down")[0])
    before = files.schema(database)
    proxy = serve(application(LIBRARY, database).url, database, LIBRARY_MIGRATIONS)
    for data in REQUESTS.values():
        assert ask(proxy.address, data).status in (200, 201)
    assert files.schema(database) == before
    assert not files.has_table(database, "schema_migrations")
