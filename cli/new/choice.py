"""The facts that a new journey can be about: those that a shop's events can cause, each with its example."""

import difflib
import inspect
from collections.abc import Sequence

from domain.errors import InvalidInput
from domain.facts import (
    CartChanged,
    CartEmptied,
    Fact,
    InterestShown,
    OrderCancelled,
    OrderPlaced,
    OrderRefunded,
    PriceDropped,
)
from domain.runs import Outcome
from rehearsal.examples import EXAMPLES

_OUTCOMES = {
    CartEmptied: Outcome.CART_EMPTIED,
    CartChanged: Outcome.CART_FILLED,
    OrderRefunded: Outcome.REFUNDED,
    OrderCancelled: Outcome.REFUNDED,
}
_OF_ANOTHER_JOURNEY = {InterestShown, PriceDropped}
"""They become true by the plan of another journey, and not at all when a store has switched that off."""
FACTS = [fact for fact in EXAMPLES if fact not in _OF_ANOTHER_JOURNEY]
"""What a new journey can be about."""
_BY_NAME = {fact.__name__: fact for fact in FACTS}


def fact_named(text: str, option: str) -> type[Fact]:
    """Return the fact of a name.

    Raises:
        InvalidInput: There is none that a journey could be about; says which there are.
    """
    if (fact := _BY_NAME.get(text)) is not None:
        return fact
    near = difflib.get_close_matches(text, _BY_NAME, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise InvalidInput(option, f"there is no fact {text!r} for it; {meant}There are {', '.join(sorted(_BY_NAME))}")


def exits(entered_by: type[Fact], given: Sequence[type[Fact]]) -> dict[type[Fact], Outcome]:
    """Return what ends a journey, and how: a purchase in any case, unless it is what begins it.

    Raises:
        InvalidInput: What begins it would end it.
    """
    if entered_by in given:
        raise InvalidInput("--ends-by", f"{entered_by.__name__} begins the journey, so it cannot end it")
    always: list[type[Fact]] = [OrderRefunded if entered_by is OrderPlaced else OrderPlaced, *given]
    return {fact: _OUTCOMES.get(fact, Outcome.CONVERTED) for fact in always}


def told(fact: type[Fact]) -> str:
    """Say what a fact means, in the words of its class."""
    first = inspect.getdoc(fact).splitlines()[0].removeprefix("Derived: ")  # type: ignore[union-attr]
    return first[0].upper() + first[1:]


def kind(fact: type[Fact]) -> str:
    """Return what a fact is called in signals."""
    return str(fact.model_fields["kind"].default)
