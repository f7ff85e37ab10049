"""The metrics: every number that a process of ours tells Prometheus, in one list (docs/operating.md explains each).

Labels have few values and name nobody: no store, no customer, no step, no address. A journey that a store made of a
plan counts as `follow-up`. What only the database knows is read at each scrape instead (adapters/postgres/backlog.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.registry import Collector

from domain.bounces import Kind
from domain.errors import ConfigurationError
from domain.plans import PLANS
from domain.vocabulary import ALIASES

REGISTRY = CollectorRegistry()
"""Ours alone, so that no library adds to it unasked."""
for _collector in (ProcessCollector, PlatformCollector, GCCollector):
    _collector(registry=REGISTRY)

_FAST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW_S = (0.1, 0.5, 1, 2.5, 5, 15, 30, 60, 120, 300, 900)

HTTP_SECONDS = Histogram(
    "journeys_http_request_seconds",
    "How long a request to the API took, by route and status.",
    ["route", "status"],
    buckets=_FAST_S,
    registry=REGISTRY,
)
EVENTS = Counter(
    "journeys_events_total",
    "Events that the API was told and answered with 200: new ones (stored), and repeated ones (known).",
    ["type", "result"],
    registry=REGISTRY,
)
COMMIT_SECONDS = Histogram(
    "journeys_ingest_commit_seconds",
    "How long the commit of events took that came in together.",
    buckets=_FAST_S,
    registry=REGISTRY,
)
APPLIED = Counter(
    "journeys_events_applied_total",
    "Events that the router has applied, by the name that they are understood as.",
    ["event"],
    registry=REGISTRY,
)
APPLY_SECONDS = Histogram(
    "journeys_event_apply_seconds",
    "How long events waited between their commit and the commit that applied them.",
    buckets=_SLOW_S,
    registry=REGISTRY,
)
EVENT_FAILURES = Counter(
    "journeys_event_failures_total",
    "Events that failed by themselves: tried again later (retried), or given up (parked).",
    ["outcome"],
    registry=REGISTRY,
)
TROUBLES = Counter(
    "journeys_router_troubles_total",
    "How often the router had to wait for a part that was down, by part.",
    ["part"],
    registry=REGISTRY,
)
RUNS_BEGUN = Counter("journeys_runs_begun_total", "Runs begun.", ["journey"], registry=REGISTRY)
RUNS_ENDED = Counter("journeys_runs_ended_total", "Runs ended, by outcome.", ["journey", "outcome"], registry=REGISTRY)
CLAIMS = Counter(
    "journeys_claims_total",
    "Answers to steps that asked to send: claimed, or why not.",
    ["journey", "result"],
    registry=REGISTRY,
)
MESSAGES = Counter(
    "journeys_messages_total",
    "What became of claimed messages: sent, bounced, failed, unknown.",
    ["journey", "channel", "result"],
    registry=REGISTRY,
)
HANDOVERS = Counter(
    "journeys_handovers_total",
    "Attempts to hand a message to the provider, by its answer: accepted, rejected, unavailable, unknown.",
    ["channel", "answer"],
    registry=REGISTRY,
)
HANDOVER_SECONDS = Histogram(
    "journeys_handover_seconds",
    "How long a message took to hand over, waiting for a free connection included.",
    ["channel"],
    buckets=_SLOW_S,
    registry=REGISTRY,
)
FEEDBACK = Counter(
    "journeys_feedback_total",
    "What came back for messages that had been accepted, by kind: gone, not_now, refused, delivered, complained.",
    ["kind"],
    registry=REGISTRY,
)

# A counter that first appears with its first event looks to Prometheus as if that had not happened.
for _journey in (*PLANS, "follow-up"):
    RUNS_BEGUN.labels(_journey)
    for _result in ("sent", "bounced", "failed", "unknown"):
        MESSAGES.labels(_journey, "email", _result)
for _answer in ("accepted", "rejected", "unavailable", "unknown"):
    HANDOVERS.labels("email", _answer)
for _kind in Kind:
    if _kind is not Kind.DELAYED:
        FEEDBACK.labels(_kind.value)
for _part in ("database", "temporal", "lane"):
    TROUBLES.labels(_part)
for _outcome in ("retried", "parked"):
    EVENT_FAILURES.labels(_outcome)
for _name in ALIASES:
    APPLIED.labels(_name)


def journey_label(journey: str) -> str:
    """Return the journey without the name that a store gave to its own version."""
    return journey.partition("/")[0]


@contextmanager
def served(host: str, port: int | None, *collectors: Collector) -> Iterator[None]:
    """Answer Prometheus on a port of its own for the length of the block; None does not.

    Args:
        host: The address to listen on.
        port: The port.
        collectors: What else is asked at each scrape.

    Raises:
        ConfigurationError: The port cannot be listened on.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, host, registry=REGISTRY)
    except OSError as problem:
        raise ConfigurationError(f"JOURNEYS_METRICS_PORT: cannot listen on {host}:{port}: {problem}") from problem
    for collector in collectors:
        REGISTRY.register(collector)
    try:
        yield
    finally:
        for collector in collectors:
            REGISTRY.unregister(collector)
        server.shutdown()
        server.server_close()
        thread.join()
