"""Discount codes that are given to one person each, from a pool; and what becomes of a message when it is empty."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from domain.delivery import Delivery, Result, Rule, Slot
from domain.errors import InvalidInput

_ASK_AGAIN = timedelta(hours=1)
_LONGEST = 40
_HEADINGS = {"code", "codes", "discount code", "coupon", "coupon code"}


def exhausted(pool: str) -> str:
    """Say that a pool is empty; what waits for a code is found by these words."""
    return f"no discount code is left in {pool}"


def without_code(slot: Slot, allowed: Delivery, put_off_at: datetime | None, now: datetime) -> Delivery:
    """Decide on a message that may be sent, and whose pool is empty: by the word of its step.

    Args:
        slot: The step that asks.
        allowed: What the gate said.
        put_off_at: When it was first put off, if it was.
        now: The time.
    """
    because = exhausted(slot.step.discount_pool or "")
    if slot.step.without_code == "send":
        return allowed.model_copy(update={"because": f"{allowed.because}; {because}"})
    until = now + _ASK_AGAIN
    if slot.step.without_code == "wait" and until <= (put_off_at or now) + slot.step.deadline:
        return Delivery(result=Result.DEFERRED, rule=Rule.DISCOUNT, because=because, until=until)
    return Delivery(result=Result.DROPPED, rule=Rule.DISCOUNT, because=because)


def read_codes(rows: Iterable[Sequence[str]]) -> list[str]:
    """Read the codes of a table: of the column that is called so, else of the first; each once, in its order.

    Raises:
        InvalidInput: Names the line that holds no code.
    """
    column, codes = 0, dict[str, None]()
    for line, row in enumerate(rows, 1):
        cells = [cell.strip().lstrip("\ufeff") for cell in row]
        if line == 1 and (named := [i for i, cell in enumerate(cells) if cell.casefold() in _HEADINGS]):
            column = named[0]
        elif any(cells):
            code = cells[column] if column < len(cells) else ""
            if not 0 < len(code) <= _LONGEST or not code.isprintable() or " " in code:
                raise InvalidInput(f"line {line}", f"must hold a code of at most {_LONGEST} characters, without spaces")
            codes[code] = None
    return list(codes)
