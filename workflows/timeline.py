"""The timeline that a marketer reads in the Temporal UI: dated lines without personal data, as Markdown."""

from datetime import timedelta

from temporalio import workflow

_KEPT = 40
"""A run is bounded, but a cart that changes for weeks may defer often; details have a size limit."""


class Timeline:
    """What happened in a run, and what it waits for, shown as the run's current details (no Temporal action)."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def happened(self, what: str, because: str) -> None:
        """Add a line; whatever was waited for is over."""
        line = f"- {workflow.now():%Y-%m-%d %H:%M:%S} UTC **{what}** {because}"
        self._lines = [*self._lines[-_KEPT:], line.rstrip()]
        workflow.set_current_details("\n".join(self._lines))

    def waiting(self, delay: timedelta | None, summary: str) -> None:
        """Say what the run waits for."""
        until = "" if delay is None else f" until {workflow.now() + delay:%Y-%m-%d %H:%M:%S} UTC"
        line = f"- waiting{until}: {summary}"
        workflow.set_current_details("\n".join([*self._lines, line]))
