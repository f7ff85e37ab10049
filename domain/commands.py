"""Commands: what the router asks Temporal to do. They are stored with the event, so a crash repeats them."""

from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from domain.facts import AnyFact
from domain.runs import Outcome, RunState
from domain.values import UtcTime, Value


class NewRun(RunState):
    """A run about to begin.

    Attributes:
        workflow: The workflow type: the journey, without the name that a store gave to its own version.
        trigger_event, began_by: The event that began the run, and its fact in a few words.
        entry: The workflow's input as JSON data.
        delay: How long Temporal holds the first workflow task back; a signal ends the wait at once.
        expires_at: After this the run's row counts as closed, whatever happened to it.
        urgency: Of the plan; commands that were stored before there was one take Temporal's middle.
        summary, details: What the Temporal UI shows of the run from its first second.
    """

    workflow: str
    plan_version: int
    trigger_event: UUID
    began_by: str
    entry: dict[str, Any]
    delay: timedelta
    expires_at: UtcTime
    urgency: int = 3
    summary: str
    details: str


class StartRun(Value):
    """Begin a run, unless the customer already has one in this journey."""

    kind: Literal["start"] = "start"
    run: NewRun


class SignalRun(Value):
    """Tell a run a fact. `ends` is how the run ends by it, if it does."""

    kind: Literal["signal"] = "signal"
    run_id: UUID
    workflow_id: str
    fact: AnyFact
    ends: Outcome | None = None


class RestartRun(Value):
    """End a run and begin the customer's next passage under the same workflow id."""

    kind: Literal["restart"] = "restart"
    run_id: UUID
    ends: Outcome
    run: NewRun


class JoinRun(Value):
    """Tell a run that its customer is now known under another id."""

    kind: Literal["join"] = "join"
    run_id: UUID
    workflow_id: str
    customer_id: UUID


class EndRun(Value):
    """End a run for a reason that no fact carries (the customer's other identity has one of its own)."""

    kind: Literal["end"] = "end"
    run_id: UUID
    workflow_id: str
    outcome: Outcome


class ReleaseStock(Value):
    """Begin to release the customers who wait for a product, or wake the release that is under way."""

    kind: Literal["release"] = "release"
    product_id: str
    wave_interval: timedelta
    wave_ratio: float


Command = Annotated[StartRun | SignalRun | RestartRun | JoinRun | EndRun | ReleaseStock, Field(discriminator="kind")]
