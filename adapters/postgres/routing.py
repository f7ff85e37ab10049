"""Routing events: understand each, find the customer, change the state, and decide what Temporal must do.

All in the caller's transaction; the commands are kept with the event, so nothing is lost between the commit and
the call to Temporal.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import (
    acquaintance,
    carts,
    consents,
    happenings,
    identities,
    interest,
    plans,
    runs,
    snapshots,
    tombstones,
)
from adapters.postgres.acquaintance import Acquainted
from adapters.postgres.apply import Applying, Derived, apply, browsing, catalogue
from adapters.postgres.at_once import Asked, asked_at_once
from adapters.postgres.batch import Batch, Settled, Terms, Understood
from adapters.postgres.catalogue import listing
from adapters.postgres.identities import Resolved
from adapters.postgres.queue import Queued
from adapters.postgres.statements import built_once
from adapters.postgres.tables import stores
from domain.commands import Command, EndRun, JoinRun, SignalRun
from domain.decoding import facts
from domain.decoding.subject import shown
from domain.events import Event, Who
from domain.facts import ConsentPending, EventHeard, Fact, OrderPlaced, ProductViewed
from domain.follow_ups import PURCHASE
from domain.plans import BrowseAbandonmentPlan, FollowUpPlan
from domain.runs import Outcome, RunState
from domain.snapshot import Snapshot
from domain.vocabulary import canonical, heard_as
from workflows import enrolment

_STORES = 1_000
"""Of how many stores a router remembers what they have settled; of the others it is understood with each batch."""


async def settle(
    connection: AsyncConnection,
    store_id: str,
    batch: Batch,
    *,
    before: Sequence[Asked] = (),
    beside: Sequence[Asked] = (),
) -> list[Sequence[Any]]:
    """Read what a store has settled, once in a batch (`batch.terms`).

    What was understood before is not understood again as long as the store's row and the versions of its plans are the
    same.

    Args:
        connection: Where it is asked.
        store_id: The store.
        batch: Remembers it.
        before: What is asked before, at once.
        beside: What is asked after it, at once.

    Returns:
        What `beside` was answered.
    """
    # A new plan waits for the batches that still begin runs with the old one, so that whoever moves runs finds them.
    mine = (_settled(store_id), plans.versions(store_id))
    answers = (await asked_at_once(connection, *before, *mine, *beside))[len(before) :]
    rows = (*answers[0], *answers[1])
    known = batch.settled.get(store_id)
    if known is None or known.rows != rows:
        known = batch.settled[store_id] = Settled(rows, await _understood_terms(connection, store_id, answers[0]))
        if len(batch.settled) > _STORES:
            del batch.settled[next(iter(batch.settled))]
    batch.terms[store_id] = known.terms
    return answers[2:]


async def prepare(connection: AsyncConnection, told: Sequence[tuple[Event, datetime]], batch: Batch) -> None:
    """Do for the next events of a store together what would else be done for each of them.

    Args:
        connection: In a transaction as the store that they are of.
        told: The events, and the time at which each is applied; those about erased customers are forgotten.
        batch: Remembers what is found, until they are applied.
    """
    store_id = told[0][0].store_id
    if store_id not in batch.terms:
        await settle(connection, store_id, batch)
    terms = batch.terms[store_id]
    refused = await tombstones.refused(connection, store_id, [e for e, _ in told]) if terms.erasures else ()
    understood = {e.id: Understood(refused=True) if e.id in refused else _understood(e, terms) for e, _ in told}
    batch.understood |= understood
    all_facts = [fact for means in understood.values() for fact in means.facts]
    about = [(event, at, understood[event.id]) for event, at in told if understood[event.id].about_customer]
    named = acquaintance.companies([(event.who, means.previous_id, at) for event, at, means in about])
    looked_at = catalogue.looked_at(store_id, all_facts, batch)
    listed, owned = await asked_at_once(connection, listing(store_id, looked_at), acquaintance.owners(store_id, named))
    catalogue.remember(store_id, looked_at, listed, batch)
    # Before any customer's row: whoever waits for a product then keeps no customer from others.
    await catalogue.hold(connection, store_id, all_facts, batch)
    found = await acquaintance.acquaint(connection, store_id, named, owned)
    if found.plain:
        await _lock(connection, store_id, about, found, told[0][1], batch)


_About = Sequence[tuple[Event, datetime, Understood]]


async def _lock(
    connection: AsyncConnection, store_id: str, about: _About, found: Acquainted, now: datetime, batch: Batch
) -> None:
    """Lock the customers of events, and read under the lock what is going to be asked of them."""
    locking = found.locking(store_id)
    entering = _entering(store_id, about, found.plain, batch)
    reading = snapshots.reading(store_id, entering, now) if entering else ()
    counting = browsing.counting(store_id, _looks(about, found.plain), batch)
    rows, *answers = await asked_at_once(connection, *locking, *reading, *counting)
    answers = answers[len(locking) - 1 :]
    plain = found.locked(rows)
    batch.customers |= {(store_id, who): customer_id for who, customer_id in plain.items()}
    batch.locked |= {(store_id, customer_id) for customer_id in plain.values()}
    if entering:
        snapshots.remember(store_id, entering & set(plain.values()), answers[:2], now, batch)
    looks = _looks(about, plain)
    # What the events say of who is who, and what reads looks, must find those before it, and no other.
    if (
        looks
        and all(e.who in plain or e.who.customer_id for e, _, _ in about)
        and not any(browsing.looks_back(fact) for means in batch.understood.values() for fact in means.facts)
    ):
        browsing.keep_ahead(store_id, looks, answers[len(reading)] if counting else (), batch)


def _looks(about: _About, plain: Mapping[Who, UUID]) -> list[browsing.Look]:
    """Return the looks at products of customers of whom it is plain who they are."""
    return [
        (event.id, plain[event.who], fact)
        for event, _, means in about
        for fact in means.facts
        if isinstance(fact, ProductViewed) and event.who in plain
    ]


def _entering(store_id: str, about: _About, plain: Mapping[Who, UUID], batch: Batch) -> set[UUID]:
    """Return the customers of whom the enrolment rules are going to ask, and who are not remembered yet."""
    asked = {plain[e.who] for e, _, m in about if e.who in plain and any(map(snapshots.needed_for, m.facts))}
    return {customer_id for customer_id in asked if (store_id, customer_id) not in batch.snapshots}


def unwritten(store_id: str, batch: Batch) -> list[Asked]:
    """Return what a batch has left to be written for a store, and has no longer left then."""
    return [*batch.unwritten.pop(store_id, ()), *carts.written(store_id, batch)]


async def route(connection: AsyncConnection, event: Event, now: datetime, batch: Batch) -> list[Command]:
    """Apply an event and return what Temporal must do for it.

    Carts and what was sold are only kept in the batch; the caller writes them at the end (carts.py, sales.py).
    """
    if event.id not in batch.understood:
        await prepare(connection, [(event, now)], batch)
    understood = batch.understood.pop(event.id)
    if understood.refused:
        return []
    terms = batch.terms[event.store_id]
    owed: list[Command] = []
    customer_id: UUID | None = None
    if understood.about_customer:
        resolved = await _resolved(connection, event, understood.previous_id, now, batch)
        if resolved is None:
            return []
        customer_id = resolved.customer_id
        if resolved.merged:
            owed += await _rejoin(connection, event, resolved, now, batch)
    applying = Applying(connection, event, customer_id, now, batch)
    for fact in understood.facts:
        snapshots.outdated_by(fact, event.store_id, customer_id, batch)
        for derived in await apply(applying, fact):
            owed += await _enrol(connection, event, derived, now, batch)
            if isinstance(derived.fact, OrderPlaced) and PURCHASE in terms.ending:
                bought = derived.model_copy(update={"fact": EventHeard(at=derived.fact.at, name=PURCHASE)})
                owed += await _enrol(connection, event, bought, now, batch)
    if understood.mentioned is not None and customer_id is not None:
        offers = terms.plans.values()
        for heard in await happenings.heard(connection, event, understood.mentioned, customer_id, offers):
            if heard.meets or (heard.name in terms.ending and heard.name != PURCHASE):
                owed += await _enrol(connection, event, Derived(customer_id=customer_id, fact=heard), now, batch)
    return owed


def means_nothing(queued: Queued, terms: Terms) -> bool:
    """Tell of an event by its row that no more can be made of it: most that a busy shop sends."""
    unknown = queued.type == "group" or (queued.type == "track" and canonical(queued.name or "") is None)
    mentioned = bool(terms.mentioned) and heard_as(queued.type, queued.name) in terms.mentioned
    return unknown and not (mentioned or queued.names_two or terms.erasures)


def _understood(event: Event, terms: Terms) -> Understood:
    understood = facts(event, terms.currency)
    name = heard_as(event.type, event.name) if terms.mentioned else None
    mentioned = name if name is not None and name in terms.mentioned else None
    if mentioned is not None:
        understood += shown(event, terms.currency)
    # An event that says nothing else may still say that a browser is a customer's; the catalogue's never does.
    anybody = any(fact.about_customer for fact in understood) or (not understood and Queued(event).names_two)
    return Understood(facts=understood, mentioned=mentioned, about_customer=anybody or mentioned is not None)


async def _resolved(
    connection: AsyncConnection, event: Event, previous_id: str | None, now: datetime, batch: Batch
) -> Resolved | None:
    """Say whose event it is; of who has been found in this batch already, nothing is asked again."""
    key = (event.store_id, event.who)
    if previous_id is None and key in batch.customers:
        return Resolved(customer_id=batch.customers[key])
    await carts.write(connection, event.store_id, batch)  # whoever is joined now has the cart joined in the table
    resolved = await identities.resolve(connection, event.store_id, event.who, now, previous_id)
    if resolved is not None:
        if resolved.merged:
            batch.people_joined()
        elif resolved.introduced:
            said = set(identities.identities_of(event.who, previous_id))
            for known in list(batch.customers):
                if not said.isdisjoint(identities.identities_of(known[1], None)):
                    del batch.customers[known]
        batch.customers[key] = resolved.customer_id
        batch.locked.add((event.store_id, resolved.customer_id))
    return resolved


async def _understood_terms(connection: AsyncConnection, store_id: str, rows: Sequence[Any]) -> Terms:
    settled = rows[0]._asdict() if rows else {}
    known = await plans.current(connection, store_id)
    follow_ups = [offer.plan for offer in known.values() if isinstance(offer.plan, FollowUpPlan)]
    if not follow_ups:
        return Terms(**settled, plans=known)
    ending = await plans.exits_ever(connection, store_id)
    mentioned = ending.union(*(plan.mentions for plan in follow_ups))
    return Terms(**settled, plans=known, mentioned=mentioned, ending=ending)


@built_once
def _settled(store_id: str) -> Select[Any]:
    erasures = tombstones.laid(store_id).label("erasures")
    query = select(stores.c.currency, stores.c.timezone, erasures).where(stores.c.store_id == store_id)
    return query.with_for_update(read=True)


async def _enrol(
    connection: AsyncConnection, event: Event, derived: Derived, now: datetime, batch: Batch
) -> list[Command]:
    if not enrolment.matters(derived.fact):
        return []
    state = await snapshots.snapshot(connection, event, derived.customer_id, now, batch)
    return await _write_down(connection, state, enrolment.commands(derived.fact, state), batch)


async def _write_down(
    connection: AsyncConnection, state: Snapshot, commands: Sequence[Command], batch: Batch
) -> list[Command]:
    owed = await runs.write_down(connection, state.store_id, commands, state.now)
    if commands and state.customer_id is not None:
        # What was not owed any more had begun, and perhaps ended, before.
        written = owed if len(owed) == len(commands) else ()
        snapshots.runs_changed(state.store_id, state.customer_id, written, batch)
    return owed


async def _rejoin(
    connection: AsyncConnection, event: Event, resolved: Resolved, now: datetime, batch: Batch
) -> list[Command]:
    """Make the runs of the joined customers one set: one run per journey and product remains, the oldest."""
    customer_id = resolved.customer_id
    state = await snapshots.snapshot(connection, event, customer_id, now, batch)
    kept: dict[tuple[str, str | None], RunState] = {}
    owed = _already_bought(state)
    over = {command.run_id for command in owed}
    for run in state.open_runs:
        if run.run_id in over:
            continue
        key = enrolment.place(run)
        if key in kept:
            owed.append(EndRun(run_id=run.run_id, workflow_id=run.workflow_id, outcome=Outcome.MERGED))
            continue
        kept[key] = run
        if run.run_id in resolved.moved_runs:
            owed.append(JoinRun(run_id=run.run_id, workflow_id=run.workflow_id, customer_id=customer_id))
    commands = await _write_down(connection, state, owed, batch)
    # Together they may have looked at a product often enough.
    plan = state.plan("browse-abandonment", BrowseAbandonmentPlan)
    for shown_now in await interest.shown(connection, event.store_id, customer_id, plan):
        commands += await _enrol(connection, event, Derived(customer_id=customer_id, fact=shown_now), now, batch)
    # One of them may have agreed, and the other have the address.
    if ("double-opt-in", None) not in kept and (await consents.pending(connection, event.store_id, customer_id)).topics:
        asks = Derived(customer_id=customer_id, fact=ConsentPending(at=event.at))
        commands += await _enrol(connection, event, asks, now, batch)
    return commands


def _already_bought(state: Snapshot) -> list[SignalRun | EndRun | JoinRun]:
    """End the runs that the other identity's order would have ended."""
    if state.last_order_at is None:
        return []
    order: Fact = OrderPlaced(at=state.last_order_at, order_id="of the joined identity", currency="XXX")
    bought = [*enrolment.commands(order, state), *enrolment.commands(EventHeard(at=order.at, name=PURCHASE), state)]
    return [command for command in bought if isinstance(command, SignalRun) and command.ends is not None]
