"""Money is exact: whole minor units inside, decimals only at the edges."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import MAX_MINOR, exponent, to_decimal, to_minor

currencies = st.sampled_from(["USD", "EUR", "JPY", "KWD", "kwd", "XXX"])


@given(st.integers(-MAX_MINOR, MAX_MINOR), currencies)
def test_every_amount_survives_the_way_out_and_in(minor, currency):
    """Minor units written as a decimal, and that as text, are the same minor units again."""
    amount = to_decimal(minor, currency)

    if abs(amount) <= MAX_MINOR:
        assert to_minor(amount, currency) == minor
        assert to_minor(f"{amount:f}", currency) == minor


@given(
    st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans(), st.binary(), st.decimals()), currencies
)
def test_any_value_gives_an_amount_within_bounds_or_none(value, currency):
    """Never an exception, never more than a bigint column holds."""
    minor = to_minor(value, currency)

    assert minor is None or (isinstance(minor, int) and abs(minor) <= MAX_MINOR)


@given(st.decimals(-(10**12), 10**12, places=6), currencies)
def test_rounding_is_never_off_by_more_than_half_a_unit(amount, currency):
    """Half a minor unit at most, and halves go away from zero."""
    minor = to_minor(amount, currency)

    off = abs(Decimal(minor) - amount.scaleb(exponent(currency)))
    assert off <= Decimal("0.5")
    assert off < Decimal("0.5") or abs(minor) >= abs(amount.scaleb(exponent(currency)))


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("18.99", "USD", 1899),
        (18.99, "USD", 1899),
        (0.1 + 0.2, "USD", 30),
        (" 18.995 ", "usd", 1900),
        ("-0.005", "USD", -1),
        ("500", "JPY", 500),
        (499.5, "JPY", 500),
        ("1.2345", "KWD", 1235),
        ("1e2", "EUR", 10_000),
        ("0.00499999999999999999999999999999999999", "USD", 0),
        ("1e-999999999", "USD", 0),
        (0, "USD", 0),
    ],
)
def test_decimals_become_minor_units(amount, currency, minor):
    """By the currency's own number of decimals (ISO 4217)."""
    assert to_minor(amount, currency) == minor


@pytest.mark.parametrize(
    "amount",
    [None, True, "", "free", "$5", "1,50", "NaN", "sNaN", "inf", "-Infinity", float("nan"), float("inf"), "1e99",
     10**30, "9" * 10_000, [], {}, b"5", Decimal("NaN")],
)  # fmt: skip
def test_what_is_no_amount_is_none(amount):
    """Not guessed at: a wrong price is worse than none."""
    assert to_minor(amount, "USD") is None


def test_a_number_too_long_to_be_written_is_none():
    """Python refuses to write an integer of 5000 digits."""
    assert to_minor(10**5000, "USD") is None
