"""What each journey leaves in Temporal: bounded by the action budget, and replayable by every later version (G6)."""

import shutil
from pathlib import Path

import pytest

from domain.errors import OperationRefused
from rehearsal.costs import actions, cost, walked
from rehearsal.histories import Histories, read
from rehearsal.passages import PASSAGES
from testing import TimeSkippingShop
from tests.workflows.hasty_welcome import HastyWelcome, PatchedWelcome
from workflows.registry import JOURNEYS

FOLDER = Path(__file__).parent / "histories"
KEPT = Histories(FOLDER)
FILES = sorted(FOLDER.glob("*/*.json"))
MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


def of(file: Path) -> str:
    return f"{file.parent.name}-{file.stem}"


def test_every_journey_has_a_passage_a_history_and_its_commands() -> None:
    """A journey without them could break its running customers unseen: `journeys history record NAME`."""
    names = {journey.name for journey in JOURNEYS}

    assert set(PASSAGES) == names
    assert [name for name in sorted(names) if not KEPT.of(name) or not KEPT.baseline(name).exists()] == []
    assert {file.parent.name for file in FILES} == names


@pytest.mark.parametrize("journey", PASSAGES)
async def test_a_full_passage_stays_within_its_action_budget(shop: TimeSkippingShop, journey: str) -> None:
    """Actions are what a user pays for: at most 8 for three messages (design, Cost)."""
    measured = await cost(shop, PASSAGES[journey])

    assert measured.messages == PASSAGES[journey].messages
    assert measured.actions <= measured.budget
    assert measured.budget <= 8 or measured.messages > 3


@pytest.mark.parametrize("journey", PASSAGES)
async def test_a_passage_does_what_was_recorded(shop: TimeSkippingShop, journey: str) -> None:
    """Whoever changes what a journey tells Temporal learns of the rule before its customers do."""
    problem = KEPT.compared(journey, await walked(shop, PASSAGES[journey]))

    assert problem is None, problem


@pytest.mark.parametrize("file", FILES, ids=of)
async def test_a_recorded_history_replays(file: Path) -> None:
    """One history of each released version, with the code of now."""
    problem = await KEPT.replayed(file)

    assert problem is None, problem


@pytest.mark.parametrize("file", FILES, ids=of)
async def test_every_timer_and_activity_says_what_it_is_for(file: Path) -> None:
    """A marketer reads the history in the Temporal UI (asserted on what was recorded)."""
    events = [e for e in read(file).events if e.marker_recorded_event_attributes.marker_name != "core_patch"]
    mute = [e.event_type for e in events if e.event_type in {10, 17, 25} and not e.user_metadata.summary.data]

    assert mute == []


async def test_a_change_that_breaks_running_journeys_is_told_with_the_rule_and_the_way_out() -> None:
    """The message is all that somebody sees who has never heard of replays."""
    problem = await Histories(FOLDER, (HastyWelcome,)).replayed(FOLDER / "welcome" / "1.json")

    assert problem is not None
    assert problem.startswith("welcome no longer replays 1.json.")
    assert "Nondeterminism" in problem
    assert "stack_trace" not in problem
    assert "a running journey must be able to replay its history" in problem
    assert "workflow.patched(" in problem
    assert "journeys history record welcome" in problem


async def test_the_same_change_behind_a_patch_breaks_nothing() -> None:
    """What the message advises is true."""
    assert await Histories(FOLDER, (PatchedWelcome,)).replayed(FOLDER / "welcome" / "1.json") is None


async def test_a_passage_that_changed_is_told_as_a_difference() -> None:
    """The commands before and now, as a review would show them; here another journey's stand for the change."""
    problem = KEPT.compared("welcome", read(FOLDER / "win-back" / "1.json"))

    assert problem is not None
    assert problem.startswith("welcome no longer does what its recorded passage says.")
    assert "--- recorded\n+++ now\n" in problem
    assert "\n+start timer\n" in problem
    assert "journeys history record welcome" in problem


def test_a_journey_that_outlives_deploys_has_only_one_way_out() -> None:
    """Its runs move to every new build, so that no old worker can finish them."""
    problem = KEPT.compared("win-back", read(FOLDER / "welcome" / "1.json"))

    assert problem is not None
    assert "there is no other way" in problem


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder of histories to write to."""
    return Path(shutil.copytree(FOLDER, tmp_path / "histories"))


async def test_a_version_is_added_beside_the_old_ones(copy: Path) -> None:
    """The old version has runs under way; it is never overwritten."""
    before = (copy / "welcome" / "1.json").read_bytes()
    added = await Histories(copy).add("welcome", read(KEPT.of("welcome")[-1]), passage=True)

    assert added == copy / "welcome" / "3.json"
    assert (copy / "welcome" / "1.json").read_bytes() == before
    assert KEPT.baseline("welcome").read_text() == (copy / "welcome" / "commands.txt").read_text()


async def test_code_that_breaks_an_old_version_cannot_record_a_new_one(shop: TimeSkippingShop, copy: Path) -> None:
    """Recording is no way around the rule, unless nobody is under way."""
    new = await walked(shop, PASSAGES["welcome"])
    spoilt = (copy / "welcome" / "1.json").read_text().replace('"name": "deliver"', '"name": "dispatch"')
    (copy / "welcome" / "1.json").write_text(spoilt)

    with pytest.raises(OperationRefused, match="must be able to replay"):
        await Histories(copy).add("welcome", new, passage=True)
    assert len(Histories(copy).of("welcome")) == 2

    await Histories(copy).add("welcome", new, passage=True, unreleased=True)
    assert '"name": "dispatch"' not in (copy / "welcome" / "1.json").read_text()


async def test_an_order_that_ends_a_run_costs_one_signal(shop: TimeSkippingShop) -> None:
    """Start, first reminder, the timer it never waits out, the signal and the outcome: five actions for a buyer."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=61)
    await shop.until_said(1)
    await shop.track("Order Completed", order_id="o-1", total=12.5, products=[MUG])
    await shop.settled("cart-recovery")

    assert actions(await shop.history("cart-recovery")) <= 5
