"""A real SMTP server whose answers a test can choose."""

import asyncio
import email
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class MailServer:
    """Receives mail.

    Attributes:
        answers: What it replies to a command instead of accepting; None: it hangs up.
        once: The same, but only the next time.
    """

    def __init__(self) -> None:
        self.answers: dict[str, str | None] = {}
        self.once: dict[str, str | None] = {}
        self.raw: list[bytes] = []
        self.envelopes: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.logins: list[tuple[str, str]] = []
        self.connections = 0
        self.port = 0
        self.open: set[SMTP] = set()

    @property
    def mails(self) -> list[EmailMessage]:
        return [email.message_from_bytes(raw, policy=default) for raw in self.raw]

    def drop_connections(self) -> None:
        for session in self.open:
            if session.transport is not None:
                session.transport.close()

    # The hooks of aiosmtpd

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, _: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.answer(server.transport, "MAIL", "250 OK")

    async def handle_RCPT(self, server: SMTP, _: Session, envelope: Envelope, address: str, __: list[str]) -> str:  # noqa: N802
        envelope.rcpt_tos.append(address)
        return self.answer(server.transport, "RCPT", "250 OK")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answer(server.transport, "message", "250 OK")
        if answer.startswith("250"):
            self.raw.append(cast("bytes", envelope.original_content))
            self.envelopes.append(envelope)
            self.encrypted.append(session.ssl is not None)
        return answer

    def authenticate(self, *arguments: Any) -> AuthResult:
        login = cast("LoginPassword", arguments[-1])
        self.logins.append((login.login.decode(), login.password.decode()))
        return AuthResult(success=login.password == b"p@ss/word", handled=False)

    def answer(self, transport: asyncio.BaseTransport | None, command: str, otherwise: str) -> str:
        """Return the answer to a command, or hang up."""
        answer = self.once.pop(command, self.answers.get(command, otherwise))
        if answer is None:
            cast("asyncio.WriteTransport", transport).abort()  # uvloop's are no subclass of asyncio's
            return "250 never heard"
        return answer


class _Conversation(SMTP):
    """aiosmtpd, plus the moments that its hooks do not reach."""

    def __init__(self, mail_server: MailServer, **options: Any) -> None:
        super().__init__(mail_server, **options)
        self._mail_server = mail_server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.session is None:  # STARTTLS makes the connection a second time
            self._mail_server.connections += 1
        self._mail_server.open.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._mail_server.open.discard(self)
        super().connection_lost(error)

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802
        self._mail_server.open.discard(self)  # until the handshake is done; one that fails is never reported
        await super().smtp_STARTTLS(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        answer = self._mail_server.answer(self.transport, "DATA", "354")
        if answer == "354":
            await super().smtp_DATA(arg)
        else:
            await self.push(answer)


@asynccontextmanager
async def mail_server(
    *,
    starttls: ssl.SSLContext | None = None,
    wrapped: ssl.SSLContext | None = None,
    auth: bool = False,
    utf8: bool = True,
) -> AsyncIterator[MailServer]:
    loop = asyncio.get_running_loop()
    received = MailServer()
    options: dict[str, Any] = {"hostname": "mail.test", "enable_SMTPUTF8": utf8, "loop": loop, "timeout": 30}
    if starttls is not None:
        options |= {"tls_context": starttls}
    if auth:
        options |= {"authenticator": received.authenticate, "auth_require_tls": False}
    listener = await loop.create_server(lambda: _Conversation(received, **options), "127.0.0.1", 0, ssl=wrapped)
    received.port = listener.sockets[0].getsockname()[1]
    try:
        yield received
    finally:
        listener.close()
        received.drop_connections()
        await until(lambda: not received.open)


@asynccontextmanager
async def scripted_server(*lines: bytes) -> AsyncIterator[int]:
    """Listen on the port returned, greet with the first line, and answer each command with the next; then be silent."""
    writers = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        for position, line in enumerate(lines):
            if position and not await reader.readline():
                break
            writer.write(line + b"\r\n")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for writer in writers:
            writer.close()
            await writer.wait_closed()


async def until(condition: Callable[[], bool], deadline: float = 60) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(0.01)
