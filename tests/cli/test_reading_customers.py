"""What the processes that read customers for an import may rely on."""

import gc
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from api.envelope import Arrival
from cli.importing.preparing import block_of
from cli.importing.reading import Row

ARRIVAL = Arrival(store_id="mugs", received_at=datetime(2026, 1, 10, tzinfo=UTC))
HEADER = ["userId", "email", "locale", "marketing_consent", "consent_at", "consent_source", "consent_ip"]


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The collector does nothing until it is asked."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_reading_rows_makes_no_cycles_good_or_bad() -> None:
    """So a process that reads them needs no collector, however many they are (`adapters.garbage.never_look`)."""
    cells = [
        [f"u-{n}", f"c{n}@example.com", "en-GB", "yes", "2025-11-28T18:00:00Z", "form", "192.0.2.1"] for n in range(200)
    ]
    good = [Row(n, cell) for n, cell in enumerate(cells)]
    broken = [Row(n, ["u", "no address", "", "perhaps", "never", "", ""]) for n in range(200)]
    short = [Row(n, ["u"]) for n in range(200)]
    lines = [Row(n, '{"userId": "u-1", "email": "ada@example.com"') for n in range(200)]
    block_of([*good, *broken, *short], HEADER, ARRIVAL)
    gc.collect()

    _, bad = block_of([*good, *broken, *short, *lines], HEADER, ARRIVAL)

    assert len(bad) == 600
    assert gc.collect() < 100
