"""What a letter looks like on the wire, read back with the standard library."""

import email
import re
from collections.abc import Callable
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as STANDARD
from email.policy import EmailPolicy, default

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.channels.mime import envelope, field, wire
from domain.errors import ChannelUnavailable, RecipientRejected
from domain.message import Letter
from domain.ports import Clock

Altered = Callable[..., Letter]
UNFOLDED = STANDARD.clone(max_line_length=998)
FOLDED = STANDARD.clone(max_line_length=76)


def parsed(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=default)


def headers(raw: bytes) -> list[bytes]:
    return raw.partition(b"\r\n\r\n")[0].split(b"\r\n")


def test_a_long_unsubscribe_url_stays_on_one_line_and_unencoded(altered: Altered, clock: Clock) -> None:
    """A mail program must find the URL as it is (RFC 8058); an encoded word would switch one-click off."""
    url = "https://mail.example/unsubscribe?token=" + "x" * 161

    lines = headers(wire(altered(unsubscribe_url=url), clock()))

    assert len(url) == 200
    assert f"List-Unsubscribe: <{url}>".encode() in lines
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in lines


def test_headers_for_machines_survive_long_identifiers(altered: Altered, clock: Clock) -> None:
    """Identifiers are compared byte by byte; none may be folded or encoded."""
    store = "s" * 80
    lines = headers(
        wire(
            altered(
                message_id=f"<{'0' * 32}@{store}.example>",
                list_id=f"<cart-recovery.{store}.{store}.example>",
                feedback_id=f"{store}:cart-recovery:reminder-1:journeys",
            ),
            clock(),
        )
    )

    assert f"Message-ID: <{'0' * 32}@{store}.example>".encode() in lines
    assert f"List-Id: <cart-recovery.{store}.{store}.example>".encode() in lines
    assert f"Feedback-ID: {store}:cart-recovery:reminder-1:journeys".encode() in lines


PIECES = st.sampled_from(
    ["<", ">", " ", '"', "(", "\\", ",", ".", "..", "=?utf-8?q?a?=", "=?", "é", "x" * 60, "x" * 990, "a:b@c.d", "A & B"]
)
VALUES = st.lists(PIECES).map("".join) | st.text(st.characters(min_codepoint=32, max_codepoint=126))
ADDRESSES = st.sampled_from(["ada@c.example", '"a b"@c.example', "a.b+c=d@c-d.example", "zoë@c.example", "a@localhost"])


def written_by_the_library(policy: EmailPolicy, name: str, value: str | Address) -> bytes:
    return policy.fold_binary(*policy.header_store_parse(name, value))


@settings(max_examples=300)
@given(name=st.sampled_from(["List-Unsubscribe", "List-Id", "Feedback-ID", "Auto-Submitted"]), value=VALUES)
def test_headers_for_machines_are_what_the_standard_library_writes_on_one_line(name: str, value: str) -> None:
    """Not taking them apart saves time and changes no byte."""
    value = " ".join(value.split())

    assert field(name, value) == written_by_the_library(UNFOLDED, name, value)


@settings(max_examples=300)
@given(subject=VALUES, name=VALUES, address=ADDRESSES, utf8=st.booleans())
def test_headers_for_people_are_what_the_standard_library_writes(
    subject: str, name: str, address: str, utf8: bool
) -> None:
    """Not taking apart what is short and plain changes no byte either, and the rest is the library's work."""
    policy = FOLDED.clone(utf8=utf8)
    subject, name = " ".join(subject.split()), " ".join(name.split())
    local, _, host = address.rpartition("@")
    mailbox = Address(name, local.strip('"'), host)

    assert field("Subject", subject, utf8=utf8) == written_by_the_library(policy, "Subject", subject)
    assert field("To", mailbox, utf8=utf8) == written_by_the_library(policy, "To", mailbox)


def test_the_same_letter_has_the_same_message_id_at_every_attempt(letter: Letter, clock: Clock) -> None:
    """The second attempt at a message is recognisable as such (G3)."""
    first, second = parsed(wire(letter, clock())), parsed(wire(letter, clock()))

    assert letter.message_id == first["Message-ID"] == second["Message-ID"]


def test_a_letter_has_a_text_and_an_html_part(altered: Altered, clock: Clock) -> None:
    """Text first, HTML last: a mail program shows the last one it can (RFC 2046)."""
    mail = parsed(wire(altered(text="Grüße\n", html="<p>Grüße</p>"), clock()))

    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert [part.get_content().strip() for part in mail.iter_parts()] == ["Grüße", "<p>Grüße</p>"]


LINES = st.lists(
    st.text(max_size=5)
    | st.sampled_from(["\r", "\n", "\r\n", " ", "\t", "=", ".", "From ", "é", "日", "\0", "\f", "\x85", "\u2028"])
    | st.sampled_from(["x" * 73, "x" * 74, "x" * 75, "x" * 76, "x" * 74 + " \n", "é" + "x" * 68 + "\t\n"]),
    max_size=30,
).map("".join)


@settings(
    deadline=None, max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(text=LINES, html=LINES)
def test_a_body_arrives_as_if_the_standard_library_had_written_it(
    letter: Letter, clock: Clock, text: str, html: str
) -> None:
    """Any characters, any line ends, any lengths: the quicker encoder is told apart from the library's by nobody."""
    raw = wire(letter.model_copy(update={"text": text, "html": html}), clock())

    for part, content in zip(parsed(raw).iter_parts(), (text, html), strict=True):
        by_the_library = EmailMessage(policy=FOLDED)
        by_the_library.set_content(content, cte="quoted-printable")
        assert part.get_content() == parsed(by_the_library.as_bytes()).get_content()
        assert part.defects == []
    for line in raw.partition(b"\r\n\r\n")[2].split(b"\r\n"):
        assert len(line) <= 76
        assert not re.search(rb"[\r\n]|[ \t]$", line)


def test_a_letter_is_the_same_bytes_at_every_attempt(altered: Altered, clock: Clock) -> None:
    """The boundary is made of the message's id, and no body can have it in it."""
    letter = altered(text="=_", html="--=_")
    raw = wire(letter, clock())
    boundary = parsed(raw).get_boundary()

    assert raw == wire(letter, clock())
    assert boundary is not None
    assert raw.partition(b"\r\n\r\n")[2].count(boundary.encode()) == 3
    assert boundary != parsed(wire(altered(message_id="<another@hearth.example>"), clock())).get_boundary()


def test_no_line_of_a_body_is_longer_than_76_characters(altered: Altered, clock: Clock) -> None:
    """Quoted-printable lines end after 76 characters (RFC 2045), whatever the HTML looks like."""
    raw = wire(altered(html="<p>" + "ü and more " * 500 + "</p>", text="é" * 3000), clock())

    body = raw.partition(b"\r\n\r\n")[2]
    assert raw.isascii()
    assert max(len(line) for line in body.split(b"\r\n")) <= 76
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert raw.endswith(b"\r\n")


def test_names_and_subjects_in_any_script_arrive(altered: Altered, clock: Clock) -> None:
    """Names and subjects are encoded words of at most 75 characters each (RFC 2047)."""
    subject = "日本語の件名はかなり長くなることがあります。" * 6
    raw = wire(altered(subject=subject, to_name="Łukasz Żółć", sender_name="Café „Zum Löwen“, Wien"), clock())

    mail = parsed(raw)
    words = re.findall(rb"=\?utf-8\?[^ \r\n]*\?=", raw)
    assert mail["Subject"] == subject
    assert mail["To"].addresses[0].display_name == "Łukasz Żółć"
    assert mail["From"].addresses[0].display_name == "Café „Zum Löwen“, Wien"
    assert words
    assert all(len(word) <= 75 for word in words)


def test_the_date_is_the_clocks(letter: Letter, clock: Clock) -> None:
    """The date of a letter is business time, so that a year can be replayed."""
    date: datetime = parsed(wire(letter, clock()))["Date"].datetime

    assert date == clock()


def test_a_transactional_letter_has_no_unsubscribe_header(altered: Altered, clock: Clock) -> None:
    """A receipt is not a subscription, and tells autoresponders that no person wrote it (RFC 3834)."""
    mail = parsed(wire(altered(unsubscribe_url=None), clock()))

    assert "List-Unsubscribe" not in mail
    assert "List-Unsubscribe-Post" not in mail
    assert mail["Auto-Submitted"] == "auto-generated"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=80), where=st.sampled_from(["subject", "to_name", "sender_name", "unsubscribe_url"]))
def test_no_value_can_begin_another_header(letter: Letter, clock: Clock, text: str, where: str) -> None:
    """Header injection is impossible: a line break in a value never reaches the wire."""
    altered = letter.model_copy(update={where: f"a{text}\r\nBcc: eve@evil.example\n\n{text}"})
    mail = parsed(wire(altered, clock()))

    assert "Bcc" not in mail
    assert len(mail.keys()) == len(parsed(wire(letter, clock())).keys())
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    "address", ["", "no-at-sign", "a@b@c", "two words@x.example", "a@x.example\r\nBcc: e@evil.example"]
)
def test_a_malformed_recipient_is_rejected_and_not_named(altered: Altered, clock: Clock, address: str) -> None:
    """What cannot be delivered counts as a bounce, and the address stays out of the error (G8)."""
    with pytest.raises(RecipientRejected) as problem:
        wire(altered(to=address), clock())

    assert (problem.value.code, str(problem.value)) == (553, "553 the address is malformed")


def test_a_malformed_sender_is_not_the_recipients_fault(altered: Altered, clock: Clock) -> None:
    """A store whose own address is wrong must not make its customers look unreachable."""
    with pytest.raises(ChannelUnavailable):
        wire(altered(sender="hearth"), clock())


def test_an_international_domain_travels_in_ascii(altered: Altered, clock: Clock) -> None:
    """Any server can deliver to an IDN by its A-label; ß is not ss (IDNA 2008)."""
    address = altered(to="ada@straße.example")

    assert envelope(address).recipient == "ada@xn--strae-oqa.example"
    assert envelope(address).utf8 is False
    assert parsed(wire(address, clock()))["To"].addresses[0].addr_spec == "ada@xn--strae-oqa.example"


def test_a_local_part_outside_ascii_asks_for_smtputf8(altered: Altered, clock: Clock) -> None:
    """Only an internationalised address changes the envelope and writes its headers in UTF-8 (RFC 6532)."""
    address = altered(to="zoë@straße.example")

    assert envelope(address).recipient == "zoë@straße.example"
    assert envelope(address).utf8 is True
    assert "zoë@straße.example".encode() in wire(address, clock())


def test_a_letter_comes_back_to_its_return_path_and_is_from_its_sender(letter: Letter, clock: Clock) -> None:
    """The envelope's sender is for machines (VERP); a reader sees the store."""
    returning = letter.model_copy(update={"return_path": "bounces+x.mugs@mail.test"})

    assert envelope(returning).sender == "bounces+x.mugs@mail.test"
    assert letter.sender in str(parsed(wire(returning, clock()))["From"])
    assert envelope(letter).sender == letter.sender
