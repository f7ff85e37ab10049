"""Standing: how things stand for a slot, read in one statement under the customer's lock.

A statement costs the worker more than it costs Postgres (docs/performance.md), and most of this is a lookup by key.
It is a statement of its own, after the one that locks the customer: each statement sees what was committed before it
began, and a subquery of that one would see what was true before the lock was free. Both are sent at once.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import CTE, ScalarSelect, Select, Subquery, Text, and_, any_, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import consents
from adapters.postgres.at_once import Asked, asked_at_once, begun
from adapters.postgres.sending_rules import understood
from adapters.postgres.statements import built_once
from adapters.postgres.suppressions import reasons
from adapters.postgres.tables import (
    carts,
    customers,
    messages,
    orders,
    pauses,
    runs,
    sending_rules,
    stores,
    views,
)
from adapters.postgres.unapplied import Unapplied, unapplied
from domain.cart import Cart
from domain.consent import ConsentRecord
from domain.consent import understood as lines_understood
from domain.delivery import OrderStands, Result, Slot
from domain.operations import OnResume, Pause
from domain.runs import Outcome
from domain.sending_rules import SendingRules

_WENT_OUT = [Result.SENT.value, Result.UNKNOWN.value, "claimed", "sending"]
"""States of a message that counts as one that the customer got, or is about to."""


class Before(NamedTuple):
    """What an earlier attempt at a slot left: columns of its message."""

    message_id: UUID
    state: str
    because: str | None
    resent_at: datetime | None
    delivered_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    bounced_at: datetime | None
    complained_at: datetime | None


class Bought(NamedTuple):
    """The order that a run is about: columns of its row."""

    order_id: str
    status: str
    lines: list[dict[str, Any]]
    total_minor: int | None
    currency: str | None


class Standing:
    """What is known of a run, its customer and its store.

    Attributes:
        store: The store's row.
        before: None at the first attempt.
        order: The order that the slot names, if it is known.
        ended: The outcome, if the run has ended.
        unapplied: The customer's events that are not applied yet.
        exits: Events that end the run by the word of the plan it has.
        pauses: That may hold the message up; a resume waits until it is written down that one does.
        reasons: Why the customer's address gets nothing, if it does.
        last_marketing_at: When another journey last sent the customer marketing.
        category: Of the product that the customer looked at last.
    """

    def __init__(self, row: Any) -> None:
        self._row = row
        self.store = row
        self.before = None if row.before_state is None else Before(*_of(row, "before", Before._fields))
        self.order = None if row.order_order_id is None else Bought(*_of(row, "order", Bought._fields))
        self.ended = None if row.ended_at is None else Outcome(row.outcome)
        self.unapplied = [Unapplied(**event) for event in row.unapplied or ()]
        self.exits: list[str] = row.exits or []
        self.pauses = tuple(_pause(**pause) for pause in row.pauses or ())
        self.reasons: set[str] = set(row.reasons)
        self.last_marketing_at: datetime | None = row.last_marketing_at
        self.category: str | None = row.category

    @cached_property
    def rules(self) -> SendingRules:
        """What the store has set for all its messages."""
        return understood(self._row.rules)

    @cached_property
    def cart(self) -> Cart:
        """What the customer has put into the cart."""
        return Cart() if self._row.cart is None else Cart.model_validate(self._row.cart)

    @cached_property
    def consents(self) -> list[ConsentRecord]:
        """What the customer said about mail."""
        return lines_understood(SimpleNamespace(**line) for line in self._row.consents or ())


def _of(row: Any, what: str, names: Iterable[str]) -> Iterator[Any]:
    return (getattr(row, f"{what}_{name}") for name in names)


def _pause(since: str, until: str | None, policy: str, over_s: int) -> Pause:
    return Pause.model_validate(
        {"since": since, "until": until, "policy": OnResume(policy), "over": timedelta(seconds=over_s)}
    )


async def standing(connection: AsyncConnection, slot: Slot, now: datetime) -> tuple[Any, Standing]:
    """Begin a transaction with the lock on whoever the run's customer is by now, and read how things stand.

    The router applies facts under the same lock.

    Args:
        connection: Of an engine that is `unbegun`.
        slot: Whose transaction it is.
        now: When the claim is made.

    Returns:
        The customer's row, and how things stand.
    """
    customer_id: UUID = slot.customer_id
    first: tuple[Asked, ...] = begun(slot.store_id)
    while True:
        here = (slot.store_id, slot.run_id, slot.step.name, slot.journey, customer_id)
        asked = _standing(*here, _order_id(slot), slot.waited_from, now)
        *_, (customer,), (row,) = await asked_at_once(connection, *first, locked(slot.store_id, customer_id), asked)
        if customer.merged_into is None:
            return customer, Standing(row)
        customer_id, first = customer.merged_into, ()


@built_once
def locked(store_id: str, customer_id: UUID) -> Select[Any]:
    """Lock a customer's row."""
    here = (customers.c.store_id == store_id, customers.c.customer_id == customer_id)
    return select(customers).where(*here).with_for_update()


def _order_id(slot: Slot) -> str:
    """Return the order that a slot is about; there is none without an id."""
    named = (condition.order_id for condition in slot.requires if isinstance(condition, OrderStands))
    return slot.order_id or next(named, "")


async def left_before(connection: AsyncConnection, slot: Slot) -> Before | None:
    """Read what an earlier attempt left, and nothing else."""
    row = (await connection.execute(*_left(slot.store_id, slot.run_id, slot.step.name))).one_or_none()
    return None if row is None else Before(*row)


@built_once
def _left(store_id: str, run_id: UUID, step: str) -> Select[Any]:
    here = (messages.c.store_id == store_id, messages.c.run_id == run_id, messages.c.step == step)
    return select(*(messages.c[name] for name in Before._fields)).where(*here)


@built_once
def _standing(
    store_id: str,
    run_id: UUID,
    step: str,
    journey: str,
    customer_id: UUID,
    order_id: str,
    waited_from: datetime,
    now: datetime,
) -> Select[Any]:
    mine = messages.alias("mine")
    of_slot = and_(mine.c.store_id == stores.c.store_id, mine.c.run_id == run_id, mine.c.step == step)
    of_order = and_(orders.c.store_id == stores.c.store_id, orders.c.order_id == order_id)
    of_run = and_(runs.c.store_id == stores.c.store_id, runs.c.run_id == run_id)
    its_customer = (customers.c.store_id == store_id, customers.c.customer_id == customer_id)
    address = select(customers.c.email).where(*its_customer).scalar_subquery()
    rules = select(sending_rules.c.rules).where(sending_rules.c.store_id == store_id)
    last_of_others = select(func.max(messages.c.claimed_at)).where(
        messages.c.store_id == store_id,
        messages.c.customer_id == customer_id,
        messages.c.journey != journey,
        messages.c.transactional.is_(False),
        messages.c.state == any_(literal(_WENT_OUT, ARRAY(Text))),
    )
    cart = select(carts.c.cart).where(carts.c.store_id == store_id, carts.c.customer_id == customer_id)
    looked_at = (
        select(views.c.category)
        .where(views.c.store_id == store_id, views.c.customer_id == customer_id, views.c.category.is_not(None))
        .order_by(views.c.at.desc())
        .limit(1)
    )
    holding_up = (
        select(pauses.c.since, pauses.c.until, pauses.c.policy, pauses.c.over_s)
        .where(pauses.c.store_id == store_id, pauses.c.journey == journey)
        .where(or_(pauses.c.until.is_(None), pauses.c.until > waited_from))
        .order_by(pauses.c.since)
        .with_for_update(read=True)
    )
    everything = select(
        stores,
        *(mine.c[name].label(f"before_{name}") for name in Before._fields),
        *(orders.c[name].label(f"order_{name}") for name in Bought._fields),
        *(runs.c[name] for name in ("ended_at", "outcome", "exits")),
        _all_of(unapplied(store_id, customer_id, address).subquery()).label("unapplied"),
        _all_of(consents.words(store_id, customer_id, "email").subquery()).label("consents"),
        _all_of(holding_up.cte("holding_up")).label("pauses"),
        rules.scalar_subquery().label("rules"),
        func.array(reasons(store_id, "email", address, now).scalar_subquery(), type_=ARRAY(Text)).label("reasons"),
        last_of_others.scalar_subquery().label("last_marketing_at"),
        cart.scalar_subquery().label("cart"),
        looked_at.scalar_subquery().label("category"),
    )
    beside = stores.outerjoin(mine, of_slot).outerjoin(orders, of_order).outerjoin(runs, of_run)
    return everything.select_from(beside).where(stores.c.store_id == store_id)


def _all_of(rows: Subquery | CTE) -> ScalarSelect[Any]:
    """Put rows into one value, as JSON."""
    return select(func.jsonb_agg(func.to_jsonb(rows.table_valued()))).scalar_subquery()
