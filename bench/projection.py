"""The projection: what a hundred million customers need, computed from what one of everything was measured to cost.

`python -m bench.projection` prints the tables of docs/scaling.md; `--write` puts them there. A new measurement changes
`MEASURED`, and everything else follows.
"""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path("docs/scaling.md")
SIZES = (1_000_000, 10_000_000, 100_000_000)
"""How many customers: the columns."""
_DAY, _MONTH = 86_400, 30 * 86_400
_GB = 10**9


@dataclass(frozen=True)
class Measured:
    """What one of something costs.

    Attributes:
        by: The command that measures it.
        run: The size of that run, and where in its results the figure stands.
    """

    what: str
    value: float
    unit: str
    by: str
    run: str


@dataclass(frozen=True)
class Assumed:
    """What nobody can measure here: how the customers of a shop behave, and what others charge or limit."""

    what: str
    value: float
    unit: str
    because: str


_STORAGE = "make bench PART=storage SIZE=small"

MEASURED: Mapping[str, Measured] = {
    "api_us": Measured(
        "API, one event a request", 149, "µs of processor", "make bench PART=track", "full: api_cpu_us_per_request"
    ),
    "api_batch_us": Measured(
        "API, an event of a batch of 100", 32, "µs of processor", "make bench PART=batch",
        "full: processors_used.api / events accepted by one process",
    ),
    "postgres_in_us": Measured(
        "Postgres, storing an event", 34, "µs of processor", "make bench PART=batch",
        "full: processors_used.postgres / events accepted by one process",
    ),
    "router_us": Measured(
        "router, an event (one in twenty matters)", 47, "µs of processor", "make bench PART=router",
        "full: processors_used.router * microseconds_per_event",
    ),
    "postgres_route_us": Measured(
        "Postgres, routing an event", 42, "µs of processor", "make bench PART=router",
        "full: processors_used.postgres * microseconds_per_event",
    ),
    "begin_ms": Measured(
        "router, an event that begins a run", 5.9, "ms of processor", "make bench PART=waiting",
        "full: cpu_ms_per_run.router",
    ),
    "worker_ms": Measured(
        "worker, a message of a journey of three", 19, "ms of processor", "make bench PART=cart",
        "full: cpu_ms_per_journey.worker / 3",
    ),
    "postgres_ms": Measured(
        "Postgres, a message of a journey of three", 3.0, "ms of processor", "make bench PART=cart",
        "full: cpu_ms_per_journey.postgres / 3",
    ),
    "temporal_ms": Measured(
        "Temporal, a journey of three messages", 52, "ms of processor", "make bench PART=cart",
        "full: cpu_ms_per_journey.temporal",
    ),
    "actions": Measured("Temporal, a journey of three messages", 7, "actions", "journeys cost", "cart-recovery"),
    "history_kb": Measured("its history", 4.5, "kB", "journeys cost", "cart-recovery"),
    "waiting_bytes": Measured(
        "Temporal's database, a run that waits (SQLite)", 22_833, "bytes", "make bench PART=waiting",
        "full: for each run that waits",
    ),
    "ended_bytes": Measured(
        "Temporal's database, a journey that has ended (SQLite)", 44_479, "bytes", _STORAGE, "small: that has ended"
    ),
    "customer_bytes": Measured("Postgres, a customer", 1_081, "bytes", _STORAGE, "small: a customer"),
    "event_bytes": Measured("Postgres, an event, with its key", 1_699, "bytes", _STORAGE, "small: an event"),
    "look_bytes": Measured("Postgres, a look at a product", 221, "bytes", _STORAGE, "small: a look"),
    "wal_bytes": Measured("the log of Postgres, an event", 2_746, "bytes", _STORAGE, "small: an event in the log"),
    "journey_bytes": Measured("Postgres, a journey of three messages", 9_667, "bytes", _STORAGE, "small: a journey"),
}  # fmt: skip

ASSUMED: Mapping[str, Assumed] = {
    "events": Assumed("events of a customer", 30, "a month", "most look now and then, few buy"),
    "journeys": Assumed("journeys of a customer", 1, "a month", "one event in thirty begins one"),
    "looks": Assumed("events that are looks at a product", 0.5, "", "the rest is navigation, carts, orders, mail"),
    "messages": Assumed("messages of a journey", 1.5, "", "half of them end early, by an exit"),
    "waiting": Assumed("customers with a run that waits", 0.3, "", "win-back waits for months"),
    "peak": Assumed("peak over the average", 4, "times", "an evening before Christmas"),
    "busy": Assumed("how busy a processor may be", 0.6, "", "so that half an hour of backlog drains in one"),
    "events_kept": Assumed("events are kept", 90, "days", "docs/retention.md"),
    "messages_kept": Assumed("runs and messages are kept", 730, "days", "docs/retention.md"),
    "history_kept": Assumed("ended runs are kept by Temporal", 30, "days", "the namespace's retention"),
    "cell_cores": Assumed("processors of one Postgres", 64, "", "a large managed server"),
    "cell_tb": Assumed("disk of one Postgres", 16, "TB", "so that a restore takes hours, not days"),
    "cell_routers": Assumed("routers on one Postgres", 8, "", "64 lanes, 8 a busy router (worker/lanes.py)"),
    "runs_per_shard": Assumed(
        "runs of one history shard", 10_000, "",
        '"tens of thousands": docs.temporal.io, What is a History Shard',
    ),
    "smtp_s": Assumed("the mail server takes for a message", 0.2, "s", "`journeys_handover_seconds` says yours"),
    "smtp_connections": Assumed("connections to it of a worker", 4, "", "adapters/channels/smtp.py"),
    "cluster": Assumed("a Temporal cluster of your own takes", 3, "times", "services and database apart, two of each"),
    "core_month": Assumed("a processor with its memory", 30, "$ a month", "list prices of clouds, by the hour"),
    "gb_month": Assumed("a disk of a database, with a replica", 0.25, "$/GB a month", "list prices of clouds"),
    "active_gbh": Assumed("Temporal Cloud, open runs", 0.042, "$/GBh", "docs.temporal.io/cloud/pricing"),
    "retained_gbh": Assumed("Temporal Cloud, ended runs", 0.00105, "$/GBh", "docs.temporal.io/cloud/pricing"),
    "action_s": Assumed("Temporal Cloud, one resource unit", 500, "actions/s", "docs.temporal.io/cloud/capacity-modes"),
}  # fmt: skip

_PRICES = ((5, 50), (5, 45), (10, 40), (30, 35), (50, 30), (math.inf, 25))
"""Millions of actions a month, and dollars for each million; beyond 200 million one negotiates
(docs.temporal.io/cloud/pricing, Business plan)."""


class Projection:
    """What a number of customers needs. Each property is a line of the table; its docstring is the arithmetic."""

    def __init__(self, customers: int) -> None:
        self.customers = customers

    def __getattr__(self, name: str) -> float:
        """Look a figure up among what was measured and what is assumed."""
        found = MEASURED.get(name) or ASSUMED.get(name)
        if found is None:
            raise AttributeError(name)
        return found.value

    @property
    def events_s(self) -> float:
        """Events a second, on average: customers * events / month."""
        return self.customers * self.events / _MONTH

    @property
    def events_peak(self) -> float:
        """Events a second at the peak."""
        return self.events_s * self.peak

    @property
    def journeys_s(self) -> float:
        """Journeys begun a second, on average: customers * journeys / month."""
        return self.customers * self.journeys / _MONTH

    @property
    def messages_peak(self) -> float:
        """Messages a second at the peak: journeys * messages * peak."""
        return self.journeys_s * self.messages * self.peak

    @property
    def messages_day(self) -> float:
        """Messages a day: what the mail provider has to allow."""
        return self.journeys_s * self.messages * _DAY

    @property
    def api(self) -> int:
        """API processes: events at the peak, each in a request of its own, * API's time / busy."""
        return math.ceil(self.events_peak * self.api_us / 1e6 / self.busy)

    @property
    def routers(self) -> int:
        """Routers: (events * router's time + journeys * its time to begin one) at the peak / busy."""
        used = self.events_peak * self.router_us / 1e6 + self.journeys_s * self.peak * self.begin_ms / 1e3
        return math.ceil(used / self.busy)

    @property
    def workers(self) -> int:
        """Workers: messages at the peak * worker's time / busy; or as many as the mail server's time asks for."""
        by_time = self.messages_peak * self.worker_ms / 1e3 / self.busy
        by_mail = self.messages_peak * self.smtp_s / self.smtp_connections
        return math.ceil(max(by_time, by_mail))

    @property
    def connections(self) -> int:
        """Connections to Postgres at most: 15 each API, 32 each router, 30 each worker of two builds."""
        return 15 * self.api + 32 * self.routers + 30 * 2 * self.workers

    @property
    def postgres_cores(self) -> int:
        """Processors of Postgres: (events * its time for one + messages * its time for one) at the peak / busy."""
        of_events = self.events_peak * (self.postgres_in_us + self.postgres_route_us) / 1e6
        return math.ceil((of_events + self.messages_peak * self.postgres_ms / 1e3) / self.busy)

    @property
    def events_gb_day(self) -> float:
        """Events, GB a day: events * bytes."""
        return self.events_s * _DAY * self.event_bytes / _GB

    @property
    def week_gb(self) -> float:
        """One week's table of `events`, GB."""
        return 7 * self.events_gb_day

    @property
    def events_gb(self) -> float:
        """Events that are kept, GB: the days that they are kept, and up to a week more."""
        return (self.events_kept + 7) * self.events_gb_day

    @property
    def looks_gb(self) -> float:
        """Looks at products, as long as events, GB: what interest is counted from."""
        return self.events_s * _DAY * self.looks * self.events_kept * self.look_bytes / _GB

    @property
    def customers_gb(self) -> float:
        """Customers, GB: profile, identities, consent."""
        return self.customers * self.customer_bytes / _GB

    @property
    def journeys_gb(self) -> float:
        """Runs, messages and decisions that are kept, GB."""
        return self.journeys_s * _DAY * self.messages_kept * self.journey_bytes / _GB

    @property
    def postgres_tb(self) -> float:
        """Postgres, TB in all."""
        return (self.events_gb + self.looks_gb + self.customers_gb + self.journeys_gb) / 1e3

    @property
    def wal_mb_s(self) -> float:
        """The log of Postgres at the peak, MB/s; as much again is written by checkpoints."""
        return self.events_peak * self.wal_bytes / 1e6

    @property
    def iops(self) -> float:
        """Writes a second of the disk at the peak: log and checkpoints, in blocks of 8 kB."""
        return 2 * self.wal_mb_s * 1e6 / 8192

    @property
    def postgres_servers(self) -> int:
        """Postgres servers, the stores divided among them: by processors, by disk, or by routers, whichever is most."""
        return max(
            math.ceil(self.postgres_cores / self.cell_cores),
            math.ceil(self.postgres_tb / self.cell_tb),
            math.ceil(self.routers / self.cell_routers),
        )

    @property
    def actions_peak(self) -> float:
        """Actions of Temporal a second at the peak: journeys * actions, of which the messages take their share."""
        return self.journeys_s * self.peak * self._actions_each

    @property
    def _actions_each(self) -> float:
        # A journey that sends all three costs `actions`; the start is one of them, the rest belongs to the messages; an
        # exit costs its signal.
        return 1 + (self.actions - 1) / 3 * self.messages + 1

    @property
    def temporal_cores(self) -> int:
        """Temporal, processors at the peak: journeys * its time, on one machine with SQLite; a cluster needs more."""
        return math.ceil(self.journeys_s * self.peak * self.temporal_ms / 1e3 / self.busy)

    @property
    def open_runs(self) -> float:
        """Runs that wait: customers * share."""
        return self.customers * self.waiting

    @property
    def shards(self) -> int:
        """History shards: runs / runs of one shard, the next power of two, 512 at least; fixed for ever."""
        return max(512, 1 << math.ceil(math.log2(self.open_runs / self.runs_per_shard)))

    @property
    def temporal_gb(self) -> float:
        """Temporal's database, GB: runs that wait, and ended ones while they are kept."""
        ended = self.journeys_s * _DAY * self.history_kept
        return (self.open_runs * self.waiting_bytes + ended * self.ended_bytes) / _GB

    @property
    def own_cluster(self) -> float:
        """A Temporal cluster of your own, dollars a month: processors * 3, and its database; people are not in it."""
        return self.cluster * self.temporal_cores * self.core_month + self.temporal_gb * self.gb_month

    @property
    def cloud_units(self) -> int:
        """Temporal Cloud, resource units for the peak: actions / 500."""
        return math.ceil(self.actions_peak / self.action_s)

    @property
    def cloud_actions(self) -> float:
        """Temporal Cloud, dollars a month for actions, at the list price."""
        left, price = self.journeys_s * _MONTH * self._actions_each / 1e6, 0.0
        for millions, each in _PRICES:
            taken = min(left, millions)
            price, left = price + taken * each, left - taken
        return price

    @property
    def cloud_storage(self) -> float:
        """Temporal Cloud, dollars a month for histories, each at most as long as a whole journey's."""
        gb_open = self.open_runs * self.history_kb * 1e3 / _GB
        gb_ended = self.journeys_s * _DAY * self.history_kept * self.history_kb * 1e3 / _GB
        return 744 * (gb_open * self.active_gbh + gb_ended * self.retained_gbh)


_LINES = (
    "events_s", "events_peak", "journeys_s", "messages_peak", "messages_day",
    "api", "routers", "workers", "connections",
    "events_gb_day", "week_gb", "events_gb", "looks_gb", "customers_gb", "journeys_gb", "postgres_tb",
    "postgres_cores", "wal_mb_s", "iops", "postgres_servers",
    "actions_peak", "temporal_cores", "open_runs", "shards", "temporal_gb", "own_cluster",
    "cloud_units", "cloud_actions", "cloud_storage",
)  # fmt: skip

_LIMITS: Mapping[str, Callable[[], float]] = {
    "one API, events/s, one a request": lambda: 1e6 / MEASURED["api_us"].value,
    "one API, events/s, a hundred a request": lambda: 1e6 / MEASURED["api_batch_us"].value,
    "one router, events/s": lambda: 1e6 / MEASURED["router_us"].value,
    "all routers of one Postgres, events/s": lambda: ASSUMED["cell_routers"].value * 1e6 / MEASURED["router_us"].value,
    "one worker, messages/s": lambda: 1e3 / MEASURED["worker_ms"].value,
    "one worker, messages/s that the mail server lets through": lambda: (
        ASSUMED["smtp_connections"].value / ASSUMED["smtp_s"].value
    ),
    "one processor of Postgres, events/s stored and routed": lambda: (
        1e6 / (MEASURED["postgres_in_us"].value + MEASURED["postgres_route_us"].value)
    ),
    "one processor of Postgres, messages/s": lambda: 1e3 / MEASURED["postgres_ms"].value,
}


def tables() -> dict[str, str]:
    """Return the tables of the page, by name, as Markdown."""
    measured = ["| one | costs | measured by | in |", "|---|---:|---|---|"]
    measured += [f"| {m.what} | {_figure(m.value)} {m.unit} | `{m.by}` | {m.run} |" for m in MEASURED.values()]
    assumed = ["| assumption | is | because |", "|---|---:|---|"]
    assumed += [f"| {a.what} | {f'{_figure(a.value)} {a.unit}'.strip()} | {a.because} |" for a in ASSUMED.values()]
    limits = ["| what saturates | at |", "|---|---:|"]
    limits += [f"| {what} | {_figure(at())} |" for what, at in _LIMITS.items()]
    sizes = " | ".join(f"{size:,}" for size in SIZES)
    needed = [f"| customers | {sizes} |", "|---|" + "---:|" * len(SIZES)]
    for name in _LINES:
        line = getattr(Projection, name).__doc__
        needed.append(f"| {line} | " + " | ".join(_figure(getattr(Projection(size), name)) for size in SIZES) + " |")
    return {name: "\n".join(rows) for name, rows in
            {"measured": measured, "assumed": assumed, "limits": limits, "needed": needed}.items()}  # fmt: skip


def filled(page: str) -> str:
    """Return a page with the tables between its marks as they are now.

    Args:
        page: Has `<!-- name -->` before each table, and `<!-- end -->` after it.
    """
    for name, table in tables().items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("\n<!-- end -->")
        if not begin or not end:
            raise ValueError(f"the page has no place for the table {name!r}")
        page = before + begin + table + end + after
    return page


def _figure(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    digits = float(f"{value:.3g}")
    return f"{digits:,.0f}" if digits >= 1000 else f"{digits:,g}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(tables().values()))
