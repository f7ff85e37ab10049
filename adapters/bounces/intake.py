"""The intake: returned mail by LMTP (RFC 2033), from the mail server that gets it (Postfix, Exim, …).

Anybody can write to a bounce address, and claim that somebody else's address is gone. So here only a report counts that
names one of our messages, whose ids nobody can guess; the files that an operator imports are trusted further.
"""

import asyncio
from types import TracebackType
from typing import Self

import structlog
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.bounces.reading import read
from adapters.postgres import feedback
from adapters.postgres.ingest import EventStore
from domain import ids
from domain.errors import InvalidEvent, JourneysError
from domain.ports import Clock

_log = structlog.get_logger(__name__)

_LIMIT = 4 << 20


class Intake:
    """Take mail for the addresses of `ids.return_path`; the answer to a mail follows the commit of what it says."""

    def __init__(self, engine: AsyncEngine, clock: Clock, host: str = "127.0.0.1", port: int = 0) -> None:
        """Wire the intake.

        Args:
            engine: Where messages are looked up and events stored.
            clock: Tells when a mail came in.
            host: Where to listen; there is no authentication, so never on a public address.
            port: 0 takes any free one; see the attribute.
        """
        self._engine = engine
        self._events = EventStore(engine)
        self._clock = clock
        self._host = host
        self.port = port

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._events.close()

    def _session(self) -> LMTP:
        return LMTP(self, data_size_limit=_LIMIT, enable_SMTPUTF8=True, loop=asyncio.get_running_loop())

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take one recipient: LMTP answers for each, and our server for all at once."""
        if envelope.rcpt_tos:
            return "452 4.5.3 one recipient at a time"
        if ids.returned_to(address) is None:
            return "550 5.1.1 no such address"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Store what a mail tells; one that tells nothing is taken too, so that it does not bounce itself."""
        store_id, message = ids.returned_to(envelope.rcpt_tos[0]) or ("", None)
        told = await asyncio.to_thread(read, envelope.original_content or b"")
        sure = [
            one.model_copy(update={"recipient": None, "message_id": message or one.message_id})
            for one in told
            if message or one.message_id
        ]
        try:
            await self._events.accept(await feedback.events(self._engine, store_id, sure, self._clock()))
        except InvalidEvent:
            return "554 5.6.0 cannot be stored"
        except JourneysError as problem:
            _log.warning("returned mail not stored", error=type(problem).__name__)
            return "451 4.3.0 try again later"
        return f"250 2.0.0 {len(sure)} read"
