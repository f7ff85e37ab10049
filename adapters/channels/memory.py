"""The channel that goes nowhere: it keeps what it was given. For tests of journeys and for trial runs."""

from adapters.channels.mime import envelope
from domain.message import Letter


class MemoryChannel:
    """Accept every letter that could be sent, and remember it (implements `domain.ports.Channel`)."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    async def send(self, letter: Letter) -> None:
        envelope(letter)
        self.letters.append(letter)
