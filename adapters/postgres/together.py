"""Reading together: whoever asks for what is being read already waits for that answer.

A thousand connections show the same key and tell of the same store. When what is remembered of it ends, they would all
ask the database in the same instant.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Together(Generic[KeyT, ValueT]):
    """Reads by key, each key once at a time.

    Args:
        read: Reads what belongs to a key.
    """

    def __init__(self, read: Callable[[KeyT], Coroutine[Any, Any, ValueT]]) -> None:
        self._read = read
        self._reading: dict[KeyT, asyncio.Task[ValueT]] = {}

    async def __call__(self, key: KeyT) -> ValueT:
        """Read, or wait for who does; one who gives up waiting disturbs nobody."""
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.create_task(self._read(key), name="journeys-reading")
            reading.add_done_callback(lambda _: self._reading.pop(key))
        return await asyncio.shield(reading)
