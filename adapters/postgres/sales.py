"""Sales: how often each product was sold, for the best sellers.

Every order touches the rows of popular products, so they are written once per batch, last and in one order: two
batches may then wait for each other, but never in a circle.
"""

from collections import Counter
from itertools import groupby

from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.postgres.tables import products
from adapters.postgres.tenancy import act_as

Sales = Counter[tuple[str, str]]
"""Units sold by store and product."""


async def write(connection: AsyncConnection, sales: Sales) -> None:
    """Add the units of a batch, store by store."""
    for store_id, sold in groupby(sorted(sales.items()), key=lambda units: units[0][0]):
        await act_as(connection, store_id)
        rows = [
            {"store_id": store_id, "product_id": product_id, "sold": units, "told_at": {}}
            for (_, product_id), units in sold
        ]
        statement = upsert(products).values(rows)
        more = {"sold": products.c.sold + statement.excluded.sold}
        key = [products.c.store_id, products.c.product_id]
        await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=more))
