"""Subject: which product and which order any event is about, also one whose name nobody here knows.

Stricter than the decoders: a bare `id` may be anything here, so it counts only inside an object that says what it is.
"""

from domain.decoding.catalogue import ROWS, seen
from domain.decoding.fields import Fields
from domain.decoding.report import Report
from domain.events import Event
from domain.facts import ProductChanged
from domain.values import Value
from domain.vocabulary import canonical

_PRODUCT = ("product", "service", "item")
_PRODUCT_IDS = ("product_id", "service_id", "item_id", "sku")
_ORDER = ("order", "booking", "transaction")
_ORDER_IDS = ("order_id", "booking_id", "order_number", "transaction_id")


class Subject(Value):
    """What an event is about, as far as it says."""

    product_id: str | None = None
    order_id: str | None = None


def subject(event: Event) -> Subject:
    """Say which product and which order an event is about."""
    properties = Fields(event.payload).under("properties")
    return Subject(product_id=_product(properties)[0], order_id=_identified(properties, _ORDER, _ORDER_IDS)[0])


def shown(event: Event, currency: str) -> list[ProductChanged]:
    """Take note of the product that an unknown event describes, so that a message can show it."""
    report = Report.of(event, currency)
    product_id, described = _product(report.properties)
    if product_id is None or canonical(event.name or "") is not None:
        return []
    return list(seen(Fields({"product_id": product_id}).over(described), report))


def _product(properties: Fields) -> tuple[str | None, Fields]:
    rows = properties.rows(*ROWS) or [Fields()]
    named = _identified(properties, _PRODUCT, _PRODUCT_IDS)
    return named if named[0] is not None else (rows[0].identifier("id", *_PRODUCT_IDS), rows[0])


def _identified(properties: Fields, objects: tuple[str, ...], ids: tuple[str, ...]) -> tuple[str | None, Fields]:
    inside = properties.under(*objects)
    return properties.identifier(*ids) or inside.identifier("id", *ids), inside.over(properties)
