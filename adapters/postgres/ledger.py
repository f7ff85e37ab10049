"""The message ledger: one row for one step of one run, claimed under the customer's lock (G3, G4).

States of a row: `claimed` (ours to send), `sending` (handed to the provider, not answered yet), then a final
`Result`. A row found in `sending` by a new attempt means that a process died between the provider and the record:
nobody can know whether the message went out. Unless we have heard of it since, the store's rule settles it: it becomes
`unknown` and is not sent again, or it is sent again once, if the gate allows it still (docs/delivery.md).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Update, bindparam, update
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.metrics import CLAIMS, MESSAGES, RUNS_ENDED, journey_label
from adapters.postgres import decisions, discounts, handover, sending_rules, suppressions, waitlist
from adapters.postgres import runs as run_rows
from adapters.postgres.at_once import COMMIT, asked_at_once, unbegun
from adapters.postgres.material import material
from adapters.postgres.standing import Before, Standing, left_before, locked, standing
from adapters.postgres.statements import put
from adapters.postgres.tables import messages
from adapters.postgres.tenancy import as_store
from adapters.postgres.truth import truth
from adapters.postgres.unapplied import may_change
from domain import ids
from domain.delivery import Delivery, Result, Rule, Slot
from domain.errors import EventsPending, Unavailable
from domain.gate import Truth, decide
from domain.message import Material
from domain.ports import Claim
from domain.runs import Outcome
from domain.sending_rules import Interrupted

_log = structlog.get_logger("ledger")

_LOOKS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 0.0)
"""Pauses between looks at unapplied events; longer each time, so that claims do not slow the router they wait for."""
_CHANGE = (
    update(messages)
    .where(messages.c.store_id == bindparam("of_store"), messages.c.message_id == bindparam("with_id"))
    .returning(messages.c.address)
)
_CHANGE_IF = _CHANGE.where(messages.c.state == bindparam("expected"))
Gather = Callable[[AsyncConnection, Slot, Any, Standing], Awaitable[Material | None]]
"""Gathers what a message may say; None where nothing is handed over, and whatever may go out counts as sent."""
_ALREADY = {Result.SENT, Result.BOUNCED, Result.FAILED, Result.UNKNOWN}
"""Results after which a slot is never sent again; a withheld one is decided anew when it asks again."""


class PostgresLedger:
    """Implements `domain.ports.Ledger`."""

    def __init__(self, engine: AsyncEngine, gather: Gather = material) -> None:
        """Keep a ledger.

        Args:
            engine: Where it is.
            gather: Gathers what a message may say, in the transaction of its claim.
        """
        self._engine, self._unbegun, self._gather = engine, unbegun(engine), gather

    async def claim(self, slot: Slot, now: datetime) -> Claim:
        # The router is usually milliseconds behind; waiting for it here is cheaper than another attempt.
        for pause_s in _LOOKS_S:
            claim = await self._try_claim(slot, now)
            if claim is not None:
                _count_claim(slot, claim.delivery)
                return claim
            await asyncio.sleep(pause_s)
        CLAIMS.labels(journey_label(slot.journey), "events_pending").inc()
        raise EventsPending

    async def _try_claim(self, slot: Slot, now: datetime) -> Claim | None:
        async with self._unbegun.begin() as connection:
            customer, stands = await standing(connection, slot, now)
            if may_change(stands.unapplied, stands.exits):
                return None
            before = stands.before
            settled = None if before is None else await _settled(connection, slot, before, now)
            if settled is not None:
                return Claim(delivery=settled)
            known = await truth(connection, slot, customer, stands, now)
            decided = decide(slot, known, now)
            if before is not None and before.state == "sending":
                if decided.result is not Result.SENT:
                    return Claim(delivery=await _give_up(connection, slot, before.message_id, now))
                await connection.execute(*_change(slot, before.message_id, {"resent_at": now}))
            slot, delivery = await discounts.settle(connection, slot, decided, known.put_off_at, now)
            sent = delivery.result is Result.SENT
            found = await self._gather(connection, slot, customer, stands) if sent else None
            await _write(connection, slot, customer, delivery, known, now, to_be_sent=found is not None)
            if delivery.result is Result.STALE and slot.again_if_stale and slot.product_id is not None:
                await waitlist.wait_on(connection, slot.store_id, customer.customer_id, slot.product_id)
            return Claim(delivery=delivery, material=found)

    async def sending(self, slot: Slot, message_id: UUID, urls: Sequence[str], now: datetime) -> None:
        if not await handover.sending(self._unbegun, slot, message_id, urls, now):
            # An attempt that was given up for dead woke up, or we are that one: only one may hand the message over.
            raise Unavailable("another attempt has this message")

    async def not_sent(self, slot: Slot, message_id: UUID) -> None:
        # If somebody has settled the message as unknown meanwhile, that answer has been given and stays.
        await handover.not_sent(self._unbegun, slot, message_id)

    async def abandon(self, slot: Slot, now: datetime, *, left: bool = False) -> Delivery:
        delivery = await self._abandon(slot, now, left)
        if delivery.rule not in {Rule.SETTLED_BEFORE, Rule.RUN_ENDED}:
            _count_message(slot, delivery)
        return delivery

    async def _abandon(self, slot: Slot, now: datetime, left: bool) -> Delivery:
        async with as_store(self._engine, slot.store_id) as connection:
            await _lock_customer(connection, slot)
            before = await left_before(connection, slot)
            if before is not None and (settled := await _settled(connection, slot, before, now)) is not None:
                return settled
            message_id = ids.message_id(slot.run_id, slot.step.name)
            if before is not None and before.state == "sending":
                return await _give_up(connection, slot, message_id, now)
            if left:
                return Delivery(result=Result.EXITED, rule=Rule.RUN_ENDED, because="its passage is over")
            await discounts.give_back(connection, slot.store_id, message_id)
            because = "it could not be handed over within a day"
            return await _settle(connection, slot, message_id, Result.FAILED, because, now)

    async def record(self, slot: Slot, message_id: UUID, delivery: Delivery, now: datetime) -> None:
        if delivery.result is Result.SENT:
            last = _closes(slot, delivery)
            await handover.sent(self._unbegun, slot, message_id, delivery.because, now, last=last)
        else:
            await self._not_taken(slot, message_id, delivery, now)
        _count_message(slot, delivery)

    async def _not_taken(self, slot: Slot, message_id: UUID, delivery: Delivery, now: datetime) -> None:
        async with as_store(self._engine, slot.store_id) as connection:
            values: dict[str, Any] = {"state": delivery.result, "because": delivery.because, "settled_at": now}
            if delivery.bounce is not None:
                values |= {"bounce": delivery.bounce, "bounced_at": now}
            # What nobody can know holds unless we have heard of the message meanwhile.
            expected = "sending" if delivery.result is Result.UNKNOWN else None
            address = await connection.scalar(*_change(slot, message_id, values, expected))
            await decisions.write(connection, slot, delivery, None, now)
            if delivery.bounce is not None and address is not None:
                detail = delivery.because.rpartition(" ")[2]
                await suppressions.after_bounce(connection, slot.store_id, address, delivery.bounce, detail, now)
            if delivery.result in {Result.FAILED, Result.BOUNCED}:
                await discounts.give_back(connection, slot.store_id, message_id)
            await _close_if_last(connection, slot, delivery, now)


def _change(
    slot: Slot, message_id: UUID, values: dict[str, Any], expected: str | None = None
) -> tuple[Update, dict[str, Any]]:
    """Return what changes a message, whatever its state or if it is in the expected one; it returns the address."""
    here = {"of_store": slot.store_id, "with_id": message_id}
    if expected is None:
        return _CHANGE, here | values
    return _CHANGE_IF, here | {"expected": expected} | values


async def _lock_customer(connection: AsyncConnection, slot: Slot) -> None:
    """Lock the row of whoever the run's customer is by now."""
    customer_id: UUID | None = slot.customer_id
    while customer_id is not None:
        customer_id = (await connection.execute(*locked(slot.store_id, customer_id))).one().merged_into


async def _settled(connection: AsyncConnection, slot: Slot, before: Before, now: datetime) -> Delivery | None:
    """Answer for a slot that needs no decision: its message is settled, or was interrupted and is not sent again."""
    if before.state in _ALREADY:
        # The record was made and its answer lost: the run learns what became of the message, not a new send.
        return Delivery(result=Result(before.state), rule=Rule.SETTLED_BEFORE, because=before.because or "")
    if before.state != "sending":
        return None
    if before.bounced_at is not None:
        return await _settle(connection, slot, before.message_id, Result.BOUNCED, "it came back", now)
    if any(at is not None for at in (before.delivered_at, before.opened_at, before.clicked_at, before.complained_at)):
        return await _settle(connection, slot, before.message_id, Result.SENT, "it arrived", now)
    rules = await sending_rules.of_store(connection, slot.store_id)
    if rules.interrupted is Interrupted.RESEND and before.resent_at is None:
        return None
    return await _give_up(connection, slot, before.message_id, now)


async def _give_up(connection: AsyncConnection, slot: Slot, message_id: UUID, now: datetime) -> Delivery:
    because = "interrupted while the provider had the message"
    return await _settle(connection, slot, message_id, Result.UNKNOWN, because, now)


async def _settle(
    connection: AsyncConnection, slot: Slot, message_id: UUID, result: Result, because: str, now: datetime
) -> Delivery:
    """Settle a message whose sender died."""
    delivery = Delivery(result=result, rule=Rule.PROVIDER, because=because)
    values = {"state": delivery.result, "because": delivery.because, "settled_at": now}
    await connection.execute(*_change(slot, message_id, values))
    await decisions.write(connection, slot, delivery, None, now)
    await _close_if_last(connection, slot, delivery, now)
    return delivery


async def _write(
    connection: AsyncConnection,
    slot: Slot,
    customer: Any,
    delivery: Delivery,
    known: Truth,
    now: datetime,
    *,
    to_be_sent: bool,
) -> None:
    """Write the row, the claim or what became of it at once, and the decision that it comes of."""
    sent = delivery.result is Result.SENT
    values: dict[str, Any] = {
        "customer_id": customer.customer_id,
        "state": "claimed" if to_be_sent else delivery.result,
        "because": delivery.because,
        "address": customer.email if sent else None,
        "template": slot.step.template,
        "transactional": slot.step.transactional,
        "topic": slot.step.topic,
        "discount_code": slot.step.discount_code,
        "claimed_at": delivery.at or now,
        "settled_at": now if delivery.final and not to_be_sent else None,
        "retry_at": delivery.until,
    }
    if sent and not to_be_sent:
        values["sending_at"] = now
    row = {
        "store_id": slot.store_id,
        "message_id": ids.message_id(slot.run_id, slot.step.name),
        "run_id": slot.run_id,
        "journey": slot.journey,
        "step": slot.step.name,
    }
    decision = decisions.written(slot, delivery, known, now)
    written = (_put(tuple(values)), row | values | decision)
    if to_be_sent:
        await asked_at_once(connection, written, COMMIT)
        return
    await connection.execute(*written)
    await _close_if_last(connection, slot, delivery, now)


@cache
def _put(values: tuple[str, ...]) -> Insert:
    return decisions.beside(put(messages, ("store_id", "message_id"), values))


async def _close_if_last(connection: AsyncConnection, slot: Slot, delivery: Delivery, now: datetime) -> None:
    if _closes(slot, delivery):
        await run_rows.end(connection, slot.store_id, slot.run_id, Outcome.COMPLETED, run_rows.ALL_STEPS_DONE, now)


def _closes(slot: Slot, delivery: Delivery) -> bool:
    """Tell whether a run is over with this answer."""
    asks_again = not delivery.final or (slot.again_if_stale and delivery.result is Result.STALE)
    return slot.last and not asks_again and delivery.result is not Result.EXITED


def _count_claim(slot: Slot, delivery: Delivery) -> None:
    """Tell the metrics what a step was answered; what was settled before has been counted then."""
    before = delivery.rule is Rule.SETTLED_BEFORE
    ours = delivery.result is Result.SENT and delivery.rule is not Rule.PROVIDER
    result = "settled_before" if before else "claimed" if ours else delivery.result.value
    CLAIMS.labels(journey_label(slot.journey), result).inc()
    if before or ours:
        return
    if delivery.rule is Rule.PROVIDER:  # found interrupted, and settled now
        _count_message(slot, delivery)
    elif _closes(slot, delivery):
        RUNS_ENDED.labels(journey_label(slot.journey), Outcome.COMPLETED.value).inc()


def _count_message(slot: Slot, delivery: Delivery) -> None:
    """Tell the log and the metrics what became of a message."""
    _log.info(
        "message", result=delivery.result.value, store_id=slot.store_id, journey=slot.journey, step=slot.step.name,
        run_id=str(slot.run_id), message_id=str(ids.message_id(slot.run_id, slot.step.name)),
    )  # fmt: skip
    MESSAGES.labels(journey_label(slot.journey), "email", delivery.result.value).inc()
    if _closes(slot, delivery):
        RUNS_ENDED.labels(journey_label(slot.journey), Outcome.COMPLETED.value).inc()
