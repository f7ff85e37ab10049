"""Deadlines behave as `asyncio.timeout` does, though nobody sets a timer for each."""

import asyncio

import pytest

from api.deadlines import Deadlines


async def hang() -> None:
    await asyncio.Event().wait()


async def test_what_takes_too_long_is_given_up_and_the_rest_is_not():
    """Of many at once, and the task goes on afterwards."""
    deadlines = Deadlines()

    async def act(patience: float) -> str:
        try:
            with deadlines.within(patience):
                await hang()
        except TimeoutError:
            await asyncio.sleep(0)
            return "given up"
        return "never"

    long = asyncio.create_task(act(60))
    assert await asyncio.gather(*(act(0.02) for _ in range(50))) == ["given up"] * 50
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_whose_time_is_up_is_told_apart():
    """An inner block does not take the outer one's end for its own, nor a cancellation for either."""
    deadlines = Deadlines()
    with pytest.raises(TimeoutError), deadlines.within(0.02) as outer, deadlines.within(60) as inner:
        await hang()
    assert (outer.passed, inner.passed) == (True, False)


async def test_a_block_that_ends_in_time_is_left_alone():
    """Also when it is entered again."""
    deadlines = Deadlines()
    deadline = deadlines.within(0.05)
    for _ in range(3):
        with deadline:
            await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert not deadline.passed
