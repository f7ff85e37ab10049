"""Places for local attempts: few, waited for only as long as they are given back, and not needed in the queue."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.places import Places
from domain.errors import PlacesTaken

A_MOMENT, LONG = timedelta(milliseconds=20), timedelta(minutes=1)


class Attempt:
    """An attempt that goes on until the test ends it."""

    def __init__(self, places: Places, *, local: bool = True) -> None:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, is_local=local)
        self.has_one, self.over = asyncio.Event(), asyncio.Event()
        self.task = asyncio.ensure_future(environment.run(self._run, places))

    async def _run(self, places: Places) -> None:
        async with places.taken():
            self.has_one.set()
            await self.over.wait()

    async def begun(self) -> None:
        """Wait until it has a place; what it raises comes out here."""
        waits = asyncio.ensure_future(self.has_one.wait())
        await asyncio.wait((waits, self.task), return_when=asyncio.FIRST_COMPLETED, timeout=60)
        waits.cancel()
        if self.task.done():
            await self.task
        assert self.has_one.is_set()

    async def ended(self) -> None:
        self.over.set()
        await self.task


@asynccontextmanager
async def attempts(places: Places, count: int) -> AsyncIterator[list[Attempt]]:
    """As many, each with a place."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(attempt := Attempt(places))
            await attempt.begun()
            stack.push_async_callback(attempt.ended)
        yield made


async def test_whoever_comes_while_all_places_are_taken_waits_for_one() -> None:
    """An attempt takes a moment, and so does the wait for its place."""
    places = Places(2, patience=LONG)
    async with attempts(places, 2) as (first, _):
        third = Attempt(places)
        await first.ended()
        await third.begun()
        await third.ended()


async def test_whoever_waits_in_vain_is_refused_and_the_next_are_refused_at_once() -> None:
    """With a mail server that hangs, each would keep its run's task for nothing."""
    places = Places(1, patience=A_MOMENT)
    async with attempts(places, 1):
        with pytest.raises(PlacesTaken):
            await Attempt(places).begun()
        places._patience = LONG
        with pytest.raises(PlacesTaken):
            await Attempt(places).begun()


async def test_as_soon_as_a_place_is_given_back_places_are_waited_for_again() -> None:
    """The mail server answers again."""
    places = Places(1, patience=A_MOMENT)
    async with attempts(places, 1):
        with pytest.raises(PlacesTaken):
            await Attempt(places).begun()
    places._patience = LONG
    async with attempts(places, 1) as (first,):
        second = Attempt(places)
        await first.ended()
        await second.begun()
        await second.ended()


async def test_an_attempt_from_the_queue_needs_no_place() -> None:
    """It keeps no run's task; the worker bounds how many there are."""
    places = Places(1, patience=LONG)
    async with attempts(places, 1):
        queued = Attempt(places, local=False)
        await queued.begun()
        await queued.ended()


async def test_an_attempt_that_fails_gives_its_place_back() -> None:
    """As does one that is cancelled."""
    places = Places(1, patience=LONG)
    first = Attempt(places)
    await first.begun()
    first.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first.task
    second = Attempt(places)
    await second.begun()
    await second.ended()
