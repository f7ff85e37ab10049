"""What an import hands to COPY: a line for each customer and each word of consent (adapters/postgres/imports.py).

It is apart from what talks to Postgres, for it runs in processes that need not load any of that to begin.
"""

from typing import NamedTuple

from pydantic_core import to_json
from uuid_utils import uuid7

from domain.events import Event
from domain.facts import ConsentChanged, ProfileChanged
from domain.profile import stamped

PROFILE = ("email", "phone", "first_name", "last_name", "locale", "timezone")
ROW = ("place", "customer_id", "user_id", "anonymous_id", "named_email", *PROFILE, "traits", "told_at")
WORD = ("place", "consent_id", "channel", "topic", "granted", "source", "ip", "wording", "at")


class Block(NamedTuple):
    """Rows in the format of COPY, ready to be staged."""

    rows: bytes
    words: bytes
    last_line: int
    bad: int


def copy_row(line: int, event: Event, profile: ProfileChanged | None) -> str:
    """Write a customer as a line of COPY: what an `identify` event would make of them."""
    told = [None] * len(PROFILE) if profile is None else [getattr(profile, name) for name in PROFILE]
    traits = {} if profile is None else profile.traits
    said = [name for name, value in zip(PROFILE, told, strict=True) if value is not None]
    stamps = stamped([*said, *(f"traits.{name}" for name in traits)], event.at)
    who = event.who
    return _line(
        line, uuid7(), who.user_id, who.anonymous_id, who.email, *told, to_json(traits).decode(),
        to_json(stamps).decode(),
    )  # fmt: skip


def copy_word(line: int, word: ConsentChanged) -> str:
    """Write a word of consent as a line of COPY."""
    source = word.source[:200]
    at = word.at.isoformat()
    return _line(line, uuid7(), word.channel, word.topic, word.granted, source, word.ip, word.wording, at)


def _line(*values: object) -> str:
    return "\t".join(["\\N" if value is None else _escaped(str(value)) for value in values]) + "\n"


def _escaped(text: str) -> str:
    if text.isprintable() and "\\" not in text:  # as nearly all are, and then there is nothing to look for
        return text
    # Four searches for what is hardly ever there are ten times as fast as `str.translate`.
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
