"""What a message shows besides its own products."""

import pytest
from sqlalchemy import update

from adapters.postgres.shelf import Shelf, shelf
from adapters.postgres.tables import products
from adapters.postgres.tenancy import as_store
from tests.adapters.postgres.conftest import Telling

CATALOGUE = {
    "kettle": ("tea", 9), "pot": ("tea", 7), "sieve": ("tea", 2),
    "mug": ("mugs", 8), "cup": ("mugs", 5), "beaker": ("mugs", 4), "bowl": ("mugs", 3), "jar": ("", 1),
}  # fmt: skip


@pytest.fixture(autouse=True)
async def catalogue(mugs: Telling) -> None:
    """Products of two categories, and one that says it has none."""
    for product_id, (category, sold) in CATALOGUE.items():
        await mugs.apply([mugs.event("Product Updated", product_id=product_id, name=product_id, category=category)])
        of = (products.c.store_id == mugs.store_id, products.c.product_id == product_id)
        await mugs.write(update(products).where(*of).values(sold=sold, category=category))


async def shown(mugs: Telling, *asked_for: str, category: str | None = None) -> Shelf:
    async with as_store(mugs.engine, mugs.store_id) as connection:
        return await shelf(connection, mugs.store_id, asked_for, category)


def recommended(found: Shelf) -> list[str]:
    return [product.product_id for product in found.recommended]


async def test_best_sellers_of_the_category_come_first_and_the_shop_fills_up(mugs: Telling) -> None:
    """Best first; whoever looked at a small category sees four products as well."""
    assert recommended(await shown(mugs, category="tea")) == ["kettle", "pot", "sieve", "mug"]
    assert recommended(await shown(mugs, category="mugs")) == ["mug", "cup", "beaker", "bowl"]


async def test_nothing_is_recommended_that_the_message_is_about(mugs: Telling) -> None:
    """A cart with a cup in it does not advertise the cup, and has four others beside it."""
    found = await shown(mugs, "mug", "cup", "mug", "nobody-knows", category="mugs")

    assert set(found.listed) == {"mug", "cup"}
    assert recommended(found) == ["beaker", "bowl", "kettle", "pot"]


async def test_who_looked_at_nothing_sees_what_the_whole_shop_buys(mugs: Telling) -> None:
    """To have looked at nothing is not to have looked at the category without a name."""
    assert recommended(await shown(mugs)) == ["kettle", "mug", "pot", "cup"]


async def test_what_is_no_longer_sold_is_not_recommended(mugs: Telling) -> None:
    """A message that is about it still says its name."""
    await mugs.write(update(products).where(products.c.product_id == "kettle").values(withdrawn=True))

    assert recommended(await shown(mugs)) == ["mug", "pot", "cup", "beaker"]
    assert (await shown(mugs, "kettle")).listed["kettle"].name == "kettle"


async def test_what_is_sold_out_is_not_recommended(mugs: Telling) -> None:
    """Of what a shop does not count it has some; a message about what is sold out still says its name."""
    for product_id, stock in (("kettle", 0), ("mug", -1), ("pot", 3)):
        await mugs.write(update(products).where(products.c.product_id == product_id).values(stock=stock))

    assert recommended(await shown(mugs)) == ["pot", "cup", "beaker", "bowl"]
    assert recommended(await shown(mugs, category="tea")) == ["pot", "sieve", "cup", "beaker"]
    assert (await shown(mugs, "kettle")).listed["kettle"].name == "kettle"


async def test_another_store_has_a_shelf_of_its_own(mugs: Telling) -> None:
    """Whatever is asked for, only the products of the store are read (G7)."""
    async with as_store(mugs.engine, "another") as connection:
        assert await shelf(connection, "another", ["mug"], "tea") == Shelf({}, ())
