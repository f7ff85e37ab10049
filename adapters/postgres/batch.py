"""A batch: what one transaction of the router has read that stays true until it ends, and what it writes at its end.

The events of a lane come in bursts: one customer looks at five products, and everybody looks at the same ones.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from adapters.postgres.at_once import Asked
from adapters.postgres.sales import Sales
from domain.cart import Cart
from domain.events import Who
from domain.facts import AnyFact, IdentitiesJoined
from domain.snapshot import PinnedPlan, Snapshot
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

    def snapshot(self, store_id: str, now: datetime) -> Snapshot:
        """Return what is true of nobody in particular."""
        return Snapshot(store_id=store_id, now=now, trigger="", timezone=self.timezone, plans=self.plans)


@dataclass(frozen=True, slots=True)
class Understood:
    """What an event means to its store.

    Attributes:
        refused: It is about a customer who was erased.
        mentioned: What the store's follow-ups know it as, if any of them has to hear of it.
        about_customer: Whose it is has to be known.
    """

    facts: Sequence[AnyFact] = ()
    refused: bool = False
    mentioned: str | None = None
    about_customer: bool = False

    @property
    def previous_id(self) -> str | None:
        """The id that it declares to be the same person's."""
        return next((fact.previous_id for fact in self.facts if isinstance(fact, IdentitiesJoined)), None)


@dataclass(frozen=True, slots=True)
class Settled:
    """Terms, and the rows that they were understood from: while these are the same, so are they."""

    rows: tuple[Any, ...]
    terms: Terms


class Batch:
    """What the events of a transaction share.

    Attributes:
        terms: Of each store; its row is locked against a new plan until the transaction ends.
        understood: What events mean that are still to be applied.
        customers: Whose events with these identities are. Their rows are locked until the transaction ends, so nobody
            else joins them; what this transaction itself says anew of who is who makes it forget them all.
        locked: Customers whose rows are locked.
        snapshots: What the rules know of locked customers, as this transaction has left it (snapshots.py).
        runs_changed: Customers among them whose runs are to be read again.
        looked: Looks at products that are kept already (apply/browsing.py).
        seen: Products as they were when an event last looked; good enough to tell that a look says nothing new.
        unwritten: What is written with the end of a store's events; nobody in the batch reads it.
        carts: Carts as this transaction leaves them, of locked customers; not written yet (carts.py).
        sales: Units sold, written at the end (sales.py).
    """

    def __init__(self, settled: dict[str, Settled] | None = None) -> None:
        """Begin a batch.

        Args:
            settled: What earlier batches have understood of stores; kept up.
        """
        self.settled: dict[str, Settled] = {} if settled is None else settled
        self.terms: dict[str, Terms] = {}
        self.understood: dict[UUID, Understood] = {}
        self.customers: dict[tuple[str, Who], UUID] = {}
        self.locked: set[tuple[str, UUID]] = set()
        self.snapshots: dict[tuple[str, UUID], Snapshot] = {}
        self.runs_changed: set[tuple[str, UUID]] = set()
        self.looked: set[UUID] = set()
        self.seen: dict[tuple[str, str], Any] = {}
        self.unwritten: defaultdict[str, list[Asked]] = defaultdict(list)
        self.carts: dict[tuple[str, UUID], Cart] = {}
        self.sales: Sales = Counter()

    def people_joined(self) -> None:
        """Forget who is who, and all that was known of them."""
        self.customers.clear()
        self.snapshots.clear()
