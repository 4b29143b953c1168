# SPDX-License-Identifier: MIT
"""The program under test as a process: started, watched through its log lines, ended.

Waiting is always for something: a log line, the end of the process. A thread reads standard error
and wakes those who wait; nothing sleeps.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

from .client import ask, request

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(os.environ.get("AUTOMIGRATE", ROOT / "build" / "automigrate"))

START_BOUND = 20.0  # seconds; sanitizers are slow to start on a busy machine
STOP_BOUND = 20.0

SANITIZER_REPORT = re.compile(
    r"ERROR: AddressSanitizer|WARNING: ThreadSanitizer|LeakSanitizer|: runtime error: "
    r"|ERROR: ThreadSanitizer"
)
# What the caller has set wins. 99 is no exit code of the program's own.
SANITIZER_SETTINGS = {
    "ASAN_OPTIONS": "exitcode=99:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "exitcode=99:halt_on_error=1:second_deadlock_stack=1",
}

PAIR = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)')


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without any AUTOMIGRATE_… of the machine's; sanitizers set up; `more` on top."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMIGRATE")}
    for name, value in SANITIZER_SETTINGS.items():
        own[name] = ":".join(part for part in (value, own.get(name)) if part)
    own.update(more or {})
    return own


def parse_line(line: str) -> dict[str, str]:
    """A log line, key=value or JSON, as a dictionary of texts."""
    if line.startswith("{"):
        return {key: str(value) for key, value in json.loads(line).items()}
    return {
        key: json.loads(value) if value.startswith('"') else value
        for key, value in PAIR.findall(line)
    }


@dataclass
class Program:
    """A running `automigrate serve`."""

    arguments: Sequence[str | Path]
    variables: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()  # a program that starts it, as prlimit

    def __post_init__(self) -> None:
        self.lines: list[str] = []
        self.changed = threading.Condition()
        self.ended = False  # standard error is at its end
        self.process = subprocess.Popen(
            [*self.prefix, str(PROGRAM), *map(str, self.arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(self.variables),
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        with self.changed:
            return "\n".join(self.lines)

    def events(self, name: str = "", **fields: str) -> list[dict[str, str]]:
        """The log lines so far that have this event name and these fields."""
        with self.changed:
            lines = [line for line in self.lines if "event" in line]
        parsed = [parse_line(line) for line in lines]
        wanted = {"event": name, **fields} if name else fields
        return [one for one in parsed if wanted.items() <= one.items()]

    def wait_for_event(
        self, name: str, count: int = 1, timeout: float = START_BOUND, **fields: str
    ) -> list[dict[str, str]]:
        """Returns when that many such lines were written."""
        with self.changed:
            found = self.changed.wait_for(
                lambda: len(self.events(name, **fields)) >= count or self.ended, timeout
            )
        events = self.events(name, **fields)
        assert found and len(events) >= count, (
            f"{len(events)} of {count} lines event={name} {fields}"
            f"{' before the program ended' if self.ended else ''}:\n{self.log}"
        )
        return events

    def started(self) -> "Program":
        """Waits for the line that says where it listens."""
        line = self.wait_for_event("started")[0]
        self.address = line["address"]
        self.admin = line.get("admin", "")
        return self

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = STOP_BOUND) -> int:
        code = self.process.wait(timeout)
        self.reader.join(timeout)
        return code

    def stop(self) -> int:
        """SIGTERM, and SIGKILL when that does not help; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_BOUND)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"still running after SIGTERM:\n{self.log}") from None
        code = self.wait()
        assert self.process.stderr
        self.process.stderr.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def sanitizer_report(self) -> str:
        return self.log if SANITIZER_REPORT.search(self.log) else ""

    def metric(self, name: str) -> float:
        """A metric's value, all its labels together."""
        lines = ask(self.admin, request("/metrics", host=self.admin)).body.decode().splitlines()
        values = [line for line in lines if re.match(rf"{name}[ {{]", line)]
        assert values, f"no metric {name}"
        return sum(float(line.rsplit(" ", 1)[1]) for line in values)

    def memory(self, which: str = "VmRSS") -> int:
        """Bytes: VmRSS is what is resident now, VmHWM its highest value so far."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(which + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {which} for process {self.pid}")


@dataclass
class Result:
    """A command that has ended."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]


def run(
    *arguments: str | Path, variables: Mapping[str, str] | None = None, timeout: float = 30
) -> Result:
    """Runs the program to its end, without a terminal."""
    done = subprocess.run(
        [str(PROGRAM), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(variables),
        timeout=timeout,
    )
    result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert not SANITIZER_REPORT.search(result.error), result.error
    return result


def wait_until(condition: Any, what: str, timeout: float = 20) -> Any:
    """Looks again and again at something that tells nobody when it changes (a lock, a file); for
    everything else there is an event to wait for. Returns what `condition` returned."""
    end = time.monotonic() + timeout
    pause = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        pause.wait(0.002)
    return value
