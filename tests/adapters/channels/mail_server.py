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
    """Receives mail; `answers` says what it replies to a command instead of accepting (`None`: it hangs up)."""

    def __init__(self) -> None:
        self.answers: dict[str, str | None] = {}
        self.raw: list[bytes] = []
        self.envelopes: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.logins: list[tuple[str, str]] = []
        self.connections = 0
        self.port = 0
        self.open: set[SMTP] = set()

    @property
    def mails(self) -> list[EmailMessage]:
        return [cast(EmailMessage, email.message_from_bytes(raw, policy=default)) for raw in self.raw]

    def drop_connections(self) -> None:
        for session in self.open:
            if session.transport is not None:
                session.transport.close()

    # The hooks of aiosmtpd

    async def handle_MAIL(self, server: SMTP, _: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self._answer(server, "MAIL", "250 OK")

    async def handle_RCPT(self, server: SMTP, _: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        envelope.rcpt_tos.append(address)
        return self._answer(server, "RCPT", "250 OK")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self._answer(server, "message", "250 OK")
        if answer.startswith("250"):
            self.raw.append(cast(bytes, envelope.original_content))
            self.envelopes.append(envelope)
            self.encrypted.append(session.ssl is not None)
        return answer

    def authenticate(self, *arguments: Any) -> AuthResult:
        login = cast(LoginPassword, arguments[-1])
        self.logins.append((login.login.decode(), login.password.decode()))
        return AuthResult(success=login.password == b"p@ss/word")

    def _answer(self, server: SMTP, command: str, otherwise: str) -> str:
        answer = self.answers.get(command, otherwise)
        if answer is None:
            server.transport.abort()
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

    async def smtp_DATA(self, arg: str) -> None:
        if "DATA" not in self._mail_server.answers:
            await super().smtp_DATA(arg)
        elif (answer := self._mail_server.answers["DATA"]) is None:
            self.transport.abort()
        else:
            await self.push(answer)


@asynccontextmanager
async def mail_server(
    *, starttls: ssl.SSLContext | None = None, wrapped: ssl.SSLContext | None = None, auth: bool = False, utf8: bool = True
) -> AsyncIterator[MailServer]:
    loop = asyncio.get_running_loop()
    received = MailServer()
    options: dict[str, Any] = {"hostname": "mail.test", "enable_SMTPUTF8": utf8, "loop": loop, "timeout": 30}
    if starttls is not None:
        options |= {"tls_context": starttls}
    if auth:
        options |= {"authenticator": received.authenticate, "auth_required": True, "auth_require_tls": False}
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
    """Listen on the port returned, greet with the first line, and answer each command with the next; then hang up."""
    writers = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        for position, line in enumerate(lines):
            if position and not await reader.readline():
                break
            writer.write(line + b"\r\n")
        writer.close()

    listener = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for writer in writers:
            writer.close()


async def until(condition: Callable[[], bool], deadline: float = 5) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(0.01)
