"""One part of a backtest, in a process of its own: its own database, its own time-skipping server, its own memory.

    python -m cli.backtest.part SPEC

It writes how far it is and what came out to the files that the spec names; asked to end, it tells what is known so
far. The process ends with its part, so a backtest needs no more memory for a year than for a week.
"""

import asyncio
import gc
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.postgres.tenancy import take_role
from adapters.settings import Settings
from cli import event_loop
from cli.backtest.replay import Replay
from cli.backtest.report import Tally, tally
from cli.backtest.script import played
from domain.errors import JourneysError
from domain.plans import validated
from rehearsal.server import time_skipping_server

_CONNECTIONS = 25
_PATIENCE_S = 600
_NOTED_EVERY_S = 0.2


class Spec(BaseModel):
    """What to play.

    Attributes:
        calls: Where the calls stand, as `Entry.line_of_json` wrote them.
        end: When the data ends, for all parts.
        progress, result: Where to write.
    """

    database_url: str
    journey: str
    plan: dict[str, Any]
    calls: Path
    end: datetime
    progress: Path
    result: Path


class Performed(BaseModel):
    """What came of it.

    Attributes:
        complete: Whether all of it was played.
        error: Why it could not go on.
    """

    tally: Tally = Tally()
    complete: bool = False
    error: str | None = None


async def play(spec: Spec) -> Performed:
    """Play a part until its end, or until the process is asked to end."""
    with spec.calls.open(encoding="utf-8") as lines:
        calls = [played(line) for line in lines]
    plan = validated(spec.journey, spec.plan)
    # The database is nobody else's and never goes away: connections need not be tried before each use, but waited for.
    url = Settings(database_url=spec.database_url).sqlalchemy_url
    engine = create_async_engine(url, pool_size=_CONNECTIONS, max_overflow=0, pool_timeout=_PATIENCE_S)
    take_role(engine)
    performed = Performed()
    async with time_skipping_server() as env:
        replay = Replay(engine, env, calls, spec.end)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, replay.stopping.set)
        try:
            await replay.play(spec.journey, plan, _noting(spec.progress))
        except JourneysError as problem:
            performed.error = str(problem)
        spec.progress.write_text(str(replay.played))
        if replay.played:
            customers = replay.agenda.customers
            performed.tally = await tally(engine, plan, customers, replay.shift, replay.actions)
        performed.complete = performed.error is None and not replay.stopping.is_set()
    await engine.dispose()
    return performed


def _noting(progress: Path) -> Callable[[int], None]:
    """Note how far we are, now and then: a file for each batch is a thirtieth of the work."""
    noted_at = -math.inf

    def note(count: int) -> None:
        nonlocal noted_at
        if (now := time.monotonic()) - noted_at >= _NOTED_EVERY_S:
            noted_at = now
            progress.write_text(str(count))

    return note


def main(spec_path: str) -> None:
    """Play the part that a file describes, and write down what came of it."""
    spec = Spec.model_validate_json(Path(spec_path).read_text(encoding="utf-8"))
    # Nearly everything that is made for a call is gone after it, without cycles.
    gc.set_threshold(50_000, 50, 50)
    with asyncio.Runner(loop_factory=event_loop.factory()) as runner:
        performed = runner.run(play(spec))
        unfinished = spec.result.with_suffix(".unfinished")
        unfinished.write_text(performed.model_dump_json(), encoding="utf-8")
        unfinished.rename(spec.result)
        # Temporal's threads can abort a process that ends right after a call.
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
