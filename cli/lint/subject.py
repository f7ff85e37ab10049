"""What is linted: journeys with a plan each, and the templates they use."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cli.lint.production import Production
from domain.plans import Plan, Step
from workflows.journey import Journey


@dataclass(frozen=True)
class Subject:
    """A journey under one plan.

    Attributes:
        name: As Postgres names it; a follow-up's has two parts.
        plan: None for a journey that has no default plan, because each store writes its own.
        plan_file: Where the plan stands.
    """

    name: str
    journey: type[Journey[Any]]
    plan: Plan | None
    plan_file: str

    @property
    def file(self) -> str:
        """Where the journey stands."""
        return source_file(self.journey)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The messages that it may send."""
        return () if self.plan is None else self.plan.steps

    @property
    def writes_marketing(self) -> bool:
        """Whether it sends what a customer may get too much of."""
        return self.plan is not None and self.plan.enabled and any(not step.transactional for step in self.steps)


@dataclass(frozen=True)
class House:
    """Everything that the rules look at."""

    subjects: Sequence[Subject]
    templates: Path
    production: Production


def subjects(journeys: Iterable[type[Journey[Any]]], given: Mapping[str, tuple[Plan, str]]) -> list[Subject]:
    """Pair journeys with their default plans, or with those given instead.

    Args:
        journeys: The workflow classes.
        given: Plans by journey name, and the file that each comes from.
    """
    found = []
    for journey in journeys:
        plans: dict[str, tuple[Plan | None, str]] = {n: p for n, p in given.items() if n.split("/")[0] == journey.name}
        if not plans:
            plans = {journey.name: (_default(journey), source_file(journey.plan))}
        found += [Subject(name, journey, plan, file) for name, (plan, file) in plans.items()]
    return found


def source_file(thing: type) -> str:
    """Return the file that a class stands in, as one would type it here."""
    path = Path(inspect.getsourcefile(thing) or "?")
    return shown(path)


def shown(path: Path) -> str:
    """Return a path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _default(journey: type[Journey[Any]]) -> Plan | None:
    try:
        return journey.plan.model_validate({})
    except ValidationError:
        return None
