"""What each journey costs on Temporal: the figures of `journeys cost`, and a cart that is changed twenty times."""

from bench.result import at_most
from bench.runner import Run, part
from cli.scratch import scratch_shops
from domain.facts import CartChanged
from rehearsal.costs import actions, cost
from rehearsal.passages import PASSAGES
from rehearsal.shop import TimeSkippingShop

_CHANGES = 20


@part("costs", "Temporal actions and history events of each journey", minutes=1)
async def costs(run: Run) -> None:
    """Walk every passage on a server that skips time."""
    async with scratch_shops() as open_shop:
        for passage in PASSAGES.values():
            async with open_shop() as shop:
                line = await cost(shop, passage)
            detail = {"messages": line.messages, "history_events": line.events, "history_kb": line.kilobytes}
            run.found(passage.journey, line.actions, "actions", goal=at_most(line.budget), detail=detail)
        async with open_shop() as shop:
            run.found(
                f"cart changed {_CHANGES} times, until the first reminder", await _before_the_first(shop), "actions",
                goal=at_most(3),
            )  # fmt: skip


async def _before_the_first(shop: TimeSkippingShop) -> int:
    await shop.only("cart-recovery")
    await shop.subscriber()
    for _ in range(_CHANGES):
        await shop.happened(CartChanged)
        await shop.skip(minutes=2)
    spent = 0
    while not await shop.sent("cart-recovery"):
        spent = actions(await shop.history("cart-recovery"))
        await shop.skip(minutes=5)
    return spent
