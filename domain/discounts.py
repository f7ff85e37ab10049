"""Discount codes that are given to one person each, from a pool; and what becomes of a message when it is empty."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field

from domain.delivery import Delivery, Result, Rule, Slot
from domain.errors import InvalidInput
from domain.values import Value

PoolName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
MOST_AT_ONCE = 1_000
"""How many codes a shop is asked for in one order."""
_ASK_AGAIN = timedelta(hours=1)
_LONGEST = 40
_HEADINGS = {"code", "codes", "discount code", "coupon", "coupon code"}

_HERE = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?(?:/.*)?")


class CodeOrder(Value):
    """Codes that a shop is asked to make.

    Attributes:
        order_id: The same until it is filled, so that a repeated order brings the same codes.
        url: Where the shop takes orders.
    """

    order_id: UUID
    store_id: str
    pool: PoolName
    url: str
    count: int = Field(ge=1, le=MOST_AT_ONCE)

    def filled_by(self, codes: Sequence[str]) -> list[str]:
        """Return what the shop sent, each once.

        Raises:
            InvalidInput: It is more than was asked for, or a code is none.
        """
        if len(codes) > self.count:
            raise InvalidInput("codes", f"the shop sent {len(codes)} codes for an order of {self.count}")
        if any(not is_code(code) for code in codes):
            raise InvalidInput("codes", f"a code has at most {_LONGEST} printable characters, and no spaces")
        return list(dict.fromkeys(codes))


def is_code(text: str) -> bool:
    """Tell whether a text can be a code."""
    return 0 < len(text) <= _LONGEST and text.isprintable() and not any(character.isspace() for character in text)


def checked_url(url: str) -> str:
    """Return the address of a shop's endpoint.

    Raises:
        InvalidInput: Codes would travel in the clear: it is neither https nor on this machine.
    """
    if not re.fullmatch(r"https://[^\s/@]+(?:/\S*)?", url) and not _HERE.fullmatch(url):
        raise InvalidInput("url", "must begin with https:// (http:// for this machine alone) and hold no login")
    return url


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
            if not is_code(code):
                raise InvalidInput(f"line {line}", f"must hold a code of at most {_LONGEST} characters, without spaces")
            codes[code] = None
    return list(codes)
