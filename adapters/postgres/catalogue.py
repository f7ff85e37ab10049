"""The catalogue as it is stored: one row for each product that anybody has told of."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.statements import built_once, one_of
from adapters.postgres.tables import products


async def listed(connection: AsyncConnection, store_id: str, product_ids: list[str]) -> Sequence[Row[Any]]:
    """Read those of these products that are known."""
    rows: Sequence[Row[Any]] = (await connection.execute(*listing(store_id, product_ids))).all()
    return rows


@built_once
def listing(store_id: str, product_ids: list[str]) -> Select[Any]:
    """Find those of these products that are known."""
    return select(products).where(products.c.store_id == store_id, one_of(products.c.product_id, product_ids))
