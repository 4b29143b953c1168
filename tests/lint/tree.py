# SPDX-License-Identifier: MIT
"""The checkout as the lint checks see it: its root, its files, and how a finding is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {".git", "__pycache__", ".pytest_cache"}


def files(*suffixes: str, under: str = "") -> list[Path]:
    """Files below `under`, relative to the root and sorted; builds are left out. Walks the tree
    instead of asking git, which a bare system does not have."""
    found: list[Path] = []
    for directory, directories, names in os.walk(ROOT / under):
        directories[:] = [
            name for name in directories if name not in LEFT_OUT and not name.startswith("build")
        ]
        for name in names:
            path = Path(directory, name)
            if not suffixes or path.suffix in suffixes:
                found.append(path.relative_to(ROOT))
    return sorted(found)


def lines(path: Path) -> list[str]:
    """A file's lines; what is no text has none."""
    try:
        return (ROOT / path).read_text().splitlines()
    except UnicodeDecodeError:
        return []


def finish(findings: list[str]) -> None:
    """Prints the findings and ends the check: 1 if there are any."""
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)
