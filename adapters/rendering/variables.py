"""Variables: what a template may use, made from the material of one message.

A variable without a value is left out, so that a template has to say what stands there instead
(`{{ first_name | default: "there" }}`, or an `if` around it). Always there: `store.name`, `store.url`, `subject`
(in the body), the lists, `currency`, `locale`, `transactional` and `pixel_url`. `unsubscribe_url` and
`preferences_url` are there in marketing messages only, `confirm_url` in those that ask for a confirmation. Prices are
in minor units, for the `money` filter; `product.old_price` is there in price alerts only, if the customer saw a higher
price before.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from adapters.rendering.links import TrackedLinks, web_url
from domain.facts import Line
from domain.message import Material, Product

NAMES = frozenset(
    {
        "store",
        "first_name",
        "last_name",
        "journey",
        "step",
        "transactional",
        "discount_code",
        "lines",
        "total",
        "currency",
        "locale",
        "checkout_url",
        "order_id",
        "product",
        "recommended",
        "subject",
        "unsubscribe_url",
        "preferences_url",
        "pixel_url",
        "confirm_url",
    }
)
"""Every variable there is; the lint holds templates against it."""

# Sign-up forms are abused to send advertisements "in the name" of the person signed up (list bombing).
_NO_NAME = re.compile(r"[/:@<>{}\d]|\w\.\w{2,}|.{41}", re.DOTALL)
_JOINERS = "\u200c\u200d"


def variables(material: Material, links: TrackedLinks) -> dict[str, object]:
    """Return the variables of a message (without `subject`, which is rendered first)."""
    home = web_url(material.store.url)
    store = {
        "name": plain(material.store.name) or _host(home) or "our shop",
        "url": home or "/",
        "address": plain(material.store.address),
        "email": plain(material.store.sender_email),
    }
    named: dict[str, object] = {
        "store": _present(store),
        "first_name": _name(material.first_name),
        "last_name": _name(material.last_name),
        "journey": material.journey,
        "step": material.step,
        "transactional": material.transactional,
        "discount_code": plain(material.discount_code),
        "total": material.total_minor or None,
        "currency": material.currency or material.store.currency,
        "locale": material.locale,
        "checkout_url": material.checkout_url,
        "order_id": plain(material.order_id),
        "pixel_url": links.pixel,
        "confirm_url": links.confirm,
    }
    if not material.transactional:
        named |= {"unsubscribe_url": links.unsubscribe, "preferences_url": links.preferences}
    return _present(named) | {
        "lines": [_line(line, home) for line in material.lines],
        "product": _product(material.product, home) if material.product else {},
        "recommended": [_product(product, home) for product in material.recommended],
    }


def plain(value: str | None) -> str | None:
    """Return a value as one line without control characters, or None when nothing is left."""
    text = value or ""
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c in _JOINERS else " " for c in text)
    return " ".join(text.split()) or None


def full_name(material: Material) -> str | None:
    """Return the name that a message is addressed to, of the parts that a template may use too."""
    parts = (_name(material.first_name), _name(material.last_name))
    return " ".join(part for part in parts if part) or None


def _name(value: str | None) -> str | None:
    name = plain(value)
    return None if name is None or _NO_NAME.search(name) else name


def _line(line: Line, home: str | None) -> dict[str, object]:
    price = line.price_minor
    fields = {
        "name": plain(line.name),
        "quantity": line.quantity,
        "price": price,
        "total": None if price is None else price * line.quantity,
        "url": line.url,
        "image_url": web_url(line.image_url, home or ""),
    }
    return _present(fields)


def _product(product: Product, home: str | None) -> dict[str, object]:
    fields = {
        "name": plain(product.name),
        "url": product.url,
        "image_url": web_url(product.image_url, home or ""),
        "price": product.price_minor,
        "old_price": product.old_price_minor,
        "currency": product.currency,
        "stock": product.stock,
    }
    return _present(fields)


def _present(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _host(url: str | None) -> str | None:
    return urlsplit(url).hostname if url else None
