"""A mail that was sent to one customer of one shop, and the links in it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.tables import customers, events, messages, stores
from domain.events import Event, Who
from domain.tokens import Purpose, Signer
from testing.inspection import as_owner

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
ADDRESS = "jane.doe@example.com"
URLS = ("https://shop.example/cart?ref=jn_1", "https://shop.example/p/42?q=a%20b&ref=jn_1#reviews")


@dataclass(frozen=True)
class Mail:
    """A mail that was sent, and the tokens of its links."""

    engine: AsyncEngine
    signer: Signer
    store_id: str
    customer_id: UUID
    message_id: UUID

    def token(self, purpose: Purpose, link: int = 0) -> str:
        return self.signer.token(self.message_id, purpose, link)

    async def events(self) -> list[Event]:
        """Read what was stored for this shop, oldest first."""
        query = select(events).where(events.c.store_id == self.store_id).order_by(events.c.id)
        async with as_owner(self.engine) as connection:
            rows = (await connection.execute(query)).mappings().all()
        whose = [Who(**{name: row[name] for name in Who._fields}) for row in rows]
        own = [name for name in Event._fields if name not in {"who", "kept"}]
        return [Event(**{name: row[name] for name in own}, who=who) for row, who in zip(rows, whose, strict=True)]

    async def properties(self) -> list[dict[str, Any]]:
        """Read the properties of what was stored, oldest first."""
        return [event.payload["properties"] for event in await self.events()]


async def seed(engine: AsyncEngine, store_name: str = "Blue Teapot", urls: tuple[str, ...] = URLS) -> Mail:
    """Write a shop of its own, so that no test sees another's rows."""
    mail = Mail(engine, Signer(["a secret of the tests"]), f"shop-{uuid4().hex[:12]}", uuid4(), uuid4())
    store = {"name": store_name, "url": "https://shop.example", "sender_email": "hi@shop.example", "sender_name": "B"}
    sent = {"journey": "cart-recovery", "step": "reminder-1", "template": "cart-reminder", "state": "sent"}
    async with as_owner(engine) as connection:
        await connection.execute(insert(stores).values(store_id=mail.store_id, created_at=NOON, **store))
        customer = {"store_id": mail.store_id, "customer_id": mail.customer_id}
        await connection.execute(insert(customers).values(**customer, email=ADDRESS, created_at=NOON))
        message = {**customer, **sent, "message_id": mail.message_id, "run_id": uuid4(), "address": ADDRESS}
        row = {**message, "transactional": False, "urls": list(urls), "claimed_at": NOON, "sending_at": NOON}
        await connection.execute(insert(messages).values(row))
    return mail
