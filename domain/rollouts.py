"""Rollouts: a change that all runs of a journey have to hear of, and what came of telling them."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field

from domain.operations import OnResume, Operator
from domain.values import Value


class ReplanOrder(Value):
    """Give the runs under way a new version of their store's plan; see `domain.operations.Replan`."""

    kind: Literal["replan"] = "replan"
    store_id: str
    journey: str
    version: int
    plan: dict[str, Any]
    mode: Literal["move", "retime"]


class ResumeOrder(Value):
    """End a pause, and wake the runs that it held up."""

    kind: Literal["resume"] = "resume"
    store_id: str
    journey: str
    pause_id: UUID
    policy: OnResume
    over: timedelta
    by: Operator


Order = Annotated[ReplanOrder | ResumeOrder, Field(discriminator="kind")]


class Target(Value):
    """A run to tell."""

    run_id: UUID
    workflow_id: str


class Answer(Value):
    """What became of telling one run: `done`, `ended` (nobody to tell), or `because` it has to be asked again."""

    result: Literal["done", "ended", "later"]
    because: str = ""


class Tally(Value):
    """How far a rollout has come.

    Attributes:
        last: The last run of the pages that are done.
        done: Runs that took the change.
        ended: Runs that had ended meanwhile.
        later: Runs that have to be asked again, by reason.
    """

    last: UUID | None = None
    done: int = 0
    ended: int = 0
    later: Mapping[str, int] = Field(default_factory=dict)

    def and_page(self, last: UUID, answers: list[Answer]) -> Self:
        """Add a page of answers."""
        results = Counter(answer.result for answer in answers)
        reasons = Counter(answer.because for answer in answers if answer.result == "later")
        return self.model_copy(
            update={
                "last": last,
                "done": self.done + results["done"],
                "ended": self.ended + results["ended"],
                "later": dict(Counter(self.later) + reasons),
            }
        )

    def and_pass(self, again: "Tally") -> "Tally":
        """Add another pass over the runs that were to be asked again."""
        return Tally(done=self.done + again.done, ended=self.ended + again.ended, later=again.later)
