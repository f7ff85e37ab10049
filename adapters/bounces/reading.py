"""Reading returned mail: from raw bytes to what came back for whom. What is no report about mail is nothing."""

import hashlib
import re
from uuid import UUID

from adapters.bounces.anatomy import Anatomy, dissect
from adapters.bounces.recipients import address, remarks
from domain.bounces import Feedback, Kind, Remark, kind

_OURS = re.compile(r"<([0-9a-f]{32})@[^<>\s]+>")
_SYSTEM = re.compile(
    r"mailer-?daemon|postmaster|mail (?:delivery|administrator|system)|daemon@|no-?reply@|sysadmin@", re.IGNORECASE
)
_SUBJECT = re.compile(r"undeliver|returned mail|delivery|failure|bounce|rejected|not (?:be )?delivered", re.IGNORECASE)
_LONGEST_ADDRESS = 320
_COMPLAINTS = {"abuse", "fraud", "virus", "other", "opt-out", "opt-out-list"}


def read(raw: bytes) -> list[Feedback]:
    """Say what a mail tells of messages that were sent: bounces (RFC 3464 or in words) and complaints (RFC 5965)."""
    mail = dissect(raw)
    ours = _message_id(mail)
    if mail.feedback is not None:
        return _complaint(raw, mail, ours)
    if not _is_report(mail):
        return []
    return [
        Feedback(
            kind=kind(remark),
            key=_key(raw, mail, remark.recipient),
            recipient=_recipient(remark.recipient),
            message_id=ours,
            detail=_detail(remark),
        )
        for remark in remarks(mail)
    ]


def _complaint(raw: bytes, mail: Anatomy, ours: UUID | None) -> list[Feedback]:
    told = mail.feedback or {}
    if told.get("feedback-type", "abuse").lower() not in _COMPLAINTS:
        return []
    recipient = address(told.get("original-rcpt-to", "")) or address(mail.original.get("to", ""))
    known = {"recipient": _recipient(recipient), "message_id": ours}
    return [
        Feedback(kind=Kind.COMPLAINED, key=_key(raw, mail, recipient), detail=told.get("feedback-type", ""), **known)
    ]


def _recipient(told: str) -> str | None:
    """Take what can be an address: none is longer (RFC 5321 §4.5.3.1)."""
    return told.lower() if 0 < len(told.lower()) <= _LONGEST_ADDRESS else None


def _is_report(mail: Anatomy) -> bool:
    """Tell a report from a letter: what people write may quote any bounce."""
    headers = mail.headers
    return bool(
        mail.recipients
        or "x-failed-recipients" in headers
        or headers.get("return-path", "").strip() == "<>"
        or _SYSTEM.search(headers.get("from", ""))
        or (_SUBJECT.search(headers.get("subject", "")) and "in-reply-to" not in headers)
    )


def _message_id(mail: Anatomy) -> UUID | None:
    """Find our own Message-ID in what came back of the message, else in what the report refers to."""
    for fields in (mail.original, mail.headers):
        for name in ("message-id", "x-original-message-id", "in-reply-to", "references"):
            if match := _OURS.search(fields.get(name, "")):
                return UUID(match[1])
    match = _OURS.search(mail.notice)
    return UUID(match[1]) if match else None


def _key(raw: bytes, mail: Anatomy, recipient: str) -> str:
    own = mail.headers.get("message-id")
    digest = hashlib.sha256(own.encode() if own else raw)
    digest.update(b"\0" + recipient.lower().encode("utf-8", "surrogateescape"))
    return f"mail:{digest.hexdigest()[:32]}"


def _detail(remark: Remark) -> str:
    return " ".join(str(part) for part in (remark.code, remark.status) if part)
