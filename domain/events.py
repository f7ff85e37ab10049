"""Events: what a client sent us, as received, with the envelope understood.

Plain tuples: whoever makes an event has checked what goes into it (api/envelope.py, or Postgres), and there are so many
that to check it again is felt (docs/performance.md).
"""

from datetime import datetime
from typing import Any, Literal, NamedTuple, NewType
from uuid import UUID

from pydantic_core import to_json

from domain.ip_addresses import without_addresses

EventType = Literal["track", "identify", "page", "screen", "group", "alias"]


Shortened = NewType("Shortened", dict[str, Any])
"""A payload in which no IP address is whole. `shortened` makes them, and nobody else."""
Kept = NewType("Kept", bytes)
"""Such a payload as it is stored, in JSON. `kept` makes them, and nobody else."""


class Who(NamedTuple):
    """The identities that an event names. `customer_id` is set only on events that we record ourselves."""

    user_id: str | None = None
    anonymous_id: str | None = None
    email: str | None = None
    customer_id: UUID | None = None

    @property
    def lane(self) -> str:
        """The identity whose events stay in order."""
        if self.customer_id is not None:
            return f"c:{self.customer_id}"
        if self.user_id is not None:
            return f"u:{self.user_id}"
        if self.anonymous_id is not None:
            return f"a:{self.anonymous_id}"
        return f"e:{self.email}" if self.email is not None else "-"


class Event(NamedTuple):
    """One accepted event.

    Attributes:
        id: Ours, UUIDv7: sorts by arrival.
        message_id: The client's dedup key; unique per store.
        payload: The event as received. What is stored of it has no IP address whole.
        at: When it happened (UTC), corrected for the client's clock and never in the future.
        received_at: When it came in (UTC).
        kept: The payload as it is stored, where somebody has written it already.
    """

    store_id: str
    id: UUID
    message_id: str
    type: EventType
    name: str | None
    who: Who
    payload: dict[str, Any]
    at: datetime
    received_at: datetime
    ip: str | None = None
    kept: Kept | None = None


def shortened(payload: dict[str, Any]) -> Shortened:
    """Shorten the IP addresses in a payload; a payload in which there are none is returned as it is."""
    return Shortened(without_addresses(payload))


def kept(payload: Shortened) -> Kept:
    """Write a payload as it is stored.

    Raises:
        ValueError: JSON cannot say it.
    """
    return Kept(to_json(payload))


def corrected(original: datetime, sent_at: datetime | None, received_at: datetime) -> datetime:
    """Correct a client's timestamp for its clock: receivedAt - (sentAt - originalTimestamp), never in the future.

    Source: Segment spec, common fields, "timestamp". Without `sentAt` the original is trusted. A clock so wrong
    that the correction leaves the calendar says nothing about the time: then the event happened when it came in.
    """
    try:
        moment = received_at - (sent_at - original) if sent_at is not None else original
    except OverflowError:
        return received_at
    return min(moment, received_at)
