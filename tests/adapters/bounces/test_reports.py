"""Returned mail, written for these tests in the manner of the servers that return it."""

import time
from textwrap import dedent
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bounces import read
from domain.bounces import Kind

OURS = UUID("0198f2a4b1c27c3d8e4f5a6b7c8d9e0f")
ORIGINAL = f"""\
Return-Path: <hello@mugs.test>
Received: from app.mugs.test by mx.mugs.test; Thu, 15 Jan 2026 12:00:00 +0000
From: Mugs <hello@mugs.test>
To: ada@example.com
Subject: You left something behind
Message-ID: <{OURS.hex}@mugs.test>
Date: Thu, 15 Jan 2026 12:00:00 +0000
"""


def report(fields: str, words: str = "It could not be delivered.", head: str = "") -> bytes:
    """Write a multipart/report (RFC 3464) about one message of ours."""
    text = f"""\
Return-Path: <>
From: MAILER-DAEMON@mx.example.com
To: hello@mugs.test
Subject: Undelivered Mail Returned to Sender
Message-ID: <1@mx.example.com>
{head}MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain; charset=utf-8

{dedent(words)}
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.mugs.test

{dedent(fields)}
--b
Content-Type: text/rfc822-headers

{ORIGINAL}
--b--
"""
    return text.replace("\n", "\r\n").encode()


def failed(status: str, diagnostic: str, recipient: str = "ada@example.com", action: str = "failed") -> str:
    """Write the fields for one recipient."""
    lines = [f"Final-Recipient: rfc822; {recipient}", f"Action: {action}", f"Status: {status}"]
    return "\n".join([*lines, f"Diagnostic-Code: smtp; {diagnostic}"]) + "\n"


def plain(words: str, sender: str = "MAILER-DAEMON@mx.example.com", head: str = "") -> bytes:
    """Write a bounce of the old kind: one text."""
    text = f"Return-Path: <>\nFrom: {sender}\nTo: hello@mugs.test\nSubject: failure notice\n{head}\n{dedent(words)}"
    return text.encode()


@pytest.mark.parametrize(
    ("status", "diagnostic", "kind"),
    [
        ("5.1.1", "550 5.1.1 <ada@example.com>: Recipient address rejected: User unknown", Kind.GONE),
        ("5.0.0", "550 5.1.1 The email account that you tried to reach does not exist.", Kind.GONE),
        ("5.1.2", "550 5.1.2 Host unknown (Name server: example.com: host not found)", Kind.GONE),
        ("5.4.4", "Host or domain name not found. Name service error for name=example.com type=A", Kind.GONE),
        ("5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", Kind.GONE),
        ("5.2.2", "552 5.2.2 Mailbox full", Kind.NOT_NOW),
        ("5.1.1", "552 5.2.2 Over quota", Kind.NOT_NOW),
        ("5.2.1", "550 5.2.1 The email account that you tried to reach is disabled.", Kind.NOT_NOW),
        ("4.4.7", "421 4.4.2 Connection timed out", Kind.NOT_NOW),
        ("5.7.1", "554 5.7.1 <ada@example.com>: Relay access denied", Kind.REFUSED),
        ("5.1.1", "550 5.7.1 IP address blacklisted by recipient", Kind.REFUSED),
        ("5.7.26", "550-5.7.26 Unauthenticated email from mugs.test is not accepted due to DMARC policy", Kind.REFUSED),
        ("5.1.8", "553 5.1.8 <hello@mugs.test>... Domain of sender address does not exist", Kind.REFUSED),
        ("5.3.4", "552 5.3.4 Message size exceeds fixed limit", Kind.REFUSED),
        ("5.0.0", "550 Unknown user", Kind.NOT_NOW),
        ("5.1.1", "550 5.1.1 <ada@example.com>: inactive email address", Kind.GONE),
        ("5.2.1", "550 5.2.1 The email account is inactive", Kind.NOT_NOW),
        ("5.1.0", "550 #5.1.0 Address rejected.", Kind.GONE),
        ("5.1.0", "5.1.0 - Unknown address error 550-'5.1.1 <ada@example.com>: Recipient address rejected'", Kind.GONE),
        ("5.0.0", "553 5.3.0 <ada@example.com>... Addressee unknown, relay=[192.0.2.1]", Kind.GONE),
        ("5.1.1", "550 5.1.1 Refused due to recipient preferences", Kind.REFUSED),
        ("5.1.3", "553 https://www.spamhaus.org/query/ip/192.0.2.1", Kind.REFUSED),
    ],
)
def test_the_words_of_the_server_outweigh_the_code_of_the_report(status: str, diagnostic: str, kind: Kind) -> None:
    """Codes are guessed by the relay, often wrongly; and a doubt counts for the address."""
    (told,) = read(report(failed(status, diagnostic)))

    assert (told.kind, told.recipient, told.message_id) == (kind, "ada@example.com", OURS)


@pytest.mark.parametrize(("action", "kind"), [("delayed", Kind.DELAYED), ("relayed", Kind.DELIVERED)])
def test_what_has_not_failed_is_no_bounce(action: str, kind: Kind) -> None:
    """A warning after four hours is not the end."""
    (told,) = read(report(failed("4.4.1", "550 5.1.1 user unknown", action=action)))

    assert told.kind is kind


def test_each_recipient_of_a_report_is_judged_by_its_own_fields() -> None:
    """One that does not exist says nothing about the other."""
    fields = failed("5.1.1", "550 5.1.1 User unknown") + "\n" + failed("5.2.2", "552 Mailbox full", "bob@example.com")
    told = read(report(fields))

    assert [(one.recipient, one.kind) for one in told] == [
        ("ada@example.com", Kind.GONE),
        ("bob@example.com", Kind.NOT_NOW),
    ]
    assert len({one.key for one in told}) == 2


def test_recipients_of_a_report_without_empty_lines_between_them_are_each_heard() -> None:
    """Some servers leave them out."""
    fields = failed("5.2.2", "552 Mailbox full") + failed("5.1.1", "550 5.1.1 User unknown", "bob@example.com")
    told = read(report(fields))

    assert [(one.recipient, one.kind) for one in told] == [
        ("ada@example.com", Kind.NOT_NOW),
        ("bob@example.com", Kind.GONE),
    ]


def test_words_for_people_that_speak_of_a_full_disk_outweigh_the_fields() -> None:
    """A doubt counts for the address."""
    words = "Your message to <ada> was automatically rejected:\nNot enough disk space"
    (told,) = read(report(failed("5.1.1", "550 5.1.1 User unknown"), words))

    assert told.kind is Kind.NOT_NOW


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (
            """\
            Your message wasn't delivered to ada@example.com because the address couldn't be found.

            """,
            Kind.GONE,
        ),
        (
            """\
            Delivery to the following recipient failed permanently:

                 ada@example.com

            Technical details of permanent failure:
            The error that the other server returned was: 550 550 Address unknown (state 14).

            """,
            Kind.GONE,
        ),
        (
            """\
            Hi. This is the qmail-send program at mx.example.com.
            I'm afraid I wasn't able to deliver your message to the following addresses.

            <ada@example.com>:
            192.0.2.1 does not like recipient.
            Remote host said: 550 5.1.1 <ada@example.com>... User unknown
            Giving up on 192.0.2.1.

            --- Below this line is a copy of the message.

            """,
            Kind.GONE,
        ),
        (
            """\
            A message that you sent could not be delivered to one or more of its recipients.
            This is a permanent error. The following address(es) failed:

              ada@example.com
                SMTP error from remote mail server after end of data:
                host mx.example.com [192.0.2.1]: 550 user unknown

            ------ This is a copy of the message, including all the headers. ------

            """,
            Kind.NOT_NOW,
        ),
        (
            """\
               ----- The following addresses had permanent fatal errors -----
            <ada@example.com>

               ----- Transcript of session follows -----
            ... while talking to mx.example.com.:
            >>> MAIL From:<hello@mugs.test>
            <<< 550 5.7.1 <hello@mugs.test>... Access denied

            """,
            Kind.REFUSED,
        ),
    ],
)
def test_a_server_without_a_report_is_read_by_its_words(words: str, kind: Kind) -> None:
    """qmail, Exim and old sendmail; an unknown user after the content was seen may have been a filter."""
    (told,) = read(plain(dedent(words) + ORIGINAL + "\nHello\n"))

    assert (told.kind, told.recipient, told.message_id) == (kind, "ada@example.com", OURS)


def test_a_report_wrapped_by_a_gateway_is_unwrapped() -> None:
    """Virus scanners return a report of their own with the real one inside."""
    inner = report(failed("5.1.1", "550 5.1.1 User unknown")).decode()
    outer = "Return-Path: <>\nFrom: postmaster@gate.test\nSubject: failure\nMIME-Version: 1.0\n"
    outer += 'Content-Type: multipart/mixed; boundary="o"\n\n--o\nContent-Type: text/plain\n\nSee below.\n'
    outer += f"--o\nContent-Type: message/rfc822\n\n{inner}\n--o--\n"
    (told,) = read(outer.encode())

    assert told.kind is Kind.GONE


def test_a_complaint_names_the_message_and_not_the_reason() -> None:
    """ARF (RFC 5965), as mailbox providers send it to those who registered for it."""
    raw = f"""\
From: feedback@isp.test
Subject: complaint about message from 192.0.2.1
Message-ID: <arf-1@isp.test>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="f"

--f
Content-Type: text/plain

This is an email abuse report.
--f
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Rcpt-To: <ada@example.com>
Arrival-Date: Thu, 15 Jan 2026 12:00:00 +0000

--f
Content-Type: message/rfc822

{ORIGINAL}
Hello
--f--
""".encode()
    (told,) = read(raw)
    not_spam = read(raw.replace(b"Feedback-Type: abuse", b"Feedback-Type: not-spam"))

    assert (told.kind, told.recipient, told.message_id) == (Kind.COMPLAINED, "ada@example.com", OURS)
    assert not_spam == []


def test_the_same_mail_has_the_same_key_however_it_comes() -> None:
    """Read from the mailbox and from the intake, it is one bounce."""
    raw = report(failed("5.1.1", "550 5.1.1 User unknown"))
    again = raw.replace(b"Return-Path: <>", b"Received: from elsewhere\r\nReturn-Path: <>")

    assert [one.key for one in read(raw)] == [one.key for one in read(again)]


def test_a_letter_that_quotes_a_bounce_is_no_bounce() -> None:
    """People forward these; nobody may be silenced by an answer to a question."""
    head = "From: bob@example.com\nTo: hello@mugs.test\nSubject: Re: my order\n\n"
    raw = f"{head}> 550 5.1.1 <ada@example.com>: User unknown\n\n{ORIGINAL}"

    assert read(raw.encode()) == []


def test_an_automatic_answer_gives_nobody_up() -> None:
    """A vacation notice comes with an empty return path, like a bounce."""
    told = read(
        plain(
            "I am away until Monday. ada@example.com\n", sender="ada@example.com", head="Auto-Submitted: auto-replied\n"
        )
    )

    assert all(one.kind is not Kind.GONE for one in told)


@given(st.binary(max_size=2000), st.integers(0, 4000))
def test_any_bytes_can_be_read(noise: bytes, where: int) -> None:
    """Mail comes broken, cut off and mislabelled; nothing of it stops the reader."""
    whole = report(failed("5.1.1", "550 5.1.1 User unknown"))

    read(noise)
    read(whole[:where] + noise + whole[where:])
    read(whole[:where])


@pytest.mark.parametrize("evil", [b"A:\n", b"a", b"<!--", b"a@b.c:\n", b"550 5.1.1 x\n\n"])
def test_a_mail_made_to_cost_time_costs_little(evil: bytes) -> None:
    """Anybody can send one; without bounds these took minutes."""
    begun = time.process_time()  # of this process alone, however busy the machine is
    read(b"Return-Path: <>\nSubject: failure\nContent-Type: text/plain\n\n" + evil * (300_000 // len(evil)))

    assert time.process_time() - begun < 10
