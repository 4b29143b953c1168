# SPDX-License-Identifier: MIT
"""An application that does what a test tells it to: the upstream of fault tests.

An asyncio server in a thread of its own. It records each request as it came (head, body, when) and
answers as the script says: a function from the recorded request to a list of steps. A step is
bytes to send, a Gate to wait at, or CLOSE. A script runs in a small pool of threads, so it may
look into a database. Requests of one connection are answered in order; nothing is sent that no
step sends.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Callable, Iterable, Union

READ_SIZE = 256 * 1024
BODY_KEPT = 64 * 1024  # bytes of a body that are kept for looking at; the rest is only hashed


class Gate:
    """Something that a step waits for, opened by the test from any thread."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.lock = threading.Lock()
        self.waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self.reached = threading.Semaphore(0)

    def open(self) -> None:
        with self.lock:
            self.opened.set()
            for loop, event in self.waiting:
                loop.call_soon_threadsafe(event.set)
            self.waiting.clear()

    def wait_until_reached(self, times: int = 1, timeout: float = 20) -> None:
        """Returns when `times` more answers have come to this gate."""
        end = time.monotonic() + timeout
        for number in range(times):
            if not self.reached.acquire(timeout=max(0, end - time.monotonic())):
                raise AssertionError(f"only {number} of {times} answers reached the gate")

    async def passed(self) -> None:
        event = asyncio.Event()
        with self.lock:
            if self.opened.is_set():
                event.set()
            else:
                self.waiting.append((asyncio.get_running_loop(), event))
        self.reached.release()
        await event.wait()


class Close:
    """The step that closes the connection."""


class Reset:
    """The step that resets the connection."""


CLOSE = Close()
RESET = Reset()

Step = Union[bytes, Gate, Close, Reset]


@dataclass
class Request:
    """A request as the upstream got it."""

    number: int  # of the connection's requests, from 1
    connection: int
    method: str
    target: str
    head: bytes
    time: float
    length: int = 0
    sha256: str = ""
    body: bytes = b""  # its first BODY_KEPT bytes
    chunked: bool = False
    complete: bool = False

    def fields(self, name: str) -> list[str]:
        """The values of the fields of that name, in order."""
        values = []
        for line in self.head.split(b"\r\n")[1:]:
            key, colon, value = line.partition(b":")
            if colon and key.lower() == name.lower().encode():
                values.append(value.strip().decode("latin-1"))
        return values

    @property
    def names(self) -> set[str]:
        lines = self.head.split(b"\r\n")[1:]
        return {line.partition(b":")[0].decode("latin-1").lower() for line in lines if line}

    @property
    def attempt(self) -> int:
        return int((self.fields("X-Automigrate-Attempt") or ["1"])[0])


Script = Callable[[Request], Iterable[Step]]


def head_of(status: int, fields: Iterable[tuple[str, str]] = (), reason: str = "Fine") -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}"] + [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunks_of(body: bytes, size: int = 8192) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def reply(
    status: int = 200,
    body: bytes = b"fine\n",
    framing: str = "length",
    kind: str = "text/plain",
    fields: Iterable[tuple[str, str]] = (),
    close: bool = False,
) -> list[Step]:
    """An answer in one of the framings length, chunked, close; `close` ends the connection."""
    own = [("Content-Type", kind), *fields]
    if framing == "length":
        own.append(("Content-Length", str(len(body))))
    elif framing == "chunked":
        own.append(("Transfer-Encoding", "chunked"))
        body = chunks_of(body)
    if close or framing == "close":
        own.append(("Connection", "close"))
        return [head_of(status, own) + body, CLOSE]
    return [head_of(status, own) + body]


@dataclass
class Upstream:
    """The server. Use it as a context manager; `script` may be changed at any time."""

    script: Script = lambda request: reply()
    unix: str = ""
    answer_continue: bool = True  # sends 100 to a request that expects it
    requests: list[Request] = field(default_factory=list)
    connections: int = 0  # that were accepted
    early: Callable[[Request], list[Step]] | None = None  # answers before the body is read
    pause_reading: Gate | None = None  # at which each connection waits before it reads a body

    def __enter__(self) -> "Upstream":
        self.pool = ThreadPoolExecutor(max_workers=8)
        self.changed = threading.Condition()
        self.open_writers: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="upstream")
        self.thread.start()
        self.listen()
        return self

    def __exit__(self, *exception: object) -> None:
        async def end() -> None:
            self.server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for writer in list(self.open_writers):
                writer.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(timeout=10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=10)
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.loop.close()

    def listen(self, port: int = 0) -> None:
        async def begin() -> asyncio.Server:
            limit = 4 * READ_SIZE
            if self.unix:
                return await asyncio.start_unix_server(
                    self.serve, self.unix, backlog=1024, limit=limit
                )
            return await asyncio.start_server(
                self.serve, "127.0.0.1", port, backlog=1024, limit=limit
            )

        self.server = asyncio.run_coroutine_threadsafe(begin(), self.loop).result(timeout=10)
        if not self.unix:
            self.port = self.server.sockets[0].getsockname()[1]

    def stop_listening(self) -> None:
        """Also ends the open connections: the application is down."""

        async def end() -> None:
            self.server.close()
            for writer in list(self.open_writers):
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(timeout=10)

    @property
    def url(self) -> str:
        return f"unix:{self.unix}" if self.unix else f"http://127.0.0.1:{self.port}"

    def seen(self, target: str = "") -> list[Request]:
        with self.changed:
            return [one for one in self.requests if not target or one.target == target]

    def wait_for(self, count: int, target: str = "", timeout: float = 20) -> list[Request]:
        """Returns when that many requests (for `target`) have arrived, bodies included."""
        with self.changed:
            arrived = self.changed.wait_for(
                lambda: len([one for one in self.seen(target) if one.complete]) >= count, timeout
            )
        seen = self.seen(target)
        assert arrived, f"{len(seen)} of {count} requests for {target or 'anything'} arrived"
        return seen

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        self.open_writers.add(writer)
        connected = writer.get_extra_info("socket")
        if connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            number = 0
            alive = True
            while alive:
                number += 1
                alive = await self.exchange(connection, number, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open_writers.discard(writer)
            writer.close()

    async def exchange(
        self,
        connection: int,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """One request and its answer; False when the connection has ended."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ", 2)
        request = Request(number, connection, method, target, head, time.monotonic())
        with self.changed:
            self.requests.append(request)
        if self.answer_continue and request.fields("Expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.pause_reading:
            await self.pause_reading.passed()
        if self.early and (steps := self.early(request)):
            if not await self.send(steps, writer):
                return False
            await self.read_body(request, reader)
            return True
        await self.read_body(request, reader)
        with self.changed:
            request.complete = True
            self.changed.notify_all()
        steps = await self.loop.run_in_executor(self.pool, lambda: list(self.script(request)))
        return await self.send(steps, writer)

    async def send(self, steps: list[Step], writer: asyncio.StreamWriter) -> bool:
        """Does what the steps say; False when one of them ended the connection."""
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, Gate):
                await step.passed()
            elif isinstance(step, Reset):
                writer.transport.abort()
                return False
            else:
                return False
        return True

    async def read_body(self, request: Request, reader: asyncio.StreamReader) -> None:
        digest = hashlib.sha256()

        async def take(length: int) -> None:
            while length:
                piece = await reader.read(min(length, READ_SIZE))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", length)
                length -= len(piece)
                request.length += len(piece)
                digest.update(piece)
                if len(request.body) < BODY_KEPT:
                    request.body += piece[: BODY_KEPT - len(request.body)]

        lengths = request.fields("Content-Length")
        if "chunked" in ",".join(request.fields("Transfer-Encoding")).lower():
            request.chunked = True
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                await take(size)
                assert await reader.readexactly(2) == b"\r\n"
            while await reader.readuntil(b"\r\n") != b"\r\n":
                continue
        elif lengths:
            await take(int(lengths[0]))
        request.sha256 = digest.hexdigest()
