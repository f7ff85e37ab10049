"""The rules about journeys and plans."""

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations
from typing import Any

from cli.lint.finding import Place
from cli.lint.passage import never_sent
from cli.lint.production import FACTS
from cli.lint.subject import House, Subject
from domain.facts import Fact, OrderPlaced, Topic
from domain.follow_ups import PURCHASE
from domain.plans import FollowUpPlan
from workflows.caption import span
from workflows.journey import Journey

_KINDS = {kind.model_fields["kind"].default: kind for kind in FACTS.values()}
_SHOPPING = re.compile(r"cart|checkout|basket|view|browse", re.IGNORECASE)
"""What the names of facts and events about carts and browsing have in common."""
_SHOPPERS_TOPICS = {Topic.ABANDONED_CART, Topic.BROWSE_ABANDONMENT}
_A_MINUTE = timedelta(minutes=1)


def unheard_facts(house: House) -> Iterator[Place]:
    """J001."""
    for journey in dict.fromkeys(subject.journey for subject in house.subjects):
        subject = next(subject for subject in house.subjects if subject.journey is journey)
        signals = _signals(journey)
        named = dict.fromkeys(journey.entered_by, "enters on")
        named |= {_KINDS[name]: "listens to" for name in signals if name in _KINDS}
        named |= dict.fromkeys(journey.ends, "ends with")
        for fact, how in named.items():
            if why := house.production.why_not(fact):
                fix = "Tell it to journeys where it is applied in adapters/postgres, or take a fact that is told."
                yield subject.file, journey.name, f"it {how} {fact.__name__}, but {why}", fix
        for fact in journey.ends:
            if (kind := fact.model_fields["kind"].default) not in signals:
                fix = f"Add a signal `{kind}` that calls `self.end`."
                yield subject.file, journey.name, f"it ends with {fact.__name__}, but has no signal that hears it", fix
        for name in sorted(signals - set(_KINDS)):
            fix = "Name the signal after the `kind` of a fact, for the router signals by that."
            yield subject.file, journey.name, f"nobody ever sends the signal {name}", fix


def topicless_messages(house: House) -> Iterator[Place]:
    """J002."""
    for subject in house.subjects:
        for step in subject.steps:
            if not step.transactional and "topic" not in step.model_fields_set:
                fix = "Say its `topic`, which is what customers consent to, or that it is `transactional`."
                yield subject.plan_file, subject.name, f"message {step.name} has no consent topic", fix


def unreachable_steps(house: House) -> Iterator[Place]:
    """J003."""
    for subject in house.subjects:
        for step in never_sent(subject.journey, subject.steps):
            fix = "Send what `self.steps_due()` yields, or take the step out of the plan."
            yield subject.file, subject.name, f"no way through `run` sends step {step.name}", fix


def shopping_without_purchase(house: House) -> Iterator[Place]:
    """J004."""
    for subject in house.subjects:
        buys = OrderPlaced in subject.journey.ends
        if isinstance(subject.plan, FollowUpPlan):
            buys = PURCHASE in subject.plan.ending_events
        if buys or not (why := _about_shopping(subject)):
            continue
        if isinstance(subject.plan, FollowUpPlan):
            fix = f'Add "{PURCHASE}" to `exits`.'
            yield subject.plan_file, subject.name, f"it {why}, but a purchase does not end it", fix
        else:
            fix = "Put `OrderPlaced: Outcome.CONVERTED` into `ends` and add its signal."
            yield subject.file, subject.name, f"it {why}, but a purchase does not end it", fix


def delays_beyond_expiry(house: House) -> Iterator[Place]:
    """J005."""
    for subject in house.subjects:
        if (plan := subject.plan) is None:
            continue
        due = plan.before_first
        for step in plan.steps:
            due += step.delay
            # Another journey's message may put it off, and that by the whole gap.
            latest = due if step.transactional else due + plan.gap
            if latest > plan.longest:
                problem = (
                    f"step {step.name} may come after {span(latest)}, but a run counts as over after "
                    f"{span(plan.longest)} and hears of no exit any more"
                )
                fix = "Shorten the delays or the gap, or let `Plan.longest` be longer."
                yield subject.plan_file, subject.name, problem, fix
                break


def equals_in_the_same_minute(house: House) -> Iterator[Place]:
    """J006."""
    hasty = [subject for subject in house.subjects if subject.writes_marketing and _gap(subject) < _A_MINUTE]
    for first, second in combinations(hasty, 2):
        problem = f"{second.name} and {first.name} can write to the same customer in the same minute: none has a gap"
        fix = "Give the one that can wait a `gap` of a minute or more; it then lets the other go first."
        yield second.plan_file, second.name, problem, fix


def _signals(journey: type[Journey[Any]]) -> set[str]:
    """Name the signals that a journey adds to the base."""
    return _signal_names(journey) - _signal_names(Journey)


def _signal_names(journey: type) -> set[str]:
    # The SDK has no public way to ask a class for its signals, and none at all for one that is no workflow.
    marks = (getattr(getattr(journey, name), "__temporal_signal_definition", None) for name in dir(journey))
    return {mark.name for mark in marks if mark is not None}


def _about_shopping(subject: Subject) -> str:
    names = [_event_or_fact(fact, subject) for fact in subject.journey.entered_by]
    about = next((name for name in names if _SHOPPING.search(name)), None)
    if about is not None:
        return f"enters on {about}"
    topic = next((step.topic for step in subject.steps if step.topic in _SHOPPERS_TOPICS), None)
    return f"sends {topic}" if topic is not None else ""


def _event_or_fact(fact: type[Fact], subject: Subject) -> str:
    return subject.plan.event if isinstance(subject.plan, FollowUpPlan) else fact.__name__


def _gap(subject: Subject) -> timedelta:
    return timedelta(0) if subject.plan is None else subject.plan.gap
