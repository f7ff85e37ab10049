"""The whole way of one event: from a request to a mail in an inbox, and back."""

import re
from typing import Any

from segment import analytics

from rehearsal.histories import commands
from tests.functional.conftest import House, eventually, messages

MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


def links(text: str, path: str) -> list[str]:
    """The URLs of a mail that lead to one of our pages."""
    return re.findall(rf"https?://[^\s\"<>)]+{path}\?token=[\w-]+", text)


async def test_an_event_becomes_a_mail_a_click_an_order_and_a_conversion(house: House, customer: str) -> None:
    """The main job, with nothing replaced."""
    await house.subscriber(customer)
    await house.track(customer, "Product Added", **MUG | {"url": "https://shop.example/mug"})
    (mail, *_) = await house.until_mails(customer, 1)
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]

    assert "Blue mug" in str(mail["Subject"])
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"

    await house.http.get(links(mail.as_bytes().decode().replace("=\n", "").replace("=3D", "="), "/track/email-open")[0])
    click = await house.http.get(links(text, "/track/email-click")[0])
    assert click.status_code == 302
    assert click.headers["location"].startswith("https://shop.example")
    assert "ref=jn_" in click.headers["location"]

    await house.track(customer, "Order Completed", order_id=customer, total=12.5, currency="EUR", products=[MUG])

    async def converted() -> tuple[dict[str, Any], dict[str, Any]]:
        """The click has a lane of its own: the order may be applied before it, and is credited when it comes."""
        run = await house.until_outcome(customer, "cart-recovery", "converted")
        return run, next(message for message in run["messages"] if message["step"] == "reminder-1")

    def credited(found: tuple[dict[str, Any], dict[str, Any]]) -> bool:
        return None not in (found[1]["order_id"], found[1]["opened_at"])

    run, sent = await eventually(converted, credited, "the order is credited")
    assert (sent["order_id"], sent["order_value_minor"]) == (customer, 1250)
    assert sent["clicked_at"]
    closed = await house.until_closed(run["workflow_id"])
    found = {pair.key.name: pair.value for pair in closed.typed_search_attributes}
    assert (found["StoreId"], found["JourneyOutcome"]) == ("demo", "converted")


async def test_a_purchase_between_two_reminders_is_the_last_word(house: House, customer: str) -> None:
    """The first reminder is out; after the order nothing follows, although the timer was running (G4)."""
    await house.subscriber(customer)
    await house.track(customer, "Product Added", **MUG)
    await house.until_mails(customer, 1)
    await house.track(customer, "Order Completed", order_id=customer, total=12.5, products=[MUG])
    run = await house.until_outcome(customer, "cart-recovery", "converted")
    await house.until_closed(run["workflow_id"])
    await house.until_mails(customer, 2)

    history = await house.temporal.get_workflow_handle(run["workflow_id"]).fetch_history()
    deliveries = [line for line in commands(history) if "activity deliver" in line]
    assert len(deliveries) == 1
    assert [message["step"] for message in run["messages"]] == ["reminder-1"]


async def test_the_same_event_sent_five_times_is_one_event(house: House, customer: str) -> None:
    """A client that repeats itself changes nothing."""
    await house.subscriber(customer)
    for _ in range(5):
        await house.track(customer, "Product Added", message_id=f"once-{customer}", **MUG)
    mails = await house.until_mails(customer, 1)
    await house.track(customer, "Product Removed", **MUG)
    await house.until_outcome(customer, "cart-recovery", "cart_emptied")

    assert len(mails) == 1
    assert len(await house.journeys(customer)) == 1


async def test_one_click_unsubscribe_stops_the_next_message(house: House, customer: str) -> None:
    """RFC 8058: a POST to the header's URL; the run under way sends nothing more."""
    await house.subscriber(customer)
    await house.track(customer, "Product Added", **MUG)
    (mail,) = await house.until_mails(customer, 1)
    url = str(mail["List-Unsubscribe"]).strip("<>")
    answer = await house.http.post(url, data={"List-Unsubscribe": "One-Click"})
    await house.second_reminder(customer)
    run = await house.until_outcome(customer, "cart-recovery", "completed")

    assert answer.status_code == 200
    assert [(m["step"], m["state"]) for m in run["messages"]] == [("reminder-1", "sent"), ("reminder-2", "suppressed")]
    assert len(await house.mails(customer)) == 1


async def test_an_official_client_needs_nothing_but_our_address(house: House, customer: str) -> None:
    """segment-analytics-python in its default settings: identify and track, and a welcome arrives."""
    client = analytics.Client(house.stack.info.write_key, host=house.stack.info.api)
    client.identify(customer, {"email": f"{customer}@example.com", "first_name": "Grace"})
    client.track(customer, "Newsletter Subscribed", {"source": "footer"})
    client.shutdown()
    (mail,) = await house.until_mails(customer, 1)

    assert "Grace" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]


async def test_a_marketer_finds_a_run_and_reads_where_it_is(house: House, customer: str) -> None:
    """Workflow type, store, customer and outcome are searchable; the timeline stands in the current details."""
    await house.subscriber(customer)
    await house.track(customer, "Product Added", **MUG)
    await house.until_mails(customer, 1)
    (run,) = await house.journeys(customer)
    owner = run["workflow_id"].rsplit("/", 1)[1]
    query = f'WorkflowType="cart-recovery" and StoreId="demo" and CustomerId="{owner}" and JourneyOutcome="running"'

    async def found() -> list[str]:
        return [w.id async for w in house.temporal.list_workflows(query)]

    assert await eventually(found) == [run["workflow_id"]]

    handle = house.temporal.get_workflow_handle(run["workflow_id"])
    description = await handle.describe()
    assert re.fullmatch(r"Cart recovery, 2 messages, plan \d+", await description.static_summary() or "")
    history = await handle.fetch_history()
    waits = [e for e in history.events if e.event_type in {10, 17}]
    assert waits
    assert all(event.user_metadata.summary.data for event in waits)
    assert customer not in str(history.events)  # no personal data, not even the shop's own id (G8)


async def test_every_sent_message_has_one_row_and_one_mail(house: House, customer: str) -> None:
    """The ledger and the inbox agree."""
    await house.subscriber(customer)
    await house.track(customer, "Product Added", **MUG)
    await house.second_reminder(customer)
    await house.until_outcome(customer, "cart-recovery", "completed")
    ids = {str(mail["Message-ID"]) for mail in await house.mails(customer)}
    (run,) = await house.journeys(customer)
    rows = [row for row in await house.rows(messages) if str(row.run_id) == run["run_id"]]

    assert len(ids) == len(rows) == 2
    assert all(any(row.message_id.hex in mail_id for mail_id in ids) for row in rows)
