"""What the demo has done so far, read from the database, and whether that is what it promises."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rich.table import Table
from sqlalchemy import Column, and_, exists, func, select
from sqlalchemy import Table as DbTable
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres.tables import events, messages, products, runs, waitlist
from adapters.postgres.tenancy import as_store
from cli.demo.shop import address
from domain.delivery import Result
from domain.plans import PLANS, validated
from domain.runs import Outcome

ENDED_BY_ORDERS = ("welcome", "cart-recovery", "win-back", "browse-abandonment")
"""The journeys in which any order means that nothing more is sent."""
_LEFT_US = (Result.SENT, Result.UNKNOWN, Result.BOUNCED, "sending")


@dataclass(frozen=True)
class Report:
    """Events, runs and messages of a store at one moment.

    Attributes:
        events: How many in each state.
        runs: How many of each journey with each outcome; `running` are under way.
        waiting: How many of those under way wait for a product that is not in stock.
        messages: How many of each journey in each state.
    """

    events: Counter[str] = field(default_factory=Counter)
    runs: Mapping[str, Counter[str]] = field(default_factory=dict)
    waiting: int = 0
    messages: Mapping[str, Counter[str]] = field(default_factory=dict)

    @property
    def unrouted(self) -> int:
        """How many events have not had their effect."""
        return self.events.total() - self.events["routed"]

    @property
    def running(self) -> int:
        """How many runs are under way."""
        return sum(outcomes[Outcome.RUNNING] for outcomes in self.runs.values())

    @property
    def through(self) -> bool:
        """Whether nothing more can happen: all is routed, and who still waits, waits for a restock that never comes."""
        return self.unrouted == 0 and self.running == self.waiting

    @property
    def sent(self) -> int:
        """How many messages the provider took."""
        return sum(states[Result.SENT] for states in self.messages.values())


async def read(engine: AsyncEngine, store_id: str) -> Report:
    """Count what a store has now, in one snapshot."""
    out_of_stock = exists().where(
        waitlist.c.store_id == runs.c.store_id,
        waitlist.c.product_id == runs.c.product_id,
        waitlist.c.customer_id == runs.c.customer_id,
        waitlist.c.told_at.is_(None),
        waitlist.c.left_at.is_(None),
        products.c.store_id == runs.c.store_id,
        products.c.product_id == runs.c.product_id,
        products.c.stock <= 0,
    )
    waits = select(func.count()).where(
        runs.c.store_id == store_id, runs.c.journey == "back-in-stock", runs.c.ended_at.is_(None), out_of_stock
    )
    in_one_snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    async with as_store(in_one_snapshot, store_id) as connection:
        state = events.c.state
        counted = select(state, func.count().label("n")).where(events.c.store_id == store_id).group_by(state)
        return Report(
            events=Counter({row.state: row.n for row in await connection.execute(counted)}),
            runs=await _by_journey(connection, runs, runs.c.outcome, store_id),
            waiting=(await connection.execute(waits)).scalar_one(),
            messages=await _by_journey(connection, messages, messages.c.state, store_id),
        )


async def _by_journey(
    connection: AsyncConnection, of: DbTable, state: Column[str], store_id: str
) -> dict[str, Counter[str]]:
    query = select(of.c.journey, state, func.count()).where(of.c.store_id == store_id).group_by(of.c.journey, state)
    found: dict[str, Counter[str]] = {}
    for journey, name, count in await connection.execute(query):
        found.setdefault(journey, Counter())[name] = count
    return found


async def after_purchase(engine: AsyncEngine, store_id: str, acknowledged: Mapping[str, datetime]) -> int:
    """Count the messages that left although their customer's order had been acknowledged before the claim (G4).

    Independent of the gate and of all that the router worked out: it takes the raw order events, the times at which
    *the client* saw them answered, and matches customers by the demo's own rule for addresses. A message counts if
    its journey ends with an order and the customer has an order event that

    - was answered to the client before the message was claimed,
    - happened at or after what began the run, so that it ends this run and not an earlier one,
    - is not the order that began the run (win-back begins with one).

    Args:
        engine: The database.
        store_id: The demo's store.
        acknowledged: When each event was answered with success, by its `messageId`.
    """
    bought = select(
        events.c.user_id,
        events.c.message_id,
        events.c.at,
        events.c.payload["properties"]["order_id"].astext.label("order_id"),
    ).where(events.c.store_id == store_id, events.c.type == "track", events.c.name == "Order Completed")
    left = (
        select(messages.c.address, messages.c.claimed_at, runs.c.since, runs.c.order_id)
        .join(runs, and_(runs.c.store_id == messages.c.store_id, runs.c.run_id == messages.c.run_id))
        .where(messages.c.store_id == store_id, messages.c.journey.in_(ENDED_BY_ORDERS))
        .where(messages.c.state.in_(_LEFT_US))
    )
    orders: dict[str, list[tuple[datetime, datetime, str]]] = {}
    async with as_store(engine, store_id) as connection:
        for order in await connection.execute(bought):
            if order.message_id in acknowledged:
                known = (acknowledged[order.message_id], order.at, order.order_id)
                orders.setdefault(address(order.user_id), []).append(known)
        return sum(
            any(
                answered < message.claimed_at and at >= message.since and order_id != message.order_id
                for answered, at, order_id in orders.get(message.address, ())
            )
            for message in await connection.execute(left)
        )


def missing(report: Report, late: int) -> list[str]:
    """Say what keeps the demo from having shown what it promises; nothing if it has.

    Args:
        report: The state at the end.
        late: How many messages left after a purchase.
    """
    # Double opt-in is for a store to ask for.
    begin = [journey for journey in PLANS if validated(journey, {}).enabled]
    found = [f"{journey} sent no message" for journey in begin if not _count(report.messages, journey, Result.SENT)]
    if report.unrouted:
        found.append(f"{report.unrouted} events are not routed ({_list(report.events, 'routed')})")
    if report.running > report.waiting:
        found.append(f"{report.running - report.waiting} runs are not through")
    if late:
        found.append(f"{late} messages left after their customer's order")
    return found


def summary(report: Report, late: int) -> str:
    """Say in one line what the demo did."""
    ran = sum(outcomes.total() for outcomes in report.runs.values())
    return f"demo: {report.events.total()} events, {ran} runs, {report.sent} messages sent, {late} after a purchase"


def line(report: Report) -> str:
    """Say in one line how far the demo is."""
    ran = sum(outcomes.total() for outcomes in report.runs.values())
    state = f"{report.events.total()} events in, {report.unrouted} to be routed"
    return f"{state} | {ran} runs, {report.running} running | {report.sent} messages sent"


def table(report: Report) -> Table:
    """Draw the runs and messages of each journey."""
    drawn = Table(title=f"{report.events.total()} events in, {report.unrouted} to be routed", title_justify="left")
    for heading in ("journey", "running", "ended", "messages sent", "not sent"):
        drawn.add_column(heading, justify="right" if heading in ("running", "messages sent") else "left")
    for journey in dict.fromkeys([*PLANS, *sorted(report.runs)]):
        outcomes, states = report.runs.get(journey, Counter()), report.messages.get(journey, Counter())
        drawn.add_row(
            journey,
            str(outcomes[Outcome.RUNNING]),
            _list(outcomes, Outcome.RUNNING),
            str(states[Result.SENT]),
            _list(states, Result.SENT),
        )
    return drawn


def _count(found: Mapping[str, Counter[str]], journey: str, state: str) -> int:
    return found.get(journey, Counter())[state]


def _list(counts: Counter[str], without: str) -> str:
    return ", ".join(f"{state} {count}" for state, count in sorted(counts.items()) if state != without and count)
