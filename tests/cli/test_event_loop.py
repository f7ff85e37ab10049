"""The loop that processes run on."""

import asyncio
import sys

import pytest
import uvloop

from cli import event_loop


def test_a_process_runs_on_uvloop() -> None:
    """A worker does the same with less (docs/adr/0044-large-pages-and-uvloop.md)."""
    found: list[asyncio.AbstractEventLoop] = []

    async def look() -> None:
        found.append(asyncio.get_running_loop())

    event_loop.run(look())

    assert isinstance(found[0], uvloop.Loop)


def test_where_there_is_no_uvloop_pythons_own_loop_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has none."""
    monkeypatch.setitem(sys.modules, "uvloop", None)

    assert event_loop.factory() is None
