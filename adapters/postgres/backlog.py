"""What waits, read at each scrape: open events, open runs, messages under way (all stores; numbers only).

Each number stands in an index of what is open, so a scrape costs the same however much has been settled. Nothing is
remembered: while the database is away there are no numbers, instead of old ones.
"""

from collections.abc import Iterator
from datetime import datetime

import psycopg
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from adapters.metrics import journey_label
from adapters.postgres.tenancy import ACROSS
from domain.ports import Clock

_EVENTS = """
    select state, count(*), min(received_at) from events where state in ('pending', 'applied') group by state
    union all
    select 'parked', count(*), min(received_at) from events where state = 'parked'
"""
_RUNS = "select journey, count(*) from runs where ended_at is null group by journey"
_MESSAGES = """
    select state, count(*), min(coalesce(sending_at, claimed_at)) from messages
    where state in ('claimed', 'sending') group by state
"""
_PATIENCE = "-c statement_timeout=5s -c timezone=UTC"


class Backlog(Collector):
    """Ask the database what waits, whenever Prometheus asks us.

    Args:
        url: The database, as psycopg takes it.
        clock: Tells how old the oldest is.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the metrics without asking anybody."""
        return iter(_Families().all())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read them."""
        families = _Families()
        try:
            # A connection for each scrape: the scraping thread belongs to nobody, and once in 15 seconds it is cheap.
            with psycopg.connect(self._url, connect_timeout=3, options=_PATIENCE, autocommit=True) as connection:
                connection.execute(f"set role {ACROSS}")
                self._read(connection, families)
        except psycopg.Error:
            families = _Families()
            families.up.add_metric([], 0)
            return iter([families.up])
        families.up.add_metric([], 1)
        return iter(families.all())

    def _read(self, connection: psycopg.Connection, families: "_Families") -> None:
        now = self._clock()
        depth = {state: (count, oldest) for state, count, oldest in connection.execute(_EVENTS)}
        for state in ("pending", "applied", "parked"):
            count, oldest = depth.get(state, (0, None))
            families.events.add_metric([state], count)
            families.events_age.add_metric([state], _age(oldest, now))
        journeys: dict[str, int] = {}
        for journey, count in connection.execute(_RUNS):
            journeys[journey_label(journey)] = journeys.get(journey_label(journey), 0) + count
        for journey, count in sorted(journeys.items()):
            families.runs.add_metric([journey], count)
        under_way = {state: (count, oldest) for state, count, oldest in connection.execute(_MESSAGES)}
        for state in ("claimed", "sending"):
            count, oldest = under_way.get(state, (0, None))
            families.messages.add_metric([state], count)
            families.messages_age.add_metric([state], _age(oldest, now))


class _Families:
    """The metrics of one scrape."""

    def __init__(self) -> None:
        self.up = GaugeMetricFamily("journeys_database_up", "Whether the database answered this scrape.")
        self.events = GaugeMetricFamily(
            "journeys_events_open",
            "Events that wait for the router (pending), for Temporal (applied) or for somebody (parked).",
            labels=["state"],
        )
        self.events_age = GaugeMetricFamily(
            "journeys_events_oldest_seconds", "How long the oldest of them has waited.", labels=["state"]
        )
        self.runs = GaugeMetricFamily("journeys_runs_open", "Runs under way.", labels=["journey"])
        self.messages = GaugeMetricFamily(
            "journeys_messages_open",
            "Messages that a worker has claimed, or that the provider has and has not answered for (sending).",
            labels=["state"],
        )
        self.messages_age = GaugeMetricFamily(
            "journeys_messages_oldest_seconds", "How long the oldest of them has been so.", labels=["state"]
        )

    def all(self) -> list[GaugeMetricFamily]:
        """Return every metric."""
        return [self.up, self.events, self.events_age, self.runs, self.messages, self.messages_age]


def _age(oldest: datetime | None, now: datetime) -> float:
    return 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0)
