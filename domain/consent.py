"""Consent: the ledger is append-only; the current state is derived from it. Unclear means no (requirements/3)."""

from collections.abc import Iterable

from domain.facts import Topic
from domain.values import UtcTime, Value


class ConsentRecord(Value):
    """One line of the ledger for one channel."""

    topic: Topic
    granted: bool
    at: UtcTime


def allows(records: Iterable[ConsentRecord], topic: Topic) -> bool:
    """Tell whether the ledger of a channel allows a topic.

    The newest word on the topic itself decides, unless a newer word on `marketing_emails` withdrew everything.
    Without a word on the topic, the newest word on `marketing_emails` decides. Granting and withdrawing at the
    same instant is unclear, hence no.
    """
    own = _newest(records := list(records), topic)
    master = _newest(records, Topic.MARKETING)
    if own is None or own.topic == Topic.MARKETING:
        return master is not None and master.granted
    if master is not None and not master.granted and master.at >= own.at:
        return False
    return own.granted


def _newest(records: Iterable[ConsentRecord], topic: Topic) -> ConsentRecord | None:
    return max((r for r in records if r.topic == topic), key=lambda r: (r.at, not r.granted), default=None)
