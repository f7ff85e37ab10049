"""The timeline that a marketer reads in the Temporal UI: dated lines without personal data, as Markdown."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from temporalio import workflow

_KEPT = 40
"""A run is bounded, but a cart that changes for weeks may defer often; details have a size limit."""


class Timeline:
    """What happened in a run, and what it waits for, shown as the run's current details (no Temporal action).

    Attributes:
        zone: IANA name of the zone that times are told in.
    """

    def __init__(self) -> None:
        self.zone = "UTC"
        self._lines: list[str] = []

    def happened(self, what: str, because: str) -> None:
        """Add a line; whatever was waited for is over."""
        line = f"- {local(workflow.now(), self.zone)} **{what}** {because}"
        self._lines = [*self._lines[-_KEPT:], line.rstrip()]
        workflow.set_current_details("\n".join(self._lines))

    def waiting(self, delay: timedelta | None, summary: str) -> None:
        """Say what the run waits for."""
        until = "" if delay is None else f" until {local(workflow.now() + delay, self.zone)}"
        line = f"- waiting{until}: {summary}"
        workflow.set_current_details("\n".join([*self._lines, line]))


def grouped(step: str) -> Sequence[workflow.EventGroup]:
    """Return the event group of a step: the UI shows its waits and its deliveries together."""
    return [workflow.create_event_group(step)]


def local(moment: datetime, zone: str) -> str:
    """Write a time for people, as the clocks of a zone show it.

    Only what people read is written so: nothing may depend on it, for workers may know different rules of a zone.
    """
    return f"{moment.astimezone(_zone(zone)):%Y-%m-%d %H:%M:%S %Z}"


@lru_cache(maxsize=512)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown here, or no name of a zone at all
        return UTC
