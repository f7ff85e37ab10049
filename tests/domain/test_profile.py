"""Which word on a field of the profile counts: the newest, but a customer's own choice before what others tell."""

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from told import AT

from domain.profile import counts, outranked, stamped

words = st.lists(
    st.tuples(st.integers(0, 1000), st.sampled_from(["zone", "name"]), st.booleans()),
    unique_by=lambda word: word[0],
    max_size=8,
)


def _told(words):
    """Keep a profile as it is kept: the stamps, and which word each field has."""
    stamps, values = {}, {}
    for minute, field, chosen in words:
        at = AT + timedelta(minutes=minute)
        if counts(stamps, field, at, chosen=chosen):
            stamps |= stamped([field], at, chosen=chosen)
            values[field] = minute
    return stamps, values


@given(words, st.randoms())
def test_the_order_in_which_words_arrive_does_not_matter(words, random):
    """G2: the newest choice counts, and only where there is none the newest word."""
    shuffled = random.sample(words, len(words))

    stamps, values = _told(words)
    assert (stamps, values) == _told(shuffled)
    for field, minute in values.items():
        said = [(chosen, at) for at, named, chosen in words if named == field]
        assert minute == max(said)[1]


@given(words, st.integers(0, 8))
def test_two_profiles_that_are_joined_have_the_words_of_one(words, at):
    """As if they had been one person all along, whichever remains."""
    (one, here), (other, there) = _told(words[:at]), _told(words[at:])
    for kept, said, joined, more in ((one, here, other, there), (other, there, one, here)):
        values = said | {field: minute for field, minute in more.items() if field in outranked(kept, joined)}
        assert values == _told(words)[1]


def test_a_choice_outlasts_what_browsers_report():
    """A choice in spring is not undone by a browser in autumn; the next choice is."""
    spring, autumn, winter = (AT + timedelta(days=days) for days in (0, 180, 270))
    chosen = stamped(["timezone"], spring, chosen=True)

    assert all(earlier < later for earlier, later in pairwise((spring, autumn, winter)))
    assert not counts(chosen, "timezone", autumn)
    assert counts(chosen, "timezone", winter, chosen=True)
