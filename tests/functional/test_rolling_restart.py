"""A rolling restart under load, as deploy/kubernetes does it: nobody notices; nothing is lost, doubled or repeated.

Two of each process. One after the other: a new one is started, an old one is told to end by SIGTERM. Before that, an
API is taken out of the rotation, as a proxy does when its endpoint goes; requests that it has begun to read go on.
"""

import asyncio
import base64
import contextlib
import dataclasses
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text
from temporalio.api.enums.v1 import EventType, TimeoutType

from adapters.postgres.tables import events, identities, messages, runs
from cli.stack import ports
from cli.stack.processes import Child
from testing.inspection import as_owner
from tests.functional.conftest import House, eventually
from worker.main import GRACE

MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}
KINDS = ("worker", "router", "api")
ENDED = text(
    "select count(*) from runs join identities using (store_id, customer_id) "
    "where kind = 'user' and value like :mine and ended_at is not null"
)
PACE_S = 0.7
"""A new customer every so often."""


class Fleet:
    """The processes: those of the stack, and others beside them."""

    def __init__(self, house: House, directory: Path, smtp: str) -> None:
        self._house = house
        self._directory = directory
        self._smtp = smtp
        self.rotation = [house.stack.info.api]
        self.busy = dict.fromkeys(self.rotation, 0)

    def another(self, kind: str, name: str) -> Child:
        """Make one more process of a kind, with the settings of the stack's own."""
        program = self._house.stack.program(kind)
        env = {**program.env, "SMTP_URL": self._smtp}
        env.pop("JOURNEYS_METRICS_PORT", None)
        ready = program.ready
        if kind == "api":
            port = ports.free()
            env["JOURNEYS_API_PORT"] = str(port)
            ready = lambda: ports.answers(port)  # noqa: E731
        return Child(dataclasses.replace(program, name=name, env=env, ready=ready, log=self._directory / f"{name}.log"))

    def own(self, kind: str) -> Child:
        """The stack's own process of a kind."""
        part = self._house.stack._supervisor.parts[kind]
        assert isinstance(part, Child)
        return part

    async def joined_by(self, children: Mapping[str, Child]) -> None:
        """Start processes, and let the API among them have requests."""
        for child in children.values():
            child.launch()
        for child in children.values():
            await asyncio.to_thread(child.wait)
        url = ports.url(int(children["api"].program.env["JOURNEYS_API_PORT"]))
        self.rotation.append(url)
        self.busy.setdefault(url, 0)

    async def leave(self, child: Child) -> None:
        """Give an API no more requests; those that were on their way to it arrive."""
        url = ports.url(int(child.program.env["JOURNEYS_API_PORT"]))
        self.rotation.remove(url)

        async def idle() -> bool:
            return self.busy[url] == 0

        await eventually(idle, what="the API has what was sent to it")


class Shop:
    """The shop, whose customers come at a steady pace for as long as somebody watches."""

    def __init__(self, house: House, fleet: Fleet, name: str) -> None:
        self._house, self._fleet, self._name = house, fleet, name
        self.customers: list[str] = []
        self.closing = asyncio.Event()
        # Each request comes by a connection of its own, as from a crowd.
        self._http = httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))

    async def open(self) -> None:
        """Let customers fill their carts until the shop closes."""
        async with self._http, asyncio.TaskGroup() as visits:
            while not self.closing.is_set():
                user = f"{self._name}-{len(self.customers)}"
                self.customers.append(user)
                visits.create_task(self._visit(user))
                await asyncio.sleep(PACE_S)

    async def has_more(self, count: int) -> None:
        """Wait until so many more customers have come."""
        enough = len(self.customers) + count

        async def come() -> int:
            return len(self.customers)

        await eventually(come, lambda now: now >= enough, "more customers have come")

    async def _visit(self, user: str) -> None:
        traits = {"email": f"{user}@example.com", "firstName": "Ada", "marketing_consent": True}
        await self._told("/v1/identify", {"userId": user, "traits": traits})
        await self._told("/v1/track", {"userId": user, "event": "Product Added", "properties": MUG})

    async def _told(self, path: str, body: dict[str, object]) -> None:
        """Send it once, to whoever listens; only a refused connection is tried elsewhere, as a proxy would."""
        while True:
            api = self._fleet.rotation[len(self.customers) % len(self._fleet.rotation)]
            self._fleet.busy[api] += 1
            try:
                answer = await self._http.post(api + path, json=body, auth=(self._house.stack.info.write_key, ""))
            except httpx.ConnectError:
                continue
            finally:
                self._fleet.busy[api] -= 1
            assert (answer.status_code, answer.json()) == (200, {"success": True})
            return

    async def slow(self, api: str, half_way: asyncio.Event, go_on: asyncio.Event) -> bytes:
        """Send an event in two halves; return the first line of the answer."""
        url = urlsplit(api)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        event = {"userId": f"{self._name}-slow", "event": "Product Viewed", "messageId": uuid4().hex}
        body = json.dumps(event).encode()
        key = base64.b64encode(f"{self._house.stack.info.write_key}:".encode()).decode()
        head = f"POST /v1/track HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Basic {key}\r\n"
        # Its word to go on says that the API reads it; before, it may be in a queue that ends with the process.
        writer.write(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body[:20])
        await writer.drain()
        half_way.set()
        await go_on.wait()
        writer.write(body[20:])
        answer = await reader.readline()
        writer.close()
        return answer


async def retired(child: Child, fleet: Fleet, shop: Shop) -> None:
    """End a process as Kubernetes does, and insist that it ends by itself, and well."""
    process, kind = child._process, child.program.argv[-1]
    assert process is not None
    slow, go_on = [], asyncio.Event()
    if kind == "api":
        halves = [asyncio.Event() for _ in range(3)]
        api = ports.url(int(child.program.env["JOURNEYS_API_PORT"]))
        slow = [asyncio.create_task(shop.slow(api, half, go_on)) for half in halves]
        await asyncio.gather(*(half.wait() for half in halves))
        await fleet.leave(child)
    process.send_signal(signal.SIGTERM)
    if slow:

        async def closed() -> bool:
            return not await asyncio.to_thread(ports.answers, int(child.program.env["JOURNEYS_API_PORT"]))

        await eventually(closed, what="the API takes no more connections")
        go_on.set()
        assert await asyncio.gather(*slow) == [b"HTTP/1.1 200 OK\r\n"] * len(slow)
    code = await asyncio.wait_for(asyncio.to_thread(process.wait), GRACE.total_seconds())
    assert code == 0, child.program.log.read_text(encoding="utf-8")[-2000:]
    child._process = None


@contextlib.asynccontextmanager
async def slowly_to(inbox: str) -> AsyncIterator[str]:
    """A mail server that thinks about each of its answers, so that some message is always under way."""
    url = urlsplit(inbox)

    async def passed_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, pause_s: float) -> None:
        with contextlib.suppress(ConnectionError):
            while said := await source.read(65_536):
                await asyncio.sleep(pause_s)
                target.write(said)
                await target.drain()
        target.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, words = await asyncio.open_connection(url.hostname, url.port)
        await asyncio.gather(passed_on(reader, words, 0), passed_on(answers, writer, 0.25))

    async with await asyncio.start_server(talk, ports.HOST) as server:
        yield f"smtp://{ports.HOST}:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
async def fleet(house: House, tmp_path: Path) -> AsyncIterator[Fleet]:
    """The stack, whose own processes run again afterwards; the others send mail by a slow server."""
    with ExitStack() as afterwards:
        for kind in KINDS:
            afterwards.callback(house.stack.start, kind)
        await house.reminders("PT6S")
        async with slowly_to(house.stack.info.smtp) as smtp:
            yield Fleet(house, tmp_path, smtp)
        await house.reminders("P1D")


async def test_a_rolling_restart_under_load_is_not_noticed(house: House, fleet: Fleet, customer: str) -> None:
    """Every request is answered with 200, every process ends by itself with 0, every message is sent once (G1, G3).

    And no attempt of an activity is lost: each is the first.
    """
    second = {kind: fleet.another(kind, f"second-{kind}") for kind in KINDS}
    third = {kind: fleet.another(kind, f"third-{kind}") for kind in KINDS}
    shop = Shop(house, fleet, customer)
    with ExitStack() as running:
        for child in (*second.values(), *third.values()):
            running.callback(child.kill)
        await fleet.joined_by(second)
        load = asyncio.create_task(shop.open())
        own = {kind: fleet.own(kind) for kind in KINDS}
        for new, old in ((third, own), (own, second)):
            await fleet.joined_by(new)
            for kind in KINDS:
                # However quickly processes end here, each of them has customers.
                await shop.has_more(2)
                await retired(old[kind], fleet, shop)
        shop.closing.set()
        await load

        async def ended() -> int:
            async with as_owner(house.engine) as connection:
                return await connection.scalar(ENDED, {"mine": f"{customer}-%"}) or 0

        await eventually(ended, lambda count: count >= len(shop.customers), "every customer's journey has ended")
        await asyncio.gather(*(retired(third[kind], fleet, shop) for kind in KINDS))

    ids = await shop_customers(house, shop.customers)
    assert len(ids) == len(shop.customers) > 10
    mine = {
        row.run_id: row
        for row in await house.rows(runs)
        if str(row.customer_id) in ids and row.journey == "cart-recovery"
    }
    assert {row.outcome for row in mine.values()} == {"completed"}
    told = [row for row in await house.rows(events) if (row.user_id or "").startswith(customer)]
    assert {(row.state, row.attempts) for row in told} == {("routed", 0)}
    sent = sorted((row.run_id, row.step, row.state) for row in await house.rows(messages) if row.run_id in mine)
    assert sent == sorted((run, step, "sent") for run in mine for step in ("reminder-1", "reminder-2"))
    await each_mail_is_there_once(house, customer, 2 * len(ids))
    for row in mine.values():
        await every_attempt_was_the_first(house, row.workflow_id)


async def shop_customers(house: House, users: list[str]) -> set[str]:
    """The ids of the customers."""
    return {str(row.customer_id) for row in await house.rows(identities) if row.value in set(users)}


async def each_mail_is_there_once(house: House, customer: str, count: int) -> None:
    """The inbox of the shop's customers."""
    mails, pages = 0, 1
    while pages:
        inbox = f"{house.stack.info.inbox}/api/messages/"
        listing = (await house.http.get(inbox, params={"page": pages, "page_size": 100})).json()
        mails += sum(to.startswith(customer) for mail in listing["data"] for to in mail["recipients_envelope"])
        pages = pages + 1 if pages < listing["meta"]["pages_total"] else 0
    assert mails == count


async def every_attempt_was_the_first(house: House, workflow_id: str) -> None:
    """No attempt was lost to a timeout or given up by a worker that ended, neither local nor queued."""
    history = await house.temporal.get_workflow_handle(workflow_id).fetch_history()
    begun = [e for e in history.events if e.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED]
    attempts = [e.activity_task_started_event_attributes for e in begun]
    assert [(a.attempt, str(a.last_failure.message)) for a in attempts] == [(1, "")] * len(attempts)
    local = [e for e in history.events if e.event_type == EventType.EVENT_TYPE_MARKER_RECORDED]
    failures = [e.marker_recorded_event_attributes.failure for e in local]
    waited = TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
    assert local
    assert [f for f in failures if f.message and f.cause.timeout_failure_info.timeout_type != waited] == []
