"""Consent: the ledger is append-only; the current state is derived from it. Unclear means no (requirements/3)."""

from collections.abc import Iterable
from datetime import datetime

from domain.facts import AnyFact, ConsentChanged, Topic, Unsubscribed
from domain.values import UtcTime, Value

IDENTIFY = "identify"
"""The source of consent that a client keeps among a customer's traits."""


class ConsentRecord(Value):
    """One line of the ledger for one channel."""

    topic: Topic
    granted: bool
    at: UtcTime
    source: str = ""


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


def asked_for_mail(records: Iterable[ConsentRecord]) -> datetime | None:
    """Return when the customer last asked for mail as such: what takes back an unsubscribe."""
    asked = [r.at for r in words(records) if r.granted and r.topic in {Topic.MARKETING, Topic.NEWSLETTER}]
    return max(asked, default=None)


def allows(records: Iterable[ConsentRecord], topic: Topic) -> bool:
    """Tell whether the ledger of a channel allows a topic.

    The newest word on the topic itself decides, unless a newer word on `marketing_emails` withdrew everything.
    Without a word on the topic, the newest word on `marketing_emails` decides. Granting and withdrawing at the
    same instant is unclear, hence no.
    """
    own = _newest(records := words(records), topic)
    master = _newest(records, Topic.MARKETING)
    if own is None or own.topic == Topic.MARKETING:
        return master is not None and master.granted
    if master is not None and not master.granted and master.at >= own.at:
        return False
    return own.granted


def _newest(records: Iterable[ConsentRecord], topic: Topic) -> ConsentRecord | None:
    return max((r for r in records if r.topic == topic), key=lambda r: (r.at, not r.granted), default=None)
