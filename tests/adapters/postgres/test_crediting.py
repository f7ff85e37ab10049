"""Which message an order is credited to, whatever is told first; the rules alone: tests/domain/test_attribution.py."""

from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from adapters.postgres.tables import messages
from domain.attribution import WINDOW
from domain.events import Event, Who
from tests.adapters.postgres.conftest import START, Telling

DAY = timedelta(days=1)
SENT = START
NOW = START + 30 * DAY


@pytest.fixture
async def ada(mugs: Telling) -> UUID:
    """A customer who can be sent something."""
    await mugs.apply([mugs.event(None, START - DAY, kind="identify", email="ada@x.test")])
    return await mugs.customer()


def click(mugs: Telling, message_id: UUID, at: Any) -> Event:
    return mugs.event("Email Link Clicked", at, message_id=message_id.hex, url="https://mugs.test/")


def order(mugs: Telling, at: Any, order_id: str = "o-1", who: Who | None = None, **more: Any) -> Event:
    return mugs.event("Order Completed", at, who, order_id=order_id, total=12, currency="EUR", **more)


async def credits(mugs: Telling) -> dict[UUID, str]:  # noqa: A001 - what the ledger calls it
    return {row.message_id: row.order_id for row in await mugs.rows(messages) if row.order_id is not None}


@pytest.mark.parametrize("late_click", [False, True])
async def test_a_click_before_the_order_wins_whichever_is_told_first(
    mugs: Telling, ada: UUID, late_click: bool
) -> None:
    """The value and the time of the conversion are the order's."""
    message = await mugs.sent_message(ada, SENT)
    told = [click(mugs, message, SENT + DAY), order(mugs, SENT + 2 * DAY)]
    await mugs.apply(reversed(told) if late_click else told, NOW)
    (row,) = await mugs.rows(messages)
    assert (row.order_id, row.order_value_minor, row.converted_at) == ("o-1", 1200, SENT + 2 * DAY)
    assert row.opened_at == row.clicked_at == SENT + DAY


@pytest.mark.parametrize("late_click", [False, True])
@pytest.mark.parametrize(
    ("after_click", "credited"),
    [(timedelta(0), True), (WINDOW, True), (WINDOW + timedelta(seconds=1), False), (-timedelta(seconds=1), False)],
)
async def test_the_window_has_edges(
    mugs: Telling, ada: UUID, after_click: timedelta, credited: bool, late_click: bool
) -> None:
    """Five days after the click and not a second more; never for a click after the order."""
    message = await mugs.sent_message(ada, SENT)
    told = [click(mugs, message, SENT + DAY), order(mugs, SENT + DAY + after_click)]
    await mugs.apply(reversed(told) if late_click else told, NOW)
    assert (await credits(mugs) == {message: "o-1"}) is credited


async def test_without_a_click_the_code_or_the_mark_of_the_link_counts(mugs: Telling, ada: UUID) -> None:
    """The newest message with the order's code; or the message named by `ref`; else nobody."""
    older = await mugs.sent_message(ada, SENT, code="CART10")
    newer = await mugs.sent_message(ada, SENT + DAY, step="reminder-3", code="cart10")
    marked = await mugs.sent_message(ada, SENT, step="reminder-2")
    await mugs.apply([order(mugs, SENT + 2 * DAY, "o-0"), order(mugs, SENT - DAY, "o-early", coupon="CART10")], NOW)
    assert await credits(mugs) == {}
    await mugs.apply([order(mugs, SENT + 2 * DAY, "o-1", coupon="Cart10")], NOW)
    await mugs.apply([order(mugs, SENT + 3 * DAY, "o-2", ref=f"jn_{marked.hex}", coupon="CART10")], NOW)
    assert await credits(mugs) == {newer: "o-1", marked: "o-2"}
    assert older not in await credits(mugs)


async def test_an_order_is_credited_once_and_a_better_claim_takes_it_over(mugs: Telling, ada: UUID) -> None:
    """A click on another message, told after the order was credited for its code, is the better claim."""
    coded = await mugs.sent_message(ada, SENT, code="CART10")
    clicked = await mugs.sent_message(ada, SENT, step="reminder-2")
    bought = order(mugs, SENT + 2 * DAY, coupon="CART10")
    await mugs.apply([bought, bought], NOW)
    assert await credits(mugs) == {coded: "o-1"}
    await mugs.apply([click(mugs, clicked, SENT + DAY)], NOW)
    assert await credits(mugs) == {clicked: "o-1"}


async def test_a_message_is_credited_with_the_first_order_it_brought_in_any_order_of_arrival(
    mugs: Telling, ada: UUID
) -> None:
    """G2: two orders after one click."""
    for number in range(6):
        message = await mugs.sent_message(ada, SENT, step=f"reminder-{number}")
        # Long enough after the last round's that no window reaches from one to the next.
        at = SENT + number * 20 * DAY
        told = [
            click(mugs, message, at),
            order(mugs, at + DAY, f"o-{number}-first"),
            order(mugs, at + 2 * DAY, f"o-{number}-second"),
        ]
        await mugs.apply(list(permutations(told))[number], NOW)
        assert (await credits(mugs))[message] == f"o-{number}-first"


async def test_an_order_of_a_browser_is_credited_once_the_browser_is_known(mugs: Telling, ada: UUID) -> None:
    """The click came from the mail of an account, the order from a browser that was not signed in."""
    message = await mugs.sent_message(ada, SENT)
    browser = Who(anonymous_id="b-1")
    await mugs.apply([click(mugs, message, SENT + DAY), order(mugs, SENT + 2 * DAY, who=browser)], NOW)
    assert await credits(mugs) == {}
    await mugs.apply([mugs.event(None, SENT + 3 * DAY, Who(user_id="ada", anonymous_id="b-1"), "identify")], NOW)
    assert await credits(mugs) == {message: "o-1"}
