"""What Prometheus is told: true numbers, no names, and nothing at all unless somebody asks for a port."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from adapters import metrics
from adapters.metrics import REGISTRY
from adapters.postgres.backlog import Backlog
from adapters.postgres.identities import new_id
from adapters.postgres.ingest import EventStore
from adapters.postgres.tables import messages, runs
from adapters.settings import Settings
from adapters.temporal.runtime import runtime
from api.app import create_app
from cli.stack import ports
from domain.commands import Command
from domain.errors import ConfigurationError
from domain.events import Event, Who
from testing.inspection import as_owner
from tests.conftest import Shop, SteppedClock
from worker.router import Router


class Counted:
    """How far the counters have moved since the test began."""

    def __init__(self) -> None:
        self._before = dict(self._now())

    def __call__(self, name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return dict(self._now()).get(key, 0.0) - self._before.get(key, 0.0)

    @staticmethod
    def _now() -> Iterator[tuple[tuple[str, tuple[tuple[str, str], ...]], float]]:
        for family in REGISTRY.collect():
            for sample in family.samples:
                yield (sample.name, tuple(sorted(sample.labels.items()))), sample.value


@pytest.fixture
def counted() -> Counted:
    return Counted()


class NoTemporal:
    """Carries out nothing."""

    async def execute(self, store_id: str, command: Command) -> bool:
        return True


def told(name: str, clock: SteppedClock, customer: Any = None, **properties: Any) -> Event:
    event_id = new_id()
    who = Who(customer_id=customer) if customer else Who(user_id="ada")
    return Event(
        store_id="mugs", id=event_id, message_id=str(event_id), type="track", name=name, who=who,
        payload={"type": "track", "event": name, "properties": properties}, at=clock(), received_at=clock(),
    )  # fmt: skip


async def test_events_are_counted_at_the_door_and_when_they_are_applied(
    engine: AsyncEngine, store: Shop, clock: SteppedClock, counted: Counted
) -> None:
    """New and repeated ones apart; by the name that they are understood as, and `other` for a name nobody knows."""
    door, router = EventStore(engine), Router(engine, NoTemporal(), clock)
    added = told("productAdded", clock, product_id="mug", price=3)
    await door.accept([added, told("Moon Landing by ada@example.com", clock)])
    await door.accept([added._replace(id=new_id())])
    clock.advance(timedelta(seconds=20))
    await router.route_everything()

    assert counted("journeys_events_total", type="track", result="stored") == 2
    assert counted("journeys_events_total", type="track", result="known") == 1
    assert counted("journeys_events_applied_total", event="Product Added") == 1
    assert counted("journeys_events_applied_total", event="other") == 1
    assert counted("journeys_event_apply_seconds_sum") == 40
    assert counted("journeys_runs_begun_total", journey="cart-recovery") == 1
    assert b"ada" not in generate_latest(REGISTRY)


async def test_what_comes_back_counts_only_if_we_say_so_ourselves(
    engine: AsyncEngine, store: Shop, clock: SteppedClock, counted: Counted
) -> None:
    """A client that holds a write key cannot ring the bounce alarm."""
    door, router = EventStore(engine), Router(engine, NoTemporal(), clock)
    await door.accept([told("Product Viewed", clock, product_id="mug")])
    await router.route_everything()
    async with as_owner(engine) as connection:
        customer = (await connection.exec_driver_sql("select customer_id from customers")).scalar_one()
    await door.accept(
        [told("Email Bounced", clock, bounce="gone"), told("Email Bounced", clock, customer, bounce="gone")]
    )
    await door.accept([told("Email Complained", clock, customer, bounce="complained")])
    await router.route_everything()

    assert counted("journeys_feedback_total", kind="gone") == 1
    assert counted("journeys_feedback_total", kind="complained") == 1


async def test_what_waits_is_read_when_somebody_asks(
    engine: AsyncEngine, settings: Settings, store: Shop, clock: SteppedClock
) -> None:
    """Open events and their age, open runs by journey, messages that the provider has; all stores together."""
    await EventStore(engine).accept([told("Product Viewed", clock), told("Product Viewed", clock)])
    row = {
        "store_id": "mugs", "customer_id": new_id(), "plan_version": 0, "since": clock(), "begun_at": clock(),
        "expires_at": clock(),
    }  # fmt: skip
    message = {
        "store_id": "mugs", "run_id": new_id(), "customer_id": new_id(), "journey": "welcome", "template": "t",
        "transactional": False, "claimed_at": clock(),
    }  # fmt: skip
    async with as_owner(engine) as connection:
        journeys = ("welcome", "follow-up/ada", "follow-up/bob")
        begun = [row | {"run_id": new_id(), "workflow_id": name, "journey": name} for name in journeys]
        await connection.execute(insert(runs), [*begun, begun[0] | {"run_id": new_id(), "workflow_id": "w"}])
        states = ("sending", "sending", "sent", "claimed")
        sent = [message | {"message_id": new_id(), "step": str(n), "state": s} for n, s in enumerate(states)]
        await connection.execute(insert(messages), sent)
    clock.advance(timedelta(minutes=6))

    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in Backlog(settings.psycopg_url, clock).collect()
        for sample in family.samples
    }
    assert found == {
        ("journeys_database_up",): 1,
        ("journeys_events_open", "pending"): 2,
        ("journeys_events_open", "applied"): 0,
        ("journeys_events_open", "parked"): 0,
        ("journeys_events_oldest_seconds", "pending"): 360,
        ("journeys_events_oldest_seconds", "applied"): 0,
        ("journeys_events_oldest_seconds", "parked"): 0,
        ("journeys_runs_open", "welcome"): 2,
        ("journeys_runs_open", "follow-up"): 2,
        ("journeys_messages_open", "claimed"): 1,
        ("journeys_messages_open", "sending"): 2,
        ("journeys_messages_oldest_seconds", "claimed"): 360,
        ("journeys_messages_oldest_seconds", "sending"): 360,
    }


def test_while_the_database_is_away_there_are_no_numbers_instead_of_old_ones(clock: SteppedClock) -> None:
    """An alert on a queue must not be calmed by what it was an hour ago."""
    nowhere = f"postgresql://journeys@127.0.0.1:{ports.free()}/journeys"
    samples = [s for family in Backlog(nowhere, clock).collect() for s in family.samples]

    assert [(sample.name, sample.value) for sample in samples] == [("journeys_database_up", 0)]


async def test_a_process_answers_prometheus_on_the_port_it_was_given_until_it_ends(clock: SteppedClock) -> None:
    """Also what is only asked at a scrape; afterwards the port is free, and nothing is asked any more."""
    nowhere = f"postgresql://journeys@127.0.0.1:{ports.free()}/journeys"
    port = ports.free()
    with metrics.served("127.0.0.1", port, Backlog(nowhere, clock)):
        async with httpx.AsyncClient() as http:
            page = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
        with pytest.raises(ConfigurationError, match="JOURNEYS_METRICS_PORT"), metrics.served("127.0.0.1", port):
            pass
    families = {family.name for family in text_string_to_metric_families(page)}

    assert {"journeys_database_up", "journeys_events", "process_cpu_seconds", "journeys_claims"} <= families
    assert not ports.answers(port)
    with metrics.served("127.0.0.1", None):
        assert not ports.answers(port)


async def test_temporal_s_own_metrics_have_a_port_of_their_own() -> None:
    """Those of its SDK, which knows latencies and slots that we do not."""
    port = ports.free()
    client = await Client.connect(
        f"127.0.0.1:{ports.free()}", lazy=True, runtime=runtime(Settings(temporal_metrics_port=port))
    )
    with pytest.raises(RuntimeError):
        await client.service_client.check_health(retry=False, timeout=timedelta(seconds=1))
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"http://127.0.0.1:{port}/metrics")).status_code == 200


async def test_requests_are_counted_by_route_and_not_by_path(
    settings: Settings, store: Shop, clock: SteppedClock, counted: Counted
) -> None:
    """An address may hold a customer's name, and would make a series of its own; and metrics are not on the API."""
    app = create_app(settings, clock)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as http,
    ):
        headers = {"Authorization": f"Bearer {store.admin_key}"}
        await http.get("/api/v1/customers/ada@example.com/journeys", headers=headers)
        await http.get("/no/such/ada@example.com")
        published = await http.get("/metrics")
    route = "GET /api/v1/customers/{customer:path}/journeys"

    assert counted("journeys_http_request_seconds_count", route=route, status="404") == 1
    assert counted("journeys_http_request_seconds_count", route="unknown", status="404") == 2
    assert published.status_code == 404
