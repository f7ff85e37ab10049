"""What the demo reports, and the check that does not trust the gate."""

import io
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from rich.console import Console
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.tables import events, messages, products, runs, waitlist
from cli.demo.report import Report, after_purchase, line, missing, read, summary, table
from cli.demo.shop import address
from domain.plans import PLANS
from testing.inspection import as_owner
from tests.conftest import Shop, SteppedClock

SECOND = timedelta(seconds=1)


class Books:
    """Writes rows as the real parts would."""

    def __init__(self, engine: AsyncEngine, store_id: str, noon: datetime) -> None:
        self.engine = engine
        self.store_id = store_id
        self.noon = noon
        self.acknowledged: dict[str, datetime] = {}

    async def put(self, table: Any, **values: Any) -> None:
        async with as_owner(self.engine) as connection:
            await connection.execute(insert(table).values(store_id=self.store_id, **values))

    async def order(self, customer: str, at: float, *, answered: float | None = None, number: str = "1") -> None:
        """An order event `at` seconds after noon, answered then or later."""
        message_id = f"order-{number}"
        happened = self.noon + at * SECOND
        await self.put(
            events, id=uuid4(), message_id=message_id, type="track", name="Order Completed", user_id=customer,
            payload={"properties": {"order_id": number}}, at=happened, received_at=happened, shard=0, state="routed",
        )  # fmt: skip
        self.acknowledged[message_id] = self.noon + (at if answered is None else answered) * SECOND

    async def run(self, journey: str, since: float, *, outcome: str = "completed", **more: Any) -> UUID:
        run_id = uuid4()
        ended = None if outcome == "running" else self.noon + 60 * SECOND
        row = {"customer_id": uuid4(), **more}
        await self.put(
            runs, run_id=run_id, workflow_id=str(run_id), journey=journey, plan_version=1, outcome=outcome,
            since=self.noon + since * SECOND, begun_at=self.noon, expires_at=self.noon, ended_at=ended, **row,
        )  # fmt: skip
        return run_id

    async def message(
        self, run_id: UUID, journey: str, customer: str, claimed: float, state: str = "sent", step: str = "1"
    ) -> None:
        await self.put(
            messages, message_id=uuid4(), run_id=run_id, customer_id=uuid4(), journey=journey, step=step, template="t",
            transactional=False, state=state, address=address(customer), claimed_at=self.noon + claimed * SECOND,
        )  # fmt: skip

    async def late(self) -> int:
        return await after_purchase(self.engine, self.store_id, self.acknowledged)


@pytest.fixture
def books(engine: AsyncEngine, store: Shop, clock: SteppedClock) -> Books:
    return Books(engine, store.store_id, clock.now)


@pytest.mark.parametrize("journey", ["cart-recovery", "welcome", "win-back"])
@pytest.mark.parametrize("state", ["sent", "unknown"])
async def test_a_message_that_left_after_the_order_is_found(books: Books, journey: str, state: str) -> None:
    """The plain violation: run began, customer bought, the client saw the 200, and then the message was claimed."""
    run = await books.run(journey, since=0)
    await books.order("17850", at=10)
    await books.message(run, journey, "17850", claimed=9.999)
    assert await books.late() == 0
    await books.message(run, journey, "17850", claimed=10.001, state=state, step="2")
    assert await books.late() == 1


async def test_a_message_counts_once_however_often_the_customer_bought(books: Books) -> None:
    """The number is of messages, not of pairs."""
    run = await books.run("cart-recovery", since=0)
    await books.order("17850", at=1, number="1")
    await books.order("17850", at=2, number="2")
    await books.message(run, "cart-recovery", "17850", claimed=5)
    assert await books.late() == 1


async def test_what_is_allowed_is_not_counted(books: Books) -> None:
    """Other customers, earlier passages, thanks for the order, withheld messages, and orders not yet answered."""
    await books.order("17850", at=10)
    await books.message(await books.run("cart-recovery", since=0), "cart-recovery", "13047", claimed=20)
    await books.message(await books.run("cart-recovery", since=11), "cart-recovery", "17850", claimed=20)
    await books.message(await books.run("post-purchase", since=10), "post-purchase", "17850", claimed=20)
    await books.message(await books.run("back-in-stock", since=0), "back-in-stock", "17850", claimed=20)
    await books.message(await books.run("win-back", since=10, order_id="1"), "win-back", "17850", claimed=20)
    await books.message(await books.run("welcome", since=0), "welcome", "17850", claimed=20, state="exited")
    await books.order("12583", at=10, answered=30, number="2")
    await books.message(await books.run("welcome", since=0), "welcome", "12583", claimed=20)
    assert await books.late() == 0


async def test_the_next_order_ends_a_win_back(books: Books) -> None:
    """The order that began a win-back is no violation; the one after it is."""
    run = await books.run("win-back", since=10, order_id="1")
    await books.order("17850", at=10, number="1")
    await books.order("17850", at=15, number="2")
    await books.message(run, "win-back", "17850", claimed=20)
    assert await books.late() == 1


async def test_another_store_is_not_looked_at(books: Books) -> None:
    """A violation in one store is none of another's."""
    await books.order("17850", at=10)
    await books.message(await books.run("welcome", since=0), "welcome", "17850", claimed=20)
    assert await after_purchase(books.engine, "another", books.acknowledged) == 0
    assert await read(books.engine, "another") == Report()


async def test_the_demo_is_through_when_only_hopeless_waits_are_left(books: Books) -> None:
    """A run that waits for a restock that never comes does not keep the demo up; any other run does."""
    await books.order("17850", at=0)
    await books.run("welcome", since=0)
    assert (await read(books.engine, books.store_id)).through
    customer = uuid4()
    await books.put(products, product_id="22423", stock=0, told_at={})
    await books.put(waitlist, product_id="22423", customer_id=customer, asked_at=books.noon)
    await books.run("back-in-stock", 0, outcome="running", product_id="22423", customer_id=customer)
    report = await read(books.engine, books.store_id)
    assert (report.running, report.waiting, report.through) == (1, 1, True)
    in_stock = uuid4()
    await books.put(products, product_id="47566", stock=3, told_at={})
    await books.put(waitlist, product_id="47566", customer_id=in_stock, asked_at=books.noon)
    await books.run("back-in-stock", 0, outcome="running", product_id="47566", customer_id=in_stock)
    report = await read(books.engine, books.store_id)
    assert (report.running, report.waiting, report.through) == (2, 1, False)


async def test_an_event_that_is_not_routed_keeps_the_demo_up(books: Books) -> None:
    """Pending and parked events have not had their effect."""
    await books.order("17850", at=0)
    for state in ("pending", "applied", "parked"):
        await books.put(
            events, id=uuid4(), message_id=state, type="track", name="Cart Viewed", payload={}, at=books.noon,
            received_at=books.noon, shard=0, state=state,
        )  # fmt: skip
    report = await read(books.engine, books.store_id)
    assert (report.unrouted, report.through) == (3, False)
    assert missing(report, 0)[-1] == "3 events are not routed (applied 1, parked 1, pending 1)"


def shown(**changes: Any) -> Report:
    """A demo that has shown everything, but for what a test changes."""
    whole: dict[str, Any] = {
        "events": Counter(routed=10),
        "runs": {journey: Counter(completed=2, converted=1) for journey in PLANS},
        "messages": {journey: Counter(sent=3, no_consent=1) for journey in PLANS},
    }
    return Report(**whole | changes)


def test_nothing_is_missing_when_all_journeys_have_sent() -> None:
    """The last line is the one that the README shows."""
    assert missing(shown(), 0) == []
    ran = 3 * len(PLANS)
    assert summary(shown(), 0) == f"demo: 10 events, {ran} runs, {ran} messages sent, 0 after a purchase"


@pytest.mark.parametrize("journey", [journey for journey in PLANS if journey != "double-opt-in"])
def test_a_journey_that_sent_nothing_is_named(journey: str) -> None:
    """Withheld messages do not count as sent."""
    without = {name: Counter(no_consent=3) if name == journey else Counter(sent=1) for name in PLANS}
    assert missing(shown(messages=without), 0) == [f"{journey} sent no message"]


def test_messages_after_a_purchase_and_unfinished_runs_are_named() -> None:
    """A demo that breaks the promise or does not end says so."""
    unfinished = {"welcome": Counter(running=2, completed=1)}
    assert missing(shown(runs=unfinished), 2) == [
        "2 runs are not through",
        "2 messages left after their customer's order",
    ]


def test_the_table_has_a_row_for_each_journey_with_outcomes_and_deliveries() -> None:
    """Runs by state and messages by delivery can be read from the table, and the gist from one line."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(shown()))
    text = console.export_text()
    assert all(journey in text for journey in PLANS)
    assert "completed 2, converted 1" in text
    assert "no_consent 1" in text
    ran = 3 * len(PLANS)
    assert line(shown()) == f"10 events in, 0 to be routed | {ran} runs, 0 running | {ran} messages sent"
