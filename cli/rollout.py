"""Carry a rollout out from the terminal: begin it, show how far it is, and say what came of it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from adapters.settings import Settings
from adapters.temporal import rollouts
from cli.operate import on_database
from cli.temporal import connector, leave_with
from domain.errors import JourneysError, Unavailable
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

    def wait() -> int:
        try:
            return on_database(act, data_dir)
        except (WorkflowFailureError, RPCError) as problem:
            raise JourneysError(str(problem)) from problem
        except KeyboardInterrupt:
            if begun:
                print(f"\nIt goes on in Temporal, as workflow {begun[0]}.", file=sys.stderr)
            raise

    leave_with(wait)


async def _reached(data_dir: Path, engine: AsyncEngine) -> Client:
    """Connect before anything is changed: a change that its runs are never told of helps nobody."""
    try:
        return await connector(data_dir, engine)(lazy=False)
    except (RPCError, RuntimeError) as problem:
        raise Unavailable(f"Temporal does not answer: {problem}") from problem


def _progress(left: int) -> bool:
    if sys.stderr.isatty():
        print(f"\r{left} runs to be told …   ", end="", file=sys.stderr, flush=True)
    return sys.stderr.isatty()
