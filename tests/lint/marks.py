# SPDX-License-Identifier: MIT
"""No marks of unfinished work: what is not done is an issue, not a comment."""

from __future__ import annotations

import re

import tree

# Put together from parts, so that this file does not find itself.
WORDS = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "W" + "IP"]
PHRASES = ["not (yet )?imple" + "mented", "unimple" + "mented", "<<<" + "<<<<"]
MARKS = re.compile(r"\b(" + "|".join(WORDS) + r")\b|" + "|".join(PHRASES))


def main() -> None:
    findings: list[str] = []
    for path in tree.files():
        if path.parts[:3] == ("tests", "fuzz", "corpus"):
            continue
        for number, line in enumerate(tree.lines(path), start=1):
            match = MARKS.search(line)
            if match:
                findings.append(f"{path}:{number}: {match.group(0)}: finish it or open an issue")
    tree.finish(findings)


if __name__ == "__main__":
    main()
