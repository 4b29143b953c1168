# SPDX-License-Identifier: MIT
"""Arrows between rooms run downwards only: a file may include its own room and those below it."""

from __future__ import annotations

import re
from pathlib import Path

import tree

# From the lowest up. A new room needs its place here.
ROOMS = [
    "base", "config", "http", "fetch", "schema", "database", "journal", "detect", "migrate",
    "recover", "watch", "proxy", "admin", "cli",
]  # fmt: skip

# Rooms of pure functions: what they must not know.
PURE_ROOMS = {"http", "schema", "detect"}
IMPURE_HEADERS = {
    "pthread.h", "threads.h", "poll.h", "sys/epoll.h", "sys/eventfd.h", "sys/socket.h", "sys/un.h",
    "netinet/in.h", "netdb.h", "base/clock.h", "base/queue.h",
}  # fmt: skip

INCLUDE = re.compile(r'\s*#\s*include\s+([<"])([^>"]+)[>"]')


def check_include(path: Path, number: int, bracket: str, target: str) -> str | None:
    room = path.parts[1] if len(path.parts) > 2 else "main"
    if room in PURE_ROOMS and target in IMPURE_HEADERS:
        return f"{path}:{number}: {room}/ is pure and may not include {target}"
    if bracket == "<":
        return None
    if not (tree.ROOT / "src" / target).is_file() and target != "version.h":
        return f'{path}:{number}: "{target}" is no file of src/; name headers as room/noun.h'
    target_room = target.split("/")[0]
    if room == "main" or target == "version.h":
        return None
    if ROOMS.index(target_room) > ROOMS.index(room):
        return f"{path}:{number}: {room}/ lies below {target_room}/ and may not include {target}"
    return None


def main() -> None:
    findings: list[str] = []
    rooms = {entry.name for entry in (tree.ROOT / "src").iterdir() if entry.is_dir()}
    findings += [f"src/{room}: has no place in the order of rooms" for room in rooms - set(ROOMS)]
    for path in tree.files(".c", ".h", under="src"):
        if len(path.parts) > 2 and path.parts[1] not in ROOMS:
            continue
        for number, line in enumerate(tree.lines(path), start=1):
            match = INCLUDE.match(line)
            finding = check_include(path, number, *match.groups()) if match else None
            if finding:
                findings.append(finding)
    tree.finish(findings)


if __name__ == "__main__":
    main()
