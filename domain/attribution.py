"""Attribution: which message an order is credited to."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from domain.values import UtcTime, Value

WINDOW = timedelta(days=5)
"""An order counts for a click this long before it (Klaviyo's default: help.klaviyo.com 11118357030555)."""


class Candidate(Value):
    """A message that was sent to the customer before the order."""

    message_id: UUID
    sent_at: UtcTime
    clicked_at: UtcTime | None = None
    discount_code: str | None = None


def credited(messages: Iterable[Candidate], ordered_at: datetime, coupon: str | None, ref: UUID | None) -> UUID | None:
    """Choose the message an order is credited to.

    The newest click at most `WINDOW` before the order wins; else the message that the shop says it came from
    (`ref` on the link); else the newest message that carried the order's discount code.
    """
    before = [m for m in messages if m.sent_at <= ordered_at]
    clicked = [m for m in before if m.clicked_at is not None and ordered_at - WINDOW <= m.clicked_at <= ordered_at]
    if clicked:
        return max(clicked, key=lambda m: (m.clicked_at or m.sent_at, m.message_id)).message_id
    if ref is not None and any(m.message_id == ref for m in before):
        return ref
    if coupon:
        coded = [m for m in before if (m.discount_code or "").casefold() == coupon.casefold()]
        if coded:
            return max(coded, key=lambda m: (m.sent_at, m.message_id)).message_id
    return None
