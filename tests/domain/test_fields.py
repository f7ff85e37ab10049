"""Fields: what a client sent is read leniently, and what is read can be shown."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.decoding.fields import Fields


@given(st.text(st.characters(), max_size=60))
@example("two  words")
@example(" in front")
@example("behind ")
@example("a\ttab and a\nline")
@example("\u00a0")
def test_a_text_is_on_one_line_with_single_spaces_and_nothing_unprintable(told):
    """It stands in the subject of a mail and in a terminal; whatever else people write in stays as it is."""
    read = Fields({"name": told}).text("name")
    wanted = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", " ", told).split())

    assert read == (wanted or None)


@pytest.mark.parametrize("told", ["x" * 41, "a " * 30, "  " + "y" * 50])
def test_a_text_is_cut_at_its_limit(told):
    """Where it is longer than anybody would write there."""
    assert Fields({"name": told}).text("name", limit=40) == " ".join(told.split())[:40]
