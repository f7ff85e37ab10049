"""The cart: a snapshot and the changes after it, so that the order in which events arrive does not matter (G2).

A client may report single changes (Product Added) or the whole cart (Cart Viewed), duplicated and late. The
cart is therefore the newest snapshot plus every change that happened after it; an order is an empty snapshot.
"""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from domain.facts import CartLineChanged, CartReported, Line
from domain.money import MAX_MINOR
from domain.values import UtcTime, Value

_MOST_UNITS = 1_000_000


class Change(Value):
    """One line put in (`quantity` > 0) or taken out (`removed`), identified by its event."""

    event_id: UUID
    at: UtcTime
    line: Line
    removed: bool


class Cart(Value):
    """What a customer's cart holds.

    Attributes:
        snapshot_at: When the whole cart was last known; None before that.
        emptied_by: What made the newest snapshot, so that a purchase is not taken for a change of mind.
        currency_at, checkout_url_at: When these were told; the newest word counts, not the last to arrive.
        ordered_at: The newest order; a checkout link told before it leads nowhere any more.
    """

    snapshot_at: UtcTime | None = None
    snapshot: tuple[Line, ...] = ()
    emptied_by: Literal["report", "order"] = "report"
    changes: tuple[Change, ...] = ()
    currency: str = "USD"
    currency_at: UtcTime | None = None
    checkout_url: str | None = None
    checkout_url_at: UtcTime | None = None
    ordered_at: UtcTime | None = None

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines now in the cart, each product once, in the order they were first put in."""
        lines: dict[str, Line] = {}
        units: dict[str, int] = {}
        for line in self.snapshot:
            lines[line.product_id] = line
            units[line.product_id] = units.get(line.product_id, 0) + line.quantity
        for change in self.changes:
            product = change.line.product_id
            if not change.removed or product not in lines:
                lines[product] = change.line
            # Taking out more than we know of means that we did not know all of it, not that units are owed.
            step = -change.line.quantity if change.removed else change.line.quantity
            units[product] = max(0, units.get(product, 0) + step)
        return tuple(_of_units(lines[product], min(n, _MOST_UNITS)) for product, n in units.items() if n > 0)

    @property
    def total_minor(self) -> int:
        """The value of the lines whose price is known, in minor units."""
        return min(MAX_MINOR, sum((line.price_minor or 0) * line.quantity for line in self.lines))

    @property
    def changed_at(self) -> datetime | None:
        """When the customer last touched the cart; an order is not a touch."""
        moments = [change.at for change in self.changes]
        if self.snapshot_at is not None and self.emptied_by == "report":
            moments.append(self.snapshot_at)
        return max(moments, default=None)

    def with_change(self, event_id: UUID, fact: CartLineChanged) -> Self:
        """Add one change; a repeat, or a change from before the snapshot, changes nothing."""
        change = Change(event_id=event_id, at=fact.at, line=fact.line, removed=fact.removed)
        return self._in_currency(fact.at, fact.currency)._with_changes(change)

    def with_report(self, fact: CartReported) -> Self:
        """Take over a whole cart, if it is newer than the one we know."""
        told = self._in_currency(fact.at, fact.currency)._leading_to(fact.at, fact.checkout_url)
        return told._with_snapshot(fact.at, fact.lines, "report")

    def with_order(self, at: datetime) -> Self:
        """Empty the cart of everything put in up to an order."""
        return self._ordered(at)._with_snapshot(at, (), "order")

    def joined(self, other: "Cart") -> Self:
        """Merge the carts of two identities of one person, as if they had been one all along."""
        cart = self
        if other.currency_at is not None:
            cart = cart._in_currency(other.currency_at, other.currency)
        if other.checkout_url_at is not None:
            cart = cart._leading_to(other.checkout_url_at, other.checkout_url)
        if other.ordered_at is not None:
            cart = cart._ordered(other.ordered_at)
        if other.snapshot_at is not None:
            cart = cart._with_snapshot(other.snapshot_at, other.snapshot, other.emptied_by)
        return cart._with_changes(*other.changes)

    def _with_snapshot(self, at: datetime, lines: tuple[Line, ...], by: Literal["report", "order"]) -> Self:
        if self.snapshot_at is not None and _rank(at, lines, by) <= _rank(
            self.snapshot_at, self.snapshot, self.emptied_by
        ):
            return self
        later = tuple(change for change in self.changes if change.at > at)
        return self._but(snapshot_at=at, snapshot=lines, emptied_by=by, changes=later)

    def _with_changes(self, *changes: Change) -> Self:
        # At the same instant the cart comes first, then the order.
        later = [c for c in changes if self.snapshot_at is None or c.at > self.snapshot_at]
        known = {(c.event_id, c.line.product_id): c for c in (*later, *self.changes)}
        return self._but(changes=tuple(sorted(known.values(), key=_moment)))

    def _in_currency(self, at: datetime, currency: str) -> Self:
        if self.currency_at is not None and (at, currency) <= (self.currency_at, self.currency):
            return self
        return self._but(currency=currency, currency_at=at)

    def _leading_to(self, at: datetime, checkout_url: str | None) -> Self:
        if checkout_url is None or (self.ordered_at is not None and at <= self.ordered_at):
            return self
        if self.checkout_url_at is not None and (at, checkout_url) <= (self.checkout_url_at, self.checkout_url or ""):
            return self
        return self._but(checkout_url=checkout_url, checkout_url_at=at)

    def _ordered(self, at: datetime) -> Self:
        cart = self if self.ordered_at is not None and self.ordered_at >= at else self._but(ordered_at=at)
        if self.checkout_url_at is not None and self.checkout_url_at <= at:
            return cart._but(checkout_url=None, checkout_url_at=None)
        return cart

    def _but(self, **changed: Any) -> Self:
        return self.model_copy(update=changed)


def _of_units(line: Line, quantity: int) -> Line:
    return line if line.quantity == quantity else line.model_copy(update={"quantity": quantity})


def _moment(change: Change) -> tuple[datetime, bool, UUID, str]:
    return change.at, change.removed, change.event_id, change.line.product_id


def _rank(at: datetime, lines: tuple[Line, ...], by: str) -> tuple[datetime, bool, list[str]]:
    """Tell which of two snapshots counts: the newer; then the order; then either, but always the same one."""
    return at, by == "order", [line.model_dump_json() for line in lines]
