"""What an import hands to COPY: a line for each customer and each word of consent (adapters/postgres/imports.py).

It is apart from what talks to Postgres, for it runs in processes that need not load any of that to begin.
"""

from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from pydantic_core import to_json
from uuid_utils import uuid7

from domain.events import Event
from domain.facts import ConsentChanged, ProfileChanged
from domain.profile import stamped

PROFILE = ("email", "phone", "first_name", "last_name", "locale", "timezone")
ROW = ("place", "customer_id", "user_id", "anonymous_id", "named_email", *PROFILE, "traits", "told_at")
WORD = ("place", "consent_id", "channel", "topic", "granted", "source", "ip", "wording", "at")


_told = attrgetter(*PROFILE)


class Evidence(NamedTuple):
    """When and how consent to e-mail was given (GDPR art. 7 (1)), where a row tells it."""

    at: datetime
    source: str
    ip: str | None


class Block(NamedTuple):
    """Rows in the format of COPY, ready to be staged."""

    rows: bytes
    words: bytes
    last_line: int
    bad: int


def copy_row(line: int, event: Event, profile: ProfileChanged | None) -> str:
    """Write a customer as a line of COPY: what an `identify` event would make of them."""
    told = (None,) * len(PROFILE) if profile is None else _told(profile)
    traits = {} if profile is None else profile.traits
    said = [name for name, value in zip(PROFILE, told, strict=True) if value is not None]
    stamps = stamped(said + [f"traits.{name}" for name in traits], event.at)
    who = event.who
    return _line(
        line, uuid7(), who.user_id, who.anonymous_id, who.email, *told, to_json(traits).decode(),
        to_json(stamps).decode(),
    )  # fmt: skip


def copy_word(line: int, word: ConsentChanged, evidence: Evidence | None) -> str:
    """Write a word of consent as a line of COPY; what proves consent to e-mail proves nothing on another channel."""
    at, source, ip = evidence if evidence is not None and word.channel == "email" else (word.at, word.source, word.ip)
    return _line(line, uuid7(), word.channel, word.topic, word.granted, source[:200], ip, word.wording, at.isoformat())


def _line(*values: object) -> str:
    texts = ["" if value is None else str(value) for value in values]
    whole = "".join(texts)
    if not whole.isprintable() or "\\" in whole:  # hardly ever, so all of them are looked at together first
        texts = [_escaped(text) for text in texts]
    return "\t".join(["\\N" if value is None else text for value, text in zip(values, texts, strict=True)]) + "\n"


def _escaped(text: str) -> str:
    # Four searches for what is hardly ever there are ten times as fast as `str.translate`.
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
