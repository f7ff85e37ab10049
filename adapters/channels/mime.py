"""MIME: a letter as the bytes that go over the wire (docs/adr/0011-smtp.md)."""

import binascii
import hashlib
import re
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache, lru_cache

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from domain.errors import ChannelUnavailable, RecipientRejected
from domain.message import Letter
from domain.values import Value

_COLUMNS = 76
"""Characters of a line at most that may hold an encoded word (RFC 2047 §2)."""
_LONGEST = 998
"""Characters of any line at most (RFC 5322 §2.1.1)."""
_WORD = "[!-~]+"
_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOTTED = rf"{_ATOM}(?:\.{_ATOM})*"
_WORDS = re.compile(f"{_WORD}(?: {_WORD})*")
_MAILBOX = re.compile(f"(?:{_ATOM} )+<{_DOTTED}@{_DOTTED}>|{_DOTTED}@{_DOTTED}")
_FOR_PEOPLE = {"From": _MAILBOX, "To": _MAILBOX, "Subject": _WORDS, "Date": _WORDS}
_FOR_MACHINES = {"Message-ID": re.compile(f"<{_DOTTED}@{_DOTTED}>")} | dict.fromkeys(
    ("List-Id", "Feedback-ID", "Auto-Submitted", "List-Unsubscribe", "List-Unsubscribe-Post"), re.compile(_WORD)
)
_PLAIN = _FOR_PEOPLE | _FOR_MACHINES
"""By header: a value in which nothing has to be encoded."""


class _Headers(HeaderRegistry):
    """The classes of headers, each made once: the library makes one anew whenever a header is set."""

    @cache  # noqa: B019 - there is one registry, for as long as the process lives
    def __getitem__(self, name: str) -> type[BaseHeader]:
        """Return the class of a header."""
        return super().__getitem__(name)


_FOLDED = SMTP.clone(max_line_length=_COLUMNS, header_factory=_Headers())
_FOLDED_UTF8 = _FOLDED.clone(utf8=True)
_UNFOLDED = _FOLDED.clone(max_line_length=_LONGEST)


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
    message_id = _one_line(letter.message_id)
    fields: dict[str, str | Address] = {
        "From": _mailbox(letter.sender_name, between.author),
        "To": _mailbox(letter.to_name, between.recipient),
        "Subject": _one_line(letter.subject),
        "Date": format_datetime(date),
        "Message-ID": message_id,
        "List-Id": _one_line(letter.list_id),
        "Feedback-ID": _one_line(letter.feedback_id),
    }
    if letter.unsubscribe_url is None:
        fields["Auto-Submitted"] = "auto-generated"
    else:
        fields["List-Unsubscribe"] = f"<{_one_line(letter.unsubscribe_url)}>"
        fields["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    head = b"".join(field(name, value, utf8=between.utf8) for name, value in fields.items())
    return head + _alternatives(letter, message_id)


def field(name: str, value: str | Address, *, utf8: bool = False) -> bytes:
    """Return a header as it goes over the wire: for people folded at 76 columns, for machines in one line.

    The standard policy turns a `List-Unsubscribe` URL that is too long to fold into an encoded word, which no mail
    program follows; a wide policy for all headers would write encoded words longer than RFC 2047 allows.

    What is one line as it stands is written so: the library takes every header apart, to put it together again.
    """
    line = f"{name}: {value}"
    longest = _LONGEST if name in _FOR_MACHINES else _COLUMNS
    if len(line) <= longest and "=?" not in line and _PLAIN[name].fullmatch(str(value)):
        return line.encode() + b"\r\n"
    policy = _UNFOLDED if name in _FOR_MACHINES else _FOLDED_UTF8 if utf8 else _FOLDED
    return policy.fold_binary(*policy.header_store_parse(name, value))


def _alternatives(letter: Letter, message_id: str) -> bytes:
    """Return the text, and after it the HTML: a mail program shows the last one that it can (RFC 2046 §5.1.4)."""
    # No body has `=_` in it: an equals sign is encoded (RFC 2045 §6.7).
    boundary = b"=_" + hashlib.sha256(message_id.encode()).hexdigest()[:24].encode()
    parts = (_part(b"plain", letter.text), _part(b"html", letter.html))
    return b"".join(
        (
            b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="%b"\r\n' % boundary,
            *(b"\r\n--%b\r\n%b" % (boundary, part) for part in parts),
            b"\r\n--%b--\r\n" % boundary,
        )
    )


def _part(subtype: bytes, text: str) -> bytes:
    head = b'Content-Type: text/%b; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n' % subtype
    return head + _quoted_printable(b"\r\n".join(text.encode().splitlines()) + b"\r\n")


def _quoted_printable(body: bytes) -> bytes:
    """Encode a body. The package for mails has an encoder of its own, which is written in Python and takes its time."""
    encoded = binascii.b2a_qp(body)
    # A space at the end of a line it encodes without looking how long the line becomes: up to 77 characters.
    return encoded.replace(b"=20\r\n", b"=\r\n=20\r\n").replace(b"=09\r\n", b"=\r\n=09\r\n")


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
