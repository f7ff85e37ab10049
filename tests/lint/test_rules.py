"""Every rule finds what it is there to find, and nothing in the journeys that we ship."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import templates
from adapters.rendering.variables import NAMES
from cli.lint.finding import Finding
from cli.lint.messages import ALWAYS, CART, CODE, CONFIRMATION, MARKETING, ORDER, PRODUCT, provided_by
from cli.lint.production import FACTS, production
from cli.lint.report import RULES, findings
from cli.lint.subject import House, Subject, subjects
from domain.follow_ups import PURCHASE
from domain.plans import CartRecoveryPlan, FollowUpPlan, Plan, PostPurchasePlan
from tests.follow_ups import PLANS as EXAMPLES
from tests.lint import violations
from workflows.cart_recovery import CartRecovery
from workflows.follow_up import FollowUp
from workflows.journey import Journey
from workflows.post_purchase import PostPurchase
from workflows.registry import JOURNEYS

TEMPLATES = Path(templates.__path__[0])
HERE = "tests/lint/violations.py"
PRODUCTION = production()


def found(*journeys: type[Journey[Any]]) -> list[Finding]:
    return findings(House(subjects(journeys, {}), TEMPLATES, PRODUCTION))


def under(journey: type[Journey[Any]], plan: Plan, name: str | None = None) -> list[Finding]:
    return findings(House([Subject(name or journey.name, journey, plan, "plan.json")], TEMPLATES, PRODUCTION))


@pytest.mark.parametrize(
    ("journeys", "code", "file", "problem"),
    [
        ([violations.EnteredByAView], "J001", HERE, "enters on ProductViewed, but ProductViewed is applied"),
        ([violations.DeafToItsExit], "J001", HERE, "ends with CartEmptied, but has no signal"),
        ([violations.ListensForNothing], "J001", HERE, "nobody ever sends the signal moon_rose"),
        ([violations.Topicless], "J002", HERE, "message hello has no consent topic"),
        ([violations.SendsTheFirstOnly], "J003", HERE, "sends step again"),
        ([violations.LeavesInTheFirstRound], "J003", HERE, "sends step again"),
        ([violations.SendsAfterItsExit], "J003", HERE, "sends step again"),
        ([violations.SendsAfterWaitingForEver], "J003", HERE, "sends step again"),
        ([violations.ForgetsThePurchase], "J004", HERE, "enters on CartChanged, but a purchase does not end it"),
        ([violations.ForgetsThePurchaseByItsTopic], "J004", HERE, "sends abandoned_cart_emails, but a purchase"),
        ([violations.Hasty], "J005", HERE, "step late may come after 30 d 1 h, but a run counts as over after 3 d"),
        ([violations.Gapless, violations.GaplessToo], "J006", HERE, "gapless-too and gapless can write"),
        ([violations.ShowsNoProduct], "J007", "templates/back-in-stock/body.mjml", "uses product, which nothing"),
        ([violations.Templateless], "J008", HERE, "has no template no-such-template"),
    ],
)
def test_a_journey_that_breaks_a_rule_is_found(
    journeys: list[type[Journey[Any]]], code: str, file: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One journey for each rule; nothing else is wrong with it, so nothing else is said."""
    monkeypatch.chdir(Path(__file__).parents[2])

    breaks = found(*journeys)

    assert {finding.code for finding in breaks} == {code}
    assert any(problem in finding.problem and finding.file == file for finding in breaks)
    assert all(finding.fix.endswith(".") for finding in breaks)


def test_every_rule_has_a_journey_that_breaks_it() -> None:
    """A rule that nothing has ever broken may find nothing."""
    everything = [kind for kind in vars(violations).values() if isinstance(kind, type) and issubclass(kind, Journey)]
    broken = {
        finding.code for finding in found(*(kind for kind in everything if kind.__module__ == violations.__name__))
    }

    assert broken == {rule.code for rule in RULES}


@pytest.mark.parametrize("sound", [violations.Sound, violations.ShowsItsProduct])
def test_a_sound_journey_has_no_findings(sound: type[Journey[Any]]) -> None:
    """What the others are made from breaks no rule."""
    assert found(sound) == []


def test_the_journeys_that_we_ship_have_no_findings() -> None:
    """With their default plans, and with the follow-ups that the documentation offers."""
    examples = {name: (plan, f"{name}.json") for name, plan in EXAMPLES.items()}

    assert findings(House(subjects(JOURNEYS, examples), TEMPLATES, PRODUCTION)) == []


def test_a_run_that_outlives_its_gap_is_found() -> None:
    """A gap of a month puts a message off until long after the run's row has closed (J005)."""
    breaks = under(CartRecovery, CartRecoveryPlan(gap=timedelta(days=30)))

    assert [finding.code for finding in breaks] == ["J005"]
    assert breaks[0].file == "plan.json"


def test_a_code_in_a_template_is_no_finding_where_an_if_asks_for_it() -> None:
    """The last reminder says something else without a code (J007)."""
    plan = CartRecoveryPlan.model_validate(
        {"steps": [{"name": "one", "template": "cart-reminder-discount", "topic": "abandoned_cart_emails"}]}
    )

    assert under(CartRecovery, plan) == []


@pytest.mark.parametrize(
    ("written", "unprovided"),
    [
        ("{{ order_id }}", {"order_id"}),
        ("{{ order_id | default: 'x' }}", {"order_id"}),
        ("{% if order_id %}{{ order_id }}{% endif %}", set()),
        ("{% if first_name %}x{% elsif order_id %}{{ order_id }}{% endif %}", set()),
        ("{% if first_name %}x{% else %}{{ order_id }}{% endif %}", {"order_id"}),
        ("{% if order_id and first_name %}{{ order_id }}{% endif %}{{ order_id }}", {"order_id"}),
        ("{% for order_id in lines %}{{ order_id }}{% endfor %}", set()),
        ("{{ product.name }}{{ lines[0].name }}", {"product"}),
    ],
)
def test_a_variable_without_a_source_is_found_unless_an_if_asks_for_it(
    tmp_path: Path, written: str, unprovided: set[str]
) -> None:
    """A cart reminder knows lines, and no order and no product (J007)."""
    for name in ("cart-reminder", "_layout"):
        shutil.copytree(TEMPLATES / name, tmp_path / name)
    body = tmp_path / "cart-reminder" / "body.mjml"
    body.write_text(body.read_text().replace("</h1>", f"</h1>{written}"))
    plan = CartRecoveryPlan.model_validate({"steps": [CartRecoveryPlan().steps[0].model_dump()]})
    house = House([Subject("cart-recovery", CartRecovery, plan, "plan.json")], tmp_path, PRODUCTION)

    breaks = [finding for finding in findings(house) if finding.code == "J007"]

    assert {finding.problem.split("uses ")[1].split(",")[0] for finding in breaks} == unprovided


def test_a_broken_template_is_found(tmp_path: Path) -> None:
    """What MRML would drop in silence (J008)."""
    for name in ("cart-reminder", "_layout"):
        shutil.copytree(TEMPLATES / name, tmp_path / name)
    body = tmp_path / "cart-reminder" / "body.mjml"
    body.write_text(body.read_text().replace("<mj-column>", "<mj-column>lost", 1))
    plan = CartRecoveryPlan.model_validate({"steps": [CartRecoveryPlan().steps[0].model_dump()]})
    house = House([Subject("cart-recovery", CartRecovery, plan, "plan.json")], tmp_path, PRODUCTION)

    assert any(finding.code == "J008" and "'lost'" in finding.problem for finding in findings(house))


def test_a_follow_up_after_browsing_that_ignores_a_purchase_is_found() -> None:
    """A store that writes `"exits": []` gets what it asked for, but is told (J004)."""
    settings = {
        "event": "Product Viewed",
        "steps": [{"name": "one", "template": "related-services", "topic": "product_recommendations"}],
    }

    assert under(FollowUp, FollowUpPlan.model_validate(settings), "follow-up/views") == []

    breaks = under(FollowUp, FollowUpPlan.model_validate(settings | {"exits": []}), "follow-up/views")

    assert [(finding.code, finding.file) for finding in breaks] == [("J004", "plan.json")]
    assert PURCHASE in breaks[0].fix


def test_every_fact_that_a_journey_of_ours_hears_is_found_in_the_code() -> None:
    """Reading the code agrees with the tests that send these events (tests/workflows)."""
    assert {"SignedUp", "CartChanged", "OrderPlaced", "StockRequested", "StockReleased"} <= PRODUCTION.told
    assert "ProfileChanged" in PRODUCTION.reported - PRODUCTION.told
    assert set(FACTS) >= PRODUCTION.told | PRODUCTION.reported


def test_every_variable_has_a_known_source() -> None:
    """Whoever adds a variable says here which messages have it."""
    assert ALWAYS | MARKETING | CODE | CART | ORDER | PRODUCT | CONFIRMATION == NAMES


@pytest.mark.parametrize("subject", subjects(JOURNEYS, {}), ids=lambda subject: subject.name)
def test_what_a_sample_shows_is_what_the_journey_provides(subject: Subject) -> None:
    """A sample is the material of a real message, so nothing in it may be unknown to J007."""
    for step in subject.steps:
        sample = json.loads((TEMPLATES / step.template / "sample.json").read_text("utf-8"))
        shown = {"total" if field == "total_minor" else field for field in sample} & NAMES

        assert shown <= provided_by(subject, step)


def test_a_transactional_message_has_no_link_to_unsubscribe() -> None:
    """So a template that needs one is none for it (J007)."""
    step = PostPurchasePlan().steps[0]
    marketing = step.model_copy(update={"transactional": False})
    subject = Subject("post-purchase", PostPurchase, PostPurchasePlan(), "plan.json")

    assert provided_by(subject, marketing) - provided_by(subject, step) == MARKETING


@pytest.mark.parametrize(
    ("applied", "told"),
    [
        ("async def change(on, fact: ProductViewed):\n    return []", set()),
        ("async def change(on, fact: ProductViewed):\n    return on.me(fact)", {"ProductViewed"}),
        (
            "async def change(on, fact: ProductViewed):\n    return [Derived(customer_id=1, fact=fact)]",
            {"ProductViewed"},
        ),
        ("async def change(on, fact: ProductViewed):\n    return on.me(CartEmptied(at=fact.at))", {"CartEmptied"}),
        ("async def change(on, fact: SignedUp):\n    return on.me(fact)", set()),
        (
            "async def change(on, fact: Fact):\n    return on.me(fact)\nTABLE = {ProductViewed: change}",
            {"ProductViewed"},
        ),
        ("async def change(on, fact: Fact):\n    return on.me(fact)\nTABLE = {SignedUp: change}", set()),
        (
            """async def change(on, fact: ProductViewed | ViewTimed):
                return on.me(fact if isinstance(fact, ViewTimed) else CartEmptied(at=fact.at))""",
            {"CartEmptied", "ViewTimed"},
        ),
    ],
)
def test_facts_are_followed_through_the_code_that_applies_them(tmp_path: Path, applied: str, told: set[str]) -> None:
    """What is decoded reaches journeys if it is passed on, and what is derived always does (J001)."""
    for folder in ("domain/decoding", "adapters", "activities"):
        (tmp_path / folder).mkdir(parents=True)
    decoder = "def decoded(report):\n    yield ProductViewed(at=1)\n    yield ViewTimed.model_validate({})"
    (tmp_path / "domain" / "decoding" / "views.py").write_text(decoder)
    (tmp_path / "adapters" / "apply.py").write_text(applied)

    assert production(tmp_path).told == told
