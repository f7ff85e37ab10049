"""docs/events.md and the vocabulary say the same."""

import re
from pathlib import Path

import pytest

from domain import facts as known_facts
from domain.decoding import DECODERS
from domain.facts import Fact, Topic
from domain.vocabulary import ALIASES

DOC = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for table in re.findall(r"^\| event \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", DOC, re.MULTILINE)
    for line in table.splitlines()
]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_the_page_lists_every_event_and_every_other_name_of_it():
    """And no event or name that is not understood."""
    told = {names(row[0])[0]: set(names(row[1])) for row in ROWS}

    assert told == {name: set(others) for name, others in ALIASES.items()}
    assert len(ROWS) == len(ALIASES)


@pytest.mark.parametrize("row", ROWS, ids=[names(row[0])[0] for row in ROWS])
def test_the_page_names_facts_that_there_are_for_events_that_are_decoded(row):
    """An event without a decoder has no facts of its own."""
    facts = names(row[3])

    assert all(issubclass(getattr(known_facts, fact), Fact) for fact in facts)
    assert bool(facts) == (names(row[0])[0] in DECODERS)


def test_the_page_names_every_topic_of_consent():
    """They are what a shop may send as flags."""
    assert [topic for topic in Topic if f"`{topic}`" not in DOC] == []
