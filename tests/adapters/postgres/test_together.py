"""Who asks for what is being read already waits for that answer."""

import asyncio

import pytest

from adapters.postgres.together import Together
from domain.errors import Unavailable


class Shelf:
    """Says when it is asked, and answers when it may."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = asyncio.Event()
        self.broken = False

    async def read(self, key: str) -> str:
        self.asked.append(key)
        await self.open.wait()
        if self.broken:
            raise Unavailable
        return key.upper()


async def test_a_thousand_who_ask_at_once_are_one_question():
    """Of each key; and who asks later asks again, for it is no memory."""
    shelf = Shelf()
    together = Together(shelf.read)
    waiting = [asyncio.create_task(together(key)) for key in ("a", "b") * 500]
    await asyncio.sleep(0)
    shelf.open.set()

    assert await asyncio.gather(*waiting) == ["A", "B"] * 500
    assert await together("a") == "A"
    assert shelf.asked == ["a", "b", "a"]


async def test_who_gives_up_waiting_disturbs_nobody():
    """A client that goes away must not fail those who asked after it."""
    shelf = Shelf()
    together = Together(shelf.read)
    first, second = (asyncio.create_task(together("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    shelf.open.set()

    assert await second == "A"
    assert shelf.asked == ["a"]


async def test_a_failure_is_everybodys_and_is_not_kept():
    """The next one may have more luck."""
    shelf = Shelf()
    shelf.broken = True
    shelf.open.set()
    together = Together(shelf.read)
    for answer in await asyncio.gather(*(together("a") for _ in range(3)), return_exceptions=True):
        assert isinstance(answer, Unavailable)
    with pytest.raises(Unavailable):
        await together("a")
    shelf.broken = False

    assert await together("a") == "A"
