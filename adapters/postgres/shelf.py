"""The shelf: products that a message shows, those that it is about and those that sell best, read in one statement."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import CompoundSelect, Select, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.statements import built_once, one_of
from adapters.postgres.tables import products
from domain.message import Product

_RECOMMENDED = 4
_ASKED_FOR, _OF_CATEGORY, _OF_SHOP = range(3)
_CARD = (*(products.c[name] for name in Product.model_fields if name in products.c), products.c.sold)


class Shelf(NamedTuple):
    """What a message can show.

    Attributes:
        listed: Products by their ids, as far as the catalogue knows them.
        recommended: Best sellers, best first.
    """

    listed: dict[str, Product]
    recommended: tuple[Product, ...]


async def shelf(connection: AsyncConnection, store_id: str, asked_for: Iterable[str], category: str | None) -> Shelf:
    """Read products, and others to go with them: best sellers of a category first, then of the whole shop.

    Args:
        connection: In a transaction of the store.
        store_id: Whose catalogue it is.
        asked_for: Ids of the products that the message is about; none of them is recommended.
        category: Of the product that the customer looked at last.
    """
    ids = list(dict.fromkeys(asked_for))
    # Each may be one that was asked for, and each of the shop's may be one of the category's.
    enough = _RECOMMENDED + len(ids)
    query = _shelf(store_id, ids, category or "", enough, 2 * enough)
    rows = sorted((await connection.execute(*query)).all(), key=lambda row: (row.place, -row.sold, row.product_id))
    found = [(row.place, Product.model_validate(row, from_attributes=True)) for row in rows]
    listed = {product.product_id: product for place, product in found if place == _ASKED_FOR}
    others = {product.product_id: product for place, product in found if place != _ASKED_FOR}
    fresh = [product for product_id, product in others.items() if product_id not in ids]
    return Shelf(listed, tuple(fresh[:_RECOMMENDED]))


@built_once
def _shelf(
    store_id: str, ids: list[str], category: str, of_category: int, of_shop: int
) -> CompoundSelect[tuple[object, ...]]:
    here = products.c.store_id == store_id
    asked_for = _cards(_ASKED_FOR).where(here, one_of(products.c.product_id, ids))
    there = func.coalesce(products.c.stock, 1) > 0  # who does not count has some
    sellable = (here, products.c.name.is_not(None), products.c.withdrawn.is_(False), there)
    best = products.c.sold.desc(), products.c.product_id
    wanted = products.c.category == func.nullif(category, "")
    alike = _cards(_OF_CATEGORY).where(*sellable, wanted).order_by(*best).limit(of_category)
    any_kind = _cards(_OF_SHOP).where(*sellable).order_by(*best).limit(of_shop)
    return union_all(asked_for, alike, any_kind)


def _cards(place: int) -> Select[tuple[object, ...]]:
    return select(literal(place).label("place"), *_CARD)
