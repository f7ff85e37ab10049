"""`journeys cost` and `journeys history`, as they are called."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.cost import costs
from cli.history import record
from domain.errors import ConfigurationError, NotFound
from domain.facts import CartChanged, OrderPlaced
from testing import TimeSkippingShop


def journeys(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    argv = [sys.executable, "-m", "cli.main", *words]
    return subprocess.run(argv, cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What makes a folder a checkout."""
    for file in ("pyproject.toml", "workflows/registry.py", "domain/plans/__init__.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "tests" / "workflows").mkdir(parents=True)
    return tmp_path


def kept(checkout: Path, journey: str) -> list[str]:
    """The files that are kept of a journey."""
    return sorted(path.name for path in (checkout / "tests" / "workflows" / "histories" / journey).glob("*"))


def test_cost_prints_what_each_journey_costs(tmp_path: Path) -> None:
    """Measured, with the budget beside it; anywhere, for it needs no checkout."""
    done = journeys("cost", "welcome", "price-drop", "--json", cwd=tmp_path)
    measured = {line["journey"]: line for line in json.loads(done.stdout)["journeys"]}

    assert done.returncode == 0, done.stderr
    assert list(measured) == ["welcome", "price-drop"]
    assert (measured["welcome"]["messages"], measured["welcome"]["budget"]) == (3, 8)
    assert all(0 < line["actions"] <= line["budget"] for line in measured.values())
    assert all(line["events"] > line["actions"] and line["kilobytes"] > 0 for line in measured.values())


def test_a_journey_that_nobody_knows_has_no_cost() -> None:
    """The answer names those that there are."""
    with pytest.raises(NotFound, match="no journey 'welcom' has a passage; there are welcome, cart-recovery"):
        costs(["welcom"])


def test_a_history_is_recorded_once_for_each_version(checkout: Path) -> None:
    """The same commands again are no new version."""
    first = journeys("history", "record", "price-drop", cwd=checkout / "workflows")
    again = journeys("history", "record", "price-drop", cwd=checkout)

    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert first.stdout.strip().endswith("tests/workflows/histories/price-drop/1.json")
    assert "nothing to add" in again.stdout
    assert kept(checkout, "price-drop") == ["1.json", "commands.txt"]


def test_a_history_is_kept_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package has no place for it."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigurationError, match="is not in a checkout of Journeys"):
        record("welcome")


async def test_a_real_run_can_be_kept(shop: TimeSkippingShop, checkout: Path) -> None:
    """Of the Temporal that the environment names, by its workflow id, and only as what it is."""
    await shop.only("cart-recovery")
    await shop.subscriber()
    await shop.happened(CartChanged)
    await shop.skip(hours=2)
    await shop.happened(OrderPlaced)
    await shop.settled("cart-recovery")
    workflow_id = (await shop.handle("cart-recovery")).id
    address = {"TEMPORAL_ADDRESS": shop.env.client.service_client.config.target_host}

    def of_run(journey: str, run: str) -> subprocess.CompletedProcess[str]:
        return journeys("history", "record", journey, "--from", run, cwd=checkout, **address)

    done = await asyncio.to_thread(of_run, "cart-recovery", workflow_id)
    assert done.returncode == 0, done.stderr
    assert kept(checkout, "cart-recovery") == ["1.json"]
    text = (checkout / "tests" / "workflows" / "histories" / "cart-recovery" / "1.json").read_text()
    assert shop.store_id not in text

    wrong = await asyncio.to_thread(of_run, "welcome", workflow_id)
    assert (wrong.returncode, kept(checkout, "welcome")) == (2, [])
    assert "is a run of cart-recovery, not of welcome" in wrong.stderr

    unknown = await asyncio.to_thread(of_run, "cart-recovery", "no-such-run")
    assert unknown.returncode == 1
    assert "Temporal knows no run 'no-such-run'" in unknown.stderr


def test_a_temporal_that_does_not_answer_is_told_in_a_line(checkout: Path) -> None:
    """No stack trace."""
    done = journeys("history", "record", "welcome", "--from", "a-run", cwd=checkout, TEMPORAL_ADDRESS="127.0.0.1:1")

    assert done.returncode == 1
    assert done.stderr.startswith("journeys: Temporal does not answer")
