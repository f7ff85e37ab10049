"""A customer's traffic: what the store's sending rules look at before a marketing message goes out."""

import re
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres import pauses
from adapters.postgres.progress import PlansOfRuns, Progress
from adapters.postgres.standing import Standing
from adapters.postgres.tables import decisions, messages, runs
from domain import ids
from domain.caps import Traffic
from domain.delivery import Result, Rule, Slot
from domain.quiet_hours import zone_of
from domain.schedule import next_step
from domain.sending_rules import SendingRules

_COUNTRY = re.compile(r"[A-Za-z]{2}")
_FOR_WANT_OF_A_SLOT = {Rule.CAP, Rule.QUIET_HOURS, Rule.DISCOUNT, Rule.MARKETING_PAUSED}
_ASKS_AGAIN = {Result.DEFERRED, Result.PAUSED}
_COUNTS = [Result.SENT, Result.UNKNOWN, "claimed", "sending"]


async def traffic(
    connection: AsyncConnection, slot: Slot, customer: Any, known: Standing, now: datetime
) -> dict[str, Any]:
    """Read what of a `Truth` the sending rules, a pause, and the wait for a code need; for most messages nothing."""
    rules = known.rules
    paused_until = None if slot.step.transactional else customer.marketing_paused_until
    paused = paused_until is not None and paused_until > now
    free = slot.step.transactional or (rules == SendingRules() and not paused)
    if free and slot.step.discount_pool is None:
        return {}
    read: dict[str, Any] = {"put_off_at": await _put_off_at(connection, slot)}
    if free:
        return read
    if paused:
        read["marketing_paused_until"] = paused_until
    if applying := [cap for cap in rules.caps if cap.counts("email", slot.step.topic)]:
        longest = max(cap.window for cap in applying)
        read["traffic"] = await _sent_since(connection, slot, customer, now - longest)
        read["ahead"] = await _due_before(connection, slot, customer, now, rules.reserve)
    return read | {
        "rules": rules,
        "timezone": zone_of(customer.timezone, known.store.timezone),
        "country": _country(customer.traits),
    }


async def _sent_since(connection: AsyncConnection, slot: Slot, customer: Any, since: datetime) -> tuple[Traffic, ...]:
    query = select(messages.c.claimed_at.label("at"), messages.c.channel, messages.c.topic).where(
        messages.c.store_id == slot.store_id,
        messages.c.customer_id == customer.customer_id,
        messages.c.claimed_at > since,
        messages.c.message_id != ids.message_id(slot.run_id, slot.step.name),
        messages.c.transactional.is_(False),
        messages.c.state.in_(_COUNTS),
    )
    rows = (await connection.execute(query.order_by(messages.c.claimed_at))).all()
    return tuple(Traffic.model_validate(row, from_attributes=True) for row in rows)


async def _due_before(
    connection: AsyncConnection, slot: Slot, customer: Any, now: datetime, reserve: timedelta
) -> tuple[Traffic, ...]:
    """Return what the customer's other runs will ask to send soon that comes before this message."""
    store_id = slot.store_id
    others = select(runs).where(
        runs.c.store_id == store_id,
        runs.c.customer_id == customer.customer_id,
        runs.c.run_id != slot.run_id,
        runs.c.ended_at.is_(None),
        runs.c.expires_at > now,
    )
    ahead = []
    for run in (await connection.execute(others.order_by(runs.c.run_id))).all():
        plan = await PlansOfRuns(connection, store_id, run.journey).of(run)
        if all(step.transactional or step.rank >= slot.step.rank for step in plan.steps):
            continue
        theirs = select(messages).filter_by(store_id=store_id, run_id=run.run_id)
        progress = Progress(plan, [row._asdict() for row in (await connection.execute(theirs)).all()])
        paused = await pauses.of_journey(connection, store_id, run.journey)
        step, due = next_step(plan, progress.done), progress.next_message(run, now, paused)
        if step is None or due is None or step.transactional or any(pause.until is None for pause in paused):
            continue
        if step.rank < slot.step.rank and due <= now + reserve:
            ahead.append(Traffic(at=due, topic=step.topic))
    return tuple(ahead)


def _country(traits: dict[str, Any]) -> str | None:
    """Return the code of the country that a customer said to live in."""
    address = traits.get("address")
    said = traits.get("country") or (address.get("country") if isinstance(address, dict) else None)
    return said.upper() if isinstance(said, str) and _COUNTRY.fullmatch(said) else None


async def _put_off_at(connection: AsyncConnection, slot: Slot) -> datetime | None:
    """Return when the step began to wait for a slot; a final answer since then began the story anew."""
    query = select(decisions.c.decided_at, decisions.c.result, decisions.c.rule).filter_by(
        store_id=slot.store_id, run_id=slot.run_id, step=slot.step.name
    )
    began: datetime | None = None
    for row in (await connection.execute(query.order_by(decisions.c.decided_at, decisions.c.decision_id))).all():
        if row.result not in _ASKS_AGAIN:
            began = None
        elif row.rule in _FOR_WANT_OF_A_SLOT:
            began = began or row.decided_at
    return began
