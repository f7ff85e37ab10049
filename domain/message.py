"""Messages: what a template may know, and what goes out."""

from uuid import UUID

from domain.facts import Line
from domain.values import UtcTime, Value


class StoreCard(Value):
    """A store as its customers see it."""

    store_id: str
    name: str
    url: str
    currency: str
    sender_email: str
    sender_name: str
    address: str = ""


class Product(Value):
    """A product as a message shows it; prices in minor units of `currency`.

    Attributes:
        old_price_minor: What the customer saw it cost before its price dropped.
    """

    product_id: str
    name: str | None = None
    url: str | None = None
    image_url: str | None = None
    price_minor: int | None = None
    old_price_minor: int | None = None
    currency: str | None = None
    stock: int | None = None


class Material(Value):
    """Everything that a template may use. It holds personal data, so it never enters a workflow (G8).

    Attributes:
        confirm_by: Until when the link that confirms consent is good; None where there is nothing to confirm.
    """

    message_id: UUID
    store: StoreCard
    email: str
    first_name: str | None = None
    last_name: str | None = None
    locale: str = "en"
    journey: str
    step: str
    template: str
    transactional: bool = False
    discount_code: str | None = None
    lines: tuple[Line, ...] = ()
    total_minor: int = 0
    currency: str = "USD"
    checkout_url: str | None = None
    order_id: str | None = None
    product: Product | None = None
    confirm_by: UtcTime | None = None
    recommended: tuple[Product, ...] = ()


class Rendered(Value):
    """A rendered message.

    Attributes:
        urls: The shop's URLs behind the tracked links, by position; only these can be redirected to.
    """

    subject: str
    html: str
    text: str
    urls: tuple[str, ...] = ()


class Letter(Value):
    """One e-mail, ready for the wire.

    Attributes:
        store_id: Whose it is, so that the store's own key can sign it.
        message_id: The Message-ID header, the same for every attempt.
        unsubscribe_url: One-click unsubscribe (RFC 8058); None on transactional mail.
        feedback_id: Four colon-separated fields (Gmail Feedback-ID).
        return_path: Where it comes back to if it cannot be delivered; None: to the sender.
    """

    message_id: str
    to: str
    to_name: str | None
    sender: str
    sender_name: str
    subject: str
    html: str
    text: str
    list_id: str
    feedback_id: str
    store_id: str = ""
    unsubscribe_url: str | None = None
    return_path: str | None = None
