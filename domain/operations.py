"""Operations: what an operator may do to a run under way. Typed, and audited; `by` is an opaque id, never a name."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from domain.plans import StepName
from domain.values import UtcTime, Value

Operator = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:._-]{0,59}$")]
"""Who did it: the id of a key, a user of the shell. No `@`, so that no address comes into a history (G8)."""
Reason = Annotated[str, Field(max_length=200, pattern=r"^[^@\x00-\x1f\x7f]*$")]
"""Why it was done: one line that histories, timelines and logs may show, so without an address (G8)."""


class SkipWait(Value):
    """End the wait that a run is in, as if its time had come; the gate still decides about the message.

    Attributes:
        run_id: The run that is meant; its workflow may be about another passage by now. None: whichever is under way.
        step: The step whose wait is meant, so that a repetition cannot end the wait after it. None: whichever it is.
    """

    by: Operator
    step: StepName | None = None
    run_id: UUID | None = None


class Leave(Value):
    """Take the customer out of the run; nothing more is sent by it.

    Attributes:
        run_id: As in `SkipWait`.
    """

    by: Operator
    because: Reason = "taken out by an operator"
    run_id: UUID | None = None


class Replan(Value):
    """Give a run another version of its store's plan.

    Attributes:
        run_id: The run that is meant; its workflow may already be, or still be, about another passage.
        plan: The plan as JSON data.
        mode: `move`: the run goes on with the new plan, its steps and templates. `retime`: it keeps its steps and
            takes the waits of those that the new plan has as well.
    """

    run_id: UUID | None = None
    version: int = Field(ge=0)
    plan: dict[str, Any]
    mode: Literal["move", "retime"]


class OnResume(StrEnum):
    """What happens, when a journey is resumed, to the messages that the pause held up."""

    SHIFT = "shift"
    DROP_OVERDUE = "drop-overdue"
    SPREAD = "spread"


class Pause(Value):
    """A time in which a journey of a store sent nothing.

    Attributes:
        until: None while it lasts.
        policy: What became of the messages that it held up. `shift`: every wait grows by the length of the pause.
            `drop-overdue`: what came due before its end is not sent. `spread`: it is sent, spread evenly over `over`
            after the pause.
    """

    since: UtcTime
    until: UtcTime | None = None
    policy: OnResume = OnResume.SHIFT
    over: timedelta = timedelta(hours=4)


class Note(Value):
    """An operation on a run, for the audit log; `leaves` also closes the run's row."""

    store_id: str
    run_id: UUID
    by: Operator
    action: Literal["skip_wait", "leave"]
    detail: str = ""
