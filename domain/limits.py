"""How much a key may take: a token bucket, kept as the one moment at which it is full again.

That moment is all there is to know (the generic cell rate algorithm, ITU-T I.371), so what several processes have
given away is added up by adding to it, in any order.
"""

from pydantic import Field

from domain.values import Value

_SHORTEST = 1e-6
"""Seconds below which a wait is the rounding of a clock."""


class Limit(Value):
    """A token is one event, or one request that carries none. All times are seconds of one clock, whichever.

    Attributes:
        per_second: Tokens that come back in a second.
        burst: Tokens of a full bucket.
    """

    per_second: float = Field(gt=0, le=1_000_000)
    burst: int = Field(ge=1, le=10_000_000)

    def left(self, full_at: float, now: float) -> float:
        """Count the tokens in the bucket; less than none are owed."""
        return self.burst - max(0.0, full_at - now) * self.per_second

    def taken(self, full_at: float, cost: int, now: float) -> float:
        """Take tokens, and return when the bucket is full again."""
        return max(full_at, now) + cost / self.per_second

    def wait(self, full_at: float, now: float) -> float:
        """Return the seconds until there is a token; 0 while there is one.

        One token is enough for any request: what it costs above what is there is owed, and paid by waiting longer
        afterwards. Else a batch larger than the bucket could never pass, and its client would repeat it for ever.
        """
        wait = (1 - self.left(full_at, now)) / self.per_second
        return wait if wait > _SHORTEST else 0.0


DEFAULT = Limit(per_second=1_000, burst=20_000)
"""For keys of stores that have no limit of their own."""
