"""Plan edits on live journeys: pinned runs keep theirs; others are moved or retimed, each exactly once."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from temporalio.client import WorkflowHistory, WorkflowUpdateFailedError

from activities.rollout import PAGE
from adapters.postgres import plans
from adapters.postgres.forecast import forecast
from adapters.postgres.identities import new_id
from adapters.postgres.rollouts import spread_what_is_due
from adapters.postgres.tables import messages, runs
from adapters.temporal import rollouts
from domain.commands import Command
from domain.errors import Unavailable
from domain.events import Event, Who
from domain.operations import Replan
from domain.plans import validated
from domain.rollouts import ReplanOrder, Tally
from testing import TimeSkippingShop
from testing.inspection import as_owner
from worker.router import Router

HOUR = timedelta(hours=1)
WELCOME, BEST, STORIES = "welcome", "welcome-best-sellers", "welcome-stories"
MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


def steps(*described: tuple[str, str, str]) -> list[dict[str, str]]:
    return [
        {"name": name, "template": template, "delay": delay, "topic": "newsletter"}
        for name, template, delay in described
    ]


OLD = steps(("one", WELCOME, "PT0S"), ("two", BEST, "P2D"), ("three", STORIES, "P2D"))
NEW = steps(("one", WELCOME, "PT0S"), ("two", STORIES, "PT6H"))


class Down:
    """Temporal, while it is down."""

    async def execute(self, store_id: str, command: Command) -> bool:
        raise Unavailable


async def newcomers(shop: TimeSkippingShop, count: int, router: Router | None = None) -> None:
    """Many people subscribe at this moment."""
    await shop.tick()
    addresses = [f"c{number}@example.com" for number in range(count)]
    await shop.events.accept(
        [
            Event(
                store_id=shop.store_id, id=new_id(), message_id=uuid4().hex, type="track",
                name="Newsletter Subscribed", who=Who(email=address), at=shop.now, received_at=shop.now,
                payload={"type": "track", "event": "Newsletter Subscribed", "properties": {"email": address}},
            )
            for address in addresses
        ]
    )  # fmt: skip
    await (router or shop.router).route_everything()


async def order(shop: TimeSkippingShop, journey: str, mode: Any, **settings: Any) -> ReplanOrder:
    await shop.tick()
    plan = validated(journey, settings)
    version = await plans.put(shop.engine, shop.store_id, journey, plan, shop.now, by="cli:ops", running=mode)
    return ReplanOrder(
        store_id=shop.store_id, journey=journey, version=version, plan=plan.model_dump(mode="json"), mode=mode
    )


async def rolled_out(shop: TimeSkippingShop, wanted: ReplanOrder) -> Tally:
    handle = await rollouts.begin(shop.env.client, shop.task_queue, wanted)
    with shop.env.auto_time_skipping_disabled():
        tally = await handle.result()
    await shop.tick()
    return tally


async def sent(shop: TimeSkippingShop) -> list[tuple[str, str, timedelta]]:
    """Step, template, and how long after the beginning of its run."""
    query = (
        select(messages.c.step, messages.c.template, messages.c.claimed_at, runs.c.begun_at)
        .join(runs, runs.c.run_id == messages.c.run_id)
        .where(messages.c.store_id == shop.store_id, messages.c.state == "sent")
        .order_by(messages.c.claimed_at)
    )
    async with as_owner(shop.engine) as connection:
        found = (await connection.execute(query)).all()
    return [(row.step, row.template, round_to_minutes(row.claimed_at - row.begun_at)) for row in found]


def round_to_minutes(span: timedelta) -> timedelta:
    return timedelta(minutes=round(span.total_seconds() / 60))


async def test_a_moved_run_goes_on_with_the_new_steps_templates_and_delays(shop: TimeSkippingShop) -> None:
    """Counted from its last message, as if the plan had been so; what is behind it stays behind."""
    await shop.plan("welcome", steps=OLD)
    await newcomers(shop, 1)
    await shop.until_said(1)
    tally = await rolled_out(shop, await order(shop, "welcome", "move", steps=NEW))
    await shop.skip(hours=7)

    assert (tally.done, tally.ended, tally.later) == (1, 0, {})
    assert await shop.settled("welcome") == "COMPLETED"
    assert await sent(shop) == [("one", WELCOME, timedelta(0)), ("two", STORIES, 6 * HOUR)]
    (run,) = await shop.runs("welcome")
    assert (run.plan_version, run.plan, run.outcome) == (2, None, "completed")


async def test_a_retimed_run_keeps_its_steps_and_takes_the_new_waits(shop: TimeSkippingShop) -> None:
    """Its own template, its own third step; the delay of the second is the new one's. Postgres knows the mixture."""
    await shop.plan("welcome", steps=OLD)
    await newcomers(shop, 1)
    await shop.until_said(1)
    await rolled_out(shop, await order(shop, "welcome", "retime", steps=NEW))
    (run,) = await shop.runs("welcome")
    await shop.skip(hours=7)
    await shop.skip(days=2)

    assert [(step, template) for step, template, _ in await sent(shop)] == [
        ("one", WELCOME), ("two", BEST), ("three", STORIES)
    ]  # fmt: skip
    assert [late for _, _, late in await sent(shop)] == [timedelta(0), 6 * HOUR, 54 * HOUR]
    assert run.plan_version == 2
    assert [step["delay"] for step in run.plan["steps"]] == ["PT0S", "PT6H", "P2D"]


async def test_a_pinned_run_keeps_its_plan(shop: TimeSkippingShop) -> None:
    """G6: setting a plan touches nobody who is under way."""
    await shop.plan("welcome", steps=OLD)
    await newcomers(shop, 1)
    await shop.until_said(1)
    await shop.plan("welcome", steps=NEW)
    await shop.skip(days=2, minutes=1)

    assert [(step, template) for step, template, _ in await sent(shop)] == [("one", WELCOME), ("two", BEST)]


async def test_a_run_in_its_start_delay_is_moved_before_it_has_done_anything(shop: TimeSkippingShop) -> None:
    """The Update wakes it early; it waits out the new quiet hour, not the old one."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    tally = await rolled_out(shop, await order(shop, "cart-recovery", "move", quiet="PT3H"))
    await shop.skip(hours=2)
    assert await shop.said() == []
    await shop.skip(hours=1, minutes=1)

    assert tally.done == 1
    assert await shop.said() == [("reminder-1", "sent")]


async def test_a_start_that_is_decided_but_not_carried_out_is_moved_once_it_is(shop: TimeSkippingShop) -> None:
    """Its row says the old plan and so does the stored command; the rollout asks again until the run is there."""
    await shop.plan("welcome", steps=OLD)
    with pytest.raises(Unavailable):
        await newcomers(shop, 1, Router(shop.engine, Down(), lambda: shop.now, retries=()))
    wanted = await order(shop, "welcome", "move", steps=NEW)
    handle = await rollouts.begin(shop.env.client, shop.task_queue, wanted)
    with shop.env.auto_time_skipping_disabled():
        async with asyncio.timeout(60):
            while "has not begun yet" not in answers(await handle.fetch_history()):
                await asyncio.sleep(0.05)
        await shop.router.route_everything()
        await shop.until_said(1)
    await shop.skip(minutes=1)
    await shop.skip(hours=7)

    assert [(step, template) for step, template, _ in await sent(shop)] == [("one", WELCOME), ("two", STORIES)]
    assert [run.plan_version for run in await shop.runs("welcome")] == [2]


def answers(history: WorkflowHistory) -> str:
    """What the rollout's passes over the runs returned so far."""
    completed = [event.activity_task_completed_event_attributes for event in history.events]
    return "".join(payload.data.decode() for one in completed for payload in one.result.payloads)


async def test_more_runs_than_a_page_are_all_moved_and_those_that_ended_are_left(shop: TimeSkippingShop) -> None:
    """Every open run takes the plan; a run that was terminated in Temporal is closed here too."""
    count = PAGE + 10
    await shop.plan("welcome", steps=OLD)
    await newcomers(shop, count)
    await shop.until_said(count)
    rows = await shop.runs("welcome")
    await shop.env.client.get_workflow_handle(rows[0].workflow_id).terminate()
    tally = await rolled_out(shop, await order(shop, "welcome", "move", steps=NEW))
    outcomes = [run.outcome for run in await shop.runs("welcome")]

    assert (tally.done, tally.ended, tally.later) == (count - 1, 1, {})
    assert sorted(set(outcomes)) == ["running", "terminated"]
    assert outcomes.count("terminated") == 1


async def test_a_plan_without_a_step_left_ends_the_run_here_and_there(shop: TimeSkippingShop) -> None:
    """Else its row would stay open, and keep the customer from entering again."""
    await shop.plan("welcome", steps=OLD)
    await newcomers(shop, 1)
    await shop.until_said(1)
    await rolled_out(shop, await order(shop, "welcome", "move", steps=NEW[:1]))

    assert await shop.settled("welcome") == "COMPLETED"
    assert [(run.outcome, run.because) for run in await shop.runs("welcome")] == [("completed", "no step is left")]


async def cart_in_use(shop: TimeSkippingShop) -> None:
    """A customer whose reminder was put off, because the cart has changed meanwhile."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=50)
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=15)
    assert await shop.said() == [("reminder-1", "deferred")]


async def test_a_message_that_is_put_off_goes_out_by_the_new_template(shop: TimeSkippingShop) -> None:
    """Pause, repair, move, resume: what was held up must not go out broken."""
    await cart_in_use(shop)
    repaired = [{"name": "reminder-1", "template": "cart-reminder-2", "topic": "abandoned_cart_emails"}]
    await rolled_out(shop, await order(shop, "cart-recovery", "move", steps=repaired))
    await shop.skip(minutes=50)

    assert [(step, template) for step, template, _ in await sent(shop)] == [("reminder-1", "cart-reminder-2")]


async def test_what_a_lost_attempt_left_is_settled_though_its_step_is_taken_away(shop: TimeSkippingShop) -> None:
    """A worker that died in a local attempt left `sending` behind, and the run does not know of it (G3)."""
    await cart_in_use(shop)
    async with as_owner(shop.engine) as connection:
        await connection.execute(update(messages).values(state="sending", sending_at=shop.now))
    other = [{"name": "other", "template": "cart-reminder-2", "topic": "abandoned_cart_emails"}]
    await rolled_out(shop, await order(shop, "cart-recovery", "move", steps=other))
    await shop.skip(minutes=50)

    assert await shop.until_said(2) == [("reminder-1", "unknown"), ("other", "sent")]


async def test_the_patience_for_a_restock_can_be_changed_while_it_is_waited_for(shop: TimeSkippingShop) -> None:
    """The wait for an event takes its new limit at once."""
    await shop.subscriber()
    await shop.track("Back In Stock Requested", product_id="mug")
    await rolled_out(shop, await order(shop, "back-in-stock", "retime", patience="P10D"))
    await shop.skip(days=11)

    assert await shop.settled("back-in-stock") == "COMPLETED"


async def test_an_older_version_never_replaces_a_newer_one(shop: TimeSkippingShop) -> None:
    """Two rollouts may overtake each other; a repetition changes nothing and another run's command is refused."""
    await shop.plan("welcome", steps=OLD)
    await newcomers(shop, 1)
    await shop.until_said(1)
    handle = await shop.handle("welcome")
    plan = validated("welcome", {"steps": NEW}).model_dump(mode="json")

    assert await handle.execute_update("replan", Replan(version=9, plan=plan, mode="move")) == 9
    assert await handle.execute_update("replan", Replan(version=3, plan=plan, mode="move")) == 9
    stranger = Replan(run_id=UUID(int=7), version=12, plan=plan, mode="move")
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("replan", stranger)


@pytest.mark.parametrize("mode", ["move", "retime"])
async def test_the_forecast_says_what_then_happens(shop: TimeSkippingShop, mode: Any) -> None:
    """One rule: the moment that the dry run names is the moment at which the message goes out; nothing is changed."""
    await shop.plan("welcome", steps=OLD)
    for _ in range(3):
        await newcomers_one_more(shop)
        await shop.skip(hours=1)
    await shop.until_said(3)
    wanted = validated("welcome", {"steps": NEW})
    before = await shop.runs("welcome")
    seen = await forecast(shop.engine, shop.store_id, "welcome", wanted, mode, shop.now)

    assert await shop.runs("welcome") == before
    assert (seen.runs, seen.touched, seen.changed, seen.ending) == (3, 3, 3, 0)
    assert seen.before.earliest is not None
    assert seen.after.earliest == seen.before.earliest - timedelta(days=2) + 6 * HOUR

    await rolled_out(shop, await order(shop, "welcome", mode, steps=NEW))
    await shop.skip(hours=8)
    async with as_owner(shop.engine) as connection:
        query = select(messages.c.claimed_at).where(messages.c.store_id == shop.store_id, messages.c.step == "two")
        second = sorted((await connection.execute(query)).scalars())
    assert len(second) == 3
    assert timedelta(0) <= second[0] - seen.after.earliest < timedelta(minutes=1)
    assert seen.after.latest is not None
    assert timedelta(0) <= second[-1] - seen.after.latest < timedelta(minutes=1)


async def newcomers_one_more(shop: TimeSkippingShop) -> None:
    await shop.subscribe_by_address(f"{uuid4().hex[:8]}@example.com")


async def test_what_would_come_due_at_once_can_be_spread(shop: TimeSkippingShop) -> None:
    """A delay cut from two days to six hours makes everybody overdue; the forecast says so before, and spreads it."""
    await shop.plan("welcome", steps=OLD)
    await newcomers(shop, 40)
    await shop.until_said(40)
    await shop.skip(days=1)
    wanted = validated("welcome", {"steps": NEW})
    burst = await forecast(shop.engine, shop.store_id, "welcome", wanted, "move", shop.now)
    spread = await forecast(shop.engine, shop.store_id, "welcome", wanted, "move", shop.now, 4 * HOUR)

    assert (burst.before.at_once, burst.after.at_once) == (0, 40)
    assert spread.after.at_once < 15
    await spread_what_is_due(shop.engine, shop.store_id, "welcome", 4 * HOUR, shop.now)
    await rolled_out(shop, await order(shop, "welcome", "move", steps=NEW))
    await shop.skip(hours=4, minutes=5)
    seconds = sorted(late for step, _, late in await sent(shop) if step == "two")
    assert len(seconds) == 40
    assert seconds[-1] - seconds[0] > 2 * HOUR


async def test_a_pinned_plan_changes_no_time(shop: TimeSkippingShop) -> None:
    """The dry run of the default says that it touches nobody."""
    await newcomers(shop, 2)
    await shop.until_said(2)
    seen = await forecast(shop.engine, shop.store_id, "welcome", validated("welcome", {"steps": NEW}), "pin", shop.now)

    assert (seen.runs, seen.touched, seen.changed) == (2, 0, 0)
    assert seen.before == seen.after
