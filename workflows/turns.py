"""Whose turn it is when more work waits than the workers can do: the urgent classes first, stores in turn."""

from temporalio.common import Priority


def turn(store_id: str, urgency: int) -> Priority:
    """Say where a task stands in the queue.

    Args:
        store_id: Stores with waiting tasks of the same urgency are served in turn, however many each has.
        urgency: 1 before 5 (`domain.plans.Step.urgency`), whatever the store.
    """
    return Priority(priority_key=urgency, fairness_key=store_id)
