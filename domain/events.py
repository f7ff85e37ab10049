"""Events: what a client sent us, as received, with the envelope understood."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from domain.values import UtcTime, Value

EventType = Literal["track", "identify", "page", "screen", "group", "alias"]


class Who(Value):
    """The identities that an event names. `customer_id` is set only on events that we record ourselves."""

    user_id: str | None = None
    anonymous_id: str | None = None
    email: str | None = None
    customer_id: UUID | None = None

    @property
    def lane(self) -> str:
        """The identity whose events stay in order."""
        for kind, value in (("c", self.customer_id), ("u", self.user_id), ("a", self.anonymous_id), ("e", self.email)):
            if value is not None:
                return f"{kind}:{value}"
        return "-"


class Event(Value):
    """One accepted event.

    Attributes:
        id: Ours, UUIDv7: sorts by arrival.
        message_id: The client's dedup key; unique per store.
        at: When it happened, corrected for the client's clock and never in the future.
        payload: The event as received.
    """

    store_id: str
    id: UUID
    message_id: str
    type: EventType
    name: str | None
    who: Who
    payload: dict[str, Any]
    at: UtcTime
    received_at: UtcTime
    ip: str | None = None


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
