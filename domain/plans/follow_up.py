"""The plan of a store's own follow-up: an event, what must be true, and what is sent then."""

import re
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from domain.facts import Topic
from domain.follow_ups import PURCHASE, Condition, EventName, NoneIs, of_the_past
from domain.plans.plan import Plan, Step, Wait
from domain.vocabulary import known_as

PREFIX = "follow-up/"
"""What a follow-up's journey name begins with; its own name follows."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class FollowUpStep(Step):
    """A message of a follow-up. What it is about must be said: consent depends on it."""

    topic: Topic


class FollowUpPlan(Plan):
    """One event, some conditions, some messages.

    Attributes:
        event: What a customer must do to enter.
        conditions: What must be true of that event, and of what the customer did before; all of it.
        exits: What ends a run; a purchase, unless said otherwise. What must not have happened before
            (condition `none`) must not happen afterwards either, so it is always among them.
        again: Nobody enters again before this has passed since the follow-up's last message; null: never again.
    """

    gap: Wait = timedelta(hours=4)
    event: EventName
    conditions: tuple[Condition, ...] = Field(default=(), max_length=10)
    exits: tuple[EventName, ...] = Field(default=(), max_length=20)
    again: Wait | None = timedelta(days=7)
    steps: tuple[FollowUpStep, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="before")
    @classmethod
    def _ends_with_a_purchase(cls, settings: Any) -> Any:
        if not isinstance(settings, dict) or "exits" in settings:
            return settings
        bought = isinstance(name := settings.get("event"), str) and known_as(name) == PURCHASE
        return settings | {"exits": [] if bought else [PURCHASE]}

    @field_validator("conditions")
    @classmethod
    def _about_other_events(cls, conditions: tuple[Condition, ...], known: ValidationInfo) -> tuple[Condition, ...]:
        if known.data.get("event") in _absent(conditions):
            raise ValueError("`none` is about another event than the follow-up's own; `again: null` means once ever")
        return conditions

    @field_validator("exits")
    @classmethod
    def _apart_from_the_entry(cls, exits: tuple[str, ...], known: ValidationInfo) -> tuple[str, ...]:
        if known.data.get("event") in exits:
            raise ValueError(f"{known.data['event']} cannot both begin a run and end it")
        return tuple(dict.fromkeys((*exits, *_absent(known.data.get("conditions", ())))))

    @property
    def ending_events(self) -> tuple[str, ...]:
        return self.exits

    @property
    def mentions(self) -> frozenset[str]:
        """The names of all events that it has to hear of."""
        return frozenset({self.event, *self.exits, *(c.event for c in of_the_past(self.conditions))})

    def ends(self, exits: Collection[str], name: str, after: timedelta) -> bool:
        """Tell whether an event ends a run.

        Args:
            exits: The run's own, of the plan it began with.
            name: The event's.
            after: How long after the run's first event; an earlier one ends it if it should have prevented it.
        """
        absent = [c.within for c in self.conditions if isinstance(c, NoneIs) and c.event == name]
        prevented = any(within is None or -after < within for within in absent)
        return name in exits and (after >= timedelta(0) or prevented)


def is_follow_up(journey: str) -> bool:
    """Tell whether a journey's name is that of a follow-up."""
    return journey.startswith(PREFIX) and _NAME.fullmatch(journey.removeprefix(PREFIX)) is not None


def _absent(conditions: Iterable[Condition]) -> tuple[str, ...]:
    return tuple(condition.event for condition in conditions if isinstance(condition, NoneIs))
