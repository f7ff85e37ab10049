"""Full plans in a backtest: what the report says of messages, exits, actions, and of a recording's odd corners."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.backtest.conftest import Rehearse, read, rows
from tests.backtest.independent import Seen

MONDAY = datetime(2024, 3, 4, 9, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def clients(path: Path, *calls: dict[str, Any]) -> Path:
    """Write calls down as Segment's clients make them; `after` is in hours from Monday."""
    lines = []
    for call in calls:
        at = MONDAY + call.pop("after") * HOUR
        lines.append(json.dumps({"type": "track", "userId": "ada", "timestamp": at.isoformat()} | call))
    path.write_text("\n".join(lines))
    return path


async def test_a_full_plan_is_played_on_its_own_days(rehearse: Rehearse, tmp_path: Path) -> None:
    """Steps are due exactly one delay after the step before, across weeks; seven actions for three messages."""
    events = [Seen(MONDAY, "u", "cart"), Seen(MONDAY + 30 * DAY, "other", "view")]
    found = await rehearse(read(rows(events, tmp_path / "r.csv")), "cart-recovery")

    assert found.messages_by_day == {
        "2024-03-04": {"reminder-1": 1}, "2024-03-05": {"reminder-2": 1}, "2024-03-06": {"reminder-3": 1},
    }  # fmt: skip
    assert (found.runs, found.triggers, found.exits, found.still_open) == (1, 1, {"completed": 1}, 0)
    assert found.actions_by_kind == {"starts": 1, "activities": 3, "timers": 2, "search_attributes": 1}


async def test_a_purchase_between_two_reminders_ends_the_run(rehearse: Rehearse, tmp_path: Path) -> None:
    """One message, then the order; the cool-down keeps the next cart from entering, and its end lets one in."""
    kinds = [(0, "cart"), (5, "buy"), (30, "cart"), (24 * 8, "cart"), (24 * 8 + 2, "end")]
    events = [Seen(MONDAY + hours * HOUR, "u", kind) for hours, kind in kinds]
    script = read(rows(events, tmp_path / "r.csv"), "kind:end=")
    found = await rehearse(script, "cart-recovery")
    entered = await rehearse(script, "cart-recovery", {"cool_down": "PT0S"})

    assert (found.runs, found.exits, found.still_open) == (2, {"converted": 1}, 1)
    assert found.messages_by_step == {"reminder-1": 2, "reminder-2": 0, "reminder-3": 0}
    assert entered.runs == 3


async def test_orders_restart_the_silence_and_cost_three_actions_each(rehearse: Rehearse, tmp_path: Path) -> None:
    """Signal, continue-as-new and timer, also for two orders within the hour (ADR 0014)."""
    moments = [0 * HOUR, HOUR / 2, 20 * DAY, 21 * DAY]
    events = [Seen(MONDAY + after, "u", "buy") for after in moments]
    found = await rehearse(read(rows(events, tmp_path / "r.csv"), journey="win-back"), "win-back")

    assert found.exits == {"restarted": 3}
    timers = found.actions_by_kind.pop("timers")
    assert found.actions_by_kind == {"starts": 1, "signals": 3, "continued": 3}
    # A worker so busy that the second order overtakes the first one's task saves a timer.
    assert timers in {3, 4}


async def test_an_order_at_the_very_end_of_the_silence_costs_no_attempt(rehearse: Rehearse, tmp_path: Path) -> None:
    """It comes first, so nobody asks for the step, as nobody would have who saw the order a moment earlier."""
    events = [Seen(MONDAY, "u", "buy"), Seen(MONDAY + 90 * DAY, "u", "buy"), Seen(MONDAY + 190 * DAY, "v", "buy")]
    found = await rehearse(read(rows(events, tmp_path / "r.csv"), journey="win-back"), "win-back")

    assert found.exits == {"restarted": 1}
    assert found.messages_by_step == {"win-back-1": 1, "win-back-2": 1, "win-back-3": 0}
    assert found.actions_by_kind["activities"] == 2


async def test_what_clients_say_of_consent_counts(rehearse: Rehearse, tmp_path: Path) -> None:
    """Calls of clients get no consent from us: an address alone is not one, and a withdrawal ends the messages."""
    cart = {"event": "Product Added", "properties": {"product_id": "mug"}}
    calls = clients(
        tmp_path / "r.jsonl",
        {"after": 0, "type": "identify", "traits": {"email": "ada@shop.example"}},
        {"after": 1, **cart},
        {"after": 1, "type": "identify", "userId": "bob", "traits": {"email": "b@shop.example", "newsletter": True}},
        {"after": 1, **cart, "userId": "bob"},
        {"after": 9, "event": "Newsletter Unsubscribed", "userId": "bob"},
        {"after": 99, "event": "Products Searched"},
    )
    found = await rehearse(read(calls), "cart-recovery")
    assumed = await rehearse(read(calls, consent=True), "cart-recovery")

    assert found.messages_by_step == {"reminder-1": 1, "reminder-2": 0, "reminder-3": 0}
    assert found.withheld == {"no_consent": 3, "suppressed": 2}
    assert found.triggers == 2
    assert assumed.messages_by_step == {"reminder-1": 2, "reminder-2": 1, "reminder-3": 1}


async def test_a_browser_that_signs_in_is_one_customer(rehearse: Rehearse, tmp_path: Path) -> None:
    """The cart follows, and the account's order ends the run that the browser began."""
    calls = clients(
        tmp_path / "r.jsonl",
        {"after": 0, "event": "Product Added", "userId": None, "anonymousId": "b", "properties": {"product_id": "m"}},
        {"after": 2, "type": "identify", "anonymousId": "b", "traits": {"email": "ada@shop.example"}},
        {"after": 3, "event": "Order Completed", "properties": {"order_id": "o-1"}},
        {"after": 50, "event": "Products Searched"},
    )
    found = await rehearse(read(calls), "cart-recovery")

    assert (found.runs, found.exits, found.withheld) == (1, {"converted": 1}, {"unreachable": 1})


async def test_customers_who_wait_for_a_product_hear_of_it_in_waves(rehearse: Rehearse, tmp_path: Path) -> None:
    """What the catalogue says concerns everybody; who bought meanwhile is not told."""
    ask = {"event": "Back In Stock Requested", "properties": {"product_id": "mug"}}
    calls = clients(
        tmp_path / "r.jsonl",
        *(
            {"after": 0, "type": "identify", "userId": f"u{n}", "traits": {"email": f"u{n}@shop.example"}}
            for n in range(5)
        ),
        *({"after": 1 + n / 60, **ask, "userId": f"u{n}"} for n in range(5)),
        {"after": 20, "event": "Order Completed", "userId": "u4",
         "properties": {"order_id": "o", "products": [{"product_id": "mug"}]}},
        {"after": 30, "event": "Product Restocked", "userId": None, "properties": {"product_id": "mug", "stock": 1}},
        {"after": 90, "event": "Products Searched"},
    )  # fmt: skip
    found = await rehearse(read(calls, journey="back-in-stock"), "back-in-stock")

    assert (found.runs, found.triggers) == (5, 4)
    assert found.messages_by_step == {"alert": 4, "follow-up": 4}
    assert found.exits == {"completed": 4, "converted": 1}
    # Of five runs and the waves: starts, the restock's signal to each of four, one order's signal.
    assert (found.actions_by_kind["starts"], found.actions_by_kind["signals"]) == (6, 5)


async def test_a_journey_that_counts_looks_gets_them(rehearse: Rehearse, tmp_path: Path) -> None:
    """Three looks and two quiet hours; for this journey no view is left out."""
    events = [Seen(MONDAY + minutes * HOUR / 60, "u", "view") for minutes in (0, 10, 20)]
    path = rows([*events, Seen(MONDAY + 3 * DAY, "v", "end")], tmp_path / "r.csv")
    path.write_text(path.read_text().replace("view,,", "view,mug,"))
    found = await rehearse(read(path, "kind:end=", journey="browse-abandonment"), "browse-abandonment")

    assert (found.runs, found.triggers) == (1, 1)
    assert found.messages_by_step == {"browse-1": 1, "browse-2": 1}


async def test_a_welcome_goes_out_at_once(rehearse: Rehearse, tmp_path: Path) -> None:
    """A step without any wait is due at the very instant of its event, also when the data ends with it."""
    path = rows([Seen(MONDAY, "u", "joined"), Seen(MONDAY, "v", "joined")], tmp_path / "r.csv")
    found = await rehearse(read(path, "kind:joined=Newsletter Subscribed", journey="welcome"), "welcome")

    assert (found.triggers, found.still_open) == (2, 2)
    assert found.messages_by_day == {"2024-03-04": {"welcome-1": 2}}
    assert found.actions_by_kind == {"starts": 2, "activities": 2, "timers": 2}


async def test_a_customer_may_be_called_anything(rehearse: Rehearse, tmp_path: Path) -> None:
    """Ids of shops are theirs, not ours."""
    users = ["' ; drop table runs; --", "Ω ≠ 漢字 🧦", "a/b/../c%2F", "u" * 512, "0", "A", "a"]
    events = [Seen(MONDAY + after, user, "cart") for user in users for after in (0 * HOUR, 2 * HOUR)]
    found = await rehearse(read(rows(events, tmp_path / "r.csv")), "cart-recovery", triggers_only=True)

    assert (found.triggers, found.still_open) == (len(users), len(users))


async def test_everything_at_one_instant_is_played_in_order(rehearse: Rehearse, tmp_path: Path) -> None:
    """A data set without times: carts first, then purchases, and nothing comes due."""
    kinds = ["buy", "cart", "cart", "buy", "view"]
    events = [Seen(MONDAY, f"u{n}", kind) for n in range(9) for kind in kinds]
    found = await rehearse(read(rows(events, tmp_path / "r.csv")), "cart-recovery", triggers_only=True)

    assert (found.runs, found.triggers, found.exits) == (9, 0, {"converted": 9})


async def test_what_was_recorded_in_the_future_or_over_many_years_is_played_all_the_same(
    rehearse: Rehearse, tmp_path: Path
) -> None:
    """The server's clock begins now and only goes forward; times are moved there and back."""
    moments = [datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2031, 6, 1, tzinfo=UTC)]
    events = [Seen(at, "u", "cart") for at in moments]
    found = await rehearse(read(rows(events, tmp_path / "r.csv")), "cart-recovery", triggers_only=True)

    assert (found.triggers, found.still_open) == (1, 1)
    assert found.messages_by_day == {"2000-01-01": {"reminder-1": 1}}


async def test_a_price_that_falls_reaches_those_who_watch(rehearse: Rehearse, tmp_path: Path) -> None:
    """The events that we write for each watcher are played as well, though nobody recorded them."""
    mug = {"product_id": "mug", "price": 20, "currency": "USD"}
    calls = clients(
        tmp_path / "r.jsonl",
        *(
            {"after": 0, "type": "identify", "userId": f"u{n}", "traits": {"email": f"u{n}@shop.example"}}
            for n in range(3)
        ),
        {"after": 1, "event": "Product Updated", "userId": None, "properties": mug},
        *({"after": 2, "event": "Product Watched", "userId": f"u{n}", "properties": mug} for n in range(3)),
        {"after": 30, "event": "Product Updated", "userId": None, "properties": {**mug, "price": 15}},
        {"after": 90, "event": "Products Searched"},
    )
    found = await rehearse(read(calls, journey="price-drop", consent=True), "price-drop")

    assert (found.runs, found.triggers, found.messages_by_step) == (3, 3, {"alert": 3})


async def test_a_follow_up_of_a_store_can_be_rehearsed(rehearse: Rehearse, tmp_path: Path) -> None:
    """It is a plan alone; the other journeys stay shut."""
    plan = {"event": "Service Completed", "steps": [
        {"name": "care", "template": "related-services", "delay": "P7D", "topic": "product_recommendations"}
    ]}  # fmt: skip
    calls = clients(
        tmp_path / "r.jsonl",
        {"after": 0, "type": "identify", "traits": {"email": "ada@shop.example"}},
        {"after": 1, "event": "Service Completed", "properties": {"service_id": "cut"}},
        {"after": 24 * 9, "event": "Products Searched"},
    )
    found = await rehearse(read(calls, journey="follow-up/care", consent=True), "follow-up/care", plan)

    assert (found.runs, found.triggers, found.messages_by_step) == (1, 1, {"care": 1})
