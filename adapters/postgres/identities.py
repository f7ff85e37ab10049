"""Identities: who an event is about, and what happens when two turn out to be one person.

A user id is the strongest identity, then the browser's anonymous id, then the e-mail address. A customer who has
a user id is never merged into another because of a shared browser or address; only `alias` says so outright.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils
from sqlalchemy import delete, func, insert, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.tables import (
    carts,
    consents,
    customers,
    identities,
    messages,
    orders,
    runs,
    views,
    waitlist,
    watchlist,
)
from domain.cart import Cart
from domain.events import Who
from domain.values import Value

Identity = tuple[str, str]
"""Kind (`user`, `anonymous`, `email`) and value."""


class Resolved(Value):
    """Whose event it is, and which other customers turned out to be the same person."""

    customer_id: UUID
    merged: tuple[UUID, ...] = ()


def new_id() -> UUID:
    """Make an opaque id that sorts by time (UUIDv7)."""
    return UUID(str(uuid_utils.uuid7()))


async def resolve(
    connection: AsyncConnection, store_id: str, who: Who, now: datetime, previous_id: str | None = None
) -> Resolved | None:
    """Find or make the customer of an event, joining what the event shows to be one person, and lock the row.

    `previous_id` is an id that `alias` declares to be the same person.

    Returns:
        None if the event names nobody.
    """
    if who.customer_id is not None:
        return await _locked(connection, store_id, who.customer_id)
    named = _named(who, previous_id)
    if not named:
        return None
    await _serialise(connection, store_id, named)
    known = await _known(connection, store_id, named)
    with_user_id = await _with_user_id(connection, store_id, set(known.values()))
    primary = _primary(named, known, with_user_id, who)
    if primary is None:
        primary = new_id()
        await connection.execute(
            insert(customers).values(store_id=store_id, customer_id=primary, created_at=now, traits={}, told_at={})
        )
    others = {
        customer
        for identity, customer in known.items()
        if customer != primary and (customer not in with_user_id or identity[1] == previous_id)
    }
    resolved = await _locked(connection, store_id, primary)
    for other in sorted(others):
        await _merge(connection, store_id, other, primary)
    await _claim(connection, store_id, primary, named, known, others)
    return resolved and resolved.model_copy(update={"merged": tuple(sorted(others))})


def _named(who: Who, previous_id: str | None) -> list[Identity]:
    """The identities that an event names, strongest first."""
    named: list[Identity] = []
    if who.user_id is not None:
        named.append(("user", who.user_id))
    if who.anonymous_id is not None:
        named.append(("anonymous", who.anonymous_id))
    if previous_id is not None:
        named += [("user", previous_id), ("anonymous", previous_id)]
    if who.email is not None:
        named.append(("email", who.email))
    return named


def _primary(named: Sequence[Identity], known: dict[Identity, UUID], with_user_id: set[UUID], who: Who) -> UUID | None:
    strongest = named[0]
    if strongest in known:
        return known[strongest]
    for identity in named[1:]:
        customer = known.get(identity)
        # A new user id may take over a browser or an address, but not somebody else's account.
        if customer is not None and (who.user_id is None or customer not in with_user_id or identity[0] == "user"):
            return customer
    return None


async def _serialise(connection: AsyncConnection, store_id: str, named: Sequence[Identity]) -> None:
    """Let no two lanes make a customer for the same identity; sorted, so that two can never wait for each other."""
    for kind, value in sorted(named):
        key = func.hashtextextended(f"{store_id}\x1f{kind}\x1f{value}", 0)
        await connection.execute(select(func.pg_advisory_xact_lock(key)))


async def _known(connection: AsyncConnection, store_id: str, named: Sequence[Identity]) -> dict[Identity, UUID]:
    query = select(identities).where(
        identities.c.store_id == store_id, tuple_(identities.c.kind, identities.c.value).in_(named)
    )
    return {(row.kind, row.value): row.customer_id for row in (await connection.execute(query)).all()}


async def _with_user_id(connection: AsyncConnection, store_id: str, found: set[UUID]) -> set[UUID]:
    query = select(identities.c.customer_id).where(
        identities.c.store_id == store_id, identities.c.kind == "user", identities.c.customer_id.in_(found)
    )
    return set((await connection.execute(query)).scalars()) if found else set()


async def _locked(connection: AsyncConnection, store_id: str, customer_id: UUID) -> Resolved | None:
    """Lock a customer's row: claims of messages and other lanes wait until this transaction ends."""
    while True:
        query = select(customers.c.merged_into).where(
            customers.c.store_id == store_id, customers.c.customer_id == customer_id
        )
        row = (await connection.execute(query.with_for_update())).one_or_none()
        if row is None:
            return None
        if row.merged_into is None:
            return Resolved(customer_id=customer_id)
        customer_id = row.merged_into


async def _claim(
    connection: AsyncConnection,
    store_id: str,
    customer_id: UUID,
    named: Sequence[Identity],
    known: dict[Identity, UUID],
    merged: set[UUID],
) -> None:
    """Write the event's identities down for its customer; an address of another account stays where it is."""
    for identity in named:
        kind, value = identity
        owner = known.get(identity)
        if owner == customer_id or owner in merged or (kind == "email" and owner is not None):
            continue
        if kind == "user" and identity != named[0]:
            continue  # an `alias` names the previous id without saying of which kind; unknown, it is a browser's
        statement = upsert(identities).values(store_id=store_id, kind=kind, value=value, customer_id=customer_id)
        key = [identities.c.store_id, identities.c.kind, identities.c.value]
        await connection.execute(statement.on_conflict_do_update(index_elements=key, set_={"customer_id": customer_id}))


async def _merge(connection: AsyncConnection, store_id: str, loser: UUID, winner: UUID) -> None:
    """Move everything of one customer to another; what only one row may hold is joined."""
    await connection.execute(
        select(customers.c.customer_id)
        .where(customers.c.store_id == store_id, customers.c.customer_id == loser)
        .with_for_update()
    )
    await _join_carts(connection, store_id, loser, winner)
    for table in (waitlist, watchlist):
        key = table.primary_key.columns
        columns = [literal(winner).label("customer_id") if c.name == "customer_id" else c for c in table.columns]
        moved = select(*columns).where(table.c.store_id == store_id, table.c.customer_id == loser)
        copy = upsert(table).from_select([c.name for c in table.columns], moved)
        await connection.execute(copy.on_conflict_do_nothing(index_elements=list(key)))
        await connection.execute(delete(table).where(table.c.store_id == store_id, table.c.customer_id == loser))
    for table in (orders, views, consents, runs, messages, identities):
        move = update(table).where(table.c.store_id == store_id, table.c.customer_id == loser)
        await connection.execute(move.values(customer_id=winner))
    await _join_profiles(connection, store_id, loser, winner)


async def _join_carts(connection: AsyncConnection, store_id: str, loser: UUID, winner: UUID) -> None:
    query = select(carts.c.customer_id, carts.c.cart).where(
        carts.c.store_id == store_id, carts.c.customer_id.in_([loser, winner])
    )
    found = {row.customer_id: Cart.model_validate(row.cart) for row in (await connection.execute(query)).all()}
    if loser not in found:
        return
    joined = found[winner].joined(found[loser]) if winner in found else found[loser]
    await save_cart(connection, store_id, winner, joined)
    await connection.execute(delete(carts).where(carts.c.store_id == store_id, carts.c.customer_id == loser))


async def save_cart(connection: AsyncConnection, store_id: str, customer_id: UUID, cart: Cart) -> None:
    """Write a customer's cart."""
    values: dict[str, Any] = {
        "cart": cart.model_dump(mode="json"),
        "total_minor": cart.total_minor,
        "changed_at": cart.changed_at,
    }
    statement = upsert(carts).values(store_id=store_id, customer_id=customer_id, **values)
    key = [carts.c.store_id, carts.c.customer_id]
    await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=values))


async def _join_profiles(connection: AsyncConnection, store_id: str, loser: UUID, winner: UUID) -> None:
    query = select(customers).where(customers.c.store_id == store_id, customers.c.customer_id.in_([loser, winner]))
    rows = {row.customer_id: row for row in (await connection.execute(query)).all()}
    old, kept = rows[loser], rows[winner]
    fields = ("email", "phone", "first_name", "last_name", "locale", "timezone")
    filled = {f: getattr(old, f) for f in fields if getattr(kept, f) is None and getattr(old, f) is not None}
    told = {**old.told_at, **kept.told_at}
    values = {**filled, "traits": {**old.traits, **kept.traits}, "told_at": told}
    here = customers.c.store_id == store_id
    await connection.execute(update(customers).where(here, customers.c.customer_id == winner).values(values))
    gone = update(customers).where(here, customers.c.customer_id == loser)
    await connection.execute(
        gone.values(merged_into=winner, email=None, phone=None, first_name=None, last_name=None, traits={})
    )
    # Whoever had been merged into the loser now belongs to the winner: one step is always enough to follow.
    chain = update(customers).where(here, customers.c.merged_into == loser)
    await connection.execute(chain.values(merged_into=winner))


async def named_customers(connection: AsyncConnection, store_id: str, who: Who, previous_id: str | None) -> list[UUID]:
    """Return every customer that an event's identities stand for now."""
    return sorted(set((await _known(connection, store_id, _named(who, previous_id))).values()))
