"""The examples do cause the facts that they are examples of, and journeys hear of them."""

from typing import Any

import pytest

from domain.facts import Fact
from rehearsal.examples import EXAMPLES
from testing import TimeSkippingShop
from workflows import enrolment
from workflows.registry import JOURNEYS


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
async def test_an_example_tells_the_journeys_of_its_fact(
    shop: TimeSkippingShop, kind: type[Fact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last event of the example, and not one before it."""
    told: list[Any] = []
    matters = enrolment.matters
    monkeypatch.setattr(enrolment, "matters", lambda fact: told.append(type(fact)) or matters(fact))
    await shop.subscriber()
    told.clear()
    await shop.happened(kind)

    assert told.count(kind) == 1
    assert told.index(kind) >= len(told) - 2


def test_every_fact_that_begins_or_ends_a_journey_can_be_made_to_happen() -> None:
    """Whoever tests a journey needs them; what only becomes true for a run, or where a store asks, excepted."""
    derived = {"EventHeard", "StockReleased", "ProductWithdrawn", "PriceRose"}
    derived |= {"ConsentPending", "ConsentConfirmed", "ConsentWithdrawn"}
    named = {fact for journey in JOURNEYS for fact in (*journey.entered_by, *journey.ends)}

    assert {fact.__name__ for fact in named - set(EXAMPLES)} <= derived
