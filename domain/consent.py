"""Consent: the ledger is append-only; the current state is derived from it. Unclear means no (requirements/3)."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from domain.facts import AnyFact, ConsentChanged, Topic, Unsubscribed
from domain.values import UtcTime, Value

IDENTIFY = "identify"
"""The source of consent that a client keeps among a customer's traits."""
DOUBLE_OPT_IN = "double_opt_in"
"""The source of consent that was confirmed by the button behind the link in a confirmation mail."""
MAIL_AS_SUCH = (Topic.MARKETING, Topic.NEWSLETTER)
"""What somebody who wants mail agrees to; the other topics are alerts about something."""


class Confirmation(StrEnum):
    """What a grant needs, if a store asks for double opt-in when it is written down."""

    AWAITED = "awaited"
    """It counts for nothing: anybody can type anybody's address into a form."""
    GIVEN = "given"
    """It was said through a link in a mail to its `address`, and counts for that address."""


class ConsentRecord(Value):
    """One line of the ledger for one channel.

    Attributes:
        confirmation: None where nobody asked for one: the line counts as it is.
    """

    topic: Topic
    granted: bool
    at: UtcTime
    source: str = ""
    confirmation: Confirmation | None = None
    address: str | None = None


def understood(lines: Iterable[Any]) -> list[ConsentRecord]:
    """Read stored lines; of one that cannot be understood only a refusal counts, and then for everything."""
    records: list[ConsentRecord] = []
    for line in lines:
        try:
            records.append(ConsentRecord.model_validate(line, from_attributes=True))
        except ValidationError:
            if not line.granted:
                records.append(ConsentRecord(topic=Topic.MARKETING, granted=False, at=line.at))
    return records


def standing(records: Iterable[ConsentRecord], address: str | None) -> list[ConsentRecord]:
    """Return the lines that count: every refusal, and the grants that need no confirmation or have it for `address`."""
    return [
        record
        for record in records
        if not record.granted
        or record.confirmation is None
        or (record.confirmation is Confirmation.GIVEN and record.address is not None and record.address == address)
    ]


def tells_consent(facts: Iterable[AnyFact]) -> bool:
    """Tell whether an event gives or withdraws consent, so that where it came from is evidence."""
    return any(isinstance(fact, ConsentChanged | Unsubscribed) for fact in facts)


def words(records: Iterable[ConsentRecord]) -> list[ConsentRecord]:
    """Return the lines that say something, oldest first.

    Clients send the traits they know with every `identify`, so `newsletter: true` from last year must not outvote
    yesterday's unsubscribe: from that source only a change is a word.
    """
    said: list[ConsentRecord] = []
    kept: dict[Topic, bool] = {}
    for record in sorted(records, key=lambda r: (r.at, not r.granted)):
        if record.source == IDENTIFY:
            if kept.get(record.topic) is record.granted:
                continue
            kept[record.topic] = record.granted
        said.append(record)
    return said


def asked_for_mail(records: Iterable[ConsentRecord], address: str | None = None) -> datetime | None:
    """Return when the customer last asked for mail as such: what takes back an unsubscribe."""
    asked = [r.at for r in words(standing(records, address)) if r.granted and r.topic in MAIL_AS_SUCH]
    return max(asked, default=None)


def allows(records: Iterable[ConsentRecord], topic: Topic, address: str | None = None) -> bool:
    """Tell whether the ledger of a channel allows a topic.

    The newest word on the topic itself decides, unless a newer word on `marketing_emails` withdrew everything.
    Without a word on the topic, the newest word on `marketing_emails` decides. Granting and withdrawing at the
    same instant is unclear, hence no. What awaits a confirmation, or has one for another address, is no word.

    Args:
        records: The lines, in any order, repeated or not.
        topic: What a message is about.
        address: The address that it would go to.
    """
    own = _newest(said := words(standing(records, address)), topic)
    master = _newest(said, Topic.MARKETING)
    if own is None or own.topic == Topic.MARKETING:
        return master is not None and master.granted
    if master is not None and not master.granted and master.at >= own.at:
        return False
    return own.granted


def awaiting(records: Iterable[ConsentRecord], address: str | None) -> frozenset[Topic]:
    """Return the topics that the customer agreed to, and that would count if whoever reads `address` confirmed it."""
    records = list(records)
    confirmed = [record.model_copy(update={"confirmation": None}) for record in records]
    asked = {record.topic for record in records if record.granted and record.confirmation is not None}
    return frozenset(t for t in asked if allows(confirmed, t) and not allows(records, t, address))


def wants_mail(records: Iterable[ConsentRecord], address: str | None) -> bool:
    """Tell whether the ledger allows mail as such: marketing, or at least the newsletter."""
    records = list(records)
    return any(allows(records, topic, address) for topic in MAIL_AS_SUCH)


def _newest(records: Iterable[ConsentRecord], topic: Topic) -> ConsentRecord | None:
    return max((r for r in records if r.topic == topic), key=lambda r: (r.at, not r.granted), default=None)
