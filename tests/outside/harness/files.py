# SPDX-License-Identifier: MIT
"""Databases and migration directories that tests make and look into."""

from __future__ import annotations

import sqlite3
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any, Mapping


def make_database(path: Path, sql: str = "", wal: bool = False) -> Path:
    """A database file, also when there is nothing in it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(textwrap.dedent(sql))
    return path


def write_migrations(directory: Path, files: Mapping[str, str]) -> Path:
    """Each file's text is its up section, unless it has markers of its own."""
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    for name, text in files.items():
        text = textwrap.dedent(text).strip() + "\n"
        if "migrate:up" not in text:
            text = "-- migrate:up\n" + text
        (directory / name).write_text(text)
        (directory / name).chmod(0o644)
    return directory


def query(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, timeout=20)) as connection:
        return connection.execute(sql, values).fetchall()


def execute(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path, timeout=20)) as connection:
        connection.executescript(sql)


def schema(path: Path) -> list[tuple[Any, ...]]:
    """All that a migration can change in the catalogue, but for our own history."""
    return query(
        path,
        "SELECT type, name, tbl_name, sql FROM sqlite_master"
        " WHERE tbl_name <> 'schema_migrations' ORDER BY type, name",
    )


def has_table(path: Path, name: str) -> bool:
    return bool(query(path, "SELECT 1 FROM sqlite_master WHERE name = ?", name))


def history(path: Path) -> list[str]:
    """The versions that the database says are applied, one a row."""
    if not has_table(path, "schema_migrations"):
        return []
    return [row[0] for row in query(path, "SELECT version FROM schema_migrations ORDER BY rowid")]


def history_rows(path: Path) -> list[tuple[Any, ...]]:
    return query(path, "SELECT * FROM schema_migrations ORDER BY version")


def is_write_locked(path: Path) -> bool:
    """Whether somebody holds the write lock at this moment."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                return True
            raise
        connection.execute("ROLLBACK")
        return False
