"""One run: customers come round by round, a fault strikes in each, and when all is at rest it is judged."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chaos import expected, faults, lives
from chaos.backend import Backend
from chaos.faults import Fault
from chaos.lives import Life
from chaos.stage import Stage, stage
from chaos.verdict import Verdict, judged

Say = Callable[[str], None]
_LONGEST_ROUND_S = 60.0
_LONGEST_REST_S = 300.0
"""A worker that dies is noticed within a minute; a message that was refused again and again waits about as long."""


@dataclass(frozen=True)
class Scale:
    """How large a run is to be.

    Attributes:
        pace: What every pause, delay and fault is multiplied by.
    """

    seed: int
    rounds: int = 100
    customers: int = 500
    pace: float = 1.0


@dataclass(frozen=True)
class Report:
    """What happened, and what is wrong with it.

    Attributes:
        attempts: Requests by what came of them: a status, or the error of the connection.
        left: What never came to rest; nothing in a good run.
    """

    scale: Scale
    rounds: int
    faults: Counter[str]
    attempts: Counter[str]
    verdict: Verdict
    left: dict[str, int]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether everything is at rest and accounted for."""
        return self.verdict.good and not any(self.left.values())


async def run(scale: Scale, say: Say) -> Report:
    """Run a scale to its end; it is bounded, whatever happens."""
    began, struck = time.monotonic(), Counter[str]()
    async with stage(scale.seed, scale.pace) as place:
        backend = Backend(place.http, place.stack.info.write_key, scale.seed)
        try:
            async with asyncio.timeout(_LONGEST_ROUND_S * scale.rounds + _LONGEST_REST_S):
                await _live_through(scale, place, backend, struck, say)
                left = await _rest(place, say)
        except TimeoutError:
            left = await place.under_way()
        verdict = judged(
            backend.acknowledged, backend.refused, await place.stored(), expected.episodes(backend.acknowledged),
            place.mails(), await place.ledger(),
        )  # fmt: skip
    took = time.monotonic() - began
    return Report(scale, struck.total(), struck, backend.attempts, verdict, left, round(took, 1))


async def _live_through(scale: Scale, place: Stage, backend: Backend, struck: Counter[str], say: Say) -> None:
    everyone = lives.drawn(scale.seed, scale.customers, scale.pace)
    town = _Town(backend, everyone)
    async with asyncio.TaskGroup() as under_way:
        for product in town.products:
            under_way.create_task(town.restock(product, scale.pace))
        for number, fault in enumerate(faults.drawn(scale.seed, scale.rounds, scale.pace)):
            for life in _newcomers(everyone, number, scale.rounds):
                under_way.create_task(town.live(life))
            await faults.strike(place, fault)
            place.check()
            struck[fault.kind] += 1
            say(_line(number, scale.rounds, fault, backend, place))
        say("no more faults; everyone lives to the end")


def _newcomers(everyone: Sequence[Life], number: int, rounds: int) -> Sequence[Life]:
    return everyone[len(everyone) * number // rounds : len(everyone) * (number + 1) // rounds]


async def _rest(place: Stage, say: Say) -> dict[str, int]:
    """Wait until nothing is under way any more."""
    said = time.monotonic()
    while any((left := await place.under_way()).values()):
        place.check()
        if time.monotonic() > said + 5:
            said = time.monotonic()
            say("coming to rest: " + ", ".join(f"{count} {what}" for what, count in left.items()))
        await asyncio.sleep(0.25)
    return left


class _Town:
    """Where the customers live; its shop restocks a product once everybody who asks for it has asked."""

    def __init__(self, backend: Backend, everyone: Sequence[Life]) -> None:
        self._backend = backend
        self._to_ask = {product: {life.customer for life in those} for product, those in lives.sought(everyone).items()}
        self._all_asked = {product: asyncio.Event() for product in self._to_ask}

    @property
    def products(self) -> Iterable[str]:
        """What will be restocked."""
        return self._to_ask

    async def live(self, life: Life) -> None:
        """Live a life; it ends early if the shop's backend was told never to send a call again."""
        for act in life.acts:
            await asyncio.sleep(act.pause)
            if not await self._backend.tell(act.calls):
                break
            if act.asks_for is not None:
                self._has_asked(life)
        self._has_asked(life)

    async def restock(self, product: str, pause: float) -> None:
        """Restock a product some seconds after the last has asked."""
        await self._all_asked[product].wait()
        await asyncio.sleep(pause)
        await self._backend.tell(lives.restock(product))

    def _has_asked(self, life: Life) -> None:
        if life.asks_for is None:
            return
        self._to_ask[life.asks_for].discard(life.customer)
        if not self._to_ask[life.asks_for]:
            self._all_asked[life.asks_for].set()


def _line(number: int, rounds: int, fault: Fault, backend: Backend, place: Stage) -> str:
    events, mails = len(backend.acknowledged), len(place.mails())
    return f"round {number + 1:>3}/{rounds}  {fault.kind:31} {events:5} events acknowledged, {mails:5} mails"
