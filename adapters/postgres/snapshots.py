"""Snapshots: what the enrolment rules need to know of customers, read for many at once and remembered in the batch.

A snapshot is remembered of a customer whose row is locked, until this transaction changes anything that it is made of:
orders or messages. A cart is written and remembered at once (`apply/purchases.py`), and of runs it is remembered that
they have changed.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import consents, runs
from adapters.postgres.at_once import Asked, asked_at_once
from adapters.postgres.batch import Batch
from domain.cart import Cart
from domain.commands import Command, RestartRun, StartRun
from domain.consent import wants_mail
from domain.events import Event
from domain.facts import (
    CartLineChanged,
    CartReported,
    ConsentChanged,
    Fact,
    NewsletterSubscribed,
    OrderPlaced,
    OrderUpdated,
    ProductChanged,
    ProductViewed,
    ProfileChanged,
    SignedUp,
    ViewTimed,
)
from domain.plans import DoubleOptInPlan
from domain.runs import RunState
from domain.snapshot import Snapshot

# What a customer has, bought, entered and got.
_HISTORY: LiteralString = """
    select who.customer_id, bought.*,
           (select c.cart from carts c where c.store_id = %(store_id)s and c.customer_id = who.customer_id) as cart,
           (select array_agg(distinct r.journey) from runs r
             where r.store_id = %(store_id)s and r.customer_id = who.customer_id) as begun,
           (select jsonb_object_agg(newest.journey, newest.at) from (
               select m.journey, max(m.sending_at) as at from messages m
                where m.store_id = %(store_id)s and m.customer_id = who.customer_id and m.state in ('sent', 'unknown')
                group by m.journey) newest) as last_sent
      from unnest(cast(%(customer_ids)s as uuid[])) as who (customer_id)
     cross join lateral (
           select count(o.placed_at) filter (where o.status = 'placed') as orders,
                  max(o.placed_at) filter (where o.status = 'placed') as last_order_at,
                  max(o.placed_at) as last_purchase_at
             from orders o where o.store_id = %(store_id)s and o.customer_id = who.customer_id) bought
"""
_LEAVE_IT = (
    CartLineChanged, CartReported, ConsentChanged, NewsletterSubscribed, ProductChanged, ProductViewed, ProfileChanged,
    SignedUp, ViewTimed,
)  # fmt: skip
_LEAD_TO_IT = (CartLineChanged, CartReported, SignedUp, NewsletterSubscribed)
"""Kinds of facts for which a snapshot is needed nearly always, and which do not change it themselves."""


def needed_for(fact: Fact) -> bool:
    """Tell whether whoever applies a fact is going to ask for a snapshot as it was before."""
    return isinstance(fact, _LEAD_TO_IT)


def outdated_by(fact: Fact, store_id: str, customer_id: UUID | None, batch: Batch) -> None:
    """Forget the snapshots that a fact about a customer may change; called before it does."""
    if isinstance(fact, _LEAVE_IT):
        return
    if customer_id is not None and isinstance(fact, OrderPlaced | OrderUpdated):
        batch.snapshots.pop((store_id, customer_id), None)
    else:  # a refund may be of another customer's order, a bounce of another customer's message
        batch.snapshots.clear()


def reading(store_id: str, customer_ids: Iterable[UUID], now: datetime) -> tuple[Asked, Asked]:
    """Read what snapshots of customers are made of: their runs, and all the rest."""
    wanted = list(customer_ids)
    return runs.under_way(store_id, wanted, now), (_HISTORY, {"store_id": store_id, "customer_ids": wanted})


def remember(
    store_id: str, customer_ids: Iterable[UUID], found: Sequence[Sequence[Any]], now: datetime, batch: Batch
) -> None:
    """Remember snapshots of customers whose rows are locked, of what `reading` has found."""
    snapshots = _made(store_id, found, now, batch)
    for customer_id in customer_ids:
        batch.snapshots[store_id, customer_id] = snapshots[customer_id]
        batch.runs_changed.discard((store_id, customer_id))


def runs_changed(store_id: str, customer_id: UUID, written: Sequence[Command], batch: Batch) -> None:
    """Note what commands that were written down made of a customer's runs.

    A first run is known; otherwise the runs are read again, and nothing else, once somebody asks.
    """
    key = (store_id, customer_id)
    if (known := batch.snapshots.get(key)) is None:
        return
    changes: dict[str, object] = {
        "begun": known.begun.union(c.run.journey for c in written if isinstance(c, StartRun | RestartRun))
    }
    match written:
        case [StartRun(run=run)] if (
            not known.open_runs and key not in batch.runs_changed and run.expires_at > known.now
        ):
            changes["open_runs"] = (run,)
        case _:
            batch.runs_changed.add(key)
    batch.snapshots[key] = known.model_copy(update=changes)


async def snapshot(
    connection: AsyncConnection, event: Event, customer_id: UUID | None, now: datetime, batch: Batch
) -> Snapshot:
    """Return what the enrolment rules need to know for an event."""
    store_id = event.store_id
    if customer_id is None:
        return batch.terms[store_id].snapshot(store_id, now).model_copy(update={"trigger": str(event.id)})
    key = (store_id, customer_id)
    known = batch.snapshots.get(key)
    if known is None or known.now != now:
        found = await asked_at_once(connection, *reading(store_id, [customer_id], now))
        known = _made(store_id, found, now, batch)[customer_id]
        if key in batch.locked:
            batch.snapshots[key] = known
            batch.runs_changed.discard(key)
    elif key in batch.runs_changed:
        (rows,) = await asked_at_once(connection, runs.under_way(store_id, [customer_id], now))
        under_way = runs.states(rows)
        known = batch.snapshots[key] = known.model_copy(update={"open_runs": tuple(under_way)})
        batch.runs_changed.discard(key)
    unconfirmed = await _unconfirmed(connection, store_id, customer_id, known)
    return known.model_copy(update={"trigger": str(event.id), "unconfirmed": unconfirmed})


def _made(store_id: str, found: Sequence[Sequence[Any]], now: datetime, batch: Batch) -> dict[UUID, Snapshot]:
    open_runs, history = found
    under_way: dict[UUID, list[RunState]] = defaultdict(list)
    for run in runs.states(open_runs):
        under_way[run.customer_id].append(run)
    nobody = batch.terms[store_id].snapshot(store_id, now)
    return {
        who.customer_id: nobody.model_copy(
            update={
                "customer_id": who.customer_id,
                "cart": batch.carts.get((store_id, who.customer_id)) or Cart.model_validate(who.cart or {}),
                "orders": who.orders,
                "last_order_at": who.last_order_at,
                "last_purchase_at": who.last_purchase_at,
                "open_runs": tuple(under_way[who.customer_id]),
                "begun": frozenset(who.begun or ()),
                "last_sent": {journey: datetime.fromisoformat(at) for journey, at in (who.last_sent or {}).items()},
            }
        )
        for who in history
    }


async def _unconfirmed(connection: AsyncConnection, store_id: str, customer_id: UUID, known: Snapshot) -> bool:
    """Tell whether the store asks for a confirmation that the customer has not given; most stores do not ask."""
    if "double-opt-in" not in known.plans or not known.plan("double-opt-in", DoubleOptInPlan).enabled:
        return False
    records = await consents.of_customer(connection, store_id, customer_id)
    return not wants_mail(records, await consents.address_of(connection, store_id, customer_id))
