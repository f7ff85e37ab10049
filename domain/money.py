"""Money as integer minor units and an ISO 4217 code; decimals exist only at the edges."""

from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

MAX_MINOR = 10**15
"""Amounts beyond this are mistakes, not purchases; it also keeps them inside a Postgres bigint."""

_LONGEST = 64
"""Letters in the longest amount that is read."""

# ISO 4217 exponents that differ from two (https://www.six-group.com/en/products-services/financial-information/data-standards.html).
_EXPONENTS = {
    **dict.fromkeys(
        ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF"], 0
    ),
    **dict.fromkeys(["XOF", "XPF"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}


def exponent(currency: str) -> int:
    """Return how many decimals a currency has."""
    return _EXPONENTS.get(currency.upper(), 2)


def to_minor(amount: object, currency: str) -> int | None:
    """Convert a decimal amount as clients send it (number or string) to minor units.

    Returns:
        The amount rounded half up to whole minor units, or None when it is no usable amount
        (not a number, not finite, or beyond `MAX_MINOR`).
    """
    if isinstance(amount, bool) or not isinstance(amount, int | float | str | Decimal):
        return None
    try:
        text = str(amount).strip()
        value = Decimal(text) if len(text) <= _LONGEST else Decimal("NaN")
    except (InvalidOperation, ValueError):
        return None
    if not value.is_finite() or abs(value) > MAX_MINOR:
        return None
    exact = Context(prec=2 * _LONGEST, rounding=ROUND_HALF_UP)
    minor = int(value.scaleb(exponent(currency), exact).quantize(Decimal(1), context=exact))
    return minor if abs(minor) <= MAX_MINOR else None


def to_decimal(minor: int, currency: str) -> Decimal:
    """Convert minor units back to a decimal amount."""
    return Decimal(minor).scaleb(-exponent(currency))
