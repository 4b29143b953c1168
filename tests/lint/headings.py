# SPDX-License-Identifier: MIT
"""Every source file begins with its SPDX line and a comment that says its task; every header is
included once; no file outgrows what one reads in one go."""

from __future__ import annotations

from pathlib import Path

import tree

C_LICENCE = "/* SPDX-License-Identifier: MIT */"
SCRIPT_LICENCE = "# SPDX-License-Identifier: MIT"
MOST_LINES = 700


def check_c(path: Path, lines: list[str]) -> list[str]:
    findings = []
    if lines[:1] != [C_LICENCE]:
        findings.append(f"{path}:1: begins with {C_LICENCE}")
    if not lines[1:2] or not lines[1].startswith("/* "):
        findings.append(f"{path}:2: has no comment that says its task, its thread and who owns")
    if path.suffix == ".h" and "#pragma once" not in lines:
        findings.append(f"{path}: has no #pragma once")
    return findings


def check_script(path: Path, lines: list[str]) -> list[str]:
    first = lines[1:] if lines[:1] and lines[0].startswith("#!") else lines
    if first[:1] != [SCRIPT_LICENCE]:
        return [f"{path}: begins with {SCRIPT_LICENCE}"]
    if path.suffix == ".py" and (len(first) < 2 or not first[1].startswith('"""')):
        return [f"{path}: has no docstring that says its task"]
    return []


def main() -> None:
    findings: list[str] = []
    for path in tree.files():
        lines = tree.lines(path)
        if not lines:
            continue
        if path.suffix in (".c", ".h"):
            findings += check_c(path, lines)
        elif path.suffix == ".py" or lines[0].startswith("#!"):
            findings += check_script(path, lines)
        else:
            continue
        if len(lines) > MOST_LINES:
            findings.append(f"{path}: {len(lines)} lines; more than {MOST_LINES} are two nouns")
    tree.finish(findings)


if __name__ == "__main__":
    main()
