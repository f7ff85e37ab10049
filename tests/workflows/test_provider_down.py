"""A provider that stays down: the message is given up after a day, and nothing is left open behind it."""

import pytest

from domain.errors import ChannelUnavailable
from domain.message import Letter
from testing import TimeSkippingShop


async def test_what_cannot_be_handed_over_within_a_day_is_settled(
    shop: TimeSkippingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requirements/3, error handling: the message is `failed`, and the journey goes on with its next step."""

    async def down(_letter: Letter) -> None:
        raise ChannelUnavailable

    await shop.plan("cart-recovery", steps=[{"name": "only", "template": "cart-reminder"}])
    await shop.subscriber()
    monkeypatch.setattr(shop.outbox, "send", down)
    await shop.track("Product Added", product_id="mug", price=12.5, quantity=1, currency="EUR")
    await shop.skip(hours=26)
    outcome = await shop.settled("cart-recovery")
    (run,) = await shop.runs("cart-recovery")

    assert outcome == "COMPLETED"
    assert await shop.said() == [("only", "failed")]
    assert run.outcome == "completed"
