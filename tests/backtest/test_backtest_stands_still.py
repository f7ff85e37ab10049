"""A backtest that cannot go on says so, and ends."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.postgres.ledger import PostgresLedger
from cli.backtest import replay
from cli.backtest.script import Script
from domain.errors import JourneysError
from domain.ports import Claim
from tests.backtest.conftest import Rehearse, read, rows
from tests.backtest.independent import Seen

MONDAY = datetime(2024, 3, 4, 9, tzinfo=UTC)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """One customer with a cart, and another one days later."""
    seen = [Seen(MONDAY, "u", "cart"), Seen(MONDAY + timedelta(days=3), "v", "view")]
    return read(rows(seen, tmp_path / "r.csv"))


async def never(*_: object) -> Claim:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def broken(*_: object) -> Claim:
    """Fail as code of ours would."""
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("claim", "because"),
    [(never, "stands still: .* is due at 20"), (broken, "cannot go on: reminder-1: ZeroDivisionError")],
    ids=["held back", "broken"],
)
async def test_a_step_that_cannot_be_settled_ends_the_part(
    rehearse: Rehearse,
    script: Script,
    claim: Callable[..., Awaitable[Claim]],
    because: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock stands while anybody is at work: who waits for it in vain says what for, and leaves the worker."""
    monkeypatch.setattr(PostgresLedger, "claim", claim)
    monkeypatch.setattr(replay, "_PATIENCE_S", 2.0)
    with pytest.raises(JourneysError, match=because):
        async with asyncio.timeout(60):
            await rehearse(script, "cart-recovery")


async def test_a_worker_that_fails_ends_the_part_and_says_how(
    rehearse: Rehearse, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would be settled any more; what it failed of is not lost."""

    async def fail(_: object) -> None:
        raise RuntimeError("no more slots")

    monkeypatch.setattr(replay.Worker, "run", fail)
    monkeypatch.setattr(replay, "_PATIENCE_S", 2.0)
    with pytest.raises(JourneysError, match="its worker has failed: RuntimeError: no more slots"):
        async with asyncio.timeout(60):
            await rehearse(script, "cart-recovery")
