"""Follow-ups: what a store may ask of an event before anybody follows up on it. Data, never code.

A condition that looks at the past is counted in Postgres, by the times at which things happened (happenings.py).
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from domain.decoding.fields import Fields
from domain.values import Value
from domain.vocabulary import CATALOGUE, known_as

PURCHASE = "Order Completed"
"""The exit that every follow-up has unless it says otherwise, and the one kept as an order, not as a happening."""
_LONGEST = timedelta(days=90)


def _named(name: str) -> str:
    known = known_as(name)
    if not known:
        raise ValueError("an event's name has letters or digits")
    if known in CATALOGUE:
        raise ValueError(f"{known} is about the catalogue and belongs to no customer")
    return known


EventName = Annotated[str, Field(max_length=200), AfterValidator(_named)]
"""The name of an event, in any spelling; kept in one."""
Plain = bool | Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=500)]
Window = Annotated[timedelta, Field(gt=timedelta(0), le=_LONGEST)]


class PropertyIs(Value):
    """A property of the event compares to a value.

    Attributes:
        name: Any spelling; `product.category` reads inside an object.
        value: One for `=` and `!=`, a number for `>` and `<`, a list for `in`; for `exists` false means "is missing".
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["property"] = "property"
    name: str = Field(min_length=1, max_length=200)
    op: Literal["=", "!=", ">", "<", "in", "exists"]
    value: Plain | tuple[Plain, ...] | None = None

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        match self.op:
            case "in" if not isinstance(self.value, tuple) or not self.value:
                raise ValueError("`in` takes a list of values")
            case ">" | "<" if isinstance(self.value, bool) or not isinstance(self.value, float):
                raise ValueError(f"`{self.op}` takes a number")
            case "=" | "!=" if self.value is None or isinstance(self.value, tuple):
                raise ValueError(f"`{self.op}` takes a text, a number, true or false")
            case "exists" if not (self.value is None or isinstance(self.value, bool)):
                raise ValueError("`exists` takes true or false")
        return self

    def holds(self, properties: Fields) -> bool:
        """Judge an event's properties; what is missing or malformed equals nothing and compares to nothing."""
        *path, name = self.name.split(".")
        for part in path:
            properties = properties.under(part)
        match self.op:
            case "exists":
                exists = properties.text(name), properties.number(name), properties.flag(name)
                return (exists != (None, None, None)) is (self.value is not False)
            case ">" | "<":
                number, limit = properties.number(name), self.value
                if number is None or not isinstance(limit, float):
                    return False
                return number > limit if self.op == ">" else number < limit
            case "!=":
                return not _equals(properties, name, self.value)
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        return any(_equals(properties, name, value) for value in values)


class CountIs(Value):
    """The customer did something more than so often within a time that ends with the event, itself included."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["count"] = "count"
    event: EventName
    more_than: int = Field(ge=0, le=1_000)
    within: Window

    def holds(self, times: int) -> bool:
        """Judge how often it happened."""
        return times > self.more_than


class NoneIs(Value):
    """The customer did not do something within a time that ends with the event (without one: ever)."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["none"] = "none"
    event: EventName
    within: Window | None = None

    def holds(self, times: int) -> bool:
        """Judge how often it happened."""
        return times == 0


Past = CountIs | NoneIs
Condition = Annotated[PropertyIs | CountIs | NoneIs, Field(discriminator="kind")]


def of_the_past(conditions: Iterable[Condition]) -> list[Past]:
    """Return the conditions that need a look at what happened before."""
    return [condition for condition in conditions if not isinstance(condition, PropertyIs)]


def of_the_event(conditions: Iterable[Condition]) -> list[PropertyIs]:
    """Return the conditions that the event alone decides."""
    return [condition for condition in conditions if isinstance(condition, PropertyIs)]


def _equals(properties: Fields, name: str, value: object) -> bool:
    match value:
        case bool():
            return properties.flag(name) is value
        case float():
            return properties.number(name) == value
        case str():
            return (properties.text(name) or "").casefold() == " ".join(value.split()).casefold() != ""
    return False
