"""SMTP conversations that go wrong, held with a real server."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
import trustme

from adapters.channels.smtp import SmtpChannel
from adapters.channels.smtp_url import SmtpServer
from domain.bounces import Kind
from domain.errors import ChannelUnavailable, ConfigurationError, DeliveryUnknown, RecipientRejected
from domain.message import Letter
from domain.ports import Clock
from tests.adapters.channels.mail_server import MailServer, mail_server, scripted_server, until

Open = Callable[..., Any]


@pytest.fixture
def opened(clock: Clock) -> Open:
    """Open a channel to a port of this machine."""

    @asynccontextmanager
    async def opened(port: int, scheme: str = "smtp", query: str = "", **options: Any) -> AsyncIterator[SmtpChannel]:
        async with SmtpChannel(f"{scheme}://localhost:{port}{query}", clock, **{"timeout": 5, **options}) as channel:
            yield channel

    return opened


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class TestRefusals:
    """What each refusal means, and that the channel works again right after it."""

    @pytest.mark.parametrize("moment", ["RCPT", "DATA", "message"])
    @pytest.mark.parametrize("code", [550, 554])
    async def test_a_refusal_for_good_names_the_recipient_as_the_cause(
        self, server: MailServer, opened: Open, letter: Letter, moment: str, code: int
    ) -> None:
        """5xx from RCPT on is a bounce; the server's words are kept without the address (G8)."""
        server.answers[moment] = f"{code} 5.1.1 <ada@customers.example>: no mailbox Ada here"
        async with opened(server.port) as channel:
            with pytest.raises(RecipientRejected) as refusal:
                await channel.send(letter)
            server.answers.clear()
            await channel.send(letter)

        assert refusal.value.code == code
        assert "no mailbox" in str(refusal.value)
        assert "ada" not in str(refusal.value).lower()
        assert len(server.raw) == 1
        assert server.connections == 1

    @pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA", "message"])
    @pytest.mark.parametrize("code", [421, 451])
    async def test_a_temporary_refusal_asks_to_try_again_later(
        self, server: MailServer, opened: Open, letter: Letter, moment: str, code: int
    ) -> None:
        """4xx at any moment means that the message was not taken."""
        server.answers[moment] = f"{code} 4.3.0 try again later"
        async with opened(server.port) as channel:
            with pytest.raises(ChannelUnavailable, match=str(code)):
                await channel.send(letter)
            server.answers.clear()
            await channel.send(letter)

        assert len(server.raw) == 1

    @pytest.mark.parametrize(("moment", "answer"), [("MAIL", "550 not from you"), ("RCPT", "530 log in first")])
    async def test_a_refusal_of_us_is_not_the_recipients_fault(
        self, server: MailServer, opened: Open, letter: Letter, moment: str, answer: str
    ) -> None:
        """A blocked sender or a missing login must not mark every customer as bounced."""
        server.answers[moment] = answer
        async with opened(server.port) as channel:
            with pytest.raises(ChannelUnavailable, match=answer[:3]):
                await channel.send(letter)

    @pytest.mark.parametrize(
        ("moment", "answer", "kind"),
        [
            ("RCPT", "550 5.1.1 user unknown", Kind.GONE),
            ("RCPT", "550 no such user here", Kind.GONE),
            ("message", "550 no such user here", Kind.NOT_NOW),
            ("RCPT", "552 5.2.2 mailbox full", Kind.NOT_NOW),
            ("RCPT", "550 5.7.1 blocked, your IP has a poor reputation", Kind.REFUSED),
            ("message", "554 5.7.1 message looks like spam", Kind.REFUSED),
        ],
    )
    async def test_a_refusal_says_whether_the_address_is_gone(
        self, server: MailServer, opened: Open, letter: Letter, moment: str, answer: str, kind: Kind
    ) -> None:
        """Only then is it never written to again; a full mailbox or our reputation is no reason."""
        server.answers[moment] = answer
        async with opened(server.port) as channel:
            with pytest.raises(RecipientRejected) as refusal:
                await channel.send(letter)

        assert refusal.value.kind is kind

    @pytest.mark.parametrize(
        "answer", ["554 5.7.1 Relay access denied", "550 relaying not permitted", "550 We do not relay"]
    )
    async def test_a_server_that_does_not_relay_for_us_is_to_be_put_right(
        self, server: MailServer, opened: Open, letter: Letter, answer: str
    ) -> None:
        """It would refuse every customer; nothing is lost while somebody corrects the settings."""
        server.answers["RCPT"] = answer
        async with opened(server.port) as channel:
            with pytest.raises(ChannelUnavailable, match=answer[:3]):
                await channel.send(letter)

    @pytest.mark.parametrize("greeting", [b"554 no SMTP service here", b"421 too busy", b"nonsense"])
    async def test_a_server_that_does_not_greet_us_is_unavailable(
        self, opened: Open, letter: Letter, greeting: bytes
    ) -> None:
        """A refused connection is our provider's state, not the recipient's."""
        async with scripted_server(greeting) as port, opened(port) as channel:
            with pytest.raises(ChannelUnavailable):
                await channel.send(letter)

    async def test_nobody_listening_is_unavailable(self, opened: Open, letter: Letter) -> None:
        """A provider that is down is asked again later."""
        async with mail_server() as gone:
            port = gone.port
        async with opened(port) as channel:
            with pytest.raises(ChannelUnavailable):
                await channel.send(letter)

    async def test_a_silent_server_is_unavailable(self, opened: Open, letter: Letter) -> None:
        """Before the message is handed over a timeout is harmless."""
        script = [b"220 hello", b"250 hello", b"250 sender ok"]
        async with scripted_server(*script) as port, opened(port, timeout=0.2) as channel:
            with pytest.raises(ChannelUnavailable):
                await channel.send(letter)


class TestNotKnowing:
    """The moment between the message and the answer."""

    async def test_a_server_that_hangs_up_after_the_message_leaves_us_not_knowing(
        self, server: MailServer, opened: Open, letter: Letter
    ) -> None:
        """The server may have taken the message: it is neither sent again nor reported as failed (G3)."""
        server.answers["message"] = None
        async with opened(server.port) as channel:
            with pytest.raises(DeliveryUnknown):
                await channel.send(letter)

        assert server.connections == 1

    async def test_a_kept_connection_that_breaks_after_the_message_is_not_retried(
        self, server: MailServer, opened: Open, letter: Letter
    ) -> None:
        """The second chance of a kept connection ends where the message begins."""
        async with opened(server.port) as channel:
            await channel.send(letter)
            server.answers["message"] = None
            with pytest.raises(DeliveryUnknown):
                await channel.send(letter)

        assert server.connections == 1

    @pytest.mark.parametrize("verdict", [b"garbage", b"354 what", b""])
    async def test_an_answer_that_is_no_verdict_leaves_us_not_knowing(
        self, opened: Open, letter: Letter, verdict: bytes
    ) -> None:
        """Only 2xx is accepted and only 4xx and 5xx is refused."""
        script = [b"220 hello", b"250 hello", b"250 sender ok", b"250 recipient ok", b"354 go ahead", verdict]
        async with scripted_server(*script) as port, opened(port, verdict_timeout=0.2) as channel:
            with pytest.raises(DeliveryUnknown):
                await channel.send(letter)

    @pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA"])
    async def test_a_server_that_hangs_up_before_the_message_has_not_taken_it(
        self, server: MailServer, opened: Open, letter: Letter, moment: str
    ) -> None:
        """Nothing was handed over, so the message may be tried again."""
        server.answers[moment] = None
        async with opened(server.port) as channel:
            with pytest.raises(ChannelUnavailable):
                await channel.send(letter)


class TestKeptConnections:
    """The pool: connections are reused, replaced, retired, and bounded."""

    async def test_one_connection_serves_many_letters(self, server: MailServer, opened: Open, letter: Letter) -> None:
        """Connecting costs more than sending."""
        async with opened(server.port) as channel:
            for _ in range(5):
                await channel.send(letter)

        assert (len(server.raw), server.connections) == (5, 1)

    async def test_a_connection_dropped_while_idle_does_not_surface(
        self, server: MailServer, opened: Open, letter: Letter
    ) -> None:
        """Servers hang up on idle clients; that is nobody's error."""
        async with opened(server.port) as channel:
            await channel.send(letter)
            server.drop_connections()
            await until(lambda: not server.open)
            await channel.send(letter)

        assert (len(server.raw), server.connections) == (2, 2)

    @pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA"])
    @pytest.mark.parametrize("goodbye", [None, "421 4.4.2 idle for too long"])
    async def test_a_kept_connection_that_ends_before_the_message_is_replaced(
        self, server: MailServer, opened: Open, letter: Letter, moment: str, goodbye: str | None
    ) -> None:
        """A stale connection is found out by the next commands: that letter goes out on a fresh one."""
        async with opened(server.port) as channel:
            await channel.send(letter)
            server.once[moment] = goodbye
            await channel.send(letter)

        assert (len(server.raw), server.connections) == (2, 2)

    async def test_a_connection_retires_after_its_share_of_letters(
        self, server: MailServer, opened: Open, letter: Letter
    ) -> None:
        """New connections let a load balancer move us."""
        async with opened(server.port, per_connection=2) as channel:
            for _ in range(5):
                await channel.send(letter)

        assert (len(server.raw), server.connections) == (5, 3)

    async def test_a_connection_idle_for_long_is_not_trusted(
        self, server: MailServer, opened: Open, letter: Letter
    ) -> None:
        """Firewalls forget idle connections without telling anyone."""
        async with opened(server.port, idle=0) as channel:
            await channel.send(letter)
            await channel.send(letter)

        assert server.connections == 2

    async def test_never_more_connections_than_allowed(self, server: MailServer, opened: Open, letter: Letter) -> None:
        """Providers limit connections per client."""
        async with opened(server.port, size=3) as channel:
            await asyncio.gather(*(channel.send(letter) for _ in range(15)))

        assert len(server.raw) == 15
        assert server.connections <= 3

    async def test_closing_says_goodbye_and_takes_nothing_more(
        self, server: MailServer, opened: Open, letter: Letter
    ) -> None:
        """A closed channel leaves no connection behind."""
        async with opened(server.port) as channel:
            await channel.send(letter)
        await until(lambda: not server.open)

        with pytest.raises(ChannelUnavailable):
            await channel.send(letter)

    async def test_a_cancelled_send_gives_its_connection_up(self, opened: Open, letter: Letter) -> None:
        """Half a conversation is never continued by the next letter."""
        script = [b"220 hello", b"250 hello", b"250 sender ok"]
        async with scripted_server(*script) as port, opened(port, size=1) as channel:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await channel.send(letter)

            assert channel._kept == []


class TestEncryption:
    """STARTTLS, TLS from the start, and what is refused."""

    async def test_starttls_is_used_when_offered(
        self, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, opened: Open, letter: Letter
    ) -> None:
        """A server that offers encryption gets it, without being asked to in the URL."""
        async with mail_server(starttls=server_tls) as server, opened(server.port, tls=client_tls) as channel:
            await channel.send(letter)

        assert server.encrypted == [True]

    async def test_tls_from_the_start(
        self, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, opened: Open, letter: Letter
    ) -> None:
        """`smtps://` never says a word in the clear."""
        async with mail_server(wrapped=server_tls) as server, opened(server.port, "smtps", tls=client_tls) as channel:
            await channel.send(letter)

        assert len(server.raw) == 1

    async def test_required_starttls_that_is_not_offered_sends_nothing(
        self, server: MailServer, opened: Open, letter: Letter
    ) -> None:
        """`starttls=1` is a promise: without encryption there is no mail."""
        async with opened(server.port, query="?starttls=1") as channel:
            with pytest.raises(ChannelUnavailable):
                await channel.send(letter)

        assert server.raw == []

    @pytest.mark.parametrize(("scheme", "query"), [("smtp", "?starttls=1"), ("smtps", "")])
    async def test_a_certificate_nobody_vouches_for_is_refused(
        self, server_tls: ssl.SSLContext, opened: Open, letter: Letter, scheme: str, query: str
    ) -> None:
        """Encryption that was asked for includes knowing whom one talks to."""
        how = {"starttls": server_tls} if scheme == "smtp" else {"wrapped": server_tls}
        async with mail_server(**how) as server, opened(server.port, scheme, query) as channel:
            with pytest.raises(ChannelUnavailable):
                await channel.send(letter)

        assert server.raw == []

    @pytest.mark.parametrize("query", ["", "?starttls=1&verify=0"])
    async def test_an_unverified_certificate_can_be_accepted(
        self, server_tls: ssl.SSLContext, opened: Open, letter: Letter, query: str
    ) -> None:
        """Opportunistic encryption and `verify=0` take any certificate."""
        async with mail_server(starttls=server_tls) as server, opened(server.port, query=query) as channel:
            await channel.send(letter)

        assert server.encrypted == [True]


class TestLogin:
    """User and password from the URL."""

    async def test_user_and_password_are_decoded_from_the_url(self, clock: Clock, letter: Letter) -> None:
        """Special characters in a password are percent-encoded in the URL, and only there."""
        async with mail_server(auth=True) as server:
            url = f"smtp://{quote('me@shop')}:{quote('p@ss/word', safe='')}@127.0.0.1:{server.port}"
            async with SmtpChannel(url, clock) as channel:
                await channel.send(letter)

        assert server.logins == [("me@shop", "p@ss/word")]

    async def test_a_wrong_password_is_our_fault(self, clock: Clock, letter: Letter) -> None:
        """A rotated password must not mark customers as bounced, nor show up in the error."""
        async with (
            mail_server(auth=True) as server,
            SmtpChannel(f"smtp://me:wrong-one@127.0.0.1:{server.port}", clock) as channel,
        ):
            with pytest.raises(ChannelUnavailable) as problem:
                await channel.send(letter)

        assert "wrong-one" not in str(problem.value)


class TestInternationalAddresses:
    """SMTPUTF8, where the address needs it."""

    async def test_an_address_outside_ascii_goes_to_a_server_that_knows_them(
        self, server: MailServer, opened: Open, letter: Letter
    ) -> None:
        """The envelope announces SMTPUTF8."""
        async with opened(server.port) as channel:
            await channel.send(letter.model_copy(update={"to": "zoë@customers.example"}))

        assert server.envelopes[0].rcpt_tos == ["zoë@customers.example"]
        assert "SMTPUTF8" in server.envelopes[0].mail_options

    async def test_a_server_that_does_not_know_them_cannot_deliver(self, opened: Open, letter: Letter) -> None:
        """Trying again would change nothing."""
        async with mail_server(utf8=False) as server, opened(server.port) as channel:
            with pytest.raises(RecipientRejected):
                await channel.send(letter.model_copy(update={"to": "zoë@customers.example"}))
            await channel.send(letter)

        assert len(server.raw) == 1


class TestUrl:
    """The one setting."""

    @pytest.mark.parametrize(
        ("url", "port", "tls", "verify"),
        [
            ("smtp://mail.example", 25, "offered", False),
            ("smtp://mail.example:2525", 2525, "offered", False),
            ("smtp://me:secret@mail.example", 25, "offered", True),
            ("smtp://mail.example?starttls=1", 587, "required", True),
            ("smtp://mail.example?starttls=0", 25, "never", True),
            ("smtps://mail.example", 465, "wrapped", True),
            ("smtps://mail.example?verify=0", 465, "wrapped", False),
        ],
    )
    def test_a_url_says_how_to_connect(self, url: str, port: int, tls: str, verify: bool) -> None:
        """Ports and certificate checks follow from what was asked for."""
        server = SmtpServer.from_url(url)

        assert (server.host, server.port, server.tls, server.verify) == ("mail.example", port, tls, verify)

    @pytest.mark.parametrize(
        "url",
        ["", "mail.example:25", "http://me:secret@mail.example", "smtp://me:secret@mail.example?starttls=maybe",
         "smtp://me:secret@mail.example?tls=1", "smtp://me:secret@mail.example:port"],
    )  # fmt: skip
    def test_a_url_that_cannot_work_says_so_without_the_password(self, url: str) -> None:
        """A setting that cannot work stops the process at the start, not the first mail."""
        with pytest.raises(ConfigurationError) as problem:
            SmtpServer.from_url(url)

        assert "secret" not in str(problem.value)
