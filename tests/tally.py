# SPDX-License-Identifier: MIT
"""Adds up what the stages of `./dev test` left in a directory and has the last word.

Reads JUnit files (<stage>.xml, from meson and pytest) and lines.tsv: stage, outcome, name and reason
between tabs, where the outcome is passed, failed, skipped, or status for the exit code of a whole
stage. Prints what was skipped and why, what failed, a line for each stage, and at the very end

    N passed, N failed[, N skipped]

The exit code is 1 when anything failed or nothing passed.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One stage's tests by outcome, each as its name and the reason."""

    passed: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    status: int | None = None
    seconds: float = 0.0


def first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0].strip() if lines else ""


def test_name(case: ElementTree.Element, suite: str) -> str:
    parts = [case.get("classname") or suite, case.get("name") or ""]
    return " ".join(part for part in parts if part)


def read_junit(stage: Stage, path: Path) -> None:
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        for case in suite.findall("testcase"):
            name = test_name(case, suite.get("name") or "")
            stage.seconds += float(case.get("time") or 0)
            problem = case.find("failure")
            if problem is None:
                problem = case.find("error")
            skip = case.find("skipped")
            if problem is not None:
                reason = problem.get("message") or problem.text or ""
                stage.failed.append((name, first_line(reason)))
            elif skip is not None:
                reason = skip.get("message") or skip.text or "no reason given"
                stage.skipped.append((name, first_line(reason)))
            else:
                stage.passed.append((name, ""))


def read_lines(stages: dict[str, Stage], path: Path) -> None:
    for line in path.read_text().splitlines():
        stage_name, outcome, name, reason = line.split("\t")
        stage = stages.setdefault(stage_name, Stage())
        if outcome == "status":
            stage.status = int(reason)
        else:
            getattr(stage, outcome).append((name, reason))


def read_results(directory: Path) -> dict[str, Stage]:
    stages: dict[str, Stage] = {}
    for path in sorted(directory.glob("*.xml")):
        stage = stages.setdefault(path.stem, Stage())
        try:
            read_junit(stage, path)
        except ElementTree.ParseError as error:
            stage.failed.append((path.name, f"cannot be read: {error}"))
    lines = directory / "lines.tsv"
    if lines.exists():
        read_lines(stages, lines)
    for stage in stages.values():
        # A stage can fail without a failing test: a crash between tests, or nothing to run.
        if stage.status and not stage.failed:
            stage.failed.append(("the stage itself", f"exit code {stage.status}"))
    return stages


def print_reasons(heading: str, stages: dict[str, Stage], outcome: str) -> None:
    rows = [(name, *entry) for name, stage in stages.items() for entry in getattr(stage, outcome)]
    if rows:
        print(f"\n{heading}:")
    for stage_name, name, reason in rows:
        print(f"  {stage_name}: {name}" + (f": {reason}" if reason else ""))


def main() -> int:
    stages = read_results(Path(sys.argv[1]))
    print_reasons("skipped", stages, "skipped")
    print_reasons("failed", stages, "failed")
    print()
    total = {"passed": 0, "failed": 0, "skipped": 0}
    for name, stage in sorted(stages.items()):
        counts = {outcome: len(getattr(stage, outcome)) for outcome in total}
        for outcome, count in counts.items():
            total[outcome] += count
        words = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        print(f"  {name:18} {words}")
    closing = f"{total['passed']} passed, {total['failed']} failed"
    if total["skipped"]:
        closing += f", {total['skipped']} skipped"
    print(closing)
    return 0 if total["failed"] == 0 and total["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
