"""One table of names: what it understands, and what it must not."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decoding import DECODERS
from domain.vocabulary import ALIASES, CATALOGUE, Habits, canonical, folded, is_catalogue

EVERY_NAME = [name for canonical_name, others in ALIASES.items() for name in (canonical_name, *others)]

SEGMENT_ECOMMERCE_V2 = """
Products Searched; Product List Viewed; Product List Filtered; Promotion Viewed; Promotion Clicked; Product Clicked;
Product Viewed; Product Added; Product Removed; Cart Viewed; Checkout Started; Checkout Step Viewed;
Checkout Step Completed; Payment Info Entered; Order Updated; Order Completed; Order Refunded; Order Cancelled;
Coupon Entered; Coupon Applied; Coupon Denied; Coupon Removed; Product Added to Wishlist; Product Removed from Wishlist;
Wishlist Product Added to Cart; Product Shared; Cart Shared; Product Reviewed
"""


def test_every_event_of_segments_e_commerce_spec_keeps_its_name():
    """A client that follows the spec finds its own 28 names in our tables."""
    names = [" ".join(name.split()) for name in SEGMENT_ECOMMERCE_V2.split(";")]

    assert len(names) == 28
    assert [canonical(name) for name in names] == names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("contact_created", "Signed Up"),
        ("contact_updated", "Profile Updated"),
        ("product_viewed", "Product Viewed"),
        ("added_to_cart", "Product Added"),
        ("placed_order", "Order Completed"),
        ("cart_abandoned", "Cart Abandoned"),
        ("service_viewed", "Product Viewed"),
        ("booking_started", "Checkout Started"),
        ("booking_completed", "Order Completed"),
        ("service_booked", "Order Completed"),
        ("cart_created", "Cart Updated"),
        ("cart_updated", "Cart Updated"),
        ("userSignedUp", "Signed Up"),
        ("ORDER-PLACED", "Order Completed"),
        ("Subscribed to Back in Stock", "Back In Stock Requested"),
        ("Back In Stock", "Product Restocked"),
        ("begin_checkout", "Checkout Started"),
        ("AddToCart", "Product Added"),
    ],
)
def test_the_names_that_shops_really_send_are_understood(name, meant):
    """The requirements, GA4, Klaviyo, the Facebook pixel and Shopify each have words of their own."""
    assert canonical(name) == meant


@pytest.mark.parametrize("name", ["", "   ", "Ordered", "Product", "Subscribe", "page_viewed", "Order Shipped", "产品"])
def test_a_name_nobody_knows_means_nothing(name):
    """Unknown names are stored and routed nowhere; vague ones are not guessed at."""
    assert canonical(name) is None


@given(st.sampled_from(EVERY_NAME), st.sampled_from(["_", "-", " ", "", " _ "]), st.sampled_from("ultc"))
def test_spelling_makes_no_difference(name, gap, case):
    """Case, spaces, underscores, hyphens and camel case are ignored."""
    words = [{"u": w.upper(), "l": w.lower(), "t": w.title(), "c": w}[case] for w in name.replace("_", " ").split()]

    assert canonical(gap.join(words)) == canonical(name)


def test_no_name_stands_for_two_events_or_twice_for_one():
    """The table has one line for each way of naming an event."""
    assert [name for name, times in Counter(folded(name) for name in EVERY_NAME).items() if times > 1] == []


def test_every_decoder_answers_to_a_name_in_the_table():
    """A decoder under a misspelt name would never be asked."""
    assert DECODERS.keys() <= ALIASES.keys()


def test_only_events_of_the_back_office_are_about_the_catalogue():
    """A customer's events must never be taken for the catalogue's, or their customer would not be made."""
    assert {name for name in ALIASES if is_catalogue(name)} == CATALOGUE
    assert is_catalogue("back_in_stock")
    assert not is_catalogue("Back In Stock Requested")
    assert not is_catalogue("never heard of")


def test_what_is_remembered_of_names_is_made_once_and_takes_bounded_memory():
    """Clients choose the names of their fields: neither many nor long ones may fill a process."""
    made = Counter()
    habits = Habits(lambda name: made.update([name]) or len(name))
    longest, longer = "x" * Habits.LONGEST, "x" * (Habits.LONGEST + 1)

    assert [habits[name] for name in ("", "Cart", longest, longer) * 2] == [0, 4, 64, 65] * 2
    assert (made[longest], made[longer]) == (1, 2)
    for number in range(2 * Habits.MOST):
        assert habits[f"n{number}"] == len(f"n{number}")
        assert len(habits) <= Habits.MOST
