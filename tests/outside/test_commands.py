# SPDX-License-Identifier: MIT
"""The command line: status, apply and log work on the database alone and agree with the server
(P12); flags over variables over the file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Callable

import pytest
from harness import files
from harness.applications import Querying
from harness.client import ask, request
from harness.program import run
from scripted import reply

DONE, FAILED, USAGE, PENDING, DRIFT = 0, 1, 2, 3, 4

MIGRATIONS = {
    "001_cards.sql": "CREATE TABLE cards (id INTEGER PRIMARY KEY);",
    "002_places.sql": "ALTER TABLE cards ADD COLUMN place INTEGER;",
    "003_drop.sql": "DROP TABLE old;",
}


@pytest.fixture
def deployed(place: Path) -> list[str | Path]:
    """A database with one old table, three migrations; the flags that name them."""
    database = files.make_database(place / "app.db", "CREATE TABLE old (id INTEGER);")
    directory = files.write_migrations(place / "migrations", MIGRATIONS)
    return ["--database", database, "--migrations", directory]


def versions(rows: list[dict[str, Any]]) -> list[str]:
    return [row["version"] for row in rows]


def test_p12_status_says_what_is_pending_and_writes_nothing(place: Path, deployed: Any) -> None:
    before = sorted(path.name for path in place.iterdir())
    result = run("status", "--json", *deployed)
    assert result.code == PENDING, result
    assert versions(result.json["pending"]) == ["001", "002", "003"]
    assert [entry["risk"] for entry in result.json["pending"]][2] == "red"
    assert result.json["applied"] == [] and result.json["drift"] == []
    assert {"kind": "table", "name": "cards"} in result.json["pending"][0]["provides"]
    assert files.history(place / "app.db") == []
    assert sorted(path.name for path in place.iterdir()) == before
    plain = run("status", *deployed)
    assert plain.code == PENDING and "001" in plain.out and "\x1b" not in plain.out


def test_apply_applies_every_risk_and_says_what_it_did(place: Path, deployed: Any) -> None:
    result = run("apply", *deployed)  # no terminal: no question
    assert result.code == DONE, result
    assert files.history(place / "app.db") == ["001", "002", "003"]
    assert not files.has_table(place / "app.db", "old")
    status = run("status", "--json", *deployed)
    assert status.code == DONE
    assert versions(status.json["applied"]) == ["001", "002", "003"]
    assert all(row["cause"] == "operator" for row in status.json["applied"])
    assert len({row["batch"] for row in status.json["applied"]}) == 1
    again = run("apply", *deployed, "--yes")
    assert again.code == DONE
    assert len(files.history(place / "app.db")) == 3


def test_p8_what_is_red_is_backed_up_before(place: Path, deployed: Any) -> None:
    files.execute(place / "app.db", "INSERT INTO old VALUES (41);")
    assert run("apply", *deployed, "--yes").code == DONE
    backups = [path for path in (place / "app.db.automigrate").rglob("*") if path.suffix == ".db"]
    kept = [
        files.query(path, "SELECT id FROM old") for path in backups if files.has_table(path, "old")
    ]
    assert [(41,)] in kept
    for path in backups:
        assert path.stat().st_mode & 0o077 == 0


def test_apply_json_is_data(place: Path, deployed: Any) -> None:
    result = run("apply", "--json", "--yes", *deployed)
    assert result.code == DONE
    said = json.dumps(result.json_lines if result.out.count("\n{") else result.json)
    for version in ("001", "002", "003"):
        assert version in said


def test_the_history_says_who_when_why_and_how_long(place: Path, deployed: Any) -> None:
    assert run("apply", *deployed).code == DONE
    columns = [
        row[1] for row in files.query(place / "app.db", "PRAGMA table_info(schema_migrations)")
    ]
    assert set(columns) >= {"version", "name", "checksum", "state", "applied_at", "execution_ms",
                            "statements", "applied_by", "host", "cause", "batch"}  # fmt: skip
    ((checksum, state, name),) = files.query(
        place / "app.db",
        "SELECT checksum, state, name FROM schema_migrations WHERE version = '001'",
    )
    text = (place / "migrations" / "001_cards.sql").read_bytes()
    assert checksum == hashlib.sha256(text).hexdigest()
    assert (state, name) == ("applied", "cards")
    # dbmate writes versions only
    files.execute(place / "app.db", "INSERT INTO schema_migrations (version) VALUES ('777')")


def test_line_ends_do_not_change_a_checksum(place: Path, deployed: Any) -> None:
    assert run("apply", *deployed).code == DONE
    file = place / "migrations" / "001_cards.sql"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert run("status", *deployed).code == DONE


DRIFTS: dict[str, Callable[[Path], Any]] = {
    "changed": lambda place: (place / "migrations/001_cards.sql").write_text(
        "-- migrate:up\nCREATE TABLE other (id INTEGER);\n"
    ),
    "missing": lambda place: (place / "migrations/002_places.sql").unlink(),
    "late": lambda place: files.write_migrations(
        place / "migrations", {"000_late.sql": "SELECT 1;"}
    ),
    "ahead": lambda place: files.execute(
        place / "app.db", "INSERT INTO schema_migrations (version) VALUES ('900')"
    ),
}


@pytest.mark.parametrize("kind", DRIFTS)
def test_p12_drift_is_reported_and_ends_with_4(place: Path, deployed: Any, kind: str) -> None:
    assert run("apply", *deployed).code == DONE
    DRIFTS[kind](place)
    result = run("status", "--json", *deployed)
    assert result.code == DRIFT, result
    assert kind in [drift["kind"] for drift in result.json["drift"]]
    assert all(drift["message"] for drift in result.json["drift"])


def test_p12_status_follows_what_others_do(
    serve: Any, upstream: Any, place: Path, deployed: Any
) -> None:
    """Every way of asking reads the database: command, server, and the server's next decision."""
    database = place / "app.db"
    app = upstream(Querying(database))
    proxy = serve(app.url, database, place / "migrations")

    def asked_by_all() -> list[list[list[str]]]:
        told = [
            run("status", "--json", *deployed).json,
            json.loads(ask(proxy.admin, request("/api/v1/status", host=proxy.admin)).body),
        ]
        return [[versions(one["applied"]), versions(one["pending"])] for one in told]

    assert asked_by_all() == [[[], ["001", "002", "003"]]] * 2
    first = files.write_migrations(place / "first", {"001_cards.sql": MIGRATIONS["001_cards.sql"]})
    assert run("apply", "--database", database, "--migrations", first).code == DONE
    assert asked_by_all() == [[["001"], ["002", "003"]]] * 2
    files.execute(
        database, "DELETE FROM schema_migrations; DROP TABLE cards; DROP TABLE schema_migrations;"
    )
    assert asked_by_all() == [[[], ["001", "002", "003"]]] * 2


@pytest.mark.threads
def test_log_tells_what_happened_as_cloudevents(
    serve: Any, upstream: Any, place: Path, deployed: Any
) -> None:
    database = place / "app.db"
    app = upstream(Querying(database))
    proxy = serve(app.url, database, place / "migrations")
    assert ask(proxy.address, request("/cards")).status == 200, proxy.log
    assert proxy.stop() == 0
    result = run("log", "--json", *deployed)
    assert result.code == DONE, result
    events = result.json_lines
    for event in events:
        assert event["specversion"] == "1.0"
        assert {"id", "source", "type", "time", "data"} <= set(event)
    told = [(event["type"], event.get("subject")) for event in events]
    for expected in [
        ("automigrate.detected", "no such table: cards"),
        ("automigrate.applied", "001"),
        ("automigrate.applied", "002"),
    ]:
        assert expected in told, told
    order = [kind for kind, _ in told]
    assert order.index("automigrate.detected") < order.index("automigrate.applied")
    assert "automigrate.healed" in order
    plain = run("log", *deployed)
    assert plain.code == DONE and "no such table: cards" in plain.out
    assert "\x1b" not in plain.out


@pytest.mark.threads
def test_p9_equal_events_are_counted_together(serve: Any, upstream: Any, place: Path) -> None:
    database = files.make_database(place / "app.db")
    app = upstream(lambda one: reply(500, b"no such table: nowhere"))
    directory = files.write_migrations(place / "migrations", MIGRATIONS)
    proxy = serve(app.url, database, directory)
    for _ in range(200):
        ask(proxy.address, request("/"))
    assert proxy.stop() == 0
    result = run("log", "--json", "--database", database, "--migrations", directory)
    unmapped = [one for one in result.json_lines if one["type"] == "automigrate.unmapped"]
    assert 1 <= len(unmapped) <= 20, f"{len(unmapped)} rows for 200 equal failures"
    assert sum(one["data"].get("count", 1) for one in unmapped) == 200


def test_log_of_a_database_that_has_none_is_empty(place: Path, deployed: Any) -> None:
    result = run("log", "--json", *deployed)
    assert (result.code, result.out) == (DONE, "")


@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("file", [False, True])
def test_a_flag_beats_a_variable_beats_the_file(
    place: Path, deployed: Any, flag: bool, variable: bool, file: bool
) -> None:
    """Which of three databases `status` looks into."""
    for name in ("flag", "variable", "file"):
        files.make_database(place / f"{name}.db")
    arguments: list[Any] = ["status", "--json", *deployed[2:]]
    variables = {}
    if file:
        (place / "c.yaml").write_text(f"database: {place / 'file.db'}\n")
        arguments += ["--config", place / "c.yaml"]
    if variable:
        variables["AUTOMIGRATE_DATABASE"] = str(place / "variable.db")
    if flag:
        arguments += ["--database", place / "flag.db"]
    result = run(*arguments, variables=variables)
    if not (flag or variable or file):
        assert result.code == USAGE and "--database" in result.error
        return
    winner = "flag" if flag else "variable" if variable else "file"
    assert result.json["database"] == str(place / f"{winner}.db")


def test_everything_can_stand_in_the_file(
    start: Any, upstream: Any, place: Path, deployed: Any
) -> None:
    app = upstream(Querying(place / "app.db"))
    (place / "automigrate.yaml").write_text(
        f"listen: 127.0.0.1:0\nupstream: {app.url}\ndatabase: {place / 'app.db'}\n"
        f"migrations: {place / 'migrations'}\nadmin: 127.0.0.1:0\nworkers: 1\n"
        "log:\n  format: json\nrecover:\n  wait: 5s\n"
    )
    proxy = start("serve", "--config", place / "automigrate.yaml").started()
    assert proxy.log.startswith("{")
    assert ask(proxy.address, request("/")).status == 200, proxy.log
    named = start("serve", AUTOMIGRATE_CONFIG=str(place / "automigrate.yaml")).started()
    assert ask(named.address, request("/")).status == 200
