"""What every channel promises, checked on each of them."""

import asyncio
import email
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from email.policy import default

import pytest

from adapters.channels.memory import MemoryChannel
from adapters.channels.mime import wire
from adapters.channels.smtp import SmtpChannel
from domain.errors import RecipientRejected
from domain.message import Letter
from domain.ports import Channel, Clock
from tests.adapters.channels.mail_server import MailServer

Arrived = Callable[[], list[EmailMessage]]


class ChannelContract(ABC):
    """The promises. A channel's own class supplies `channel` and `arrived`."""

    @pytest.fixture
    @abstractmethod
    def channel(self) -> Channel: ...

    @pytest.fixture
    @abstractmethod
    def arrived(self) -> Arrived: ...

    async def test_an_accepted_letter_has_arrived_once(
        self, channel: Channel, arrived: Arrived, letter: Letter
    ) -> None:
        """Returning from `send` means that the provider has the letter."""
        await channel.send(letter)

        assert [mail["Message-ID"] for mail in arrived()] == [letter.message_id]

    async def test_the_letter_arrives_as_it_was_written(
        self, channel: Channel, arrived: Arrived, letter: Letter
    ) -> None:
        """Nothing is lost or added on the way: dots, empty lines and any script."""
        text = ".\n..\nZażółć gęślą jaźń\n\n.hidden\n"
        await channel.send(letter.model_copy(update={"text": text, "subject": "Zażółć . gęślą"}))

        (mail,) = arrived()
        body = mail.get_body(("plain",))
        assert body is not None
        assert body.get_content().replace("\r\n", "\n") == text
        assert mail["Subject"] == "Zażółć . gęślą"

    async def test_many_letters_at_once_all_arrive(self, channel: Channel, arrived: Arrived, letter: Letter) -> None:
        """A channel may be shared by everything that sends."""
        ids = [f"<{number}@hearth.example>" for number in range(20)]
        await asyncio.gather(*(channel.send(letter.model_copy(update={"message_id": i})) for i in ids))

        assert sorted(str(mail["Message-ID"]) for mail in arrived()) == sorted(ids)

    async def test_a_malformed_recipient_is_rejected(self, channel: Channel, arrived: Arrived, letter: Letter) -> None:
        """An address that no provider can take is refused before anything is sent."""
        with pytest.raises(RecipientRejected):
            await channel.send(letter.model_copy(update={"to": "nobody"}))

        assert arrived() == []


class TestMemoryChannel(ChannelContract):
    @pytest.fixture
    def channel(self) -> MemoryChannel:
        return MemoryChannel()

    @pytest.fixture
    def arrived(self, channel: MemoryChannel, clock: Clock) -> Arrived:
        return lambda: [email.message_from_bytes(wire(letter, clock()), policy=default) for letter in channel.letters]


class TestSmtpChannel(ChannelContract):
    @pytest.fixture
    async def channel(self, server: MailServer, clock: Clock) -> AsyncIterator[SmtpChannel]:
        async with SmtpChannel(f"smtp://127.0.0.1:{server.port}", clock) as channel:
            yield channel

    @pytest.fixture
    def arrived(self, server: MailServer) -> Arrived:
        return lambda: server.mails
