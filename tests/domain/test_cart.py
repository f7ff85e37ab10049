"""The order in which a cart's events arrive, and how often, makes no difference (G2)."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cart import Cart
from domain.facts import CartLineChanged, CartReported, Line
from domain.money import MAX_MINOR

START = datetime(2026, 3, 1, tzinfo=UTC)

moments = st.integers(0, 6).map(lambda minutes: START + timedelta(minutes=minutes))
lines = st.builds(
    Line, product_id=st.sampled_from("abc"), quantity=st.integers(1, 4), price_minor=st.sampled_from([None, 500, 700])
)
currencies = st.sampled_from(["EUR", "USD"])
links = st.sampled_from([None, "https://shop.example/c/1", "https://shop.example/c/2"])
changes = st.builds(CartLineChanged, at=moments, line=lines, removed=st.booleans(), currency=currencies)
reports = st.builds(
    CartReported, at=moments, lines=st.lists(lines, max_size=3).map(tuple), currency=currencies, checkout_url=links
)
happenings = st.lists(st.one_of(changes, changes, reports, moments), max_size=7).map(
    lambda things: [(UUID(int=number), thing) for number, thing in enumerate(things)]
)


def after(things, cart=None):
    cart = cart or Cart()
    for event_id, thing in things:
        match thing:
            case CartLineChanged():
                cart = cart.with_change(event_id, thing)
            case CartReported():
                cart = cart.with_report(thing)
            case datetime():
                cart = cart.with_order(thing)
    return cart


@settings(max_examples=200)
@given(happenings, st.data())
def test_any_order_of_arrival_with_any_repeats_gives_the_same_cart(things, data):
    """Changes, reports and orders: shuffled and duplicated, the whole cart is the same, currency and link included."""
    again = data.draw(st.lists(st.sampled_from(things), max_size=4)) if things else []
    shuffled = data.draw(st.permutations([*things, *again]))

    assert after(shuffled) == after(things)


@settings(max_examples=200)
@given(happenings, st.data())
def test_two_identities_that_are_joined_have_the_cart_of_one_customer(things, data):
    """Whichever identity was told what, before or after they were joined, and whichever is joined to the other."""
    whose = [data.draw(st.sampled_from(("known", "browser", "later"))) for _ in things]
    known, browser, later = (
        [thing for thing, who in zip(things, whose, strict=True) if who == name]
        for name in ("known", "browser", "later")
    )

    assert after(later, after(known).joined(after(browser))) == after(things)
    assert after(later, after(browser).joined(after(known))) == after(things)


@given(happenings)
def test_the_lines_name_each_product_once_and_never_owe_any(things):
    """Taking out more than was put in leaves nothing, not less than nothing."""
    cart = after(things)

    assert len({line.product_id for line in cart.lines}) == len(cart.lines)
    assert all(line.quantity >= 1 for line in cart.lines)
    assert Cart.model_validate_json(cart.model_dump_json()) == cart


@given(happenings, moments)
def test_an_order_leaves_only_what_was_put_in_after_it(things, ordered_at):
    """And it is not a touch of the cart."""
    cart = after(things).with_order(ordered_at)

    newer = any(getattr(thing, "at", thing) > ordered_at for _, thing in things)
    assert newer or (cart.lines, cart.changed_at, cart.checkout_url) == ((), None, None)


def change(minute, product="a", removed=False, quantity=1, **line):
    return CartLineChanged(
        at=START + timedelta(minutes=minute),
        line=Line(product_id=product, quantity=quantity, **line),
        removed=removed,
        currency="EUR",
    )


def test_a_removal_of_what_we_never_saw_does_not_swallow_the_next_addition():
    """Tracking may begin in the middle of a visit."""
    cart = Cart().with_change(UUID(int=1), change(1, removed=True)).with_change(UUID(int=2), change(2))

    assert [line.quantity for line in cart.lines] == [1]


def test_one_event_may_put_in_several_products():
    """GA4's add_to_cart lists them; a repeat of the event is still a repeat."""
    event_id = UUID(int=1)
    cart = Cart().with_change(event_id, change(1, "a")).with_change(event_id, change(1, "b"))

    assert cart.with_change(event_id, change(1, "b")) == cart
    assert [line.product_id for line in cart.lines] == ["a", "b"]


def test_a_purchase_at_the_same_instant_empties_the_cart():
    """At the same instant the cart comes first, then the order."""
    report = CartReported(at=START, lines=(Line(product_id="a", quantity=1),), currency="EUR")

    assert Cart().with_report(report).with_order(START).lines == ()
    assert Cart().with_order(START).with_report(report).lines == ()


def test_a_cart_of_absurd_worth_still_fits_its_column():
    """A million units at the highest price."""
    cart = Cart()
    for number in range(3):
        cart = cart.with_change(UUID(int=number), change(number, quantity=1_000_000, price_minor=MAX_MINOR))

    assert cart.total_minor == MAX_MINOR
    assert [line.quantity for line in cart.lines] == [1_000_000]


def test_a_cart_known_before_these_fields_were_added_is_read():
    """Carts are stored as JSON."""
    assert Cart.model_validate({"currency": "EUR", "checkout_url": "https://s.example/c"}).lines == ()
