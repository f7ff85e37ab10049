"""What an operator may do to one run: hurry it, take the customer out; whatever else is sent to it, it goes on."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateFailedError

from adapters.channels.memory import MemoryChannel
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.tables import audit, messages
from adapters.temporal.operator import RunOperator
from domain.errors import ChannelUnavailable, NotFound, OperationRefused
from domain.message import Letter
from domain.operations import Leave, SkipWait
from testing import TimeSkippingShop
from testing.inspection import as_owner

MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}
BY = "key:1"


@pytest.fixture
def operator(shop: TimeSkippingShop) -> RunOperator:
    """The operator's hand, as the API and the command line have it."""

    async def connected() -> Any:
        return shop.env.client

    return RunOperator(shop.engine, connected, lambda: shop.now)


async def run_of(shop: TimeSkippingShop, journey: str) -> str:
    return str((await shop.runs(journey))[-1].run_id)


async def noted(shop: TimeSkippingShop) -> list[tuple[str, str, Any]]:
    """The audit log."""
    query = select(audit.c.action, audit.c.by, audit.c.detail).where(audit.c.subject.startswith("run:"))
    async with as_owner(shop.engine) as connection:
        return [(row.action, row.by, row.detail["detail"]) for row in await connection.execute(query)]


async def cart_after_the_first_reminder(shop: TimeSkippingShop) -> str:
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=61)
    await shop.until_said(1)
    return await run_of(shop, "cart-recovery")


async def test_a_skipped_wait_lets_the_next_message_go_out_now(shop: TimeSkippingShop, operator: RunOperator) -> None:
    """Of the 23 hours nothing is left, and the third reminder is counted from the second."""
    run = await cart_after_the_first_reminder(shop)

    assert (await operator.skip_wait(shop.store_id, run, BY)).skipped == "before reminder-2"
    assert await shop.until_said(2) == [("reminder-1", "sent"), ("reminder-2", "sent")]
    assert await noted(shop) == [("skip_wait", BY, "before reminder-2")]

    await shop.skip(hours=24, minutes=59)
    assert len(await shop.said()) == 2
    await shop.skip(minutes=2)
    assert (await shop.until_said(3))[2] == ("reminder-3", "sent")


async def test_a_repeated_request_to_skip_skips_nothing_more(shop: TimeSkippingShop, operator: RunOperator) -> None:
    """An operator whose first request got no answer asks again; the customer must not get two mails for it."""
    run = await cart_after_the_first_reminder(shop)
    answers = await asyncio.gather(*(operator.skip_wait(shop.store_id, run, BY) for _ in range(3)))

    assert {answer.skipped for answer in answers} == {"before reminder-2"}
    await shop.until_said(2)
    assert len(await noted(shop)) == 1
    assert len(shop.outbox.letters) == 2


async def test_what_an_operator_did_is_on_record_before_what_comes_of_it(
    shop: TimeSkippingShop, operator: RunOperator
) -> None:
    """Whoever reads the audit log never finds a message that was hurried by nobody."""
    run = await cart_after_the_first_reminder(shop)
    await operator.skip_wait(shop.store_id, run, BY)
    await shop.until_said(2)

    async with as_owner(shop.engine) as connection:
        noted_at = await connection.scalar(select(audit.c.at).where(audit.c.action == "skip_wait"))
        claimed_at = await connection.scalar(select(messages.c.claimed_at).where(messages.c.step == "reminder-2"))
    kinds = [event.event_type for event in (await (await shop.handle("cart-recovery")).fetch_history()).events]
    second = [at for at, kind in enumerate(kinds) if kind == EventType.EVENT_TYPE_MARKER_RECORDED][1]

    assert noted_at <= claimed_at
    assert kinds.index(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED) < second


async def test_a_request_that_names_its_step_is_harmless_however_late_it_is_repeated(
    shop: TimeSkippingShop, operator: RunOperator
) -> None:
    """The message it asked for has gone out, and the run waits for the next: that wait was not meant."""
    run = await cart_after_the_first_reminder(shop)
    assert (await operator.skip_wait(shop.store_id, run, BY, "reminder-2")).skipped == "before reminder-2"
    await shop.until_said(2)

    for step in ("reminder-2", "reminder-1", "reminder-9"):
        with pytest.raises(OperationRefused, match=f"does not wait for {step}"):
            await operator.skip_wait(shop.store_id, run, BY, step)
    await shop.skip(hours=24)
    assert len(shop.outbox.letters) == 2
    assert len(await noted(shop)) == 1
    assert (await operator.skip_wait(shop.store_id, run, BY, "reminder-3")).skipped == "before reminder-3"
    assert (await shop.until_said(3))[2] == ("reminder-3", "sent")


async def test_a_message_that_was_put_off_is_asked_for_again_by_its_step(
    shop: TimeSkippingShop, operator: RunOperator
) -> None:
    """Two requests for one step: the gate is asked twice, and one mail goes out."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    run = await run_of(shop, "cart-recovery")
    for _ in range(2):
        assert (await operator.skip_wait(shop.store_id, run, BY, "reminder-1")).skipped
        assert await shop.until_said(1) == [("reminder-1", "deferred")]
    await shop.skip(minutes=61)
    assert await shop.until_said(1) == [("reminder-1", "sent")]
    assert len(shop.outbox.letters) == 1


async def test_a_skip_in_the_start_delay_is_answered_at_once_and_does_not_override_the_gate(
    shop: TimeSkippingShop, operator: RunOperator
) -> None:
    """The cart is not quiet yet: the reminder is put off, and goes out when it is."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)

    assert (await operator.skip_wait(shop.store_id, await run_of(shop, "cart-recovery"), BY)).skipped
    assert await shop.until_said(1) == [("reminder-1", "deferred")]
    await shop.skip(minutes=61)
    assert await shop.until_said(1) == [("reminder-1", "sent")]
    await shop.skip(hours=23, minutes=1)
    assert (await shop.until_said(2))[1] == ("reminder-2", "sent")


async def test_a_wait_that_is_not_for_a_time_cannot_be_skipped(shop: TimeSkippingShop, operator: RunOperator) -> None:
    """Nobody can make a product come back; the run waits on and hears of the restock."""
    await shop.subscriber()
    await shop.track("Back In Stock Requested", product_id="mug")
    run = await run_of(shop, "back-in-stock")

    with pytest.raises(OperationRefused, match="not for a time"):
        await operator.skip_wait(shop.store_id, run, BY)
    assert await noted(shop) == []
    await shop.track("Product Updated", "backend", product_id="mug", stock=5)
    assert (await shop.until_said(1))[0][1] == "sent"


async def test_a_customer_who_was_taken_out_hears_nothing_more(shop: TimeSkippingShop, operator: RunOperator) -> None:
    """The row is closed when the answer comes, the outcome can be searched for, and the act is in the audit log."""
    run = await cart_after_the_first_reminder(shop)
    left = await operator.leave(shop.store_id, run, BY, "asked by phone")

    row = (await shop.runs("cart-recovery"))[0]
    assert (left.outcome, row.outcome, row.because) == ("left", "left", "asked by phone")
    assert await noted(shop) == [("leave", BY, "asked by phone")]
    assert await shop.settled("cart-recovery") == "COMPLETED"
    attributes = (await (await shop.handle("cart-recovery")).describe()).typed_search_attributes
    assert {pair.key.name: pair.value for pair in attributes}["JourneyOutcome"] == "left"
    await shop.skip(days=5)
    assert len(shop.outbox.letters) == 1
    with pytest.raises(OperationRefused, match="over: left"):
        await operator.leave(shop.store_id, run, BY, "again")
    with pytest.raises(OperationRefused, match="over: left"):
        await operator.skip_wait(shop.store_id, run, BY)


async def test_leaving_in_the_start_delay_ends_the_run_before_it_wrote(
    shop: TimeSkippingShop, operator: RunOperator
) -> None:
    """The Update brings the first task forward."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    left = await operator.leave(shop.store_id, await run_of(shop, "cart-recovery"), BY, "a test order")

    assert left.outcome == "left"
    assert await shop.settled("cart-recovery") == "COMPLETED"
    await shop.skip(days=5)
    assert await shop.said() == []


async def test_leaving_counts_also_where_temporal_has_not_heard_of_the_run_yet(
    shop: TimeSkippingShop, operator: RunOperator
) -> None:
    """The router has decided and died before it started the workflow: the start is repeated, and writes nothing."""
    await shop.subscriber()
    shop.withhold = True
    await shop.track("Product Added", **MUG)
    shop.withhold = False
    run = await run_of(shop, "cart-recovery")
    with pytest.raises(OperationRefused, match="Temporal does not have this run"):
        await operator.skip_wait(shop.store_id, run, BY)
    left = await operator.leave(shop.store_id, run, BY, "a test order")

    assert (left.outcome, (await shop.runs("cart-recovery"))[0].outcome) == ("left", "left")
    assert await noted(shop) == [("leave", BY, "a test order")]
    await shop.temporal.execute(shop.store_id, shop.carried_out[-1])
    await shop.skip(hours=2)
    assert await shop.settled("cart-recovery") == "COMPLETED"
    assert shop.outbox.letters == []


async def test_an_operation_on_a_passage_that_is_over_does_not_hit_its_successor(
    shop: TimeSkippingShop, operator: RunOperator
) -> None:
    """Both have the same workflow id; the command names the run that is meant."""
    await shop.subscriber()
    await shop.track("Order Completed", order_id="o-1", total=12.5, products=[MUG])
    first = (await shop.runs("win-back"))[-1]
    await shop.track("Order Completed", order_id="o-2", total=12.5, products=[MUG])
    await shop.at_rest()  # until the workflow is about its successor
    handle = await shop.handle("win-back")
    for name, command in (
        ("leave", Leave(by=BY, run_id=first.run_id)),
        ("skip_wait", SkipWait(by=BY, run_id=uuid4())),
    ):
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update(name, command)
        assert "about another run" in str(refused.value.cause)
    assert [row.outcome for row in await shop.runs("win-back")] == ["restarted", "running"]


class Slow(MemoryChannel):
    """A mail server that takes its time, and may be away when it is asked first."""

    def __init__(self, *, away: bool = False) -> None:
        super().__init__()
        self._away = away
        self.reached, self.answers = asyncio.Event(), asyncio.Event()

    async def send(self, letter: Letter) -> None:
        """Take a letter when the test lets it."""
        if self._away:
            self._away = False
            raise ChannelUnavailable
        self.reached.set()
        await self.answers.wait()
        await super().send(letter)


async def test_leaving_is_answered_only_when_no_message_is_under_way_any_more(
    shop: TimeSkippingShop, operator: RunOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A letter with the mail server cannot be called back; the answer waits until its fate is known."""
    slow = Slow(away=True)
    monkeypatch.setattr(shop.outbox, "send", slow.send)
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.env.sleep(timedelta(hours=1))  # no longer: while a letter is under way, time is not skipped
    async with asyncio.timeout(60):
        await slow.reached.wait()
    handle = await shop.handle("cart-recovery")
    leaving = asyncio.create_task(handle.execute_update("leave", Leave(by=BY)))
    # The server loses what is over at the moment at which it is told to cancel it, and the run would wait for ever.
    cancelled = EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED
    async with asyncio.timeout(60):
        while cancelled not in {event.event_type for event in (await handle.fetch_history()).events}:
            await asyncio.sleep(0.02)
    assert [action for action, *_ in await noted(shop)] == ["leave"]
    assert not leaving.done()
    slow.answers.set()

    assert await asyncio.wait_for(leaving, 60) == "left"
    assert [state for _, state in await shop.said()] == ["sent"]
    await shop.skip(days=5)
    assert len(slow.letters) == 1


async def test_a_skip_that_was_refused_before_the_run_waited_can_be_asked_for_again(
    shop: TimeSkippingShop, operator: RunOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is written down as sent, and its run has not heard of it: the refusal is about that moment."""
    record, recorded, goes_on = PostgresLedger.record, asyncio.Event(), asyncio.Event()
    slow = Slow(away=True)
    slow.answers.set()

    async def slowly(ledger: PostgresLedger, *what: Any) -> None:
        await record(ledger, *what)
        recorded.set()
        await goes_on.wait()

    monkeypatch.setattr(PostgresLedger, "record", slowly)
    monkeypatch.setattr(shop.outbox, "send", slow.send)
    await shop.plan("cart-recovery", quiet="PT0S")
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await asyncio.wait_for(recorded.wait(), 60)
    run = await run_of(shop, "cart-recovery")
    with pytest.raises(OperationRefused, match="not waiting"):
        await operator.skip_wait(shop.store_id, run, BY)
    goes_on.set()
    await shop.at_rest()

    assert (await operator.skip_wait(shop.store_id, run, BY)).skipped == "before reminder-2"


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("skip_wait", [], "SkipWait"),
        ("skip_wait", ["nonsense"], "SkipWait"),
        ("skip_wait", [{"by": "ada@example.com"}], "by"),
        ("leave", [{"by": BY}, {"by": BY}], "Leave"),
        ("leave", [{"by": BY, "because": "ada@example.com asked"}], "because"),
        ("leave", [{"by": BY, "because": "a line\nand another"}], "because"),
        ("replan", [{"version": 9, "plan": {"steps": []}, "mode": "move"}], "plan.steps"),
        ("skip_weight", [{"by": BY}], "no update 'skip_weight'"),
    ],
)
async def test_an_update_that_makes_no_sense_is_refused_and_the_run_goes_on(
    shop: TimeSkippingShop, name: str, arguments: list[Any], complaint: str
) -> None:
    """Sent by hand in the Temporal UI, while the run is in its start delay: it must not wedge (ADR 0018)."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    handle = await shop.handle("cart-recovery")
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await asyncio.wait_for(handle.execute_update(name, args=arguments), 20)

    assert complaint in str(refused.value.cause)
    assert await noted(shop) == []
    await shop.skip(minutes=61)
    assert await shop.until_said(1) == [("reminder-1", "sent")]


async def test_an_operator_reaches_only_runs_of_the_own_store(shop: TimeSkippingShop, operator: RunOperator) -> None:
    """G7, by run id and by workflow id."""
    run = await cart_after_the_first_reminder(shop)
    workflow_id = (await shop.runs("cart-recovery"))[0].workflow_id
    for name in (run, workflow_id):
        with pytest.raises(NotFound):
            await operator.leave("another-store", name, BY, "not mine")
    assert (await operator.leave(shop.store_id, workflow_id, BY, "mine")).run_id == UUID(run)
