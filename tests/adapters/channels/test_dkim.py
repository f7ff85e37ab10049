"""Signatures, judged by another implementation (dkimpy), after a real conversation with a mail server."""

import re
from collections.abc import Callable, Sequence
from typing import get_args

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.channels.dkim import Algorithm, KeyPair, SigningKey, new_key, record, signed
from adapters.channels.mime import wire
from adapters.channels.smtp import SmtpChannel
from adapters.postgres.dkim_keys import DkimKeys
from adapters.postgres.tables import dkim_keys
from adapters.rendering.renderer import TemplateRenderer
from domain.errors import ChannelUnavailable, ConfigurationError, InvalidInput, NotFound, Unavailable
from domain.message import Letter
from domain.ports import Clock
from domain.tokens import Signer
from testing.inspection import as_owner
from tests.adapters.channels.conftest import NOW
from tests.adapters.channels.mail_server import MailServer
from tests.adapters.rendering.conftest import MATERIAL, TEMPLATES
from tests.conftest import Shop

ALGORITHMS: Sequence[Algorithm] = get_args(Algorithm)
MASTER = "a-master-key-of-32-characters-ok"
SEALED = ("from", "to", "subject", "date", "message-id", "list-unsubscribe", "list-unsubscribe-post")
COVERED = (
    "From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "List-Id", "Feedback-ID",
    "List-Unsubscribe", "List-Unsubscribe-Post",
)  # fmt: skip


@pytest.fixture(scope="module")
def pairs() -> dict[Algorithm, KeyPair]:
    return {algorithm: new_key(algorithm) for algorithm in ALGORITHMS}


@pytest.fixture(scope="module")
def keys(pairs: dict[Algorithm, KeyPair]) -> list[SigningKey]:
    """One of each kind, as RFC 8463 suggests while not every reader's server knows Ed25519."""
    return [
        SigningKey(domain="hearth.example", selector=algorithm[:3], algorithm=algorithm, private=pair.private)
        for algorithm, pair in pairs.items()
    ]


@pytest.fixture(scope="module")
def dns(pairs: dict[Algorithm, KeyPair]) -> Callable[..., bytes | None]:
    """What stands in DNS for them."""
    zone = {
        f"{algorithm[:3]}._domainkey.hearth.example.".encode(): record(algorithm, pair.public).encode()
        for algorithm, pair in pairs.items()
    }
    return answering(zone)


@pytest.fixture(scope="module")
def mail(keys: list[SigningKey]) -> bytes:
    """A cart reminder, rendered and signed."""
    renderer = TemplateRenderer(TEMPLATES, Signer(["a secret for the tests"]), "https://mail.example/")
    letter = renderer.letter(MATERIAL, renderer.render(MATERIAL))
    return signed(wire(letter, NOW), keys, int(NOW.timestamp()))


def answering(zone: dict[bytes, bytes]) -> Callable[..., bytes | None]:
    """Answer as DNS does, the way dkimpy asks."""

    def answer(name: bytes, timeout: int = 5) -> bytes | None:
        return zone.get(name)

    return answer


def verified(raw: bytes, dns: Callable[..., bytes | None]) -> list[bool]:
    """Judge every signature of a mail."""
    judged = []
    for index in range(len(re.findall(rb"^DKIM-Signature:", raw, re.MULTILINE))):
        try:
            judged.append(dkim.DKIM(raw).verify(index, dnsfunc=dns))
        except dkim.ValidationError:
            judged.append(False)
    return judged


class Given:
    """Keys that do not come from a database."""

    def __init__(self, keys: Sequence[SigningKey] | Exception) -> None:
        self._keys = keys

    async def signing(self, store_id: str, host: str) -> Sequence[SigningKey]:
        if isinstance(self._keys, Exception):
            raise self._keys
        assert (store_id, host) == ("hearth", "hearth.example")
        return self._keys


async def test_a_mail_arrives_with_signatures_that_its_reader_s_server_accepts(
    server: MailServer, clock: Clock, keys: list[SigningKey], dns: Callable[..., bytes | None]
) -> None:
    """A real template, a real conversation: lines that begin with a dot and all."""
    renderer = TemplateRenderer(TEMPLATES, Signer(["a secret for the tests"]), "https://mail.example/")
    letter = renderer.letter(MATERIAL, renderer.render(MATERIAL))
    letter = letter.model_copy(update={"text": f".hidden\n{letter.text}\n\n\n", "subject": "Zwölf Tässchen " * 9})
    async with SmtpChannel(f"smtp://localhost:{server.port}?starttls=0", clock, keys=Given(keys)) as channel:
        await channel.send(letter)

    assert verified(server.raw[0], dns) == [True, True]
    assert server.mails[0]["From"] == "Hearth <hello@hearth.example>"


def test_a_signature_covers_what_readers_servers_judge_by(mail: bytes) -> None:
    """RFC 8058 §4: one-click works only if both its headers are signed; From is named twice against a second one."""
    names = re.search(rb"h=([^;]+);", mail)

    assert names is not None
    told = names[1].decode().split(":")
    assert {name.lower() for name in COVERED} <= set(told)
    assert {name: told.count(name) for name in SEALED} == dict.fromkeys(SEALED, 2)


@pytest.mark.parametrize("header", COVERED)
def test_an_altered_header_breaks_the_signature(mail: bytes, dns: Callable[..., bytes | None], header: str) -> None:
    """Of each that is covered, by one character."""
    field = re.compile(rf"^({header}: .*?)(\r\n(?![ \t]))".encode(), re.MULTILINE | re.DOTALL)
    altered = field.sub(rb"\1x\2", mail, count=1)

    assert altered != mail
    assert verified(mail, dns) == [True, True]
    assert verified(altered, dns) == [False, False]


@pytest.mark.parametrize("added", [b"From: mallory@evil.example", b"Subject: Other", b"List-Unsubscribe: <https://x>"])
def test_a_second_header_breaks_the_signature(mail: bytes, dns: Callable[..., bytes | None], added: bytes) -> None:
    """RFC 6376 §8.15: a reader is shown one of the two, and it need not be the signed one."""
    assert verified(added + b"\r\n" + mail, dns) == [False, False]
    head, _, body = mail.partition(b"\r\n\r\n")
    assert verified(head + b"\r\n" + added + b"\r\n\r\n" + body, dns) == [False, False]


def test_what_servers_do_to_mails_on_the_way_breaks_nothing(mail: bytes, dns: Callable[..., bytes | None]) -> None:
    """Folding anew, spaces at the ends of lines, empty lines at the end, headers on top."""
    moved = mail.replace(b"To: ", b"To:\r\n ", 1).replace(b"Subject: ", b"SUBJECT:   ", 1)
    moved = b"Received: by mx.example\r\n" + moved.replace(b"</p>\r\n", b"</p>  \r\n") + b"\r\n\r\n"

    assert verified(moved, dns) == [True, True]
    assert verified(mail.replace(b"</p>", b"</q>", 1), dns) == [False, False]


@settings(max_examples=25)
@given(subject=st.text(max_size=200), name=st.text(max_size=80), body=st.text(max_size=300))
def test_whatever_a_store_writes_its_mail_verifies(
    keys: list[SigningKey], dns: Callable[..., bytes | None], subject: str, name: str, body: str
) -> None:
    """Any characters, any lengths, any line ends."""
    letter = Letter(
        message_id="<m@hearth.example>", to="ada@customers.example", to_name=name, sender="hello@hearth.example",
        sender_name=name, subject=subject, html=f"<p>{body}</p>", text=body, list_id="<l.hearth.example>",
        feedback_id="a:b:c:d",
    )  # fmt: skip
    # Ed25519 only: dkimpy takes its time for the other, and what is signed is the same.
    assert verified(signed(wire(letter, NOW), keys[1:], 1), dns) == [True]


@settings(max_examples=50)
@given(body=st.lists(st.sampled_from([" ", "\t", "\r\n", "a"])).map("".join))
def test_spaces_and_empty_lines_count_as_little_as_for_its_reader_s_server(
    keys: list[SigningKey], dns: Callable[..., bytes | None], body: str
) -> None:
    """Relaxed (RFC 6376 §3.4): wherever in a line they are, and at the end of the mail."""
    raw = f"From: hello@hearth.example\r\nSubject: \t a  b \r\n\r\n{body}\r\n"

    assert verified(signed(raw.encode(), keys[1:], 1), dns) == [True]


@pytest.mark.parametrize("problem", [Unavailable("no database"), ConfigurationError("no master key")])
async def test_a_mail_that_cannot_be_signed_waits(
    server: MailServer, clock: Clock, letter: Letter, problem: Exception
) -> None:
    """Unsigned it would harm the sender's name; nothing has gone out, so it is tried again."""
    async with SmtpChannel(f"smtp://localhost:{server.port}?starttls=0", clock, keys=Given(problem)) as channel:
        with pytest.raises(ChannelUnavailable, match="could not be signed"):
            await channel.send(letter)

    assert server.raw == []


class TestKeys:
    """The keys of a store, as they are kept."""

    async def test_a_key_signs_from_when_it_is_started_instead_of_the_one_before(
        self, engine: AsyncEngine, store: Shop
    ) -> None:
        """Before its record is in DNS it must not; one of each kind does, for the domain and the hosts below it."""
        kept = DkimKeys(engine, [MASTER])
        for selector, algorithm in (("a", ALGORITHMS[0]), ("b", ALGORITHMS[1]), ("c", ALGORITHMS[1])):
            await kept.make("mugs", "mugs.test", selector, algorithm, NOW, by="test")

        assert await DkimKeys(engine, [MASTER]).signing("mugs", "mugs.test") == []
        for selector in ("a", "b", "c"):
            await kept.start("mugs", "mugs.test", selector, NOW, by="test")
        fresh = DkimKeys(engine, [MASTER])
        for host in ("mugs.test", "news.mugs.test"):
            assert {key.selector for key in await fresh.signing("mugs", host)} == {"a", "c"}
        assert await fresh.signing("mugs", "notmugs.test") == await fresh.signing("pots", "mugs.test") == []

    async def test_what_is_published_belongs_to_what_signs(self, engine: AsyncEngine, store: Shop) -> None:
        """The record that is printed opens the signatures of the key that is kept, after a new master key too."""
        kept = DkimKeys(engine, [MASTER])
        made = await kept.make("mugs", "mugs.test", "s", "ed25519-sha256", NOW, by="test")
        await kept.start("mugs", "mugs.test", "s", NOW, by="test")
        async with as_owner(engine) as connection:
            assert (await connection.scalar(select(dkim_keys.c.private_key))).startswith("sealed:")
        assert await DkimKeys(engine, ["another-master-key-of-32-letters", MASTER]).rewrap() == 1
        with pytest.raises(ConfigurationError, match="JOURNEYS_MASTER_KEYS"):
            await DkimKeys(engine, ()).signing("mugs", "mugs.test")
        (key,) = await DkimKeys(engine, ["another-master-key-of-32-letters"]).signing("mugs", "mugs.test")
        raw = signed(b"From: a@mugs.test\r\n\r\nHello\r\n", [key], 1)

        assert made.name == "s._domainkey.mugs.test"
        assert verified(raw, answering({f"{made.name}.".encode(): made.record.encode()})) == [True]

    async def test_a_selector_is_used_once_and_a_foreign_store_s_key_is_none(
        self, engine: AsyncEngine, store: Shop
    ) -> None:
        """A published record is never given another key; nobody starts or destroys what is not theirs."""
        kept = DkimKeys(engine, ())
        await kept.make("mugs", "mugs.test", "s", "ed25519-sha256", NOW, by="test")
        with pytest.raises(InvalidInput, match="in use"):
            await kept.make("mugs", "mugs.test", "s", "ed25519-sha256", NOW, by="test")
        for act in (
            kept.make("pots", "mugs.test", "s", "ed25519-sha256", NOW, by="test"),
            kept.forget("pots", "mugs.test", "s", NOW, by="test"),
        ):
            with pytest.raises(NotFound):
                await act
        await kept.forget("mugs", "mugs.test", "s", NOW, by="test")

        assert await kept.of("mugs") == []
