"""Costs: what Temporal bills for a run, and how much history it leaves."""

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

from domain.values import Value
from rehearsal.passages import Passage
from rehearsal.shop import TimeSkippingShop

_BILLED = frozenset({
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
    EventType.EVENT_TYPE_MARKER_RECORDED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
})  # fmt: skip
"""What Temporal bills, as history events (docs.temporal.io/evaluate/cloud/actions); a signal that comes with the
start is part of it."""


class Cost(Value):
    """What one passage through a journey costs.

    Attributes:
        actions: What Temporal bills.
        budget: How many they may be.
        events, kilobytes: How large its history is.
    """

    journey: str
    messages: int
    actions: int
    budget: int
    events: int
    kilobytes: float


def actions(history: WorkflowHistory) -> int:
    """Count what Temporal bills for a history."""
    return sum(event.event_type in _BILLED for event in history.events)


def size(history: WorkflowHistory) -> int:
    """Return the size of a history in bytes."""
    return sum(event.ByteSize() for event in history.events)


async def walked(shop: TimeSkippingShop, passage: Passage) -> WorkflowHistory:
    """Live through a passage in a shop of its own, and return the history that it leaves."""
    await shop.only(passage.journey)
    await passage.walk(shop)
    await shop.settled(passage.run_of)
    return await shop.history(passage.run_of)


async def cost(shop: TimeSkippingShop, passage: Passage) -> Cost:
    """Measure what a passage costs."""
    history = await walked(shop, passage)
    sent = len(await shop.sent(passage.run_of))
    return Cost(
        journey=passage.journey, messages=sent, actions=actions(history), budget=passage.budget,
        events=len(history.events), kilobytes=round(size(history) / 1000, 1),
    )  # fmt: skip
