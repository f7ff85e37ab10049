"""The backtest against the definitions: the same counts as an independent, event-by-event computation.

BACKTEST_WHOLE=1 takes every customer of the recordings; without it, enough of them for a minute's work.
"""

import csv
import gzip
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backtest.conftest import Rehearse, iso, only, read, read_once, recorded, rows
from tests.backtest.independent import Seen, abandonments, lapses

WHOLE = bool(os.environ.get("BACKTEST_WHOLE"))
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def some(events: list[Seen], count: int, kind: str) -> set[str]:
    """Choose customers of a recording, spread evenly over those who did something of a kind."""
    users = list(dict.fromkeys(event.user for event in events if event.kind == kind))
    return set(users if WHOLE else users[:: max(1, len(users) // count)])


def of(users: set[str], events: Iterable[Seen]) -> list[Seen]:
    """Keep what these customers did, and the end of the data."""
    known = list(events)
    last = max(known, key=lambda event: event.at)
    return [*(event for event in known if event.user in users), last._replace(kind="end")]


@cache
def table(path: Path, ts: str, user: str, kind: str, **names: str) -> list[Seen]:
    """Read a CSV recording by its columns."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        return [
            Seen(
                datetime.fromisoformat(row[ts].replace(" UTC", "+00:00")).replace(tzinfo=UTC),
                row[user],
                names.get(row[kind], row[kind]),
            )
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("quiet", [30 * MINUTE, HOUR, DAY], ids=["30min", "1h", "24h"])
async def test_abandoned_carts_of_retailrocket_are_counted_exactly(rehearse: Rehearse, quiet: timedelta) -> None:
    """Carts restart the timer, a purchase cancels it, and at exactly the quiet time it has fired."""
    path = recorded("retailrocket_sample.csv")
    events = table(path, "ts", "user", "kind")
    users = some(events, 8, "cart")
    found = await rehearse(only(read_once(path), users), "cart-recovery", {"quiet": iso(quiet)}, triggers_only=True)
    expected = abandonments(of(users, events), quiet)

    assert (found.triggers, found.still_open) == (expected["fired"], expected["open"])
    assert found.exits.get("converted", 0) == expected["cancelled"]


@pytest.mark.parametrize("quiet", [30 * MINUTE, HOUR, DAY], ids=["30min", "1h", "24h"])
async def test_abandoned_carts_of_rees46_are_counted_exactly(rehearse: Rehearse, quiet: timedelta) -> None:
    """Two and a half hours of another shop, in its own columns: the data ends while timers run."""
    path = recorded("rees46_first5k.csv.gz")
    events = table(path, "event_time", "user_id", "event_type", purchase="buy")
    users = some(events, 20, "cart")
    found = await rehearse(only(read_once(path), users), "cart-recovery", {"quiet": iso(quiet)}, triggers_only=True)
    expected = abandonments(of(users, events), quiet)

    assert (found.triggers, found.still_open) == (expected["fired"], expected["open"])


@pytest.mark.parametrize("days", [30, 60, 90])
async def test_lapses_of_online_retail_are_counted_exactly(rehearse: Rehearse, days: int) -> None:
    """Every order restarts the clock and credit notes do not; who is silent at the end counts as well."""
    path = recorded("online_retail_orders.csv")
    events = table(path, "ts", "user", "kind", order="buy")
    users = some(events, 6, "buy")
    script = only(read_once(path, journey="win-back"), users)
    found = await rehearse(script, "win-back", {"silence": f"P{days}D"}, triggers_only=True)

    assert found.triggers == lapses(of(users, events), timedelta(days=days))


async def test_lapses_of_online_retail_by_lines_are_counted_exactly(rehearse: Rehearse, tmp_path: Path) -> None:
    """The raw lines, reduced to orders here: an invoice of a known customer that does not begin with C."""
    path = recorded("online_retail.csv.gz")
    invoices: dict[str, Seen] = {}
    end: Seen | None = None
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=UTC)
            end = Seen(at, "nobody", "view") if end is None or at > end.at else end
            if row["CustomerID"]:
                kind = "cancel" if row["InvoiceNo"].startswith("C") else "buy"
                known = invoices.get(row["InvoiceNo"])
                if known is None or at < known.at:
                    invoices[row["InvoiceNo"]] = Seen(at, row["CustomerID"], kind)
    events = list(invoices.values())
    users = some(events, 5, "buy")
    assert end is not None
    kept = [*(event for event in events if event.user in users), end]
    script = read(rows(kept, tmp_path / "orders.csv"), journey="win-back")
    found = await rehearse(script, "win-back", {"silence": "P60D"}, triggers_only=True)

    assert found.triggers == lapses(kept, 60 * DAY)


async def test_lapses_of_cdnow_are_counted_exactly(rehearse: Rehearse, tmp_path: Path) -> None:
    """Days without times: many orders of one instant, and gaps of exactly so many days."""
    lines = recorded("cdnow_sample.txt").read_text(encoding="ascii").splitlines()
    events = [
        Seen(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC), user, "buy") for user, _, day, *_ in cdnow(lines)
    ]
    users = some(events, 6, "buy")
    kept = of(users, events)
    script = read(
        rows(
            [event._replace(kind="view" if event.kind == "end" else event.kind) for event in kept],
            tmp_path / "cdnow.csv",
        ),
        journey="win-back",
    )
    found = await rehearse(script, "win-back", {"silence": "P60D"}, triggers_only=True)

    assert found.triggers == lapses(kept, 60 * DAY)


def cdnow(lines: list[str]) -> Iterator[list[str]]:
    """Split the lines of the CDNOW sample."""
    yield from (line.split() for line in lines if line.strip())


# Halves of the waiting time: ties at exactly one wait and gaps around it are the rule, not the exception.
STREAMS = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["cart", "buy", "view"])), min_size=1, max_size=7),
    min_size=1,
    max_size=6,
)
FEW = settings(
    max_examples=60 if WHOLE else 8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
BEGIN = datetime(2024, 2, 26, 22, 30, tzinfo=UTC)


def streams(drawn: list[list[tuple[int, str]]], half: timedelta) -> list[Seen]:
    """Make a recording of what was drawn, each customer by its number."""
    return [Seen(BEGIN + n * half, f"u{user}", kind) for user, theirs in enumerate(drawn) for n, kind in theirs]


@FEW
@given(drawn=STREAMS)
async def test_abandonments_with_ties_are_counted_exactly(
    rehearse: Rehearse, tmp_path: Path, drawn: list[list[tuple[int, str]]]
) -> None:
    """Cart and purchase at the same instant, at exactly the quiet time, and at the very end of the data."""
    events = streams(drawn, HOUR / 2)
    found = await rehearse(read(rows(events, tmp_path / "drawn.csv")), "cart-recovery", triggers_only=True)
    expected = abandonments(events, HOUR)

    assert (found.triggers, found.still_open) == (expected["fired"], expected["open"])
    assert found.exits.get("converted", 0) == expected["cancelled"]


@FEW
@given(drawn=STREAMS)
async def test_lapses_with_ties_are_counted_exactly(
    rehearse: Rehearse, tmp_path: Path, drawn: list[list[tuple[int, str]]]
) -> None:
    """A gap of exactly the silence is not longer than it, neither between orders nor at the end."""
    events = streams(drawn, 15 * DAY)
    script = read(rows(events, tmp_path / "drawn.csv"), journey="win-back")
    found = await rehearse(script, "win-back", {"silence": "P30D"}, triggers_only=True)

    assert found.triggers == lapses(events, 30 * DAY)
