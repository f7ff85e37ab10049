"""What one request may cost at most: bytes of its body, time to send it, time to answer it, and time for its head.

Whatever an endpoint checks besides is stricter. A client that is too slow is answered 503 and not 408, since tracking
clients give up on what is refused by a 4xx.
"""

import asyncio
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api import codec, webhooks
from api.body import BATCH_LIMIT, EVENT_LIMIT
from api.deadlines import Deadlines
from api.errors import Problem, rejected
from api.headers import field
from domain.errors import InvalidInput, TooLarge, Unavailable

HEAD_TIME = 10.0
"""Seconds for the request line and the header fields."""
HEAD_LIMIT = 32 << 10
"""Bytes of the request line and the header fields."""
MOST_SILENT = 12_000
"""Connections that may wait for a head; beyond, who has kept silent for longest makes room."""
_OPEN_FILES = 65_536
"""More than a process needs; what is usual, 1,024, is used up by so many silent connections."""
ONCE = frozenset({b"authorization", b"content-encoding", b"content-length", b"content-type", b"host", b"origin"})
"""Header fields of which a second one could only contradict the first (RFC 9110 §5.3)."""
BODY_TIME = 20.0
"""Seconds for the whole body, so that nobody holds a connection with a byte now and then."""
ANSWER_TIME = 60.0
"""Seconds until there is an answer; a database or Temporal that hangs is given up long before."""
ERASURE_TIME = 660.0
"""The one exception: an erasure searches every event of a store, all or nothing."""
LIMITS: Mapping[str, int] = {"/v1/": BATCH_LIMIT, "/webhooks/": webhooks.LIMIT, "/codec": codec.LIMIT}
"""Bytes of a body, by the beginning of the path; elsewhere those of one event."""

_TOO_LARGE = f"the request line and the header fields must not be larger than {HEAD_LIMIT >> 10} KB"

_log = structlog.get_logger(__name__)


class Patience:
    """Bound every request, whichever endpoint it is for and whether there is one."""

    def __init__(self, app: ASGIApp, body_time: float = BODY_TIME, answer_time: float = ANSWER_TIME) -> None:
        self._app = app
        self._deadlines = Deadlines()
        self._body_time = body_time
        self._answer_time = answer_time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        erasure = scope["method"] == "DELETE" and scope["path"].startswith("/api/v1/customers/")
        patience = self._deadlines.within(ERASURE_TIME if erasure else self._answer_time)
        try:
            with patience:
                await self._app(scope, self._bounded(scope, receive), watched)
        except TimeoutError:
            if begun or not patience.passed:
                raise
            _log.warning("a request took too long")
            answer = rejected(503, [Problem(field="request", message="it took too long; send it again later")])
            await answer(scope, receive, send)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        limit = _limit(scope["path"])
        told = field(scope, b"content-length") or ""
        received, whole = 0, False
        deadline = self._deadlines.within(self._body_time)

        async def bounded() -> Message:
            nonlocal received, whole
            if told.isdecimal() and int(told) > limit:  # who says so at once is refused at once
                raise TooLarge(f"must not be larger than {limit >> 10} KB")
            if whole:  # what is waited for now is that the client leaves
                return await receive()
            try:
                with deadline:
                    message = await receive()
            except TimeoutError as problem:
                raise Unavailable("the body did not arrive in time; send it again") from problem
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > limit:
                raise TooLarge(f"must not be larger than {limit >> 10} KB")
            return message

        return bounded


def _limit(path: str) -> int:
    for beginning, size in LIMITS.items():
        if path.startswith(beginning):
            return size
    return EVENT_LIMIT


class PromptHead(HttpToolsProtocol):
    """A connection that is closed if the head of a request does not arrive, in time and in bounds.

    uvicorn has a limit for what comes after an answer (`timeout_keep_alive`), and none for what comes first.
    """

    most_silent: ClassVar[int] = MOST_SILENT
    _silent: ClassVar[dict["PromptHead", None]] = {}
    """Who a head is expected of, longest first."""
    _alarm: asyncio.TimerHandle | None = None
    _begun: object = None
    """One head that has begun and not ended."""
    _head = 0
    _unfinished = 0
    _given: set[bytes]

    @classmethod
    def open_files(cls) -> None:
        """Let this process have as many connections as it may, and leave some for those who speak."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            with suppress(OSError, ValueError):  # some systems allow less than they say
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
                soft = most
        cls.most_silent = MOST_SILENT if soft == resource.RLIM_INFINITY else min(MOST_SILENT, soft * 3 // 4)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        begun = self._begun
        super().data_received(data)
        if self._begun is None or self.transport.is_closing():
            return
        # Nearly every head comes in one piece, so it needs no alarm.
        if self._alarm is None:
            self._expect_head()
        # The parser hands a field over when it is whole, so what it holds back until then is counted here.
        if begun is self._begun:
            self._unfinished += len(data)
            if self._unfinished > HEAD_LIMIT:
                self._refuse("request", _TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun, self._head, self._unfinished, self._given = object(), 0, 0, set()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._grow(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._grow(len(name) + len(value))
        known_as = self.headers[-1][0]
        if known_as in ONCE:
            if known_as in self._given:
                raise InvalidInput(known_as.decode(), "must not be given twice")
            self._given.add(known_as)

    def on_headers_complete(self) -> None:
        self._arrived()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Say which rule was broken, in the form of every other error; the parser knows no more of the connection."""
        problem = sys.exception()
        cause = problem.__context__ if problem is not None else None
        if isinstance(cause, InvalidInput):
            self._refuse(cause.field, cause.message)
        else:
            self._refuse("request", str(problem or msg))

    def _refuse(self, field: str, message: str) -> None:
        answer = rejected(400, [Problem(field=field, message=message)])
        self._arrived()
        lines = [b"HTTP/1.1 400 Bad Request", *(b": ".join(pair) for pair in answer.raw_headers), b"connection: close"]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.close()

    def _grow(self, size: int) -> None:
        self._head += size
        if self._head > HEAD_LIMIT:
            raise InvalidInput("request", _TOO_LARGE)

    def _expect_head(self) -> None:
        self._alarm = self.loop.call_later(HEAD_TIME, self.transport.abort)
        self._silent[self] = None
        if len(self._silent) > self.most_silent:
            longest = next(iter(self._silent))
            del self._silent[longest]
            longest.transport.abort()

    def _arrived(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._begun = None
        self._silent.pop(self, None)
