"""MIME: a letter as the bytes that go over the wire (docs/adr/0011-smtp.md)."""

import re
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from functools import cache, lru_cache
from typing import Any

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from domain.errors import ChannelUnavailable, RecipientRejected
from domain.message import Letter
from domain.values import Value

_LONGEST = 998
"""Characters of a line at most (RFC 5322 §2.1.1)."""
_FREE = frozenset({"list-unsubscribe", "list-unsubscribe-post", "list-id", "feedback-id", "auto-submitted"})
"""Headers for machines that the library knows no syntax of."""
_FOR_MACHINES = _FREE | {"message-id"}
_WORD = re.compile("[!-~]+")


class _Headers(HeaderRegistry):
    """The classes of headers, each made once: the library makes one anew whenever a header is set or counted."""

    @cache  # noqa: B019 - there is one registry, for as long as the process lives
    def __getitem__(self, name: str) -> type[BaseHeader]:
        """Return the class of a header."""
        return super().__getitem__(name)


_UNFOLDED = SMTP.clone(max_line_length=_LONGEST, header_factory=_Headers())


class WirePolicy(EmailPolicy):
    """Fold headers for people at 76 columns, and leave headers for machines in one line.

    The standard policy turns a `List-Unsubscribe` URL that is too long to fold into an encoded word, which no mail
    program follows; a wide policy for all headers would write encoded words longer than RFC 2047 allows.

    What is one line as it stands is not parsed either: the library takes every header apart, to put it together again.
    """

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        """Understand one header."""
        return (name, value) if _is_a_line(name, value) else super().header_store_parse(name, value)

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Fold one header for the wire."""
        if _is_a_line(name, value):
            return f"{name}: {value}\r\n".encode()
        if name.lower() in _FOR_MACHINES:
            return _UNFOLDED.fold_binary(name, value)
        return super().fold_binary(name, value)


def _is_a_line(name: str, value: Any) -> bool:
    """Tell whether a header is written as it stands: nothing in it has to be encoded or folded, or looks as if."""
    if name.lower() not in _FREE or not isinstance(value, str) or "=?" in value:
        return False
    return _WORD.fullmatch(value) is not None and len(f"{name}: {value}") <= _LONGEST


# The same width folds bodies, and quoted-printable ends at 76 (RFC 2045 §6.7), not at the library's 78.
_WIRE = WirePolicy(linesep="\r\n", max_line_length=76, header_factory=_UNFOLDED.header_factory)
_WIRE_UTF8 = _WIRE.clone(utf8=True)


class Envelope(Value):
    """Who sends to whom, as SMTP needs it: international domains in their ASCII form.

    Attributes:
        sender: Where it comes back to.
        author: From whom it is, as its reader sees it.
        utf8: The part before the @ has characters outside ASCII, so the server must know SMTPUTF8.
    """

    sender: str
    author: str
    recipient: str
    utf8: bool = False


def envelope(letter: Letter) -> Envelope:
    """Check the two addresses of a letter.

    Raises:
        RecipientRejected: The recipient's address is malformed.
        ChannelUnavailable: The store's own address is; somebody has to correct it, then the letter can go out.
    """
    try:
        recipient = _address(letter.to)
    except EmailNotValidError as problem:
        raise RecipientRejected(553, "the address is malformed") from problem
    try:
        author = _address(letter.sender)
        sender = _address(letter.return_path) if letter.return_path else author
    except EmailNotValidError as problem:
        raise ChannelUnavailable("the store's sender address is malformed") from problem
    return Envelope(
        sender=sender.ascii_email or sender.normalized,
        author=author.ascii_email or author.normalized,
        recipient=recipient.ascii_email or recipient.normalized,
        utf8=not (sender.ascii_email and author.ascii_email and recipient.ascii_email),
    )


def wire(letter: Letter, date: datetime) -> bytes:
    """Return the bytes of a letter, lines ended by CRLF.

    Raises:
        RecipientRejected: The recipient's address is malformed.
        ChannelUnavailable: The store's own address is.
    """
    between = envelope(letter)
    mail = EmailMessage(policy=_WIRE_UTF8 if between.utf8 else _WIRE)
    mail["From"] = _mailbox(letter.sender_name, between.author)
    mail["To"] = _mailbox(letter.to_name, between.recipient)
    mail["Subject"] = _one_line(letter.subject)
    mail["Date"] = date
    mail["Message-ID"] = _one_line(letter.message_id)
    mail["List-Id"] = _one_line(letter.list_id)
    mail["Feedback-ID"] = _one_line(letter.feedback_id)
    if letter.unsubscribe_url is None:
        mail["Auto-Submitted"] = "auto-generated"
    else:
        mail["List-Unsubscribe"] = f"<{_one_line(letter.unsubscribe_url)}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(letter.text, cte="quoted-printable")
    mail.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    return mail.as_bytes()


@lru_cache(maxsize=256)
def _address(address: str) -> ValidatedEmail:
    # Whether the address can be delivered to is for the server to say; `.test` and `localhost` are fine here.
    return validate_email(
        address, check_deliverability=False, globally_deliverable=False, test_environment=True, allow_quoted_local=True
    )


def _mailbox(name: str | None, address: str) -> Address:
    local, _, host = address.rpartition("@")
    return Address(_one_line(name or ""), local.strip('"'), host)


def _one_line(text: str) -> str:
    """Return a value that cannot begin another header."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]", " ", text).split())
