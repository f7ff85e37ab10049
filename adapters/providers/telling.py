"""What the fields of all providers have in common: times, addresses and our own Message-ID."""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

_LONGEST_ADDRESS = 320
_LONGEST_DETAIL = 40
_MOST_DIGITS = 20
_OURS = re.compile(r"(?<![0-9a-f])([0-9a-f]{32})@[^\s<>]+")


def ours(texts: Iterable[object]) -> UUID | None:
    """Find the id of our message in the first text that is a Message-ID of ours."""
    for text in texts:
        if isinstance(text, str) and (match := _OURS.search(text)):
            return UUID(match[1])
    return None


def moment(value: object) -> datetime | None:
    """Read a time: seconds since 1970, or ISO 8601 with an offset."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        told = datetime.fromisoformat(value) if isinstance(value, str) else None
        return told.astimezone(UTC) if told is not None and told.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None


def seconds(text: str) -> datetime | None:
    """Read the time of a signature: digits that count seconds since 1970."""
    return moment(int(text)) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def address(value: object) -> str | None:
    """Read the address of a recipient, without its name; none is longer than RFC 5321 §4.5.3.1 allows."""
    told = value.rpartition("<")[2].strip(" >").lower() if isinstance(value, str) else ""
    return told if "@" in told and len(told) <= _LONGEST_ADDRESS and told.isprintable() else None


def detail(*parts: object) -> str:
    """Write the codes of a refusal for people, on one line."""
    words = " ".join(str(part) for part in parts if part)
    return "".join(letter for letter in words if letter.isprintable())[:_LONGEST_DETAIL]


def key(provider: str, *parts: Any) -> str:
    """Name a piece of feedback by what the provider calls it; ids of any length and alphabet."""
    digest = hashlib.sha256("\0".join(str(part) for part in parts).encode("utf-8", "surrogateescape"))
    return f"{provider}:{digest.hexdigest()[:32]}"


def fields(value: object) -> dict[str, Any]:
    """Take an object as it is, and anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Any]:
    """Take a list as it is, and anything else as an empty one."""
    return value if isinstance(value, list) else []
