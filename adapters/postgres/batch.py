"""A batch: what one transaction of the router has read that stays true until it ends, and what it writes at its end.

The events of a lane come in bursts: one customer looks at five products, and everybody looks at the same ones.
"""

from collections import Counter
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from adapters.postgres.sales import Sales
from domain.events import Who
from domain.snapshot import PinnedPlan
from domain.values import Value


class Terms(Value):
    """What a store has settled: its currency, its time zone and its plans.

    Attributes:
        mentioned: The events that the store's follow-ups have to hear of.
        ending: Those among them that end runs, also of earlier plans.
        erasures: Whether the store has erased anybody.
    """

    currency: str = "USD"
    timezone: str = "UTC"
    plans: dict[str, PinnedPlan]
    mentioned: frozenset[str] = frozenset()
    ending: frozenset[str] = frozenset()
    erasures: bool = False


class Batch:
    """What the events of a transaction share.

    Attributes:
        terms: Of each store; its row is locked against a new plan until the transaction ends.
        customers: Whose events with these identities are. Their rows are locked until the transaction ends, so nobody
            else joins them; what this transaction itself says anew of who is who makes it forget them all.
        seen: Products as they were when an event last looked; good enough to tell that a look says nothing new.
        sales: Units sold, written at the end (sales.py).
    """

    def __init__(self) -> None:
        self.terms: dict[str, Terms] = {}
        self.customers: dict[tuple[str, Who], UUID] = {}
        self.seen: dict[tuple[str, str], Row[Any] | None] = {}
        self.sales: Sales = Counter()
