# SPDX-License-Identifier: MIT
"""Clients on raw sockets: what was sent and what came back, byte for byte.

Connection is one blocking connection with a time limit on everything. burst() opens many at once
and sends on all of them when all are open.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from dataclasses import dataclass, field
from typing import Iterable, Sequence

TIMEOUT = 30.0


@dataclass
class Response:
    status: int
    head: bytes
    body: bytes = b""
    trailers: bytes = b""
    length: int = 0  # of the body, without framing
    sha256: str = ""
    interim: list[bytes] = field(default_factory=list)  # heads of 1xx answers before it

    def fields(self, name: str) -> list[str]:
        values = []
        for line in self.head.split(b"\r\n")[1:]:
            key, colon, value = line.partition(b":")
            if colon and key.lower() == name.lower().encode():
                values.append(value.strip().decode("latin-1"))
        return values

    def field(self, name: str) -> str:
        return ", ".join(self.fields(name))


def request(
    target: str = "/",
    method: str = "GET",
    body: bytes | None = None,
    fields: Iterable[tuple[str, str]] = (),
    chunked: bool = False,
    host: str = "app.test",
) -> bytes:
    """A whole request as bytes."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in fields]
    if body is not None:
        lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if body is None:
        return head
    return head + (chunks(body) if chunked else body)


def chunks(body: bytes, size: int = 50_000) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class Connection:
    """One connection to `address` (host:port or unix:/path)."""

    def __init__(self, address: str, timeout: float = TIMEOUT) -> None:
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address.removeprefix("unix:"))
        else:
            self.socket = socket.create_connection(split_address(address), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def more(self) -> bool:
        """Reads once; False at the end of the connection."""
        data = self.socket.recv(1 << 20)
        self.buffer += data
        return bool(data)

    def take_until(self, end: bytes) -> bytes:
        while end not in self.buffer:
            if not self.more():
                raise EOFError(f"the connection ended within {self.buffer[:200]!r}")
        data, _, self.buffer = self.buffer.partition(end)
        return data + end

    def take(self, length: int) -> Iterable[bytes]:
        while length:
            if not self.buffer and not self.more():
                raise EOFError(f"the connection ended {length} bytes before the body's end")
            piece, self.buffer = self.buffer[:length], self.buffer[length:]
            length -= len(piece)
            yield piece

    def read_head(self) -> bytes:
        return self.take_until(b"\r\n\r\n")

    def read_response(self, method: str = "GET", keep: bool = True) -> Response:
        """The next final answer. `keep` False only measures and hashes its body."""
        interim = []
        while (head := self.read_head()).split(b" ", 2)[1].startswith(b"1"):
            interim.append(head)
            if head.split(b" ", 2)[1] == b"101":
                return Response(101, head)
        response = Response(int(head.split(b" ", 2)[1]), head, interim=interim)
        digest = hashlib.sha256()
        kept = []
        for piece in self.body_of(response, method):
            digest.update(piece)
            response.length += len(piece)
            if keep:
                kept.append(piece)
        response.body = b"".join(kept)
        response.sha256 = digest.hexdigest()
        return response

    def body_of(self, response: Response, method: str) -> Iterable[bytes]:
        if method == "HEAD" or response.status in (204, 304):
            return
        if response.fields("Transfer-Encoding"):
            assert response.field("Transfer-Encoding").lower() == "chunked", response.head
            assert not response.fields("Content-Length"), response.head
            while size := int(self.take_until(b"\r\n").split(b";")[0], 16):
                yield from self.take(size)
                assert b"".join(self.take(2)) == b"\r\n"
            while (line := self.take_until(b"\r\n")) != b"\r\n":
                response.trailers += line
        elif response.fields("Content-Length"):
            yield from self.take(int(response.fields("Content-Length")[0]))
        else:
            while True:
                piece, self.buffer = self.buffer, b""
                if piece:
                    yield piece
                if not self.more():
                    return

    def ask(self, data: bytes, method: str = "GET") -> Response:
        self.send(data)
        return self.read_response(method)

    def is_at_end(self) -> bool:
        """Whether the other side closes and sends nothing more; waits for it to."""
        try:
            return not self.buffer and not self.more()
        except ConnectionResetError:
            return True


def ask(address: str, data: bytes, method: str = "GET", timeout: float = TIMEOUT) -> Response:
    """One request on a connection of its own."""
    with Connection(address, timeout) as connection:
        return connection.ask(data, method)


def burst(
    addresses: Sequence[str], requests: Sequence[bytes], timeout: float = TIMEOUT
) -> list[Response]:
    """All requests at once, each on its own connection; request n goes to address n modulo their
    number. For answers framed by length or chunks."""

    async def one(
        data: bytes, address: str, ready: asyncio.Semaphore, go: asyncio.Event
    ) -> Response:
        host, port = split_address(address)
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        try:
            ready.release()
            await go.wait()
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            response = Response(int(head.split(b" ", 2)[1]), head)
            if response.fields("Transfer-Encoding"):
                while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    response.body += (await reader.readexactly(size + 2))[:-2]
                await reader.readuntil(b"\r\n")
            else:
                length = int(response.fields("Content-Length")[0])
                response.body = await reader.readexactly(length)
            response.length = len(response.body)
            return response
        finally:
            writer.transport.abort()

    async def everything() -> list[Response]:
        ready, go = asyncio.Semaphore(0), asyncio.Event()
        tasks = [
            asyncio.create_task(one(data, addresses[index % len(addresses)], ready, go))
            for index, data in enumerate(requests)
        ]
        for _ in tasks:
            await ready.acquire()
        go.set()
        return list(await asyncio.gather(*tasks))

    return asyncio.run(asyncio.wait_for(everything(), timeout))
