"""Real bounces, against the verdicts of those who collected them; not part of the project, so skipped without."""

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from adapters.bounces.anatomy import dissect
from adapters.bounces.recipients import remarks
from domain.bounces import Kind, kind

DATA = Path(__file__).parents[4] / "shared" / "data" / "bounces"

pytestmark = pytest.mark.skipif(not (DATA / "EXPECTED.csv").exists(), reason="the bounces are not beside the project")


def verdicts() -> dict[str, list[bool]]:
    """Return for each file which of its recipients bounced hard, in order."""
    hard: dict[str, list[bool]] = defaultdict(list)
    with (DATA / "EXPECTED.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (DATA / row["file"]).exists():
                hard[row["file"]].append(row["hardbounce"] == "1")
    return hard


def test_no_address_is_given_up_that_should_not_be_and_nearly_all_that_should():
    """No false suppression at all; at least 95 of 100 hard bounces found."""
    found, hard, wrong = 0, 0, []
    for name, expected in verdicts().items():
        gone = [kind(remark) is Kind.GONE for remark in remarks(dissect((DATA / name).read_bytes()))]
        gone += [False] * (len(expected) - len(gone))
        hard += sum(expected)
        found += sum(told and right for told, right in zip(gone, expected, strict=False))
        if any(gone[len(expected) :]) or any(t and not right for t, right in zip(gone, expected, strict=False)):
            wrong.append(name)

    assert wrong == []
    assert hard > 150
    assert found / hard >= 0.95


def test_a_report_that_lost_its_fields_or_its_words_gives_nobody_up_by_mistake():
    """What stands in for bounces not seen before: the same mails with the fields, or the words for people, cut out."""
    wrong = []
    for name, expected in verdicts().items():
        mail = dissect((DATA / name).read_bytes())
        for less in ({"recipients": ()}, {"notice": ""}):
            gone = sum(kind(remark) is Kind.GONE for remark in remarks(mail.model_copy(update=less)))
            if gone > sum(expected):
                wrong.append((name, next(iter(less))))

    assert wrong == []
