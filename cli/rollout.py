"""Carry a rollout out from the terminal: begin it, show how far it is, and say what came of it."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from adapters.settings import Settings
from adapters.temporal import rollouts
from adapters.temporal.client import connect
from adapters.temporal.codec import customer_codec
from cli.operate import on_database
from cli.stack import local
from domain.errors import InvalidInput, JourneysError, Unavailable
from domain.rollouts import Order, Tally

_LOOK_AGAIN_S = 1.0


def roll_out(
    prepare: Callable[[AsyncEngine], Awaitable[Order]],
    left: Callable[[AsyncEngine, Order], Awaitable[int]],
    tell: Callable[[Order, Tally], None],
    data_dir: Path,
) -> NoReturn:
    """Begin a rollout, wait for it, and exit. Ctrl-C ends the waiting, not the rollout.

    Args:
        prepare: Decides on the order; Temporal has answered by then.
        left: Counts the runs that have not been told.
        tell: Prints what came of it.
        data_dir: Of the stack that runs beside.
    """
    begun: list[str] = []

    async def act(engine: AsyncEngine) -> int:
        client = await _reached(data_dir, engine)
        order = await prepare(engine)
        handle = await rollouts.begin(client, Settings().task_queue, order)
        begun.append(handle.id)
        told = asyncio.create_task(handle.result())
        shown = False
        while not (await asyncio.wait([told], timeout=_LOOK_AGAIN_S))[0]:
            shown = _progress(await left(engine, order)) or shown
        if shown:
            print(file=sys.stderr)
        tell(order, told.result())
        return 1 if told.result().later else 0

    code = 1
    try:
        code = on_database(act, data_dir)
    except InvalidInput as problem:
        print(f"journeys: {problem}", file=sys.stderr)
        code = 2
    except (JourneysError, WorkflowFailureError, RPCError) as problem:
        print(f"journeys: {problem}", file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
        if begun:
            print(f"\nIt goes on in Temporal, as workflow {begun[0]}.", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Temporal's threads can abort a process that ends right after a call ("PyGILState_Release … finalizing").
    os._exit(code)


async def _reached(data_dir: Path, engine: AsyncEngine) -> Client:
    """Connect before anything is changed: a change that its runs are never told of helps nobody."""
    settings = Settings()
    codec = customer_codec(settings, engine, lambda: datetime.now(UTC))
    beside = None if settings.database_url else local.running(data_dir).temporal_address
    try:
        return await (connect(codec=codec) if beside is None else connect(address=beside, codec=codec))
    except (RPCError, RuntimeError) as problem:
        raise Unavailable(f"Temporal does not answer: {problem}") from problem


def _progress(left: int) -> bool:
    if sys.stderr.isatty():
        print(f"\r{left} runs to be told …   ", end="", file=sys.stderr, flush=True)
    return sys.stderr.isatty()
