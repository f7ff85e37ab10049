"""No table holds the whole IP address of a customer, by whichever door it came, but for evidence on request."""

from typing import Any

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import retention_policies
from adapters.postgres.tables import consents, events, metadata
from adapters.postgres.tenancy import as_store
from domain.retention import RetentionPolicy
from testing.inspection import as_owner
from tests.conftest import Shop, SteppedClock
from worker.router import Router

V4, V6 = "203.0.113.77", "2001:db8:85a3:8d3:1319:8a2e:370:7348"
BROWSER = {"origin": "https://mugs.test"}


class Nobody:
    """Carries out nothing."""

    async def execute(self, store_id: str, command: object) -> bool:
        return True


async def told(app: Any, store: Shop, peer: str) -> None:
    """Send what can hold an address to every door, from an address."""
    transport = httpx.ASGITransport(app, client=(peer, 4321), raise_app_exceptions=False)
    auth = httpx.BasicAuth(store.write_key, "")
    context = {"ip": peer, "device": {"lastSeenIp": peer}}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("/v1/identify", {"userId": "ada", "traits": {"newsletter": True, "ip_address": peer}, "context": context}),
        ("/v1/track", {"userId": "ada", "event": "Product Viewed", "properties": {"product_id": "1", "ip": peer}}),
        ("/v1/track", {"userId": "ada", "event": "Newsletter Subscribed", "context": {"direct": True}}),
        ("/v1/page", {"userId": "ada", "name": "Home", "properties": {"X-Forwarded-For": f"{peer}, 192.0.2.1"}}),
        ("/v1/batch", {"batch": [{"type": "track", "event": "X", "userId": "ada", "request_ip": peer, "context": {}}]}),
        ("/track/view", {"user_id": "ada", "product_id": "1", "ip_address": peer}),
    ]  # fmt: skip
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", auth=auth, headers=BROWSER) as client:
        for path, body in calls:
            answer = await client.post(path, json=body)
            assert answer.status_code == 200, (path, answer.text)


async def found(engine: AsyncEngine, address: str) -> set[str]:
    """Search every column of every table, whatever is added to the schema."""
    async with as_owner(engine) as connection:
        return {
            table.name
            for table in metadata.sorted_tables
            for row in (await connection.execute(text(f"select t::text from {table.name} t"))).scalars()  # noqa: S608
            if address in row
        }


@pytest.mark.parametrize(("address", "short"), [(V4, "203.0.113.0"), (V6, "2001:db8:85a3::")])
async def test_no_table_holds_a_whole_address(
    app: Any, store: Shop, engine: AsyncEngine, clock: SteppedClock, address: str, short: str
) -> None:
    """Neither as it was told, nor as it was seen, nor as evidence."""
    await told(app, store, address)
    await Router(engine, Nobody(), clock).route_everything()

    assert await found(engine, address) == set()
    async with as_owner(engine) as connection:
        assert set((await connection.execute(select(events.c.ip))).scalars()) == {short}
        assert set((await connection.execute(select(consents.c.ip))).scalars()) == {short}


async def test_a_store_may_keep_the_address_of_consent_and_of_nothing_else(
    app: Any, store: Shop, engine: AsyncEngine, clock: SteppedClock
) -> None:
    """Whole in the ledger and in the column of the event that told it; no payload and no other event has it."""
    async with as_store(engine, store.store_id) as connection:
        policy = RetentionPolicy(consent_ip="full")
        await retention_policies.put(connection, store.store_id, policy, "cli:ops", clock())
    await told(app, store, V4)
    await Router(engine, Nobody(), clock).route_everything()

    assert await found(engine, V4) == {"events", "consents"}
    async with as_owner(engine) as connection:
        assert set((await connection.execute(select(consents.c.ip))).scalars()) == {V4}
        rows = (await connection.execute(select(events.c.type, events.c.name, events.c.ip, events.c.payload))).all()
    assert {(row.type, row.name) for row in rows if row.ip == V4} == {
        ("identify", None), ("track", "Newsletter Subscribed")
    }  # fmt: skip
    assert not [row for row in rows if V4 in str(row.payload)]
