"""The gate: may this message go out now? A pure function of what is true at the moment of the claim."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from domain.caps import Traffic, free_slot
from domain.delivery import (
    CartQuiet,
    Condition,
    Delivery,
    InStock,
    OrderStands,
    PriceLow,
    Result,
    Rule,
    Slot,
    Unconfirmed,
    Undecided,
)
from domain.operations import Pause
from domain.pauses import after_pauses
from domain.quiet_hours import waking
from domain.runs import Outcome
from domain.sending_rules import SendingRules
from domain.values import UtcTime, Value
from domain.vocabulary import canonical

_FORBIDDING = {
    "Order Completed",
    "Order Updated",
    "Order Refunded",
    "Order Cancelled",
    "Newsletter Unsubscribed",
    "Email Preferences Saved",
    "Marketing Paused",
    "Consent Confirmed",
    "Email Bounced",
    "Email Complained",
    # What changes a cart ends browse abandonment, or the reminders of it.
    "Product Added",
    "Wishlist Product Added to Cart",
    "Product Removed",
    "Cart Viewed",
    "Cart Updated",
    "Cart Cleared",
    "Cart Abandoned",
    "Checkout Started",
}

_CHANNEL = "email"
_TOO_LATE = {
    Rule.CAP: Result.CAPPED,
    Rule.QUIET_HOURS: Result.QUIET,
    Rule.MARKETING_PAUSED: Result.DROPPED,
}
"""What becomes of a message whose deadline comes before the rule would let it go."""


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
        marketing_paused_until: The customer wants no marketing until then.
        unconfirmed: The customer has agreed to something that counts only once it is confirmed.
        asked_at: When another run last asked this address for a confirmation.
        last_marketing_at: When another journey last sent this customer marketing.
        cart_lines: How many lines the cart has.
        stock: Units of the slot's product; None when never told.
        order_stands: False when the slot's order was refunded or cancelled.
        viewed_at: When the customer last looked at the slot's product.
        price_minor: What the product costs.
        wanted_minor: The most it may cost for the customer to want to hear of it; None: does not watch it any more.
        rules: What the store sets for all its marketing.
        timezone: The customer's, IANA; the store's if that is unknown.
        country: The customer's, if known.
        traffic: The marketing messages that the caps look back on.
        ahead: Those of higher priority that are due soon, and have not been sent.
        put_off_at: When this message was first put off for want of a slot, if it was.
    """

    ended: Outcome | None = None
    pauses: tuple[Pause, ...] = ()
    address: str | None = None
    suppressed: str | None = None
    unsubscribed: bool = False
    consented: bool = False
    marketing_paused_until: UtcTime | None = None
    unconfirmed: bool = False
    asked_at: UtcTime | None = None
    last_marketing_at: UtcTime | None = None
    cart_lines: int = 0
    cart_changed_at: UtcTime | None = None
    stock: int | None = None
    withdrawn: bool = False
    order_stands: bool = True
    viewed_at: UtcTime | None = None
    price_minor: int | None = None
    wanted_minor: int | None = None
    rules: SendingRules = SendingRules()
    timezone: str = "UTC"
    country: str | None = None
    traffic: tuple[Traffic, ...] = ()
    ahead: tuple[Traffic, ...] = ()
    put_off_at: UtcTime | None = None


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
        because = f"no {'confirmed ' if truth.unconfirmed else ''}consent to {slot.step.topic}"
        return Delivery(result=Result.NO_CONSENT, rule=Rule.NO_CONSENT, because=because)
    if (over := truth.marketing_paused_until) is not None and over > now:
        because = "the customer paused marketing"
        return _put_off(slot, truth, Rule.MARKETING_PAUSED, because, _awake(truth, over), now)
    if truth.last_marketing_at is not None and truth.last_marketing_at + slot.gap > now:
        until = truth.last_marketing_at + slot.gap
        return _deferred(Rule.SPACING, "another journey wrote a short time ago", _awake(truth, until))
    return _no_slot(slot, truth, now) or Delivery(result=Result.SENT, rule=Rule.CONSENT, because="consent")


def _no_slot(slot: Slot, truth: Truth, now: datetime) -> Delivery | None:
    """Put a message off that may be sent, but not now: to the next free slot, if there is one."""
    caps, topic = truth.rules.caps, slot.step.topic
    if (free := free_slot(caps, _CHANNEL, topic, (*truth.traffic, *truth.ahead), now)) > now:
        room = free_slot(caps, _CHANNEL, topic, truth.traffic, now) == now
        because = "room is left for a more important message" if room else "as many messages as the cap allows"
        return _put_off(slot, truth, Rule.CAP, because, _awake(truth, free), now)
    if (end := _awake(truth, now)) > now:
        return _put_off(slot, truth, Rule.QUIET_HOURS, "quiet hours where the customer is", end, now)
    return None


def _put_off(slot: Slot, truth: Truth, rule: Rule, because: str, until: datetime, now: datetime) -> Delivery:
    """Put a message off until a moment, or for good if its deadline comes first."""
    if until <= (truth.put_off_at or now) + slot.step.deadline:
        return _deferred(rule, because, until)
    return Delivery(result=_TOO_LATE[rule], rule=rule, because=f"{because}; no free slot before its deadline")


def _awake(truth: Truth, moment: datetime) -> datetime:
    return waking(truth.rules.quiet(_CHANNEL, truth.country), ZoneInfo(truth.timezone), moment)


def _broken(condition: Condition, truth: Truth, now: datetime) -> Delivery | None:
    match condition:
        case CartQuiet(quiet=quiet):
            return _cart_quiet(truth, quiet, now)
        case InStock():
            in_stock = not truth.withdrawn and truth.stock is not None and truth.stock > 0
            return None if in_stock else _stale("the product is not in stock")
        case OrderStands():
            return None if truth.order_stands else _stale("the order was refunded or cancelled")
        case Undecided(quiet=quiet):
            return _undecided(truth, quiet, now)
        case PriceLow():
            return _price_low(truth)
        case Unconfirmed():
            return _unconfirmed(condition, truth, now)


def _cart_quiet(truth: Truth, quiet: timedelta, now: datetime) -> Delivery | None:
    if truth.cart_lines == 0:
        return _stale("the cart is empty")
    if truth.cart_changed_at is not None and truth.cart_changed_at + quiet > now:
        return _deferred(Rule.CONDITION, "the cart was changed", truth.cart_changed_at + quiet)
    return None


def _undecided(truth: Truth, quiet: timedelta, now: datetime) -> Delivery | None:
    if truth.cart_lines > 0:
        return _stale("there is something in the cart")
    if _gone(truth):
        return _stale("the product cannot be bought")
    if truth.viewed_at is not None and truth.viewed_at + quiet > now:
        return _deferred(Rule.CONDITION, "the customer looked again", truth.viewed_at + quiet)
    return None


def _price_low(truth: Truth) -> Delivery | None:
    if _gone(truth):
        return _stale("the product cannot be bought")
    if truth.wanted_minor is None or truth.price_minor is None:
        return _stale("the customer does not wait for this price")
    return _stale("the price has risen again") if truth.price_minor > truth.wanted_minor else None


def _unconfirmed(condition: Unconfirmed, truth: Truth, now: datetime) -> Delivery | None:
    if not truth.unconfirmed:
        return _stale("there is nothing to confirm")
    if condition.by <= now:
        return _stale("the time to confirm it is over")
    if truth.asked_at is not None and truth.asked_at + condition.again > now:
        because = "the address was asked to confirm a short time ago"
        return Delivery(result=Result.CAPPED, rule=Rule.CAP, because=because)
    return None


def _gone(truth: Truth) -> bool:
    """Tell whether a product is known not to be for sale; not every shop tells its stock."""
    return truth.withdrawn or (truth.stock is not None and truth.stock <= 0)


def _stale(because: str) -> Delivery:
    return Delivery(result=Result.STALE, rule=Rule.CONDITION, because=because)


def _deferred(rule: Rule, because: str, until: datetime, at: datetime | None = None) -> Delivery:
    return Delivery(result=Result.DEFERRED, rule=rule, because=because, until=until, at=at)


def _held_up(slot: Slot, truth: Truth, now: datetime) -> Delivery | None:
    """Say what the pauses of the journey do to a message; None if nothing (any more)."""
    ended = [pause.until for pause in truth.pauses if pause.until is not None]
    if len(ended) < len(truth.pauses):
        return Delivery(result=Result.PAUSED, rule=Rule.JOURNEY_PAUSED, because="the journey is paused")
    due, dropped = after_pauses(slot.run_id, slot.due, slot.waited_from, truth.pauses)
    if dropped:
        # The next step is counted from when this one came due: else those of all customers would come due together.
        return Delivery(result=Result.DROPPED, rule=Rule.JOURNEY_PAUSED, because="it came due in a pause", at=due)
    if due <= max(slot.due, now):
        return None
    # A wait that begins here begins after these pauses, also by a clock that is behind the one that ended them.
    return _deferred(Rule.JOURNEY_PAUSED, "the journey was paused", due, at=max(now, *ended))
