"""The gate: may this message go out now? A pure function of what is true at the moment of the claim."""

from datetime import datetime

from domain.delivery import CartQuiet, Condition, Delivery, InStock, OrderStands, Result, Rule, Slot
from domain.operations import OnResume, Pause
from domain.runs import Outcome
from domain.values import UtcTime, Value
from domain.vocabulary import canonical

_FORBIDDING = {
    "Order Completed",
    "Order Updated",
    "Order Refunded",
    "Order Cancelled",
    "Newsletter Unsubscribed",
    "Email Preferences Saved",
}


def may_forbid(event_type: str, name: str | None) -> bool:
    """Tell whether an event could make the gate withhold a message.

    `identify` may withdraw consent in its traits, and `alias` may join a customer who has bought.
    """
    return event_type in {"identify", "alias"} or canonical(name or "") in _FORBIDDING


class Truth(Value):
    """What the claim read, under the customer's lock.

    Attributes:
        ended: The outcome, if the run has ended.
        pauses: The pauses of the slot's journey, oldest first, that end after its wait began.
        suppressed: Why the address may get nothing at all (bounce, complaint), or None.
        unsubscribed: The address wants no marketing.
        consented: The consent ledger allows the step's topic.
        last_marketing_at: When another journey last sent this customer marketing.
        cart_lines: How many lines the cart has.
        stock: Units of the slot's product; None when never told.
        order_stands: False when the slot's order was refunded or cancelled.
    """

    ended: Outcome | None = None
    pauses: tuple[Pause, ...] = ()
    address: str | None = None
    suppressed: str | None = None
    unsubscribed: bool = False
    consented: bool = False
    last_marketing_at: UtcTime | None = None
    cart_lines: int = 0
    cart_changed_at: UtcTime | None = None
    stock: int | None = None
    withdrawn: bool = False
    order_stands: bool = True


def decide(slot: Slot, truth: Truth, now: datetime) -> Delivery:
    """Decide on a slot: `sent` means that it may be sent.

    The order of the rules is the order in which they are reported: what ends the run first, then a pause (while it
    lasts, nothing else is decided), then what is no longer true, then what the customer does not allow, then what
    only has to wait.
    """
    if truth.ended is not None:
        because = f"run ended: {truth.ended}"
        return Delivery(result=Result.EXITED, rule=Rule.RUN_ENDED, because=because, outcome=truth.ended)
    if (held := _held_up(slot, truth, now)) is not None:
        return held
    for condition in slot.requires:
        broken = _broken(condition, truth, now)
        if broken is not None:
            return broken
    return _unreachable(truth) or _marketing(slot, truth, now)


def _unreachable(truth: Truth) -> Delivery | None:
    if truth.address is None:
        return Delivery(result=Result.UNREACHABLE, rule=Rule.NO_ADDRESS, because="no e-mail address is known")
    if truth.suppressed is not None:
        because = f"address suppressed: {truth.suppressed}"
        return Delivery(result=Result.SUPPRESSED, rule=Rule.SUPPRESSED, because=because)
    return None


def _marketing(slot: Slot, truth: Truth, now: datetime) -> Delivery:
    if slot.step.transactional:
        return Delivery(result=Result.SENT, rule=Rule.TRANSACTIONAL, because="transactional")
    if truth.unsubscribed:
        return Delivery(result=Result.SUPPRESSED, rule=Rule.UNSUBSCRIBED, because="address suppressed: unsubscribed")
    if not truth.consented:
        return Delivery(result=Result.NO_CONSENT, rule=Rule.NO_CONSENT, because=f"no consent to {slot.step.topic}")
    if truth.last_marketing_at is not None and truth.last_marketing_at + slot.gap > now:
        until = truth.last_marketing_at + slot.gap
        return _deferred(Rule.SPACING, "another journey wrote a short time ago", until)
    return Delivery(result=Result.SENT, rule=Rule.CONSENT, because="consent")


def _broken(condition: Condition, truth: Truth, now: datetime) -> Delivery | None:
    match condition:
        case CartQuiet(quiet=quiet):
            if truth.cart_lines == 0:
                return _stale("the cart is empty")
            if truth.cart_changed_at is not None and truth.cart_changed_at + quiet > now:
                until = truth.cart_changed_at + quiet
                return _deferred(Rule.CONDITION, "the cart was changed", until)
        case InStock():
            if truth.withdrawn or not truth.stock or truth.stock <= 0:
                return _stale("the product is not in stock")
        case OrderStands():
            if not truth.order_stands:
                return _stale("the order was refunded or cancelled")
    return None


def _stale(because: str) -> Delivery:
    return Delivery(result=Result.STALE, rule=Rule.CONDITION, because=because)


def _deferred(rule: Rule, because: str, until: datetime) -> Delivery:
    return Delivery(result=Result.DEFERRED, rule=rule, because=because, until=until)


def _held_up(slot: Slot, truth: Truth, now: datetime) -> Delivery | None:
    """Say what the pauses of the journey do to a message; None if nothing (any more)."""
    due = slot.due
    for pause in truth.pauses:
        if pause.until is None:
            return Delivery(result=Result.PAUSED, rule=Rule.JOURNEY_PAUSED, because="the journey is paused")
        came_due_in_it = pause.since <= due < pause.until
        if pause.policy is OnResume.DROP_OVERDUE and came_due_in_it:
            return Delivery(result=Result.DROPPED, rule=Rule.JOURNEY_PAUSED, because="it came due in a pause")
        if pause.policy is OnResume.SPREAD and came_due_in_it:
            due = pause.until + _share(slot) * pause.over
        elif pause.policy is OnResume.SHIFT and pause.since <= due and slot.waited_from < pause.until:
            due += pause.until - max(pause.since, slot.waited_from)
    return _deferred(Rule.JOURNEY_PAUSED, "the journey was paused", due) if due > max(slot.due, now) else None


def _share(slot: Slot) -> float:
    """Give each run its own even share of a span of time, 0 to 1, without anybody keeping count."""
    return slot.run_id.int % 1_000_003 / 1_000_003
