"""Identities: who an event is about, and what happens when two turn out to be one person.

A user id is the strongest identity, then the browser's anonymous id, then the e-mail address. A customer who has
a user id is never merged into another because of a shared browser or address; only `alias` says so outright.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils
from sqlalchemy import BigInteger, Select, Subquery, delete, exists, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import attribution, silence
from adapters.postgres import carts as cart_rows
from adapters.postgres import waitlist as waiting_list
from adapters.postgres.at_once import Asked, asked_at_once
from adapters.postgres.statements import built_once, looked_up, put
from adapters.postgres.tables import (
    carts,
    consents,
    customers,
    happenings,
    identities,
    messages,
    orders,
    runs,
    views,
    watchlist,
)
from domain import ids
from domain.cart import Cart
from domain.events import Who
from domain.profile import outranked
from domain.values import Value

Identity = tuple[str, str]
"""Kind (`user`, `anonymous`, `email`) and value."""


_CUSTOMER = insert(customers)
_IDENTITY = put(identities, ("store_id", "kind", "value"), ("customer_id",))


class Resolved(Value):
    """Whose event it is, and which other customers turned out to be the same person.

    Attributes:
        introduced: Whether the event said anything new about who is who.
    """

    customer_id: UUID
    introduced: bool = False
    merged: tuple[UUID, ...] = ()
    moved_runs: tuple[UUID, ...] = ()


class Account(Value):
    """Whose an identity is, and whether that customer has a user id."""

    customer_id: UUID
    has_user_id: bool


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
    named = identities_of(who, previous_id)
    if not named:
        return None
    known = (await connection.execute(*_lock_owner(store_id, *columns(named)))).one_or_none()
    if known is not None:  # by far the most events: nothing new is said
        if known.merged_into is not None:
            return await _locked(connection, store_id, known.merged_into)
        return Resolved(customer_id=known.customer_id)
    await serialise(connection, store_id, named)
    return await _introduce(connection, store_id, named, who, now, previous_id)


async def _introduce(
    connection: AsyncConnection, store_id: str, named: Sequence[Identity], who: Who, now: datetime, previous: str | None
) -> Resolved | None:
    known = await _known(connection, store_id, named)
    primary = _primary(named, known, who)
    if primary is None:
        primary = new_id()
        row = {"store_id": store_id, "customer_id": primary, "created_at": now, "traits": {}, "told_at": {}}
        await connection.execute(_CUSTOMER, row)
    others = {
        account.customer_id
        for identity, account in known.items()
        if account.customer_id != primary and (not account.has_user_id or identity[1] == previous)
    }
    resolved = await _locked(connection, store_id, primary)
    moved: list[UUID] = []
    for other in sorted(others):
        moved += await _merge(connection, store_id, other, primary)
    await _claim(connection, store_id, primary, named, known, others, who)
    joined = {"introduced": True, "merged": tuple(sorted(others)), "moved_runs": tuple(moved)}
    return resolved and resolved.model_copy(update=joined)


def identities_of(who: Who, previous_id: str | None) -> list[Identity]:
    """Return the identities that an event names, strongest first."""
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


def _primary(named: Sequence[Identity], known: dict[Identity, Account], who: Who) -> UUID | None:
    if who.user_id is None:
        # A browser that nobody has signed in on, named with the address of an account, is the account's browser.
        for identity in named:
            if identity in known and known[identity].has_user_id:
                return known[identity].customer_id
    if named[0] in known:
        return known[named[0]].customer_id
    for identity in named[1:]:
        account = known.get(identity)
        # A new user id may take over a browser or an address, but not somebody else's account.
        if account is not None and (who.user_id is None or not account.has_user_id or identity[0] == "user"):
            return account.customer_id
    return None


async def serialise(connection: AsyncConnection, store_id: str, named: Sequence[Identity]) -> None:
    """Let no two lanes make a customer for the same identity; sorted, so that two can never wait for each other."""
    await asked_at_once(connection, serialised(store_id, named))


def serialised(store_id: str, named: Iterable[Identity]) -> Asked:
    """Return what waits until nobody else makes a customer for one of these identities, and lets nobody."""
    return _serialise(_introducing(store_id), sorted(ids.lock_key(store_id, kind, value) for kind, value in named))


@built_once
def _serialise(introducing: int, keys: list[int]) -> Select[Any]:
    among_others = func.pg_advisory_xact_lock_shared(introducing)
    return select(among_others, func.pg_advisory_xact_lock(func.unnest(keys, type_=BigInteger)))


async def lone_introducer(connection: AsyncConnection, store_id: str) -> None:
    """Let nobody else make customers of a store until the transaction ends; for an import, which makes thousands."""
    await connection.execute(select(func.pg_advisory_xact_lock(_introducing(store_id))))


def _introducing(store_id: str) -> int:
    return ids.lock_key(store_id, "introducing", "")


async def _known(connection: AsyncConnection, store_id: str, named: Sequence[Identity]) -> dict[Identity, Account]:
    rows = (await connection.execute(*_accounts(store_id, *columns(named)))).all()
    return {(r.kind, r.value): Account(customer_id=r.customer_id, has_user_id=r.has_user_id) for r in rows}


def columns(named: Sequence[Identity]) -> tuple[list[str], list[str]]:
    """Return the kinds and the values of identities, as `among` takes them."""
    return [kind for kind, _ in named], [value for _, value in named]


@built_once
def _accounts(store_id: str, kinds: list[str], values: list[str]) -> Select[Any]:
    account, found = identities.alias(), among(store_id, kinds, values)
    has_user_id = exists().where(
        account.c.store_id == store_id, account.c.customer_id == found.c.customer_id, account.c.kind == "user"
    )
    return select(found, has_user_id.label("has_user_id"))


def among(store_id: str, kinds: list[str], values: list[str]) -> Subquery:
    """Find, in a query, the rows of `identities` that are one of these."""
    asked = func.unnest(kinds, values).table_valued("kind", "value").render_derived(name="asked")
    same = (identities.c.kind == asked.c.kind, identities.c.value == asked.c.value)
    return looked_up(select(identities).where(identities.c.store_id == store_id, *same), asked)


async def _locked(connection: AsyncConnection, store_id: str, customer_id: UUID) -> Resolved | None:
    """Lock a customer's row: claims of messages and other lanes wait until this transaction ends; ingest does not."""
    while True:
        row = (await connection.execute(*_lock(store_id, customer_id))).one_or_none()
        if row is None:
            return None
        if row.merged_into is None:
            return Resolved(customer_id=customer_id)
        customer_id = row.merged_into


@built_once
def _lock_owner(store_id: str, kinds: list[str], values: list[str]) -> Select[Any]:
    """Find the one customer whom all these identities are known to be of, and lock the row as `_locked` does."""
    found = among(store_id, kinds, values)
    owner = select(found.c.customer_id).group_by(found.c.customer_id)
    theirs = owner.having(func.count() == func.cardinality(kinds)).scalar_subquery()
    here = (customers.c.store_id == store_id, customers.c.customer_id == theirs)
    return select(customers.c.customer_id, customers.c.merged_into).where(*here).with_for_update(key_share=True)


@built_once
def _lock(store_id: str, customer_id: UUID) -> Select[Any]:
    here = (customers.c.store_id == store_id, customers.c.customer_id == customer_id)
    return select(customers.c.merged_into).where(*here).with_for_update(key_share=True)


async def _claim(
    connection: AsyncConnection,
    store_id: str,
    customer_id: UUID,
    named: Sequence[Identity],
    known: dict[Identity, Account],
    merged: set[UUID],
    who: Who,
) -> None:
    """Write the event's identities down for its customer; an address of another account stays where it is."""
    for identity in named:
        kind, value = identity
        owner = known[identity].customer_id if identity in known else None
        if owner == customer_id or owner in merged or (kind == "email" and owner is not None):
            continue
        if kind == "user" and who.user_id is None:
            continue  # an `alias` names the previous id without saying of which kind; a browser gets no account by it
        row = {"store_id": store_id, "kind": kind, "value": value, "customer_id": customer_id}
        await connection.execute(_IDENTITY, row)


async def _merge(connection: AsyncConnection, store_id: str, loser: UUID, winner: UUID) -> Sequence[UUID]:
    """Move everything of one customer to another; what only one row may hold is joined. Return the runs moved."""
    await connection.execute(
        select(customers.c.customer_id)
        .where(customers.c.store_id == store_id, customers.c.customer_id == loser)
        .with_for_update(key_share=True)
    )
    await _join_carts(connection, store_id, loser, winner)
    await _join_watchlists(connection, store_id, loser, winner)
    mine = update(runs).where(runs.c.store_id == store_id, runs.c.customer_id == loser)
    moved = await connection.execute(mine.values(customer_id=winner).returning(runs.c.run_id))
    moved_runs: Sequence[UUID] = moved.scalars().all()
    for table in (orders, views, consents, messages, identities, happenings):
        move = update(table).where(table.c.store_id == store_id, table.c.customer_id == loser)
        await connection.execute(move.values(customer_id=winner))
    await waiting_list.join(connection, store_id, loser, winner)
    await _join_profiles(connection, store_id, loser, winner)
    await silence.settle(connection, store_id, winner)
    await attribution.credit_all(connection, store_id, winner)
    return moved_runs


async def _join_watchlists(connection: AsyncConnection, store_id: str, loser: UUID, winner: UUID) -> None:
    columns = [literal(winner).label("customer_id") if c.name == "customer_id" else c for c in watchlist.columns]
    mine = (watchlist.c.store_id == store_id) & (watchlist.c.customer_id == loser)
    names = [column.name for column in watchlist.columns]
    copy = upsert(watchlist).from_select(names, select(*columns).where(mine))
    newest = copy.on_conflict_do_update(
        index_elements=list(watchlist.primary_key.columns),
        set_={name: copy.excluded[name] for name in names},
        where=copy.excluded.changed_at > watchlist.c.changed_at,
    )
    await connection.execute(newest)
    await connection.execute(delete(watchlist).where(mine))


async def _join_carts(connection: AsyncConnection, store_id: str, loser: UUID, winner: UUID) -> None:
    query = select(carts.c.customer_id, carts.c.cart).where(
        carts.c.store_id == store_id, carts.c.customer_id.in_([loser, winner])
    )
    found = {row.customer_id: Cart.model_validate(row.cart) for row in (await connection.execute(query)).all()}
    if loser not in found:
        return
    joined = found[winner].joined(found[loser]) if winner in found else found[loser]
    await asked_at_once(connection, cart_rows.saved(store_id, [(winner, joined)]))
    await connection.execute(delete(carts).where(carts.c.store_id == store_id, carts.c.customer_id == loser))


async def _join_profiles(connection: AsyncConnection, store_id: str, loser: UUID, winner: UUID) -> None:
    query = select(customers).where(customers.c.store_id == store_id, customers.c.customer_id.in_([loser, winner]))
    rows = {row.customer_id: row for row in (await connection.execute(query)).all()}
    old, kept = rows[loser], rows[winner]
    # What both were told, the word that counts decides, as if they had been one all along.
    newer = outranked(kept.told_at, old.told_at)
    fields = ("email", "phone", "first_name", "last_name", "locale", "timezone", "marketing_paused_until")
    filled = {f: getattr(old, f) for f in fields if f in newer or (f not in kept.told_at and getattr(kept, f) is None)}
    traits = {**old.traits, **kept.traits} | {t: v for t, v in old.traits.items() if f"traits.{t}" in newer}
    told = {**old.told_at, **kept.told_at} | {name: old.told_at[name] for name in newer}
    values = {**filled, "traits": traits, "told_at": told}
    here = customers.c.store_id == store_id
    await connection.execute(update(customers).where(here, customers.c.customer_id == winner).values(values))
    gone = update(customers).where(here, customers.c.customer_id == loser)
    await connection.execute(
        gone.values(merged_into=winner, email=None, phone=None, first_name=None, last_name=None, traits={})
    )
    # Whoever had been merged into the loser now belongs to the winner: one step is always enough to follow.
    chain = update(customers).where(here, customers.c.merged_into == loser)
    await connection.execute(chain.values(merged_into=winner))
