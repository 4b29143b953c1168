# SPDX-License-Identifier: MIT
"""Bad input gets one line that names the thing and the way out (P11)."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest
from harness import files, program
from harness.applications import Querying
from harness.client import ask, request
from harness.program import environment, run

GOOD = {"001_cards.sql": "CREATE TABLE cards (id INTEGER);"}


@dataclass
class Case:
    """What is wrong, how the program ends, and what the one line says (all of these words)."""

    code: int
    words: list[str]
    prepare: Callable[[Path], None] = lambda place: None
    arguments: list[str] | None = None  # instead of the usual four flags; {place} is filled in
    more: list[str] | None = None
    variables: dict[str, str] | None = None


def written(name: str, text: str) -> Callable[[Path], None]:
    def write(place: Path) -> None:
        (place / name).write_text(text)

    return write


def config(text: str) -> Callable[[Path], None]:
    return written("automigrate.yaml", text)


def migrations(**named: str) -> Callable[[Path], None]:
    def write(place: Path) -> None:
        (place / "migrations" / "001_cards.sql").unlink()
        files.write_migrations(place / "migrations", named)

    return write


def occupy(place: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    OCCUPIED.append(server)


OCCUPIED: list[socket.socket] = []
PORT = "{port}"  # the occupied one

FILE = ["--config", "{place}/automigrate.yaml"]

CASES = {
    "unknown flag": Case(2, ["--upstraem", "--upstream"], more=["--upstraem", "x"]),
    "no flags": Case(2, ["--"], arguments=["serve"]),
    "no upstream": Case(
        2, ["upstream"],
        arguments=["serve", "--listen", "127.0.0.1:0", "--database", "{place}/app.db",
                   "--migrations", "{place}/migrations"],
    ),
    "flag without a value": Case(2, ["--listen"], arguments=["serve", "--listen"]),
    "unknown subcommand": Case(2, ["sevre"], arguments=["sevre"]),
    "a word too many": Case(2, ["surplus"], more=["surplus"]),
    "bad mode": Case(2, ["mode", "sometimes", "auto"], more=["--mode", "sometimes"]),
    "bad upstream": Case(2, ["upstream", "ftp://", "http://"], more=["--upstream", "ftp://x"]),
    "bad listen": Case(2, ["listen", "nowhere"], more=["--listen", "nowhere"]),
    "bad port": Case(2, ["listen", "99999"], more=["--listen", "127.0.0.1:99999"]),
    "bad number": Case(2, ["workers", "many"], more=["--workers", "many"]),
    "bad variable": Case(
        2, ["AUTOMIGRATE_RECOVER_WAIT", "soon"], variables={"AUTOMIGRATE_RECOVER_WAIT": "soon"}
    ),
    "missing database": Case(
        2, ["gone.db", "--create-database"], more=["--database", "{place}/gone.db"]
    ),
    "database is a directory": Case(2, ["migrations"], more=["--database", "{place}/migrations"]),
    "database is no database": Case(
        1, ["text.db"], prepare=written("text.db", "hello " * 999),
        more=["--database", "{place}/text.db"],
    ),
    "missing migrations": Case(2, ["nothing-here"], more=["--migrations", "{place}/nothing-here"]),
    "migrations is a file": Case(2, ["app.db"], more=["--migrations", "{place}/app.db"]),
    "writable by others": Case(
        1, ["migrations", "write", "chmod"],
        prepare=lambda place: (place / "migrations").chmod(0o777),
    ),
    "a file writable by others": Case(
        1, ["001_cards.sql", "write", "chmod"],
        prepare=lambda place: (place / "migrations/001_cards.sql").chmod(0o666),
    ),
    "two files with one version": Case(
        1, ["1_a.sql", "001_b.sql", "version"],
        prepare=migrations(**{"1_a.sql": "SELECT 1;", "001_b.sql": "SELECT 1;"}),
    ),
    "cycle": Case(
        1, ["1", "2", "->"],
        prepare=migrations(**{
            "1_a.sql": "-- automigrate:depends 2\n-- migrate:up\nSELECT 1;",
            "2_b.sql": "-- automigrate:depends 1\n-- migrate:up\nSELECT 1;",
        }),
    ),
    "missing dependency": Case(
        1, ["1_a.sql", "99"],
        prepare=migrations(**{"1_a.sql": "-- automigrate:depends 99\n-- migrate:up\nSELECT 1;"}),
    ),
    "no up section": Case(
        1, ["1_a.sql"],
        prepare=migrations(**{"1_a.sql": "-- without a migrate:up line\nSELECT 1;"}),
    ),
    "unterminated": Case(
        1, ["1_a.sql"], prepare=migrations(**{"1_a.sql": "CREATE TABLE x (a TEXT DEFAULT 'open);"})
    ),
    "no semicolon at the end": Case(
        1, ["1_a.sql", "2", ";"], prepare=migrations(**{"1_a.sql": "CREATE TABLE cards (id)"})
    ),
    "NUL": Case(
        1, ["1_a.sql", "NUL"], prepare=migrations(**{"1_a.sql": "SELECT 1;\0 DROP TABLE x;"})
    ),
    "unknown directive": Case(
        1, ["1_a.sql", "dependz"],
        prepare=migrations(**{"1_a.sql": "-- automigrate:dependz 1\n-- migrate:up\nSELECT 1;"}),
    ),
    "missing file": Case(2, ["absent.yaml"], more=["--config", "{place}/absent.yaml"]),
    "misspelt key": Case(
        2, ["automigrate.yaml", "3", "upstraem", "upstream"],
        prepare=config("# ours\nmode: auto\nupstraem: http://127.0.0.1:1\n"),
        more=FILE,
    ),
    "misspelt key in a section": Case(
        2, ["automigrate.yaml", "2", "wiat", "wait"],
        prepare=config("recover:\n  wiat: 5s\n"), more=FILE,
    ),
    "bad value in the file": Case(
        2, ["automigrate.yaml", "2", "wait", "soon"],
        prepare=config("recover:\n  wait: soon\n"), more=FILE,
    ),
    "no YAML": Case(
        2, ["automigrate.yaml"], prepare=config("mode: [auto\n"), more=FILE
    ),
    "address in use": Case(
        1, ["127.0.0.1", PORT, "in use"], prepare=occupy, more=["--listen", "127.0.0.1:" + PORT]
    ),
    "admin address in use": Case(
        1, ["127.0.0.1", PORT, "in use"], prepare=occupy, more=["--admin", "127.0.0.1:" + PORT]
    ),
    **{
        f"{command} of a missing database": Case(
            2, ["gone.db"],
            arguments=[command, "--database", "{place}/gone.db",
                       "--migrations", "{place}/migrations"],
        )
        for command in ("status", "apply")
    },
    "apply without migrations": Case(
        2, ["nothing-here"],
        arguments=["apply", "--database", "{place}/app.db", "--migrations", "{place}/nothing-here"],
    ),
    "status without a database": Case(2, ["--database"], arguments=["status"]),
    "log with a bad flag": Case(2, ["--follw", "--follow"], arguments=["log", "--follw"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_p11_one_line_names_the_thing_and_the_way_out(place: Path, name: str) -> None:
    case = CASES[name]
    files.make_database(place / "app.db")
    files.write_migrations(place / "migrations", GOOD)
    case.prepare(place)
    port = str(OCCUPIED[-1].getsockname()[1]) if OCCUPIED else ""
    try:
        usual = [
            "serve", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:1",
            "--database", "{place}/app.db", "--migrations", "{place}/migrations",
            "--admin", "127.0.0.1:0",
        ]  # fmt: skip

        def fill(text: str) -> str:
            return text.replace("{place}", str(place)).replace(PORT, port)

        arguments = [fill(one) for one in (case.arguments or usual) + (case.more or [])]
        result = run(*arguments, variables=case.variables)
        lines = result.error.splitlines()
        assert result.code == case.code, result
        assert len(lines) == 1, result
        for word in case.words:
            assert fill(word) in lines[0], (word, lines[0])
        assert result.out == ""
        assert not (place / "gone.db").exists()
    finally:
        while OCCUPIED:
            OCCUPIED.pop().close()


def test_p11_an_unreadable_directory(place: Path) -> None:
    if os.geteuid() == 0:
        # root reads everything: the program runs as nobody, in a place that nobody may enter
        place.chmod(0o755)
    files.make_database(place / "app.db").chmod(0o644)
    directory = files.write_migrations(place / "migrations", GOOD)
    directory.chmod(0o700 if os.geteuid() == 0 else 0o000)
    nobody: Any = {"user": 65534, "group": 65534, "extra_groups": []}
    if os.geteuid() != 0:
        nobody = {}
    done = subprocess.run(
        [
            str(program.PROGRAM), "serve", "--listen", "127.0.0.1:0", "--admin", "off",
            "--upstream", "http://127.0.0.1:1", "--database", str(place / "app.db"),
            "--migrations", str(directory),
        ],
        capture_output=True, timeout=30, env=environment(), cwd="/",
        **nobody,
    )  # fmt: skip
    lines = done.stderr.decode().splitlines()
    assert done.returncode in (1, 2) and len(lines) == 1, done
    assert str(directory) in lines[0] and "ermission" in lines[0]


def test_p8_a_missing_database_is_made_only_when_asked_for(
    serve: Any, upstream: Any, place: Path
) -> None:
    database = place / "new.db"
    directory = files.write_migrations(place / "migrations", GOOD)
    app = upstream(Querying(database))
    proxy = serve(app.url, database, directory, "--create-database")
    assert ask(proxy.address, request("/")).status == 200, proxy.log
    assert files.history(database) == ["001"]


SUBCOMMANDS = ["serve", "status", "apply", "log"]


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], *([name, "--help"] for name in SUBCOMMANDS)], ids=" ".join
)
def test_help_and_version_end_with_0(words: list[str]) -> None:
    result = run(*words)
    assert result.code == 0 and result.error == ""
    assert "automigrate" in result.out
