# SPDX-License-Identifier: MIT
"""The maps are true: every folder at the top has a README.md and stands in the top one; every room
and every file of a room stands in src/README.md; what the maps name exists."""

from __future__ import annotations

import re
from pathlib import Path

import tree

# `path/in/backticks` and [text](path): taken for paths of the tree when they hold a slash or end
# like a file of ours.
QUOTED = re.compile(r"`([A-Za-z0-9_.][A-Za-z0-9_./-]*)`|\]\(([^)#]+)\)")
FILE_ENDINGS = (".c", ".h", ".py", ".sql", ".yaml", ".md", ".build", "/")


def check_folders() -> list[str]:
    findings = []
    top = (tree.ROOT / "README.md").read_text()
    for name in sorted({path.parts[0] for path in tree.files() if len(path.parts) > 1}):
        if name.startswith("."):
            continue
        if not (tree.ROOT / name / "README.md").is_file():
            findings.append(f"{name}/: has no README.md")
        if f"{name}/" not in top:
            findings.append(f"README.md: does not mention {name}/")
    return findings


def check_rooms() -> list[str]:
    """A room's part of the map begins with its name and a slash as a heading; its lines begin with
    the nouns they tell of: noun.c and noun.h are named once, as `noun`."""
    findings = []
    text = (tree.ROOT / "src" / "README.md").read_text()
    parts = dict(re.findall(r"^### ([a-z]+)/$(.*?)(?=^##|\Z)", text, re.M | re.S))
    for room, part in parts.items():
        for nouns in re.findall(r"^- ((?:`[a-z_/]+`(?:, )?)+)", part, re.M):
            for noun in re.findall(r"`([a-z_/]+)`", nouns):
                if not any((tree.ROOT / "src" / room / f"{noun}{end}").exists() for end in (".c", ".h")):
                    findings.append(f"src/README.md: {room}/ names `{noun}`, which does not exist")
    for path in tree.files(".c", ".h", under="src"):
        if len(path.parts) < 3:
            continue
        room, noun = path.parts[1], "/".join(path.with_suffix("").parts[2:])
        if room not in parts:
            finding = f"src/README.md: has no heading for {room}/"
        elif f"`{noun}`" not in parts[room]:
            finding = f"src/README.md: {room}/ does not name `{noun}`"
        else:
            continue
        if finding not in findings:
            findings.append(finding)
    return findings


def check_names(readme: Path) -> list[str]:
    findings = []
    for number, line in enumerate(tree.lines(readme), start=1):
        for quoted, linked in QUOTED.findall(line):
            name = quoted or linked
            if "://" in name or name.startswith(("build/", "/")):
                continue
            if quoted and not ("/" in name and name.endswith(FILE_ENDINGS)):
                continue
            if not any((base / name).exists() for base in (tree.ROOT, (tree.ROOT / readme).parent)):
                findings.append(f"{readme}:{number}: names {name}, which does not exist")
    return findings


def main() -> None:
    findings = check_folders() + check_rooms()
    for readme in tree.files(".md"):
        findings += check_names(readme)
    tree.finish(findings)


if __name__ == "__main__":
    main()
