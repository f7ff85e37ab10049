"""What a client tells us, as the domain receives it."""

from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from domain.decoding import facts
from domain.events import Event, EventType, Who
from domain.facts import Fact

F = TypeVar("F", bound=Fact)
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def event(
    name: str | None = None, kind: EventType = "track", who: Who | None = None, message_id: str = "m-1", **body: Any
) -> Event:
    return Event(
        store_id="mugs",
        id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
        message_id=message_id,
        type=kind,
        name=name,
        who=who or Who(user_id="u-1"),
        payload=body,
        at=AT,
        received_at=AT,
        ip="192.0.2.7",
    )


def tracked(name: str, properties: Any = None, **body: Any) -> list[Fact]:
    """The facts of a track event."""
    return facts(event(name, properties=properties, **body))


def one(kind: type[F], told: list[Fact]) -> F:
    """The only fact of a kind."""
    (fact,) = (fact for fact in told if isinstance(fact, kind))
    return fact


def none_of(kind: type[Fact], told: list[Fact]) -> bool:
    return not any(isinstance(fact, kind) for fact in told)
