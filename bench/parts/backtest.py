"""The backtest of a year: `journeys backtest` on the orders of Online Retail (docs/backtesting.md)."""

import asyncio
import json
import os
import sys
import time
from itertools import islice
from pathlib import Path

from bench.result import below
from bench.runner import Run, Skipped, part
from cli.stack.postgres import temporary_dir

_ORDERS = Path(__file__).parents[3] / "shared" / "data" / "online_retail_orders.csv"


@part("backtest", "backtest of win-back and post-purchase over the Online Retail year", minutes=12)
async def backtest(run: Run) -> None:
    """Play the year once for each journey."""
    with temporary_dir() as directory:
        recording = directory / "orders.csv"
        _record(recording, run.of(small=2_000, full=None))
        for journey in ("win-back", "post-purchase"):
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli.main", "backtest", journey, "--events", str(recording), "--json",
                "--data-dir", str(directory), stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            said, _ = await process.communicate()
            minutes = (time.monotonic() - began) / 60
            report = json.loads(said)
            counts = {name: report[name] for name in ("events", "customers", "runs", "messages", "actions")}
            run.found(f"{journey}, the year", minutes, "minutes", goal=below(10), detail=counts)


def _record(recording: Path, rows: int | None) -> None:
    """Copy the orders, or the first of them."""
    orders = Path(os.environ.get("ONLINE_RETAIL_ORDERS", _ORDERS))
    if not orders.exists():
        raise Skipped(f"needs UCI Online Retail as orders: ONLINE_RETAIL_ORDERS=FILE ({orders.name} is not there)")
    with orders.open(encoding="utf-8") as whole, recording.open("w", encoding="utf-8") as some:
        some.writelines(islice(whole, None if rows is None else rows + 1))
