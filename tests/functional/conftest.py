"""The real stack: embedded Postgres, Temporal dev server, SMTP inbox, API, worker and router as processes."""

import asyncio
import contextlib
import email
import email.policy
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError

from adapters.postgres import plans
from adapters.postgres.engine import create_engine
from adapters.postgres.tables import events, messages, runs
from adapters.settings import Settings
from adapters.temporal.plugin import journeys_plugin
from cli.stack import ports, services
from cli.stack.local import Options, Stack
from domain.operations import SkipWait
from domain.plans import validated
from testing.inspection import as_owner

T = TypeVar("T")
DEADLINE = 100.0
"""How long a test waits for something that takes a second on an idle machine."""
RUNNING = pytest.StashKey[Stack]()
"""Where the folder keeps the running stack."""


async def eventually(probe: Callable[[], Awaitable[T]], until: Callable[[T], bool] = bool, what: str = "") -> T:
    """Ask again and again until an answer satisfies, or fail with the last one."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not until(answer := await probe()):
                await asyncio.sleep(0.1)
            return answer
    except TimeoutError:
        raise AssertionError(f"never happened: {what}; last answer: {await probe()!r}") from None


@dataclass
class House:
    """The running stack, seen as a shop, a customer and a marketer see it."""

    stack: Stack
    http: httpx.AsyncClient
    engine: AsyncEngine
    temporal: Client
    store_id: str = "demo"

    async def track(self, user: str, event: str, /, message_id: str | None = None, **properties: Any) -> None:
        """Send an event and insist on the answer that promises it is safe."""
        body = {"userId": user, "event": event, "properties": properties, "messageId": message_id or uuid4().hex}
        await self._post("/v1/track", body)

    async def subscriber(self, user: str) -> None:
        """A customer with an address and consent."""
        traits = {"email": f"{user}@example.com", "firstName": "Ada", "marketing_consent": True}
        await self._post("/v1/identify", {"userId": user, "traits": traits})

    async def plan(self, journey: str, **settings: Any) -> None:
        """Override a plan."""
        await plans.put(self.engine, self.store_id, journey, validated(journey, settings), datetime.now(UTC))

    async def reminders(self, apart: str) -> None:
        """Remind of a cart after a second, and a second time; a test that needs that one asks for it."""
        steps = [
            {"name": "reminder-1", "template": "cart-reminder"},
            {"name": "reminder-2", "template": "cart-reminder-2", "delay": apart},
        ]
        await self.plan("cart-recovery", quiet="PT1S", steps=steps)

    async def mails(self, user: str) -> list[EmailMessage]:
        """What is in a customer's inbox, oldest first."""
        listing = (await self.http.get(f"{self.stack.info.inbox}/api/messages/", params={"page_size": 1000})).json()
        found = []
        for entry in sorted(listing["data"], key=lambda entry: entry["id"]):
            if f"{user}@example.com" in entry["recipients_envelope"]:
                source = (await self.http.get(f"{self.stack.info.inbox}/api/messages/{entry['id']}.eml")).content
                parsed = email.message_from_bytes(source, policy=email.policy.default)
                assert isinstance(parsed, EmailMessage)
                found.append(parsed)
        return found

    async def until_mails(self, user: str, count: int) -> list[EmailMessage]:
        """Wait for a number of mails."""
        return await eventually(lambda: self.mails(user), lambda m: len(m) >= count, f"{count} mails to {user}")

    async def journeys(self, user: str) -> list[dict[str, Any]]:
        """What the admin API says about a customer."""
        headers = {"Authorization": f"Bearer {self.stack.info.admin_key}"}
        answer = await self.http.get(f"{self.stack.info.api}/api/v1/customers/{user}/journeys", headers=headers)
        return list(answer.json()["journeys"]) if answer.status_code == 200 else []

    async def until_outcome(self, user: str, journey: str, outcome: str) -> dict[str, Any]:
        """Wait until a customer's run of a journey has an outcome."""

        async def probe() -> list[dict[str, Any]]:
            return [j for j in await self.journeys(user) if j["journey"] == journey and j["outcome"] == outcome]

        return (await eventually(probe, what=f"{journey} of {user} ends as {outcome}"))[-1]

    async def until_closed(self, workflow_id: str) -> Any:
        """Wait until Temporal has closed a run."""
        handle = self.temporal.get_workflow_handle(workflow_id)
        return await eventually(handle.describe, lambda d: d.close_time is not None, f"{workflow_id} is closed")

    async def second_reminder(self, user: str) -> None:
        """Have a customer's second reminder come due now, once the first is through; nobody races against a timer."""

        async def skipped() -> str:
            for run in await self.journeys(user):
                if run["journey"] == "cart-recovery":
                    handle = self.temporal.get_workflow_handle(run["workflow_id"])
                    # It is not in Temporal yet, or does not wait at this moment.
                    with contextlib.suppress(WorkflowUpdateFailedError, RPCError):
                        return str(await handle.execute_update("skip_wait", SkipWait(by="test")))
            return ""

        await eventually(skipped, lambda said: said == "before reminder-2", f"{user} is to be reminded again")

    async def rows(self, table: Any) -> list[Any]:
        """All rows of a table of this store."""
        async with as_owner(self.engine) as connection:
            return list((await connection.execute(select(table).where(table.c.store_id == self.store_id))).all())

    async def until_routed(self) -> None:
        """Wait until no event waits."""

        async def open_events() -> list[Any]:
            return [row for row in await self.rows(events) if row.state != "routed"]

        await eventually(open_events, lambda rows: rows == [], "every event is routed")

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        url, auth = self.stack.info.api + path, (self.stack.info.write_key, "")
        answer = await self.http.post(url, json=body, auth=auth)

        assert (answer.status_code, answer.json()) == (200, {"success": True})


@pytest.fixture(scope="session")
def metrics_ports() -> range:
    """The ports of the metrics of API, worker and router: the next after the first that is free with them."""
    while True:
        first = ports.free()
        with ExitStack() as taken, contextlib.suppress(OSError, OverflowError):
            for port in range(first, first + len(services.OURS)):
                taken.enter_context(socket.create_server((ports.HOST, port)))
            return range(first, first + len(services.OURS))


@pytest.fixture
def stack(request: pytest.FixtureRequest, metrics_ports: range) -> Stack:
    """One stack for all functional tests, with metrics; each uses customers of its own.

    It ends with the folder, not with the session: a stack that nobody asks for takes processor time from other tests.
    """
    folder = next(node for node in request.node.iter_parents() if node.path == Path(__file__).parent)
    if RUNNING not in folder.stash:
        stack = Stack(Options.throwaway(), Settings(database_url="", smtp_url=""))
        with ExitStack() as running:
            with pytest.MonkeyPatch.context() as only_here:
                only_here.setenv("JOURNEYS_METRICS_PORT", str(metrics_ports[0]))
                running.enter_context(stack)
            running.callback(folder.stash.__delitem__, RUNNING)
            folder.stash[RUNNING] = stack
            folder.addfinalizer(running.pop_all().close)
    return folder.stash[RUNNING]


@pytest.fixture
async def house(stack: Stack) -> AsyncIterator[House]:
    """The stack and everything that one looks at it with."""
    engine = create_engine(Settings(database_url=stack.info.database_url).sqlalchemy_url)
    async with httpx.AsyncClient(timeout=DEADLINE) as http:
        temporal = await Client.connect(stack.info.temporal_address, plugins=[journeys_plugin()])
        house = House(stack, http, engine, temporal)
        await house.reminders("P1D")
        yield house
    await engine.dispose()


@pytest.fixture
def customer() -> str:
    """A customer nobody else has."""
    return f"shopper-{uuid4().hex[:10]}"


__all__ = ["House", "eventually", "messages", "runs"]
