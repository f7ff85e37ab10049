"""docs/follow-ups.md offers plans to copy: they are the files that the other tests run."""

import json
import re
from pathlib import Path

import pytest

from domain.errors import InvalidPlan
from domain.plans import FollowUpPlan, validated
from tests.follow_ups import EXAMPLES, PLANS

PAGE = (Path(__file__).parents[2] / "docs" / "follow-ups.md").read_text("utf-8")


def test_the_plans_on_the_page_are_the_files_beside_it() -> None:
    """Whoever copies from the page gets what the tests send mails with."""
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]

    assert sorted(shown, key=str) == sorted(EXAMPLES.values(), key=str)
    assert {f"follow-up/{step.template}" for plan in PLANS.values() for step in plan.steps} == set(PLANS)


def test_every_condition_on_the_page_is_accepted() -> None:
    """Also those in the table."""
    plan = EXAMPLES["follow-up/related-services"]
    conditions = [json.loads(found) for found in re.findall(r'`(\{"kind".*?\})`', PAGE)]

    assert {condition["kind"] for condition in conditions} == {"property", "count", "none"}
    assert validated("follow-up/mine", plan | {"conditions": conditions})


def test_the_page_names_every_field_of_a_plan() -> None:
    """Nothing can be set that is not explained."""
    fields = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) - {"property", "count", "none"}

    assert fields == set(FollowUpPlan.model_fields)


def test_a_mistake_is_refused_as_the_page_shows() -> None:
    """In the same words."""
    shown = re.search(r"plan set (\S+) '(.*?)'\njourneys: (.*?): (.*?)\n", PAGE)
    assert shown is not None
    journey, settings, field, rule = shown.groups()
    with pytest.raises(InvalidPlan) as problem:
        validated(journey, json.loads(settings))

    assert (problem.value.field, problem.value.message) == (field, rule)
