"""Frequency caps: how many marketing messages a customer gets in any stretch of time, and who goes first.

A window rolls: a cap of two a day holds for every 24 hours, wherever they begin. A message may go out if every window
that holds it then holds no more than the limit; messages of higher priority that are due soon count as sent at their
time, so one of lower priority leaves them their room.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import Field

from domain.facts import Topic
from domain.values import UtcTime, Value

PRIORITY: dict[Topic, int] = {
    Topic.ABANDONED_CART: 1,
    Topic.BACK_IN_STOCK: 2,
    Topic.PRICE_DROP: 2,
    Topic.BROWSE_ABANDONMENT: 3,
    Topic.MARKETING: 4,
    Topic.RECOMMENDATIONS: 4,
    Topic.NEWSLETTER: 5,
    Topic.PROMOTIONS: 5,
}
"""Who goes first, 1 before 5, where a step does not say: the less the message could wait, the earlier."""


class Cap(Value):
    """No more than `limit` marketing messages in any `window`.

    Attributes:
        channel: Counts this channel alone; None: all together.
        topics: Counts these topics alone; empty: all of them.
    """

    limit: int = Field(ge=1, le=1_000)
    window: timedelta = Field(gt=timedelta(0), le=timedelta(days=90))
    channel: str | None = None
    topics: frozenset[Topic] = frozenset()

    def counts(self, channel: str, topic: Topic) -> bool:
        """Tell whether a message counts, and so is held up by this cap."""
        return self.channel in {None, channel} and (not self.topics or topic in self.topics)


class Traffic(Value):
    """A marketing message to the customer, sent or about to be."""

    at: UtcTime
    channel: str = "email"
    topic: Topic


def free_slot(caps: Iterable[Cap], channel: str, topic: Topic, traffic: Sequence[Traffic], now: datetime) -> datetime:
    """Return the first moment, not before now, at which one more message breaks no cap."""
    mine = [
        (cap, sorted(one.at for one in traffic if cap.counts(one.channel, one.topic)))
        for cap in caps
        if cap.counts(channel, topic)
    ]
    ends = {time + cap.window for cap, times in mine for time in times}
    candidates = [now, *sorted(end for end in ends if end > now)]
    return next(moment for moment in candidates if all(_fits(cap, times, moment) for cap, times in mine))


def _fits(cap: Cap, times: Sequence[datetime], moment: datetime) -> bool:
    """Tell whether every window that holds a message at this moment holds no more than the limit.

    A window does not hold its first instant: a message that is exactly as old as the window is out of it.
    """
    ends = [moment, *(time for time in times if moment <= time < moment + cap.window)]
    return all(sum(end - cap.window < time <= end for time in times) < cap.limit for end in ends)
