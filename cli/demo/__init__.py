"""The demo: a stack of its own, a shop's sixty days replayed into it in under a minute, and a look at what happens."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import httpx
from rich.console import Console
from rich.live import Live
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import plans
from adapters.postgres.engine import create_engine
from adapters.settings import Settings
from cli.demo.compression import DAY, compressed
from cli.demo.replay import Replay
from cli.demo.report import Report, after_purchase, line, missing, read, summary, table
from cli.demo.shop import CURRENCY, SHOP_URL, generated
from cli.stack.local import Options, Stack, StackInfo
from cli.stack.processes import Stopped, until_asked_to_end
from domain.message import StoreCard

DEADLINE_S = 170.0
"""From the beginning of the start-up; a demo that is not through by then has failed."""
_INTERRUPTED = 130


def run(options: Options, once: bool) -> int:
    """Run the demo and return its exit code.

    The stack keeps nothing, and the store is a new one, so that each demo begins afresh even in a database or a
    Temporal cluster of the user's own.

    Args:
        options: The ports of the stack; what it says about data is not used.
        once: End when the replay is through, or after `DEADLINE_S`; else stay up until asked to end.
    """
    console = Console()
    until = time.monotonic() + DEADLINE_S if once else None
    store = StoreCard(
        store_id=f"demo-{_now():%Y%m%d-%H%M%S}",
        name="Demo Shop",
        url=SHOP_URL,
        currency=CURRENCY,
        sender_email="hello@shop.example",
        sender_name="Demo Shop",
        address="1 Example Street, London",
    )
    try:
        with until_asked_to_end(), Stack(replace(options, data_dir=None), store=store, on_progress=print) as stack:
            _greet(console, stack.info)
            report, late = asyncio.run(_demonstrate(stack, store.store_id, console, until))
    except Stopped:
        return _INTERRUPTED if once else 0
    return _conclude(console, report, late)


async def _demonstrate(stack: Stack, store_id: str, console: Console, until: float | None) -> tuple[Report, int]:
    """Replay the shop and watch until everything is through; without an end, watch on."""
    engine = create_engine(Settings(database_url=stack.info.database_url).sqlalchemy_url, pool_size=2)
    try:
        for journey, plan in compressed().items():
            await plans.put(engine, store_id, journey, plan, _now())
        async with httpx.AsyncClient(base_url=stack.info.api, timeout=10) as client:
            replay = Replay(client, stack.info.write_key, _now)
            replaying = asyncio.create_task(replay.play(generated(), DAY))
            try:
                report = await _watch(engine, store_id, console, stack.check, replaying, until)
            finally:
                replaying.cancel()
        return report, await after_purchase(engine, store_id, replay.acknowledged)
    finally:
        await engine.dispose()


async def _watch(
    engine: AsyncEngine,
    store_id: str,
    console: Console,
    check: Callable[[], None],
    replaying: asyncio.Task[None],
    until: float | None,
) -> Report:
    """Show what happens, and return the last report when all is through or the time is over."""
    with _display(console) as show:
        while True:
            check()
            replayed = replaying.done()  # before the report, so that the report holds everything
            if replayed:
                replaying.result()
            report = await read(engine, store_id)
            show(report)
            if until is not None and ((replayed and report.through) or time.monotonic() > until):
                return report
            await asyncio.sleep(0.5 if console.is_terminal else 1.0)


@contextmanager
def _display(console: Console) -> Iterator[Callable[[Report], None]]:
    """Show reports as a live table; where nobody can watch one, as a line every few seconds while things change."""
    if console.is_terminal:
        with Live(table(Report()), console=console) as live:
            yield lambda report: live.update(table(report))
        return
    printed, last = Report(), 0.0

    def show(report: Report) -> None:
        nonlocal printed, last
        if report != printed and time.monotonic() > last + 5:
            printed, last = report, time.monotonic()
            print(line(report), flush=True)

    yield show


def _greet(console: Console, info: StackInfo) -> None:
    console.print(f"\n  inbox        {info.inbox or 'your own mail server'}", highlight=False)
    console.print(f"  Temporal UI  {info.temporal_ui or 'your own Temporal'}", highlight=False)
    console.print(f"  API docs     {info.api}/docs\n", highlight=False)


def _conclude(console: Console, report: Report, late: int) -> int:
    """Print the verdict, the summary last, and return the exit code."""
    lacking = missing(report, late)
    console.print(table(report))
    for shortcoming in lacking:
        print(f"missing: {shortcoming}")
    print(summary(report, late), flush=True)
    return 1 if lacking else 0


def _now() -> datetime:
    return datetime.now(UTC)
