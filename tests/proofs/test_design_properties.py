"""Correctness properties of requirements/3 that are rules of the domain, each for a hundred drawn cases.

The docstrings carry the tags; docs/properties.md lists them.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

import templates
from adapters.rendering.renderer import TemplateRenderer
from domain.commands import Command, RestartRun, SignalRun, StartRun
from domain.decoding import facts
from domain.delivery import CartQuiet, Result, Slot
from domain.events import Event, EventType, Who
from domain.facts import (
    CartLineChanged,
    ConsentChanged,
    Fact,
    NewsletterSubscribed,
    OrderPlaced,
    ProductViewed,
    ProfileChanged,
    SignedUp,
    Unsubscribed,
)
from domain.gate import Truth, decide, may_forbid
from domain.message import Material
from domain.plans import CartRecoveryPlan, Step, WinBackPlan
from domain.runs import Outcome, RunState
from domain.snapshot import Snapshot
from domain.tokens import Signer
from domain.vocabulary import ALIASES
from workflows import enrolment

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
CUSTOMER, RUN = UUID(int=1), UUID(int=2)
EVENT = UUID("01890a5d-ac96-774b-bcce-b302099a8057")

moments = st.integers(-90 * 1440, 90 * 1440).map(lambda minutes: AT + timedelta(minutes=minutes))
words = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
lateness = st.integers(0, 60).map(lambda minutes: timedelta(minutes=minutes))
prices = st.integers(1, 100_000)

hundred = settings(max_examples=100)


def told(name: str | None, kind: EventType = "track", at: datetime = AT, **body: Any) -> list[Fact]:
    """The facts of an event as a client sends it."""
    event = Event(
        store_id="mugs", id=EVENT, message_id="m-1", type=kind, name=name, who=Who(user_id="u-1"), payload=body, at=at,
        received_at=at,
    )  # fmt: skip
    return facts(event, "EUR")


def only(kind: type[Fact], said: list[Fact]) -> Any:
    """The only fact of a kind."""
    (fact,) = (fact for fact in said if isinstance(fact, kind))
    return fact


def customer(now: datetime, **known: Any) -> Snapshot:
    return Snapshot(store_id="mugs", now=now, trigger=str(EVENT), customer_id=CUSTOMER, **known)


def begun(commands: list[Command]) -> set[str]:
    """The journeys that begin."""
    return {command.run.journey for command in commands if isinstance(command, StartRun | RestartRun)}


def under_way(journey: str, since: datetime) -> RunState:
    return RunState(run_id=RUN, workflow_id=f"mugs/{journey}/1", journey=journey, customer_id=CUSTOMER, since=since)


def ended(commands: list[Command]) -> list[Outcome | None]:
    """How the run under way ends by what it is told."""
    return [command.ends for command in commands if isinstance(command, SignalRun) and command.run_id == RUN]


def asked(now: datetime, truth: Truth, **more: Any) -> Result:
    step = Step(name="reminder-1", template="cart-reminder")
    slot = Slot(
        store_id="mugs", customer_id=CUSTOMER, run_id=RUN, journey="cart-recovery", step=step, gap=timedelta(0),
        due=now, waited_from=now, **more,
    )  # fmt: skip
    return decide(slot, truth, now).result


@hundred
@given(name=words, local=words, at=moments)
def test_a_sign_up_makes_a_profile(name: str, local: str, at: datetime) -> None:
    """Feature: marketing-automation, Property 1: Contact creation includes required fields."""
    address = f"{local}@x.test"
    profile = only(ProfileChanged, told(None, "identify", at, traits={"email": address, "firstName": name}))
    assert (profile.email, profile.first_name, profile.at) == (address, name, at)


@hundred
@given(silence=st.sampled_from(["unsubscribed", "bounced", "complained", "manual"]), now=moments)
def test_nothing_is_sent_to_a_suppressed_address(silence: str, now: datetime) -> None:
    """Unsubscribed stops marketing, every other reason stops everything.

    Feature: marketing-automation, Property 4: Unsubscribe stops all communications.
    Feature: marketing-automation, Property 11: Suppression list respected.
    """
    why = {"unsubscribed": True} if silence == "unsubscribed" else {"suppressed": silence}
    assert asked(now, Truth(address="a@x.test", consented=True, **why)) is Result.SUPPRESSED


@hundred
@given(product=words, name=words, price=prices, at=moments)
def test_a_view_is_recorded_with_its_product(product: str, name: str, price: int, at: datetime) -> None:
    """Feature: marketing-automation, Property 6: Product view events tracked."""
    properties = {"product_id": product, "name": name, "price": price / 100}
    viewed = only(ProductViewed, told("Product Viewed", at=at, properties=properties))
    assert (viewed.product_id, viewed.at) == (product, at)


@hundred
@given(product=words, quantity=st.integers(1, 9), price=prices, at=moments)
def test_what_goes_into_a_cart_is_recorded(product: str, quantity: int, price: int, at: datetime) -> None:
    """Feature: marketing-automation, Property 7: Cart events tracked."""
    properties = {"product_id": product, "quantity": quantity, "price": price / 100}
    added = only(CartLineChanged, told("Product Added", at=at, properties=properties))
    assert (added.line.product_id, added.line.quantity, added.line.price_minor) == (product, quantity, price)


@hundred
@given(order=words, total=prices, product=words, at=moments)
def test_an_order_is_recorded_with_its_details(order: str, total: int, product: str, at: datetime) -> None:
    """Feature: marketing-automation, Property 8: Purchase events tracked."""
    properties = {"order_id": order, "total": total / 100, "products": [{"product_id": product, "price": total / 100}]}
    placed = only(OrderPlaced, told("Order Completed", at=at, properties=properties))
    assert (placed.order_id, placed.total_minor, placed.at) == (order, total, at)
    assert [line.product_id for line in placed.lines] == [product]


@hundred
@given(since=st.integers(0, 240))
def test_a_cart_is_abandoned_after_an_hour_of_silence(since: int) -> None:
    """By the default plan, and for a message exactly then.

    Feature: marketing-automation, Property 9: Cart abandonment detected.
    Feature: marketing-automation, Property 17: Cart recovery enrollment timing.
    """
    changed_at = AT - timedelta(minutes=since)
    truth = Truth(address="a@x.test", consented=True, cart_lines=1, cart_changed_at=changed_at)
    result = asked(AT, truth, requires=(CartQuiet(quiet=CartRecoveryPlan().quiet),))
    assert result is (Result.SENT if since >= 60 else Result.DEFERRED)


@hundred
@given(fact=st.sampled_from([SignedUp, NewsletterSubscribed]), at=moments, late=lateness)
def test_whoever_signs_up_is_welcomed(fact: type[Fact], at: datetime, late: timedelta) -> None:
    """The router decides with the event itself, whenever it comes.

    Feature: marketing-automation, Property 12: Flow enrollment on trigger.
    Feature: marketing-automation, Property 15: Welcome flow enrollment.
    """
    commands = enrolment.commands(fact(at=at), customer(at + late))
    assert "welcome" in begun(commands)


@hundred
@given(fact=st.sampled_from([SignedUp, NewsletterSubscribed]), at=moments, age=lateness)
def test_nobody_is_in_a_journey_twice(fact: type[Fact], at: datetime, age: timedelta) -> None:
    """Feature: marketing-automation, Property 13: Duplicate enrollment prevented."""
    here = under_way("welcome", at - age)
    commands = enrolment.commands(fact(at=at), customer(at, open_runs=(here,), begun=frozenset({"welcome"})))
    assert "welcome" not in begun(commands)


@hundred
@given(journey=st.sampled_from(["welcome", "cart-recovery"]), at=moments, age=lateness, order=words)
def test_an_order_ends_what_hoped_for_it(journey: str, at: datetime, age: timedelta, order: str) -> None:
    """Feature: marketing-automation, Property 14: Flow exit on condition.

    Feature: marketing-automation, Property 16: Welcome flow exit on purchase.
    Feature: marketing-automation, Property 18: Cart recovery exit on purchase.
    """
    state = customer(at, open_runs=(under_way(journey, at - age),), orders=1, last_order_at=at, last_purchase_at=at)
    assert ended(enrolment.commands(OrderPlaced(at=at, order_id=order, currency="EUR"), state)) == [Outcome.CONVERTED]


@hundred
@given(at=moments, late=lateness, order=words)
def test_an_order_begins_the_time_after_it(at: datetime, late: timedelta, order: str) -> None:
    """Thanks at once, and the wait of 90 days for the next order.

    Feature: marketing-automation, Property 19: Post-purchase enrollment.
    Feature: marketing-automation, Property 20: Win-back enrollment timing.
    """
    state = customer(at + late, orders=1, last_order_at=at, last_purchase_at=at)
    assert {"post-purchase", "win-back"} <= begun(
        enrolment.commands(OrderPlaced(at=at, order_id=order, currency="EUR"), state)
    )
    assert WinBackPlan().before_first == timedelta(days=90)


@hundred
@given(name=st.sampled_from(["Newsletter Subscribed", "Newsletter Unsubscribed"]), at=moments)
def test_a_word_of_consent_keeps_its_time_and_source(name: str, at: datetime) -> None:
    """Feature: marketing-automation, Property 30: Consent timestamp recorded."""
    words_said = [f for f in told(name, at=at, properties={}) if isinstance(f, ConsentChanged | Unsubscribed)]
    assert words_said
    assert all(word.at == at and word.source for word in words_said)


@hundred
@given(name=st.sampled_from(["Newsletter Unsubscribed", *ALIASES["Newsletter Unsubscribed"]]), shout=st.booleans())
def test_an_unsubscribe_holds_messages_before_it_is_understood(name: str, shout: bool) -> None:
    """From its acknowledgement on, whatever the shop calls it.

    Feature: marketing-automation, Property 31: Unsubscribe processed timely.
    """
    assert may_forbid("track", name.upper() if shout else name)


_SAMPLES = [
    Material.model_validate_json(path.read_text("utf-8"))
    for path in sorted(Path(templates.__path__[0]).glob("[a-z]*/sample.json"))
]
_RENDERER = TemplateRenderer(Path(templates.__path__[0]), Signer(["a-secret-for-tests-only"]), "https://j.test")
_OPTIONAL = ["first_name", "last_name", "discount_code", "lines", "checkout_url", "product", "recommended"]


@hundred
@given(material=st.sampled_from(_SAMPLES), missing=st.sets(st.sampled_from(_OPTIONAL)))
def test_a_message_has_words_for_what_is_missing_and_a_way_out(material: Material, missing: set[str]) -> None:
    """Feature: marketing-automation, Property 29: Personalization fallback.

    Feature: marketing-automation, Property 32: Unsubscribe link in emails.
    """
    known = material.model_dump(exclude=missing)
    rendered = _RENDERER.render(Material.model_validate(known))
    assert not re.search(r"None|Undefined|\{\{|\{%", rendered.subject + rendered.text)
    letter = _RENDERER.letter(material, rendered)
    if not material.transactional:
        assert letter.unsubscribe_url is not None
        assert "unsubscribe" in rendered.html.lower()
