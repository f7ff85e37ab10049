"""Which lanes are worked on together: they share what a transaction costs by itself, and none waits for a busy one."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from domain import ids
from worker.lanes import HANDFUL, handfuls

WAITING = st.dictionaries(st.integers(0, ids.SHARDS - 1), st.integers(1, 3 * HANDFUL))


@given(waiting=WAITING)
def test_every_lane_is_in_one_handful_and_none_overtakes(waiting: dict[int, int]) -> None:
    """The lane that has waited longest is begun with first."""
    assert [lane for lanes in handfuls(waiting) for lane in lanes] == list(waiting)


@given(waiting=WAITING)
def test_a_handful_is_full_or_one_busy_lane(waiting: dict[int, int]) -> None:
    """A lane in which much waits holds up no other, and no two handfuls that follow each other could be one."""
    sizes = [[waiting[lane] for lane in lanes] for lanes in handfuls(waiting)]
    assert all(len(events) == 1 or sum(events) <= HANDFUL for events in sizes)
    assert all(sum(events) + following[0] > HANDFUL for events, following in pairwise(sizes))
