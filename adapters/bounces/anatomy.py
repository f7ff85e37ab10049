"""Anatomy of a returned mail: what the mail server says, its fields for machines, and what it gives back of ours.

A report has its parts in order (RFC 3462): words for people, `message/delivery-status` (RFC 3464) or
`message/feedback-report` (RFC 5965), and the returned message. Older and simpler servers write one text, with the
returned message below a line of dashes or without any; some cut parts off or label them wrong. So everything here takes
what it finds and never fails: any bytes give an anatomy.
"""

import html
import re
from contextlib import suppress
from email import message_from_bytes, message_from_string
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.policy import Compat32
from itertools import islice
from typing import Any

from pydantic import Field

from domain.values import Value

Fields = dict[str, str]
"""Header or report fields by their names in lower case; of several with one name the first."""

_REPORTS = {"message/delivery-status", "message/global-delivery-status", "message/feedback-report"}
_RETURNED = {"message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/partial"}
_PER_RECIPIENT = {"final-recipient", "original-recipient", "action"}
_HEADER = re.compile(r"^([A-Za-z][A-Za-z0-9-]*) ?:")
_OF_MAIL = {
    "received", "return-path", "message-id", "from", "to", "subject", "date", "mime-version", "dkim-signature",
    "reply-to", "content-type", "delivered-to", "user-agent", "x-mailer", "sender",
}  # fmt: skip
_TAG = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|<![^<>]*>", re.IGNORECASE)
_UNSEEN = [
    (re.compile(rf"<{name}\b", re.IGNORECASE), re.compile(rf"</{name}\s*>", re.IGNORECASE))
    for name in ("head", "style", "script")
]
_COPY_BELOW = re.compile(
    r"^[\W_]*(?:below this line|(?:this|included|enclosed|below) is a copy|original message\b|unsent message|"
    r"returned message|message headers? follow|the (?:message )?header|message details|headers of the)",
    re.IGNORECASE,
)
_MAX = 256 << 10
"""Bytes of a mail; what is told stands before what is given back."""
_MAX_PARTS = 30
_MAX_WRAPPINGS = 3
_MAX_FIELDS = 500
MAX_RECIPIENTS = 100
"""Of one mail; servers write one for each, or for a handful."""
MAX_TEXT = 32 << 10
"""Characters of what is said to people; reasons stand at the beginning, and the rest may be made to cost us time."""
_MAX_FIELD = 8 << 10
"""Characters of a header field; encoded words take time that grows with the square of their number."""
_COSTLY = {"punycode", "idna"}
"""What Python decodes as well, in time that grows with the square of its length; it is no charset of mail."""
_COSTLY_WORD = re.compile(r"=\?(?:punycode|idna)", re.IGNORECASE)


class _BoundedFields(Compat32):
    """Cuts what the parser itself would look at again and again."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:_MAX_FIELD]


_POLICY = _BoundedFields()


class Anatomy(Value):
    """A returned mail taken apart.

    Attributes:
        headers: Of the mail that returned it.
        notice: What it says to people, without the returned message.
        report: The fields of a delivery status report that hold for all recipients.
        recipients: The per-recipient fields of a delivery status report.
        feedback: The fields of a complaint report.
        original: The headers of the returned message, as far as they came back.
    """

    headers: Fields
    notice: str
    report: Fields = Field(default_factory=dict)
    recipients: tuple[Fields, ...] = ()
    feedback: Fields | None = None
    original: Fields = Field(default_factory=dict)


def dissect(raw: bytes) -> Anatomy:
    """Take a mail apart."""
    try:
        return _dissected(message_from_bytes(_without_envelope_line(raw[:_MAX]), policy=_POLICY))
    except RecursionError:  # nobody's report is nested so deeply
        return Anatomy(headers={}, notice="")


def _dissected(mail: Message, wrappings: int = 0) -> Anatomy:
    notices: list[str] = []
    report: Fields = {}
    recipients: list[Fields] = []
    feedback: Fields | None = None
    original: Fields = {}
    for part in _parts(mail)[:_MAX_PARTS]:
        kind = part.get_content_type()
        if kind in _REPORTS:
            blocks = _blocks(part)
            if kind == "message/feedback-report":
                feedback = {name: value for block in reversed(blocks) for name, value in block.items()}
            elif blocks:
                report = report or blocks[0]
            recipients += [block for block in blocks if not block.keys().isdisjoint(_PER_RECIPIENT)]
        elif kind in _RETURNED:
            inner = _inside(part)
            wrapped = inner is not None and inner.get_content_type() == "multipart/report" and not recipients
            if inner is not None and wrapped and wrappings < _MAX_WRAPPINGS:
                return _dissected(inner, wrappings + 1)  # a gateway has wrapped the report in one of its own
            original = original or _returned(part)
        elif kind.startswith(("text/", "multipart/")) and not original:
            notices.append(_text(part))
    if mail.is_multipart() and mail.preamble and not any(notice.strip() for notice in notices):
        notices.append(mail.preamble)
    notice, copy = _split(_storable("\n".join(notices)[:MAX_TEXT]))
    return Anatomy(
        headers=_fields(mail),
        notice=notice,
        report=report,
        recipients=tuple(recipients[:MAX_RECIPIENTS]) or tuple(_written_out(notice)[:MAX_RECIPIENTS]),
        feedback=feedback,
        original=original or copy,
    )


def _without_envelope_line(raw: bytes) -> bytes:
    raw = raw.lstrip(b"\r\n")
    return raw.split(b"\n", 1)[-1] if raw.startswith((b"From ", b">From ")) else raw


def _parts(mail: Message) -> list[Message]:
    """List the leaves, but leave reports and returned messages whole."""
    if mail.get_content_type() in _REPORTS | _RETURNED or not mail.is_multipart():
        return [mail]
    return [leaf for part in mail.get_payload() if isinstance(part, Message) for leaf in _parts(part)]


def _blocks(part: Message) -> list[Fields]:
    payload = part.get_payload()
    if isinstance(payload, list):
        blocks = [block for block in payload if isinstance(block, Message)]
        # A report that stands in an encoding is one block without headers.
        if len(blocks) == 1 and not blocks[0].keys():
            return _parsed_blocks(str(blocks[0].get_payload()))
        if part.get_content_type() == "message/feedback-report":
            return [_fields(block) | _written(str(block.get_payload())) for block in blocks]
        return [fields for block in blocks for fields in _by_recipient(block)]
    return _parsed_blocks(_text(part))


def _by_recipient(block: Message) -> list[Fields]:
    """Part a block that lacks the empty lines between its recipients."""
    found: list[Fields] = [{}]
    for name, value in block.items():
        if name.lower() == "final-recipient" in found[-1]:
            found.append({})
        found[-1].setdefault(_storable(name.lower()), _unfolded(value))
    return found


def _parsed_blocks(text: str) -> list[Fields]:
    return [
        _fields(message_from_string(block.strip() + "\n\n")) for block in re.split(r"\n\s*\n", text) if block.strip()
    ]


def _written(text: str) -> Fields:
    return _fields(message_from_string(text.lstrip())) if _HEADER.match(text.lstrip()) else {}


def _returned(part: Message) -> Fields:
    inner = _inside(part)
    return _fields(message_from_string(_text(part).lstrip()) if inner is None else inner)


def _inside(part: Message) -> Message | None:
    payload = part.get_payload()
    inner = payload[0] if isinstance(payload, list) and payload else None
    return inner if isinstance(inner, Message) else None


def _text(part: Message) -> str:
    payload: Any = part.get_payload(decode=True)
    if payload is None:
        payload = str(part.get_payload()).encode("utf-8", "surrogateescape")
    payload, charset = payload[: 4 * MAX_TEXT], part.get_content_charset() or "utf-8"
    try:
        text = payload.decode("utf-8" if charset in _COSTLY else charset)
    except (LookupError, ValueError):  # of a charset that is none, or whose name is none
        text = payload.decode("utf-8", "replace")
    if "\x1b$" in text:
        text = payload.decode("iso-2022-jp", "replace")
    if part.get_content_type() == "text/html":
        text = html.unescape(_TAG.sub("\n", _seen(text[:MAX_TEXT])))
    return str(text).replace("\r\n", "\n").replace("\r", "\n")


def _seen(page: str) -> str:
    """Leave out what a browser does not show."""
    for begin, end in _UNSEEN:
        shown, at = [], 0
        while (opening := begin.search(page, at)) and (closing := end.search(page, opening.end())):
            shown.append(page[at : opening.start()])
            at = closing.end()
        page = "".join(shown) + page[at:]
    return page


def _fields(message: Message) -> Fields:
    fields: Fields = {}
    for name, value in islice(message.raw_items(), _MAX_FIELDS):
        known_as = _storable(name.lower())
        if known_as not in fields:
            fields[known_as] = _unfolded(message.policy.header_fetch_parse(name, value))
    return fields


def _unfolded(value: Any) -> str:
    text = str(value)[:_MAX_FIELD]
    if "=?" in text and not _COSTLY_WORD.search(text):
        with suppress(LookupError, ValueError, MessageError):
            text = str(make_header(decode_header(text)))
    if "\x1b$" in text:
        text = text.encode("utf-8", "surrogateescape").decode("iso-2022-jp", "replace")
    return " ".join(_storable(text).split())


def _storable(text: str) -> str:
    """Replace what is no text (NUL, half of a surrogate pair): neither JSON nor a database holds it."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode()


def _split(text: str) -> tuple[str, Fields]:
    """Part what a server says from the copy of our message below it: the first lines that are a mail's headers."""
    lines = text.split("\n")
    start = 0
    while start < len(lines):
        line = lines[start]
        if _COPY_BELOW.match(line):
            _, copy = _split("\n".join(line for line in lines[start + 1 :] if not _COPY_BELOW.match(line)))
            return "\n".join(lines[:start]), copy
        if not _HEADER.match(line) or (start and lines[start - 1].strip() and not _is_rule(lines[start - 1])):
            start += 1
            continue
        end = start
        names: set[str] = set()
        while end < len(lines) and lines[end].strip():
            if match := _HEADER.match(lines[end]):
                names.add(match[1].lower())
            elif not lines[end][0].isspace():
                break
            end += 1
        if len(names & _OF_MAIL) >= 3 and names.isdisjoint(_PER_RECIPIENT):
            return "\n".join(lines[:start]), _fields(message_from_string("\n".join(lines[start:end]) + "\n\n"))
        start = end
    return text, {}


def _is_rule(line: str) -> bool:
    return line.lstrip(" |>").startswith(("--", "==", "__", "**")) or line.rstrip().endswith((":", "--", ".", "follow"))


def _written_out(notice: str) -> list[Fields]:
    """Find the fields of a delivery status that a server wrote into its text."""
    blocks = re.split(r"\n\s*\n", notice)
    found = [_written(block) for block in blocks if "final-recipient" in block.lower()]
    return [fields for fields in found if "final-recipient" in fields]
