"""Deadlines for many requests: one look at all of them now and then, in place of a timer for each.

Timers that are set for every call, and nearly always taken back, are no small part of it (docs/performance.md).
"""

import asyncio
from types import TracebackType
from typing import Any, Self

_OFTEN_ENOUGH = 1.0
_SHARE = 5
"""A deadline is noticed late by this share of its time at most, and by a second."""


class Deadlines:
    """The deadlines of one event loop."""

    def __init__(self) -> None:
        self._open: set[Deadline] = set()
        self._every = _OFTEN_ENOUGH
        self._looks = False

    def within(self, seconds: float) -> "Deadline":
        """Give a block of this task so long; then it is cancelled and raises TimeoutError, as with `asyncio.timeout`.

        The block may be entered several times; the time runs from now on.
        """
        if seconds < self._every * _SHARE:
            self._every = seconds / _SHARE
        return Deadline(self, seconds)

    def open(self, deadline: "Deadline") -> None:
        """Look after a deadline."""
        self._open.add(deadline)
        if not self._looks:
            self._looks = True
            asyncio.get_running_loop().call_later(self._every, self._look)

    def close(self, deadline: "Deadline") -> None:
        """Leave it alone."""
        self._open.discard(deadline)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for deadline in [deadline for deadline in self._open if deadline.at <= loop.time()]:
            deadline.pass_by()
        self._looks = bool(self._open)
        if self._looks:
            loop.call_later(self._every, self._look)


class Deadline:
    """One block's time."""

    __slots__ = ("_deadlines", "_task", "at", "passed")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self.at = asyncio.get_running_loop().time() + seconds
        self.passed = False

    def pass_by(self) -> None:
        """Cancel the block."""
        self.passed = True
        self._deadlines.close(self)
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> Self:
        self._deadlines.open(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.close(self)
        if not self.passed or self._task is None or self._task.uncancel() > 0:
            return
        if kind is asyncio.CancelledError:
            raise TimeoutError from error
