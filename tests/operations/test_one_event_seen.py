"""One event on its way from the request to the mail server, as traces and metrics show it: real parts throughout."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

import templates
from activities.deliver import Deliver
from adapters import tracing
from adapters.channels.smtp import SmtpChannel
from adapters.postgres.ledger import PostgresLedger
from adapters.rendering.renderer import TemplateRenderer
from adapters.settings import Settings
from adapters.temporal.engine import Engine
from adapters.temporal.log_context import LogContext
from adapters.temporal.plugin import journeys_plugin
from api.app import create_app
from cli.operate import system_now
from domain.errors import ConfigurationError, RecipientRejected
from domain.tokens import Signer
from testing.inspection import as_owner
from tests.adapters.channels.mail_server import MailServer, mail_server, until
from tests.conftest import Shop
from tests.operations.test_metrics import Counted
from worker.router import Router
from workflows.registry import WORKFLOWS

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
HISTORIES = Path(__file__).parents[1] / "workflows" / "histories"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with tracing.exported(exporter, "journeys-test", at_once=True):
        yield exporter


@pytest.fixture
async def inbox() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


async def test_one_trace_leads_from_the_request_to_the_mail_server(
    spans: InMemorySpanExporter,
    inbox: MailServer,
    time_skipping: WorkflowEnvironment,
    engine: AsyncEngine,
    settings: Settings,
    store: Shop,
) -> None:
    """Through the database, the router, Temporal and the worker; and it names nobody. The metrics count the same."""
    counted, task_queue = Counted(), uuid4().hex
    client = Client(**{**time_skipping.client.config(), "interceptors": tracing.temporal_interceptors()})
    router = Router(engine, Engine(client, task_queue), system_now)
    renderer = TemplateRenderer(Path(templates.__path__[0]), Signer(["a-secret-for-tests-only"]), "https://j.test")
    app = create_app(settings, system_now)
    smtp = f"smtp://localhost:{inbox.port}?starttls=0"
    async with SmtpChannel(smtp, system_now) as channel, app.router.lifespan_context(app):
        deliver = Deliver(PostgresLedger(engine), renderer, channel, system_now)
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")
        async with http, Worker(
            client,
            task_queue=task_queue,
            workflows=WORKFLOWS,
            activities=[deliver.deliver, deliver.abandon],
            interceptors=[LogContext()],
        ):  # fmt: skip
            traits = {"email": "ada@example.com", "firstName": "Ada", "marketing_consent": True}
            subscribed = {"userId": "ada-1815", "event": "Newsletter Subscribed", "properties": {"source": "footer"}}
            auth = (store.write_key, "")
            await http.post("/v1/identify", json={"userId": "ada-1815", "traits": traits}, auth=auth)
            await http.post("/v1/track", json=subscribed, auth=auth, headers={"traceparent": TRACEPARENT})
            await router.route_everything()
            await until(lambda: bool(inbox.raw), deadline=60)
            # The mail is there before the attempt that sent it has written down what became of it.
            await until(lambda: any(s.name == "RunActivity:deliver" for s in spans.get_finished_spans()), deadline=60)
            (run,) = [run async for run in listed(engine)]
            history = await client.get_workflow_handle(run).fetch_history()

    known = {span.context.span_id: span for span in spans.get_finished_spans() if span.context}
    (last,) = [span for span in known.values() if span.name == "smtp"]
    way = [step.name for step in upwards(last, known)]
    assert way[0] == "smtp"
    assert way[-1] == "POST /v1/track"
    assert {"RunActivity:deliver", "StartWorkflow:welcome", "start"} <= set(way)
    assert f"{last.context.trace_id:032x}" == TRACE
    assert any(span.name == "route" and span.context.trace_id == last.context.trace_id for span in known.values())
    told = "".join(span.to_json() for span in known.values())
    assert not any(word in told for word in ("Ada", "ada@", "ada-1815", store.write_key))

    assert counted("journeys_claims_total", journey="welcome", result="claimed") == 1
    assert counted("journeys_messages_total", journey="welcome", channel="email", result="sent") == 1
    assert counted("journeys_handovers_total", channel="email", answer="accepted") == 1
    assert counted("journeys_http_request_seconds_count", route="POST /v1/track", status="200") == 1

    # What was recorded while traces were on is replayed without them, and the other way round.
    await Replayer(workflows=WORKFLOWS, plugins=[journeys_plugin()]).replay_workflow(history)
    traced = Replayer(workflows=WORKFLOWS, plugins=[journeys_plugin()], interceptors=tracing.temporal_interceptors())
    await traced.replay_workflow(history)
    recorded = sorted((HISTORIES / "welcome").glob("*.json"))
    assert recorded
    for path in recorded:
        await traced.replay_workflow(WorkflowHistory.from_json(path.stem, path.read_text()))


async def listed(engine: AsyncEngine) -> AsyncIterator[str]:
    async with as_owner(engine) as connection:
        for row in await connection.exec_driver_sql("select workflow_id from runs"):
            yield row.workflow_id


def upwards(span: ReadableSpan, known: dict[int, ReadableSpan]) -> Iterator[ReadableSpan]:
    """A span and those that it belongs to, as far as they are ours."""
    while True:
        yield span
        if span.parent is None or span.parent.span_id not in known:
            return
        span = known[span.parent.span_id]


def test_a_span_tells_of_a_failure_its_type_and_not_its_words(spans: InMemorySpanExporter) -> None:
    """A mail server's refusal may quote the address."""
    with pytest.raises(RecipientRejected), tracing.span("smtp"):
        raise RecipientRejected(550, "no such user ada@example.com")
    (span,) = spans.get_finished_spans()

    assert span.status.description == "RecipientRejected"
    assert not span.status.is_ok
    assert not re.search(r"\bada\b", span.to_json()), "as a word: ids are hexadecimal, and so is she"


def test_traces_are_off_unless_the_standard_variables_want_them() -> None:
    """Then a span is nothing, and nothing is kept with an event."""
    disabled = {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}
    for environment in ({}, {"OTEL_TRACES_EXPORTER": "none"}, disabled):
        with tracing.traced("api", environment), tracing.span("request") as span:
            assert span is None
            assert tracing.traceparent() is None
            assert tracing.temporal_interceptors() == []
    with tracing.traced("api", {"OTEL_TRACES_EXPORTER": "console"}), tracing.span("request", parent=TRACEPARENT):
        assert str(tracing.traceparent()).startswith(f"00-{TRACE}-")
    with tracing.traced("api", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}):
        assert len(tracing.temporal_interceptors()) == 1


@pytest.mark.parametrize(
    "environment",
    [{"OTEL_TRACES_EXPORTER": "zipkin"}, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}],
)
def test_an_exporter_that_is_not_here_is_refused_by_name(environment: dict[str, str]) -> None:
    """Traces that go nowhere would be found missing only when they are needed."""
    with pytest.raises(ConfigurationError, match=next(reversed(environment))), tracing.traced("api", environment):
        pass


def test_a_header_that_is_no_traceparent_begins_a_trace_of_its_own(spans: InMemorySpanExporter) -> None:
    """Anybody may send anything."""
    with tracing.span("request", "server", parent="00-zz-1; drop table"):
        pass
    (span,) = spans.get_finished_spans()

    assert span.parent is None
