"""What every plan has: steps, and the waits between them."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from domain.caps import PRIORITY
from domain.facts import Topic
from domain.values import Value

Wait = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=400))]
SLACK = timedelta(days=7)
"""How much longer than its waits a run may take (deferred sends, a provider that is down)."""


StepName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class Step(Value):
    """One message slot of a journey.

    Attributes:
        name: Unique in the journey; part of the dedup key, so renaming a step is a new message.
        template: Folder under `templates/`.
        delay: Wait after the previous slot (the first: after the journey's own entry wait).
        transactional: The store declares this message transactional: it needs no consent, has no
            unsubscribe link and is not counted as marketing.
        discount_code: The same for everybody.
        discount_pool: Gives each message a code of its own.
        without_code: What becomes of a message whose pool is empty: it waits until its deadline, is sent with
            `discount_code` or none, or is not sent.
        deadline: A message that quiet hours, a cap or an empty pool would hold up for longer than this is not sent.
        priority: 1 before 5: under a cap, a message leaves room for those that come before it. None: by its topic.
    """

    model_config = ConfigDict(extra="forbid")

    name: StepName
    template: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")
    delay: Wait = timedelta(0)
    topic: Topic = Topic.MARKETING
    transactional: bool = False
    discount_code: str | None = Field(default=None, max_length=40)
    discount_pool: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    without_code: Literal["wait", "send", "withhold"] = "wait"
    deadline: Wait = timedelta(days=3)
    priority: int | None = Field(default=None, ge=1, le=5)

    @property
    def rank(self) -> int:
        """The priority, said or by the topic."""
        return self.priority or PRIORITY[self.topic]

    @property
    def urgency(self) -> int:
        """Who is served first, 1 before 5, when messages of all stores wait for the same workers.

        It goes by the topic alone: with a `priority` of its own a store would move ahead of other stores. What is
        transactional shares the first place with reminders of carts and does not stand before them: a class that goes
        first makes all others wait, of every store.
        """
        return 1 if self.transactional else PRIORITY[self.topic]


class Plan(Value):
    """What every journey's plan has.

    Attributes:
        enabled: False: nobody new enters; runs under way go on.
        gap: At least this long after a marketing message of *another* journey; a message that comes
            sooner waits. The spacing inside the journey is what `steps` says.
        lateness: An entry event that reaches us later than this starts nothing (imports of old data).
    """

    model_config = ConfigDict(extra="forbid")
    by_time: ClassVar[bool] = True
    """False: the first step waits for an event, and `before_first` only says how long at most."""

    enabled: bool = True
    steps: tuple[Step, ...] = Field(min_length=1, max_length=20)
    gap: Wait = timedelta(0)
    lateness: Wait = timedelta(days=7)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError("step names must be different from each other")
        return self

    @property
    def before_first(self) -> timedelta:
        """How long the journey itself waits before its first slot."""
        return timedelta(0)

    def step(self, name: str) -> Step | None:
        """Return a step by its name."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def urgency(self) -> int:
        """That of the most urgent step: a run's own tasks come before every message of it."""
        return min(step.urgency for step in self.steps)

    @property
    def ending_events(self) -> tuple[str, ...]:
        """Names of events that end a run by the plan's own word; most journeys have their exits in code."""
        return ()

    @property
    def after_last(self) -> timedelta:
        """How long a run waits for an answer to its last message; most are over with that."""
        return timedelta(0)

    @property
    def longest(self) -> timedelta:
        """How long a run can be under way; after that its row counts as closed."""
        return self.before_first + self.after_last + sum((step.delay + step.deadline for step in self.steps), SLACK)

    def ends_with(self, step: str) -> bool:
        """Tell whether a run is over once this step is decided."""
        return step == self.steps[-1].name and not self.after_last

    def retimed(self, other: "Plan") -> Self:
        """Take over the waits of another plan of the same journey: its durations, and the delays of shared steps."""
        delays = {step.name: step.delay for step in other.steps}
        steps = tuple(step.model_copy(update={"delay": delays.get(step.name, step.delay)}) for step in self.steps)
        waits = {name: value for name, value in other if isinstance(value, timedelta)}
        return self.model_copy(update=waits | {"steps": steps})


def step(name: str, template: str, days: float, topic: Topic, **more: Any) -> Step:
    """Write a default step in one line; `days` after the previous one."""
    return Step(name=name, template=template, delay=timedelta(days=days), topic=topic, **more)
