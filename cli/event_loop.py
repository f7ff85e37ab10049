"""The event loop of a process: uvloop, where there is one (uvicorn brings it along, but for Windows)."""

import asyncio
from collections.abc import Callable, Coroutine


def run(main: Coroutine[object, object, None]) -> None:
    """Run what a process is for, until it ends."""
    with asyncio.Runner(loop_factory=factory()) as runner:
        runner.run(main)


def factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop; None for the one that Python has."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415
    except ImportError:
        return None
    made: Callable[[], asyncio.AbstractEventLoop] = new_event_loop
    return made
