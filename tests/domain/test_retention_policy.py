"""Retention: what a policy may say, and what the rules need whatever it says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.caps import Cap
from domain.errors import InvalidInput
from domain.plans import PLANS, FollowUpPlan, Plan
from domain.plans import validated as plan_of
from domain.retention import ON_WHAT_WAS_SENT, Kind, Needs, Report, RetentionPolicy, Terms, needs, validated
from domain.sending_rules import SendingRules

DAY = timedelta(days=1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
VIP = {
    "event": "Product Viewed",
    "steps": [{"name": "one", "template": "welcome", "topic": "promotional_emails"}],
    "lateness": "P20D",
    "again": "P200D",
    "conditions": [
        {"kind": "count", "event": "Product Viewed", "more_than": 3, "within": "P30D"},
        {"kind": "none", "event": "Support Ticket Opened"},
        {"kind": "none", "event": "Product Reviewed", "within": "P5D"},
    ],
}


def of(rules: SendingRules = SendingRules(), **plans: Any) -> Needs:  # noqa: B008 - frozen
    defaults = {name: {} for name in PLANS}
    named = defaults | {name.replace("_", "-").replace("follow-up-", "follow-up/"): p for name, p in plans.items()}
    return needs([(name, plan_of(name, settings)) for name, settings in named.items()], rules)


def test_the_default_is_what_the_source_says_and_what_the_default_plans_need() -> None:
    """Events and looks 90 days (requirements/1), which no default plan finds too short."""
    policy = validated({}, of())

    assert (policy.events, policy.views) == (90 * DAY, 90 * DAY)
    assert policy.consent_ip == "anonymised"


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"events": "P6D"}, "events"),
        ({"events": "P401D"}, "events"),
        ({"events": None}, "events"),
        ({"messages": "P59D"}, "messages"),
        ({"audit": "P364D"}, "audit"),
        ({"views": "PT1H"}, "views"),
        ({"consents": "P1Y"}, "consents"),
        ({"tombstones": "P1Y"}, "tombstones"),
        ({"messages": "two years"}, "messages"),
        ({"consent_ip": "yes"}, "consent_ip"),
    ],
)
def test_a_policy_that_breaks_a_rule_is_refused_with_its_field(policy: dict[str, Any], field: str) -> None:
    """Evidence has no period at all: what is not in the policy cannot be forgotten."""
    with pytest.raises(InvalidInput) as refused:
        validated(policy, Needs())

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("policy", "rules", "plans", "because"),
    [
        ({"messages": "P200D"}, SendingRules(), {"follow_up_vip": VIP}, "again of follow-up/vip"),
        ({"messages": "P90D"}, SendingRules(caps=(Cap(limit=9, window=90 * DAY),)), {}, "a cap of 9 messages"),
        ({"messages": "P100D"}, SendingRules(), {"cart_recovery": {"cool_down": "P100D"}}, "cool_down of cart-rec"),
        ({"messages": "P60D"}, SendingRules(), {"welcome": {"gap": "P60D"}}, "gap of welcome"),
        ({"views": "P14D"}, SendingRules(), {}, "window, quiet and lateness of browse-abandonment"),
        ({"events": "P19D"}, SendingRules(), {"follow_up_vip": VIP}, "lateness of follow-up/vip"),
    ],
)  # fmt: skip
def test_a_policy_that_would_break_a_guarantee_is_refused_and_says_whose(
    policy: dict[str, Any], rules: SendingRules, plans: dict[str, Any], because: str
) -> None:
    """A cap, a gap or a cool-down that forgets what was sent lets too much out (G5)."""
    with pytest.raises(InvalidInput, match=because):
        validated(policy, of(rules, **plans))


def test_every_wait_that_a_plan_can_have_is_known_to_look_back_or_ahead() -> None:
    """Whoever gives a plan a new one decides here whether retention has to know it."""
    ahead = {"patience", "wave_interval", "silence", "lateness", "quiet", "window"}  # the last three also: `needs`
    waits = {
        name
        for plan in {Plan, FollowUpPlan, *PLANS.values()}
        for name, field in plan.model_fields.items()
        if "timedelta" in str(field.annotation)
    }

    assert waits == {*ON_WHAT_WAS_SENT, *ahead}


def test_a_plan_that_looks_back_further_than_the_policy_is_obeyed() -> None:
    """A plan may be changed after the policy was set; from then on what it needs is kept."""
    policy = RetentionPolicy(messages=60 * DAY, views=DAY)
    before, after = Terms(policy=policy), Terms(policy=policy, needed=of(follow_up_vip=VIP))

    assert (before.period(Kind.MESSAGES), before.period(Kind.RUNS)) == (60 * DAY, 60 * DAY)
    assert (after.period(Kind.MESSAGES), after.period(Kind.RUNS)) == (207 * DAY, 207 * DAY)
    assert after.period(Kind.VIEWS) == 14 * DAY + timedelta(hours=2)
    assert after.before(Kind.AUDIT, NOW) is None
    assert after.before(Kind.EVENTS, NOW) == NOW - 90 * DAY


def test_what_a_follow_up_counts_is_kept_for_as_long_as_it_counts() -> None:
    """Its window and its lateness; for good if the customer must never have done it."""
    kept = {name: need.period for name, need in of(follow_up_vip=VIP).happenings.items()}

    assert kept == {
        "Product Viewed": 50 * DAY,
        "supportticketopened": None,
        "Product Reviewed": 25 * DAY,
        "Order Completed": 20 * DAY,
    }


def test_a_report_adds_up_and_says_so() -> None:
    """Batches of one table are one number."""
    report = Report().and_rows("mugs", "views", 2000).and_rows("mugs", "views", 5).and_rows("mugs", "runs", 0)

    assert report.lines() == ["mugs: 2005 views"]
    assert Report().lines() == ["nothing was old enough"]
    assert Report(kept={"events_20260105": "why"}).lines() == ["kept events_20260105: why"]
