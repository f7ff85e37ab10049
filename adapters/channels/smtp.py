"""E-mail by SMTP over a few connections that are kept open (docs/adr/0011-smtp.md)."""

import asyncio
import re
import ssl
import time
from types import TracebackType
from typing import Self

import aiosmtplib

from adapters import tracing
from adapters.channels.dkim import SigningKeys, signed
from adapters.channels.mime import Envelope, envelope, wire
from adapters.channels.smtp_url import SmtpServer
from adapters.metrics import HANDOVER_SECONDS, HANDOVERS
from domain.bounces import Remark, kind
from domain.errors import ChannelUnavailable, ConfigurationError, DeliveryUnknown, RecipientRejected, Unavailable
from domain.message import Letter
from domain.ports import Clock

_OUR_FAULT = frozenset({503, 530, 535, 538})
"""Refusals that are about our session (bad sequence, log in first), not about the recipient."""
_ADDRESS = re.compile(r"[^\s<>\"'(),;:\[\]]+@[^\s<>\"'(),;:\[\]]+")
_STATUS = re.compile(r"5\.\d{1,3}\.\d{1,3}\b")
_NO_RELAY = re.compile(
    r"relay(?:ing)? (?:access )?(?:denied|not|prohibited)|(?:not|n't) (?:\w+ ){0,4}relay|no relay", re.IGNORECASE
)
_DOT = re.compile(rb"^\.", re.MULTILINE)


class SmtpChannel:
    """Send letters by SMTP (implements `domain.ports.Channel`).

    Args:
        url: See `SmtpServer.from_url`.
        clock: Tells the date of a letter.
        size: How many connections are open at most.
        per_connection: After so many letters a connection is closed, so that load balancers can do their work.
        idle: After so many seconds without a letter a connection is not trusted any more.
        timeout: Seconds to wait for the server's answer to each command.
        verdict_timeout: Seconds to wait for the answer to the message itself; giving up there means not knowing.
        tls: The TLS context, for a private certificate authority.
        keys: Sign what is sent (docs/operating.md); None: the mail server does, or nobody.

    Raises:
        ConfigurationError: The URL cannot work.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        size: int = 4,
        *,
        per_connection: int = 100,
        idle: float = 60,
        timeout: float = 30,
        verdict_timeout: float = 120,
        tls: ssl.SSLContext | None = None,
        keys: SigningKeys | None = None,
    ) -> None:
        self._server = SmtpServer.from_url(url)
        self._clock = clock
        self._places = asyncio.Semaphore(size)
        self._kept: list[_Connection] = []
        self._per_connection = per_connection
        self._idle = idle
        self._timeout = timeout
        self._verdict_timeout = verdict_timeout
        self._tls = tls
        self._keys = keys
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def send(self, letter: Letter) -> None:
        begun, answer = time.perf_counter(), "unknown"
        server = self._server
        try:
            with tracing.span("smtp", "client", server__address=server.host, server__port=server.port):
                await self._send(letter)
            answer = "accepted"
        except RecipientRejected:
            answer = "rejected"
            raise
        except ChannelUnavailable:
            answer = "unavailable"
            raise
        finally:
            HANDOVERS.labels("email", answer).inc()
            HANDOVER_SECONDS.labels("email").observe(time.perf_counter() - begun)

    async def _send(self, letter: Letter) -> None:
        between = envelope(letter)
        raw = await self._signed(letter, between)
        async with self._places:
            kept = self._take_kept()
            if kept is not None:
                try:
                    return await self._send_on(kept, between, raw)
                except _Dropped:
                    pass  # The server hung up while the connection was idle; it has seen nothing of the message.
            fresh = await self._connect()
            try:
                await self._send_on(fresh, between, raw)
            except _Dropped as problem:
                raise ChannelUnavailable(f"the mail server hung up: {problem}") from problem

    async def aclose(self) -> None:
        """Say goodbye on every connection that is not in use; the others close when they are done."""
        self._closed = True
        kept, self._kept = self._kept, []
        await asyncio.gather(*(connection.quit() for connection in kept))

    async def _signed(self, letter: Letter, between: Envelope) -> bytes:
        now = self._clock()
        raw = wire(letter, now)
        if self._keys is None:
            return raw
        try:
            keys = await self._keys.signing(letter.store_id, between.author.rpartition("@")[2].lower())
        except (ConfigurationError, Unavailable) as problem:
            # Unsigned it might end among the spam; it can wait until the key is back.
            raise ChannelUnavailable(f"it could not be signed: {problem}") from problem
        return signed(raw, keys, int(now.timestamp()))

    def _take_kept(self) -> "_Connection | None":
        now = asyncio.get_running_loop().time()
        while self._kept:
            connection = self._kept.pop()
            if connection.usable and now - connection.used_at < self._idle:
                return connection
            connection.leave()
        return None

    async def _send_on(self, connection: "_Connection", between: Envelope, raw: bytes) -> None:
        clean = False
        try:
            await connection.send(between, raw)
            clean = True
        except (RecipientRejected, ChannelUnavailable):
            clean = await connection.reset()
            raise
        finally:
            connection.used_at = asyncio.get_running_loop().time()
            if clean and not self._closed and connection.sent < self._per_connection:
                self._kept.append(connection)
            else:
                connection.leave()

    async def _connect(self) -> "_Connection":
        if self._closed:
            raise ChannelUnavailable("the channel is closed")
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            timeout=self._timeout,
            use_tls=server.tls == "wrapped",
            start_tls={"required": True, "offered": None}.get(server.tls, False),
            validate_certs=server.verify,
            tls_context=self._tls,
        )
        try:
            await client.connect()
        except (aiosmtplib.SMTPException, OSError, ValueError) as problem:
            client.close()
            raise ChannelUnavailable(f"no connection to the mail server: {_words(problem)}") from problem
        return _Connection(client, self._verdict_timeout)


class _Dropped(Exception):  # noqa: N818 - it is control flow between two connections
    """The connection ended before the server had agreed to take the message."""


class _Connection:
    """One SMTP session: the conversation for a message, with what each answer means."""

    def __init__(self, client: aiosmtplib.SMTP, verdict_timeout: float) -> None:
        self._client = client
        self._verdict_timeout = verdict_timeout
        self.sent = 0
        self.used_at = 0.0

    @property
    def usable(self) -> bool:
        return self._client.is_connected

    async def send(self, between: Envelope, raw: bytes) -> None:
        """Hand over a message.

        Raises:
            _Dropped: The connection ended, and the server has surely not taken the message.
            ChannelUnavailable: The server does not take it now, or not from us.
            RecipientRejected: The server does not take it for this recipient.
            DeliveryUnknown: The connection ended between the message and the answer.
        """
        try:
            await self._announce(between)
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError) as problem:
            raise _Dropped(_words(problem)) from problem
        code, answer = await self._hand_over(raw)
        if 400 <= code < 600:
            raise _refusal(code, answer, between, "DATA")
        if not 200 <= code < 300:
            raise DeliveryUnknown(f"no verdict on the message: {code} {_words(answer, between.recipient)}")
        self.sent += 1

    async def reset(self) -> bool:
        """Forget the message under way; tell whether the connection can take another one."""
        try:
            await self._client.rset()
        except (aiosmtplib.SMTPException, OSError):
            return False
        return True

    async def quit(self) -> None:
        """Say goodbye and close, whatever the server answers."""
        try:
            await self._client.quit()
        except (aiosmtplib.SMTPException, OSError):
            pass
        finally:
            self._client.close()

    def leave(self) -> None:
        """Close without waiting for anything: the message before it is settled, and nobody may wait for manners."""
        if self._client.protocol is not None and self.usable:
            self._client.protocol.write(b"QUIT\r\n")
        self._client.close()

    async def _announce(self, between: Envelope) -> None:
        """Go as far as the server's go-ahead for the message."""
        encoding = "utf-8" if between.utf8 else "ascii"
        if between.utf8 and not self._client.supports_extension("smtputf8"):
            raise RecipientRejected(553, "the mail server does not take addresses outside ASCII")
        try:
            await self._client.mail(between.sender, options=["SMTPUTF8"] if between.utf8 else [], encoding=encoding)
        except aiosmtplib.SMTPResponseException as problem:
            self._raise_if_closing(problem.code, problem.message)
            raise ChannelUnavailable(f"sender not accepted: {problem.code} {_words(problem)}") from problem
        try:
            await self._client.rcpt(between.recipient, encoding=encoding)
        except aiosmtplib.SMTPResponseException as problem:
            self._raise_if_closing(problem.code, problem.message)
            raise _refusal(problem.code, problem.message, between, "RCPT") from problem
        code, answer = await self._client.execute_command(b"DATA")
        if code != 354:
            self._raise_if_closing(code, answer)
            raise _refusal(code, answer, between, "DATA")

    async def _hand_over(self, raw: bytes) -> tuple[int, str]:
        """Write the message and wait for the verdict.

        aiosmtplib's `data()` does not tell a connection lost before the go-ahead from one lost after the message,
        and that is the difference between trying again and not knowing.
        """
        protocol = self._client.protocol
        if protocol is None:
            raise _Dropped("connection lost")
        try:
            protocol.write(_DOT.sub(b"..", raw) + b".\r\n")
        except aiosmtplib.SMTPServerDisconnected as problem:
            raise _Dropped(_words(problem)) from problem
        try:
            return await protocol.read_response(timeout=self._verdict_timeout)
        except (aiosmtplib.SMTPException, OSError) as problem:
            raise DeliveryUnknown(f"no answer to the message: {_words(problem)}") from problem

    def _raise_if_closing(self, code: int, answer: str) -> None:
        if code == 421:
            raise _Dropped(f"421 {_words(answer)}")


def _refusal(code: int, answer: str, between: Envelope, command: str) -> ChannelUnavailable | RecipientRejected:
    words = _words(answer, between.recipient)
    # A server that does not relay for us will take nothing for anybody until somebody corrects our settings.
    if 500 <= code < 600 and code not in _OUR_FAULT and not _NO_RELAY.search(words):
        status = _STATUS.match(answer)
        remark = Remark(
            recipient=between.recipient, action="failed", status=status[0] if status else None, code=code,
            diagnostic=f"{code} {' '.join(answer.split())}", command=command,
        )  # fmt: skip
        return RecipientRejected(code, words, kind(remark))
    return ChannelUnavailable(f"{code} {words}")


def _words(said: object, recipient: str = "") -> str:
    """Return what was said on one line, without addresses (it ends up in logs and in the ledger)."""
    text = _ADDRESS.sub("[address]", str(getattr(said, "message", said)))
    local = recipient.rpartition("@")[0]
    if local:
        text = re.sub(rf"(?<!\w){re.escape(local)}(?!\w)", "[address]", text, flags=re.IGNORECASE)
    return " ".join(text.split())[:200] or type(said).__name__
