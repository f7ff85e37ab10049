"""What the router does for many events at once comes to what it would do for one after the other."""

import asyncio
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.postgres import routing, snapshots
from adapters.postgres.at_once import asked_at_once
from adapters.postgres.batch import Batch
from adapters.postgres.routing import prepare, route, unwritten
from adapters.postgres.tables import carts as carts_table
from adapters.postgres.tables import customers, identities, runs, views
from adapters.postgres.tenancy import act_as
from domain.commands import Command, EndRun, JoinRun, NewRun, RestartRun, SignalRun, StartRun
from domain.events import Event, Who
from domain.snapshot import Snapshot
from tests.adapters.postgres.conftest import START, Telling
from tests.adapters.postgres.test_order_of_arrival import LIFE, USER, Op, _events, _known
from tests.conftest import statements

NOW = START + timedelta(hours=1)
_numbers = count()


def looks(mugs: Telling, people: range) -> list[Event]:
    """Somebody new looks at a product, with a browser of their own; two events each."""
    told = [
        (Who(user_id=f"u-{person}", anonymous_id=f"a-{person}"), f"cup-{place}")
        for place in (0, 1)
        for person in people
    ]
    return [mugs.event("Product Viewed", who=who, product_id=product) for who, product in told]


async def test_strangers_of_a_batch_take_as_many_statements_as_one(mugs: Telling) -> None:
    """Customers are found, made and locked together, and so are their looks kept; so are those who are known."""
    await mugs.apply([mugs.event("Product Viewed", who=Who(user_id="first"), product_id=f"cup-{n}") for n in (0, 1)])
    counted = []
    for people in (range(1), range(1, 12), range(12)):  # the last are known by now
        with statements(mugs.engine) as said:
            await mugs.apply(looks(mugs, people))
        counted.append(len(said))

    assert counted[0] == counted[1] > counted[2]
    assert len(await mugs.rows(customers)) == 1 + 12
    assert len(await mugs.rows(identities)) == 1 + 2 * 12
    assert len(await mugs.rows(views)) == 2 + 2 * (1 + 11 + 12)


async def test_what_is_remembered_of_stores_is_bounded(mugs: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many stores there are, a router keeps the terms of so many; the last is among them."""
    monkeypatch.setattr(routing, "_STORES", 2)
    batch = Batch()
    async with mugs.engine.connect() as connection:
        for store_id in ("a", "b", "c"):
            await act_as(connection, store_id)
            await routing.settle(connection, store_id, batch)

    assert batch.settled.keys() == {"b", "c"}
    assert batch.terms.keys() == {"a", "b", "c"}


async def test_a_cart_that_is_filled_in_a_batch_is_written_once(mugs: Telling) -> None:
    """One statement for all carts, however often each changed; what is read in between is as the batch has left it."""
    everybody = [Who(user_id=f"u-{person}") for person in range(3)]
    filling = [
        mugs.event("Product Added", START + timedelta(seconds=place), who, product_id=f"cup-{place}", price=5)
        for place in range(4)
        for who in everybody
    ]
    with statements(mugs.engine) as said:
        await mugs.apply(filling)

    assert sum("insert into carts" in statement.lower() for statement in said) == 1
    assert [row.total_minor for row in await mugs.rows(carts_table)] == [2_000] * 3


async def test_two_batches_with_the_same_strangers_make_each_of_them_once(mugs: Telling) -> None:
    """They come in other lanes at the same time, in the opposite order, and neither waits for the other in a circle."""
    there = looks(mugs, range(8))
    back = [event._replace(id=uuid4()) for event in reversed(there)]
    await asyncio.wait_for(asyncio.gather(mugs.apply(there), mugs.apply(back)), 60)

    assert len(await mugs.rows(customers)) == 8
    assert len(await mugs.rows(identities)) == 2 * 8


async def test_whom_an_event_before_introduces_is_no_stranger(mugs: Telling) -> None:
    """Nobody knows the browser when the batch begins; when it comes to its own event, an account has it."""
    await mugs.apply([mugs.event("Product Viewed", who=USER, product_id="cup")])
    browser = Who(anonymous_id="b-1")
    introduced = mugs.event(None, who=Who(user_id="ada", anonymous_id="b-1"), kind="identify")
    await mugs.apply([introduced, mugs.event("Product Viewed", who=browser, product_id="cup")])

    assert len(await mugs.rows(customers)) == 1
    assert await mugs.customer("b-1", "anonymous") == await mugs.customer()


async def test_a_stranger_may_be_joined_before_the_batch_is_over(mugs: Telling) -> None:
    """The browser is unknown, comes twice, and turns out to be an account's; what it does then is the account's."""
    browser, account = Who(anonymous_id="b-1"), Who(user_id="ada")
    both = Who(user_id="ada", anonymous_id="b-1")
    cup = {"product_id": "cup", "price": 5}
    life = [
        mugs.event("Product Added", START, account, product_id="pot", price=9),
        mugs.event("Product Added", START + timedelta(seconds=1), browser, **cup),
        mugs.event("Product Viewed", START + timedelta(seconds=2), browser, **cup),
        mugs.event(None, START + timedelta(seconds=3), both, "identify"),
        mugs.event("Product Viewed", START + timedelta(seconds=4), browser, **cup),
        mugs.event("Order Completed", START + timedelta(seconds=5), browser, order_id="o-1", products=[cup]),
    ]
    async with mugs.engine.connect() as connection:
        together = await lived(connection, [life], timedelta(seconds=1))
        alone = await lived(connection, [[event] for event in life], timedelta(seconds=1))
        await connection.rollback()

    assert together == alone
    (ada,) = together["people"]
    assert ada == "anonymous:b-1 user:ada"
    assert ("cart-recovery", "converted") in {(journey, outcome) for _, journey, outcome, *_ in together["runs"]}


@pytest.mark.parametrize(
    ("names", "commands"),
    [
        pytest.param(
            ["Product Added", "Product Added", "Order Completed", "Product Added"],
            [
                "start cart-recovery", "", "signal cart-recovery, start post-purchase, start win-back",
                "start cart-recovery",
            ],
            id="a cart",
        ),
        pytest.param(
            ["Signed Up", "Product Added", "Product Added", "Order Completed", "Signed Up"],
            [
                "start welcome", "start cart-recovery", "",
                "signal cart-recovery, signal welcome, start post-purchase, start win-back", "",
            ],
            id="an account",
        ),
    ],
)  # fmt: skip
async def test_runs_that_a_batch_has_begun_and_ended_are_known_to_its_later_events(
    mugs: Telling, names: list[str], commands: list[str]
) -> None:
    """A run that is under way does not begin again, one that is over does, and a customer is welcomed once."""
    said = {"product_id": "cup", "price": 5, "order_id": "o-1", "products": [{"product_id": "cup", "price": 5}]}
    life = [mugs.event(name, START + timedelta(seconds=at), **said) for at, name in enumerate(names)]
    async with mugs.engine.connect() as connection:
        together = await lived(connection, [life], timedelta(0))
        alone = await lived(connection, [[event] for event in life], timedelta(0))
        await connection.rollback()

    assert [", ".join(f"{kind} {journey}" for kind, journey, *_ in each) for each in together["commands"]] == commands
    assert together == alone


def test_a_journey_that_a_batch_has_begun_has_been_entered() -> None:
    """Whoever may enter it once in a lifetime does not enter it twice in a batch, however soon the run was over."""
    batch, ada = Batch(), uuid4()
    batch.snapshots["mugs", ada] = Snapshot(store_id="mugs", now=NOW, trigger="", begun=frozenset({"welcome"}))
    run = NewRun.model_construct(journey="follow-up/thanks", expires_at=NOW + timedelta(days=1))
    snapshots.runs_changed("mugs", ada, [StartRun.model_construct(run=run)], batch)
    assert batch.snapshots["mugs", ada].begun == {"welcome", "follow-up/thanks"}


async def test_a_cart_that_the_batch_has_not_written_yet_ends_the_looks_before_it(mugs: Telling) -> None:
    """Looks count from the last touch of the cart on, also where that touch and the look come in one batch."""
    cup = {"product_id": "cup", "price": 5}
    names = ["Product Viewed"] * 4 + ["Product Added", "Product Removed", "Product Viewed"]
    life = [mugs.event(name, START + timedelta(seconds=at), **cup) for at, name in enumerate(names)]
    async with mugs.engine.connect() as connection:
        together = await lived(connection, [life[:2], life[4:]], timedelta(seconds=1))
        alone = await lived(connection, [[event] for event in (*life[:2], *life[4:])], timedelta(seconds=1))
        often = await lived(connection, [life], timedelta(seconds=1))
        await connection.rollback()

    assert together == alone
    assert not [run for run in together["runs"] if run[1] == "browse-abandonment"]
    assert [run for run in often["runs"] if run[1] == "browse-abandonment"]


@settings(max_examples=24, deadline=None, suppress_health_check=list(HealthCheck))
@given(ops=LIFE, known=st.booleans())
async def test_a_life_told_in_one_batch_leads_to_what_it_does_one_by_one(
    ops: list[Op], known: bool, engine: AsyncEngine
) -> None:
    """The same state, the same runs and, for each event, the same commands, in any order of arrival.

    Of two runs that began at the same moment it is chance which remains when their customers are joined. So either all
    is one identity's, and applied at one moment, as it is in a batch; or each event is applied at its own.
    """
    life = [event for event in _events(ops, Telling(engine), uuid4()) if event.name != "Email Link Clicked"]
    if known:
        life = [event._replace(who=USER) for event in life if event.type != "alias"]
    apart = timedelta(0) if known else timedelta(seconds=1)
    async with engine.connect() as connection:
        alone = await lived(connection, [[event] for event in life], apart)
        together = await lived(connection, [life], apart)
        await connection.rollback()
    assert together == alone, [(event.name or event.type, event.who) for event in life]


async def lived(connection: AsyncConnection, batches: list[list[Event]], apart: timedelta) -> dict[str, Any]:
    """Route a life in batches in a store of its own; return what is known and what was commanded, without our ids."""
    store_id = f"batch-{next(_numbers)}-{uuid4().hex[:8]}"
    await act_as(connection, store_id)
    said: list[list[tuple[Any, ...]]] = []
    moments = (NOW + number * apart for number in count())
    for events in batches:
        told = [(event._replace(store_id=store_id), next(moments)) for event in events]
        batch = Batch()
        if told:
            await prepare(connection, told, batch)
        owed = [await route(connection, event, at, batch) for event, at in told]
        await asked_at_once(connection, *unwritten(store_id, batch))
        # Runs that one event has begun stand in no order of their own.
        said += [sorted((_said(command) for command in commands), key=str) for commands in owed]
    known = await _known(connection, store_id)
    query = select(identities.c.customer_id, identities.c.kind, identities.c.value)
    names: dict[Any, list[str]] = {}
    for row in (await connection.execute(query.where(identities.c.store_id == store_id))).all():
        names.setdefault(row.customer_id, []).append(f"{row.kind}:{row.value}")
    begun = (await connection.execute(select(runs).where(runs.c.store_id == store_id))).all()
    return {
        **known,
        "commands": said,
        "runs": sorted(
            (" ".join(sorted(names.get(r.customer_id, []))), r.journey, str(r.outcome), str(r.product_id), str(r.since))
            for r in begun
        ),
    }


def _said(command: Command) -> tuple[Any, ...]:
    match command:
        case StartRun(run=run):
            return "start", run.journey, run.product_id, run.order_id, run.began_by, run.since
        case RestartRun(run=run, ends=outcome):
            return "restart", run.journey, outcome, run.began_by, run.since
        case SignalRun(fact=fact, workflow_id=workflow_id, ends=outcome):
            return "signal", workflow_id.split("/")[1], fact.model_dump(exclude={"event_id"}), outcome
        case EndRun(workflow_id=workflow_id, outcome=outcome):
            return "end", workflow_id.split("/")[1], outcome
        case JoinRun(workflow_id=workflow_id):
            return "join", workflow_id.split("/")[1]
    return (command.kind,)
