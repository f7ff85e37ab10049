"""What a letter looks like on the wire, read back with the standard library."""

import email
import re
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP as STANDARD
from email.policy import default

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.channels.mime import WirePolicy, envelope, wire
from domain.errors import ChannelUnavailable, RecipientRejected
from domain.message import Letter
from domain.ports import Clock

Altered = Callable[..., Letter]
SMTP = STANDARD.clone(max_line_length=998)


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


PIECES = st.sampled_from(["<", ">", " ", '"', "(", "\\", "=?utf-8?q?a?=", "=?", "é", "x" * 990, "a:b@c.d"])


@settings(max_examples=300)
@given(
    name=st.sampled_from(["List-Unsubscribe", "List-Id", "Feedback-ID", "Auto-Submitted"]),
    value=st.lists(PIECES).map("".join) | st.text(st.characters(min_codepoint=32, max_codepoint=126)),
)
def test_headers_for_machines_are_what_the_standard_library_writes_on_one_line(name: str, value: str) -> None:
    """Not taking them apart saves time and changes no byte."""
    value = " ".join(value.split())
    policy = WirePolicy(max_line_length=76)

    written = policy.fold_binary(*policy.header_store_parse(name, value))
    assert written == SMTP.fold_binary(*SMTP.header_store_parse(name, value))


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
