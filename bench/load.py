"""A client for many connections: `python -m bench.load`, told by JSON on standard input, answers with JSON.

A process of its own on raw sockets, so that its processor time can be told from the server's, and told at all: a server
that shares two processors with a slow client is not what was measured.
"""

import asyncio
import base64
import json
import resource
import sys
from array import array
from collections import Counter
from typing import cast

import uvloop

from bench.calls import body_of
from bench.result import percentiles
from domain.values import Value

_OK = b"HTTP/1.1 200"
_LENGTH = b"content-length: "


class Load(Value):
    """What to do.

    Attributes:
        each: Events in a request; 1 is a `track` call, more a `batch`.
        rate: Requests a second over all connections, at fixed times whatever the answers do; None: each connection
            sends its next request with the answer to the last.
        prefix: Of the messages' ids, so that no two loads tell of the same event; the customers are the same.
    """

    port: int
    path: str
    key: str
    connections: int
    seconds: float
    each: int = 1
    rate: float | None = None
    prefix: str = "load"


class Answered(Value):
    """What came of it.

    Attributes:
        latency_ms: From the moment at which a request was to be sent.
        client_cpu: Processors that the client used.
    """

    requests: int
    errors: dict[str, int]
    seconds: float
    latency_ms: dict[str, float]
    client_cpu: float

    @property
    def rate(self) -> float:
        """Requests a second that were answered with 200."""
        return self.requests / self.seconds


class _Shared:
    """What the connections have in common."""

    def __init__(self, load: Load) -> None:
        login = base64.b64encode(f"{load.key}:".encode()).decode()
        self.load = load
        self.head = (
            f"POST {load.path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Basic {login}\r\n"
            "content-type: application/json\r\ncontent-length: "
        ).encode()
        self.latencies = array("d")
        self.errors: Counter[str] = Counter()
        self.sent = 0
        self.began = self.ends = 0.0

    def request(self) -> bytes:
        body = body_of(self.load.prefix, self.sent, self.load.each)
        self.sent += 1
        return b"%s%d\r\n\r\n%s" % (self.head, len(body), body)


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, shared: _Shared, place: int) -> None:
        self._shared, self._place, self._turn = shared, place, 0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._received = b""
        self._since = 0.0
        self.closed = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._since and self._loop.time() < self._shared.ends:
            self._shared.errors["connection lost" if exc is None else type(exc).__name__] += 1
        if not self.closed.done():
            self.closed.set_result(None)

    def go_on(self) -> None:
        """Send the next request now, or when it is due."""
        shared, moment = self._shared, self._loop.time()
        if moment >= shared.ends:
            self._since = 0.0
            self._transport.close()
            return
        rate = shared.load.rate
        if rate is None:
            self._send(moment)
            return
        due = shared.began + (self._place + self._turn * shared.load.connections) / rate
        self._turn += 1
        if due >= shared.ends:
            self._transport.close()
        elif due <= moment:
            self._send(due)
        else:
            self._loop.call_at(due, self._send, due)

    def _send(self, since: float) -> None:
        self._since = since
        if not self._transport.is_closing():
            self._transport.write(self._shared.request())

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head, found, body = received.partition(b"\r\n\r\n")
        at = head.find(_LENGTH)
        if not found or len(body) < int(head[at + len(_LENGTH) :].partition(b"\r\n")[0]):
            self._received = received
            return
        self._received = b""
        shared = self._shared
        if received.startswith(_OK):
            shared.latencies.append(self._loop.time() - self._since)
        else:
            shared.errors[received[9:12].decode()] += 1
        self._since = 0.0
        self.go_on()


async def loaded(load: Load) -> Answered:
    """Send for the time given and sum up."""
    loop, shared = asyncio.get_running_loop(), _Shared(load)
    connections = [
        (await loop.create_connection(lambda place=place: _Connection(shared, place), "127.0.0.1", load.port))[1]  # type: ignore[misc]
        for place in range(load.connections)
    ]
    before = resource.getrusage(resource.RUSAGE_SELF)
    shared.began = loop.time()
    shared.ends = shared.began + load.seconds
    for connection in connections:
        connection.go_on()
    await asyncio.wait([connection.closed for connection in connections], timeout=load.seconds + 30)
    took = loop.time() - shared.began
    after = resource.getrusage(resource.RUSAGE_SELF)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Answered(
        requests=len(shared.latencies), errors=dict(shared.errors), seconds=round(took, 2),
        latency_ms=percentiles([1000 * seconds for seconds in shared.latencies] or [0.0]),
        client_cpu=round(busy / took, 2),
    )  # fmt: skip


async def put(load: Load) -> Answered:
    """Run a load in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate(load.model_dump_json().encode())
    return Answered.model_validate_json(said)


if __name__ == "__main__":
    asked = Load.model_validate_json(sys.stdin.read())
    print(json.dumps(uvloop.run(loaded(asked)).model_dump()))
