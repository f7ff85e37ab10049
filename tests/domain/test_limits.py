"""The token bucket: nothing beyond the limit, whatever the moments; and nothing refused within it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.limits import Limit

LIMITS = st.builds(Limit, per_second=st.floats(0.1, 1_000), burst=st.integers(1, 1_000))
ASKING = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), min_size=1, max_size=60)
"""How long after the last one somebody asks, and for how much."""


def admitted(limit: Limit, asking: list[tuple[float, int]]) -> tuple[list[tuple[float, int]], float]:
    """Play it: what is let through and when, and the moment at which the bucket would be full."""
    through, full_at, now = [], 0.0, 0.0
    for after, cost in asking:
        now += after
        if limit.wait(full_at, now) == 0:
            full_at = limit.taken(full_at, cost, now)
            through.append((now, cost))
    return through, full_at


@given(LIMITS, ASKING)
def test_no_span_of_time_lets_more_through_than_a_full_bucket_and_what_comes_back(
    limit: Limit, asking: list[tuple[float, int]]
) -> None:
    """Between any two moments; of the last request a single token must be there, the rest of it is owed."""
    through, _ = admitted(limit, asking)
    for first, (begun, _) in enumerate(through):
        for last in range(first, len(through)):
            before_the_last = sum(cost for _, cost in through[first:last])
            came_back = (through[last][0] - begun) * limit.per_second
            assert before_the_last <= limit.burst - 1 + came_back + 0.01


@given(LIMITS, ASKING)
def test_who_keeps_to_the_limit_is_never_refused(limit: Limit, asking: list[tuple[float, int]]) -> None:
    """Who waits before each request for as long as the last one takes to come back."""
    full_at = now = 0.0
    for after, cost in asking:
        assert limit.wait(full_at, now) == 0
        full_at = limit.taken(full_at, cost, now)
        now += cost / limit.per_second + after


@given(LIMITS, ASKING, st.integers(1, 300))
def test_who_waits_as_told_passes_and_not_much_sooner(limit: Limit, asking: list[tuple[float, int]], cost: int) -> None:
    """`Retry-After` is neither too short nor for ever, also for a batch larger than the bucket."""
    through, full_at = admitted(limit, asking)
    now = through[-1][0]
    wait = limit.wait(full_at, now)

    assert limit.wait(full_at, now + wait) == 0
    if wait > 0.01:
        assert limit.wait(full_at, now + wait - 0.01) > 0
    assert limit.taken(full_at, cost, now + wait) > now + wait


@given(LIMITS, st.lists(st.integers(1, 300), min_size=1), st.floats(0, 100), st.randoms())
def test_what_several_give_away_at_once_adds_up_in_any_order(limit: Limit, costs: list[int], now: float, mix) -> None:
    """So processes may tell each other late, and in any order."""
    shuffled = costs.copy()
    mix.shuffle(shuffled)
    one = other = 0.0
    for cost, also in zip(costs, shuffled, strict=True):
        one, other = limit.taken(one, cost, now), limit.taken(other, also, now)

    assert one == pytest.approx(other) == pytest.approx(now + sum(costs) / limit.per_second)
    assert limit.left(one, now) == pytest.approx(limit.burst - sum(costs), abs=0.01)  # of a token: a sum of floats
