"""Commands that use Temporal: which one they reach, and how their process ends."""

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import typer
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from adapters.settings import Settings
from adapters.temporal.client import connect
from adapters.temporal.codec import customer_codec
from cli.operate import system_now
from cli.stack import local
from domain.errors import InvalidInput, JourneysError


def connector(data_dir: Path, engine: AsyncEngine) -> Callable[..., Awaitable[Client]]:
    """Return what connects, when it is needed, to the environment's Temporal, or that of the stack beside."""
    settings = Settings()
    beside: dict[str, Any] = {} if settings.database_url else {"address": local.running(data_dir).temporal_address}
    return partial(connect, lazy=True, codec=customer_codec(settings, engine, system_now), **beside)


def leave_with(act: Callable[[], int]) -> NoReturn:
    """Run a command that uses a Temporal client, and end the process with the exit code that it returns."""
    try:
        code = act()
    except JourneysError as problem:
        print(f"journeys: {problem}", file=sys.stderr)
        code = 2 if isinstance(problem, InvalidInput) else 1
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    sys.stdout.flush()
    sys.stderr.flush()
    # Temporal's threads can abort a process that ends right after a call ("PyGILState_Release … finalizing").
    os._exit(code)
