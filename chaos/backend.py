"""The shop's backend: sends calls and repeats them, as SDKs do, until they are acknowledged; writes down when."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import httpx

from chaos.record import Acknowledged, Call

_TRY_AGAIN = frozenset({429, 502, 503, 504})
"""What every SDK repeats; after any other answer that is not 200 it drops the events for ever."""
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_REPEATS = 0.1
"""Share of the calls that are sent once more although they were acknowledged, as after an answer that was lost."""


class Backend:
    """A client that nothing makes give up, except an answer that says not to send the calls again.

    Attributes:
        acknowledged: In the order of the answers.
        refused: Calls that got an answer after which SDKs drop them, and which.
        attempts: How many requests there were, by what came of them.
    """

    def __init__(self, http: httpx.AsyncClient, write_key: str, seed: int) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.refused: list[tuple[Call, str]] = []
        self.attempts: Counter[str] = Counter()
        self._http = http
        self._auth = httpx.BasicAuth(write_key, "")
        self._random = Random(f"{seed}:backend")

    async def tell(self, calls: Sequence[Call]) -> bool:
        """Send calls in one request until they are acknowledged; tell whether they were, or were refused."""
        sent_at = time.time()
        stamp = datetime.fromtimestamp(sent_at, UTC).isoformat()
        batch = [{**call, "timestamp": stamp} for call in calls]
        pause = _SHORTEST_PAUSE_S
        while (came := await self._post(batch)) != "200":
            self.attempts[came] += 1
            if came.isdecimal() and int(came) not in _TRY_AGAIN:
                self.refused += [(call, came) for call in calls]
                return False
            await asyncio.sleep(pause * self._random.uniform(0.5, 1))
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        self.attempts[came] += 1
        at = time.time()
        self.acknowledged += [Acknowledged(call, sent_at, at) for call in calls]
        if self._random.random() < _REPEATS:
            self.attempts[f"again {await self._post(batch)}"] += 1
        return True

    async def _post(self, batch: list[Call]) -> str:
        """Send a batch once; return the status of the answer, or what happened instead of one."""
        body = {"batch": batch, "sentAt": datetime.now(UTC).isoformat()}
        try:
            answer = await self._http.post("/v1/batch", json=body, auth=self._auth)
        except httpx.TransportError as problem:
            return type(problem).__name__
        return str(answer.status_code)
