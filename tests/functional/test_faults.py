"""Single parts are away and come back, and what is promised for that time holds; tests/chaos kills them at random."""

import asyncio

from tests.functional.conftest import House, eventually, messages

MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


async def test_events_wait_while_temporal_is_down(house: House, customer: str) -> None:
    """Ingest does not depend on Temporal; what happened meanwhile is known when it is back."""
    await house.subscriber(customer)
    await house.subscriber(f"{customer}-buyer")
    await house.track(f"{customer}-buyer", "Product Added", **MUG)
    await house.until_mails(f"{customer}-buyer", 1)
    await asyncio.to_thread(house.stack.kill, "temporal")
    await house.track(customer, "Product Added", **MUG)
    await house.track(f"{customer}-buyer", "Order Completed", order_id=customer, total=12.5, products=[MUG])
    await asyncio.to_thread(house.stack.start, "temporal")

    await house.until_mails(customer, 1)
    run = await house.until_outcome(f"{customer}-buyer", "cart-recovery", "converted")
    await house.until_closed(run["workflow_id"])
    assert [message["step"] for message in run["messages"]] == ["reminder-1"]


async def test_a_mail_server_that_is_away_is_asked_again(house: House, customer: str) -> None:
    """Connection errors are retried; an order meanwhile ends the run at once, without waiting for the server."""
    buyer = f"{customer}-buyer"
    await house.subscriber(customer)
    await house.subscriber(buyer)
    await asyncio.to_thread(house.stack.stop, "inbox")
    await house.track(customer, "Product Added", **MUG)
    await house.track(buyer, "Product Added", **MUG)

    async def claimed() -> int:
        return len([row for row in await house.rows(messages) if row.state == "claimed"])

    await eventually(claimed, lambda count: count >= 2, "both messages are claimed and cannot go out")
    await house.track(buyer, "Order Completed", order_id=customer, total=12.5, products=[MUG])
    run = await house.until_outcome(buyer, "cart-recovery", "converted")
    await house.until_closed(run["workflow_id"])
    await asyncio.to_thread(house.stack.start, "inbox")

    mails = await house.until_mails(customer, 1)
    assert len(mails) == 1
    subjects = [str(mail["Subject"]) for mail in await house.until_mails(buyer, 1)]
    assert not any("cart" in subject for subject in subjects)


async def test_events_are_accepted_while_the_router_is_away(house: House, customer: str) -> None:
    """And nothing goes out on what is not known yet: the order waits in the queue, the reminder for it (G4)."""
    await house.subscriber(customer)
    await house.track(customer, "Product Added", **MUG)
    await house.until_mails(customer, 1)
    house.stack.kill("router")
    await house.track(customer, "Order Completed", order_id=customer, total=12.5, products=[MUG])

    (run,) = await house.journeys(customer)
    handle = house.temporal.get_workflow_handle(run["workflow_id"])
    await house.second_reminder(customer)

    async def asked_again() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return any(activity.activity_type.name == "deliver" for activity in pending)

    await eventually(asked_again, what="the second reminder asks the gate")
    await asyncio.to_thread(house.stack.start, "router")
    run = await house.until_outcome(customer, "cart-recovery", "converted")
    await house.until_closed(run["workflow_id"])
    assert "reminder-2" not in [m["step"] for m in run["messages"] if m["state"] == "sent"]


async def test_a_database_that_is_killed_keeps_what_was_acknowledged(house: House, customer: str) -> None:
    """Kill -9 of Postgres: a 200 was a commit; afterwards everybody finds the way back by themselves (G1)."""
    await house.subscriber(customer)
    await house.track(customer, "Product Added", **MUG)
    await asyncio.to_thread(house.stack.kill, "postgres")
    answer = await house.http.post(
        f"{house.stack.info.api}/v1/track",
        json={"userId": customer, "event": "Product Viewed"},
        auth=(house.stack.info.write_key, ""),
    )
    await asyncio.to_thread(house.stack.start, "postgres")

    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    await house.second_reminder(customer)
    await house.until_outcome(customer, "cart-recovery", "completed")
    assert 1 <= len(await house.mails(customer)) <= 2
