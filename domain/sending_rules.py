"""What a store sets for all of its messages, whichever journey they belong to."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from domain.caps import Cap
from domain.errors import InvalidInput
from domain.quiet_hours import LAWS, QuietHours
from domain.values import Value


class Interrupted(StrEnum):
    """What becomes of a message that a provider may have accepted and nobody wrote down (docs/delivery.md)."""

    GIVE_UP = "give_up"
    RESEND = "resend"


Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")]


class SendingRules(Value):
    """When a store's marketing may go out, and how much of it. Transactional messages know no such rules.

    Attributes:
        country: ISO 3166-1 alpha-2, of customers who did not say theirs; some have laws.
        quiet_hours: By channel, on the customer's own clock; a channel that is not here has those of the law alone.
        caps: How many messages a customer gets at most; all of them hold.
        reserve: A message leaves room under the caps for those of higher priority that are due within this time.
        languages: In which the messages are written, as BCP 47 tags; the customer chooses among them. Empty: not said.
        interrupted: Of every message: whether one that may have gone out is given up, or sent again, once.
    """

    model_config = ConfigDict(extra="forbid")

    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    quiet_hours: dict[str, QuietHours] = Field(default_factory=dict)
    caps: tuple[Cap, ...] = Field(default=(), max_length=20)
    reserve: timedelta = Field(default=timedelta(days=1), ge=timedelta(0), le=timedelta(days=7))
    languages: tuple[Language, ...] = Field(default=(), max_length=50)
    interrupted: Interrupted = Interrupted.GIVE_UP

    def quiet(self, channel: str, country: str | None) -> tuple[QuietHours, ...]:
        """Return every quiet hour that a message has to keep."""
        both = (self.quiet_hours.get(channel), LAWS.get((channel, country or self.country or "")))
        return tuple(hours for hours in both if hours is not None)


RECOMMENDED = SendingRules(
    quiet_hours={"email": QuietHours()},
    caps=(Cap(limit=2, window=timedelta(days=1)), Cap(limit=5, window=timedelta(days=7))),
)
"""What `journeys store create` sets. A store without rules of its own has no quiet hours and no caps."""


def validated(settings: dict[str, Any]) -> SendingRules:
    """Check rules that a store wants to set; what they leave out is off.

    Raises:
        InvalidInput: Names the field and the rule that it breaks.
    """
    try:
        return SendingRules.model_validate(settings)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise InvalidInput(".".join(str(part) for part in first["loc"]) or "rules", first["msg"]) from problem
