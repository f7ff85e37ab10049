"""Time compression of plans."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from cli.demo.compression import DAY, FLOOR, compressed, scaled
from domain.plans import PLANS, CartRecoveryPlan, Plan, validated


def durations(value: BaseModel, path: str = "") -> dict[str, timedelta]:
    """Every duration of a plan by its path, found without knowing the fields."""
    found: dict[str, timedelta] = {}
    for name in type(value).model_fields:
        item = getattr(value, name)
        for number, part in enumerate(item if isinstance(item, tuple) else (item,)):
            here = f"{path}{name}[{number}]"
            if isinstance(part, timedelta):
                found[here] = part
            elif isinstance(part, BaseModel):
                found |= durations(part, f"{here}.")
    return found


@given(
    journey=st.sampled_from(sorted(PLANS)),
    factor=st.floats(min_value=1e-6, max_value=1),
    floor=st.timedeltas(min_value=timedelta(0), max_value=timedelta(seconds=10)),
)
def test_every_duration_is_scaled_down_to_the_floor_and_nothing_else_changes(
    journey: str, factor: float, floor: timedelta
) -> None:
    """Waits, gaps, cool-downs, delays and deadlines shrink alike; zero stays zero; lateness is real time."""
    plan: Plan = PLANS[journey].model_validate({})
    small = scaled(plan, factor, floor)
    before, after = durations(plan), durations(small)
    assert len([path for path in before if path.startswith("steps")]) == 2 * len(plan.steps)
    for path, real in before.items():
        if path == "lateness[0]" or not real:
            assert after[path] == real
        else:
            assert after[path] == max(real * factor, floor)
    times = {"delay", "deadline"}
    assert [s.model_dump(exclude=times) for s in small.steps] == [s.model_dump(exclude=times) for s in plan.steps]


def test_the_order_of_waits_survives_above_the_floor() -> None:
    """In the demo too, a week is seven times a day."""
    small = scaled(CartRecoveryPlan(), 1e-3, timedelta(0))
    assert small.cool_down == 7 * timedelta(days=1) * 1e-3
    assert small.cool_down / small.quiet == 7 * 24


def test_the_demo_has_a_valid_plan_for_each_journey_and_ends_in_time() -> None:
    """A store could set these plans itself, and a customer's longest passage takes less than two minutes."""
    plans = compressed()
    assert plans.keys() == PLANS.keys()
    for journey, plan in plans.items():
        assert validated(journey, plan.model_dump(mode="json")) == plan
        if journey != "back-in-stock":  # waits for a restock, as long as that takes
            passage = plan.before_first + sum((step.delay for step in plan.steps), timedelta(0))
            assert passage < timedelta(seconds=120)
    assert plans["win-back"].before_first == 90 * DAY
    assert plans["cart-recovery"].before_first == FLOOR
