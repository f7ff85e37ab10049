"""The waiting list of a product: waves are chosen first come first served, as far as the stock goes."""

from collections.abc import Sequence
from datetime import datetime
from math import floor

from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import runs as run_rows
from adapters.postgres.tables import products, runs, waitlist
from domain.facts import ProductWithdrawn, StockReleased
from domain.ports import Wave
from domain.runs import Outcome


class PostgresWaitlist:
    """Implements `domain.ports.Waitlist`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def next_wave(self, store_id: str, product_id: str, ratio: float, now: datetime) -> Wave:
        about = and_(waitlist.c.store_id == store_id, waitlist.c.product_id == product_id)
        waiting = and_(about, waitlist.c.told_at.is_(None), waitlist.c.left_at.is_(None))
        async with self._engine.begin() as connection:
            product = (
                await connection.execute(
                    select(products.c.stock, products.c.withdrawn).where(
                        products.c.store_id == store_id, products.c.product_id == product_id
                    )
                )
            ).one_or_none()
            count = await connection.scalar(select(func.count()).select_from(waitlist).where(waiting)) or 0
            fact: StockReleased | ProductWithdrawn
            if product is None or not count:
                return Wave(workflow_ids=(), waiting=count)
            if product.withdrawn:
                size, fact = count, ProductWithdrawn(at=now, product_id=product_id)
            elif (product.stock or 0) > 0:
                size, fact = max(1, floor(product.stock * ratio)), StockReleased(at=now, product_id=product_id)
            else:
                return Wave(workflow_ids=(), waiting=count)
            unfinished = and_(waiting, waitlist.c.chosen_at.is_not(None))
            chosen = select(waitlist.c.customer_id).where(unfinished)
            if (await connection.execute(chosen.limit(1))).first() is None:
                queue = select(waitlist.c.customer_id).where(waiting).limit(size)
                first = queue.order_by(waitlist.c.asked_at, waitlist.c.customer_id)
                choose = update(waitlist).where(about, waitlist.c.customer_id.in_(first.scalar_subquery()))
                await connection.execute(choose.values(chosen_at=now))
            chosen_now = (await connection.execute(chosen)).scalars().all()
            open_runs = select(runs.c.workflow_id).where(
                runs.c.store_id == store_id,
                runs.c.product_id == product_id,
                runs.c.ended_at.is_(None),
                runs.c.customer_id.in_(chosen_now),
            )
            found = (await connection.execute(open_runs)).scalars().all()
            if len(found) < len(chosen_now):
                # Whoever waits without a run (it was ended by hand) must not hold the queue up.
                gone = update(waitlist).where(about, waitlist.c.customer_id.in_(chosen_now))
                has_run = select(runs.c.customer_id).where(
                    runs.c.store_id == store_id, runs.c.product_id == product_id, runs.c.ended_at.is_(None)
                )
                await connection.execute(gone.where(waitlist.c.customer_id.not_in(has_run)).values(left_at=now))
            return Wave(workflow_ids=tuple(found), fact=fact, waiting=count - len(chosen_now))

    async def wave_told(self, store_id: str, product_id: str, workflow_ids: Sequence[str], now: datetime) -> None:
        async with self._engine.begin() as connection:
            told = select(runs.c.run_id, runs.c.customer_id).where(
                runs.c.store_id == store_id, runs.c.workflow_id.in_(workflow_ids), runs.c.ended_at.is_(None)
            )
            rows = (await connection.execute(told)).all()
            change = update(waitlist).where(
                waitlist.c.store_id == store_id,
                waitlist.c.product_id == product_id,
                waitlist.c.customer_id.in_([row.customer_id for row in rows]),
            )
            await connection.execute(change.values(told_at=now))
            withdrawn = await connection.scalar(
                select(products.c.withdrawn).where(products.c.store_id == store_id, products.c.product_id == product_id)
            )
            if withdrawn:
                for row in rows:
                    await run_rows.end(connection, store_id, row.run_id, Outcome.WITHDRAWN, "withdrawn", now)
