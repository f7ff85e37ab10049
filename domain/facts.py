"""Facts: what a stored event means. Frozen, typed, past tense; they carry whole state where a workflow sees them.

Two families share the base: facts *reported* by a client (decoded from one event) and facts *derived* when a
reported one changes what we know (`CartChanged`, `CartEmptied`, `StockArrived`).
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from domain.bounces import Kind as BounceKind
from domain.values import UtcTime, Value


class Topic(StrEnum):
    """What a message is about, as a customer can choose it (requirements/1, EmailPreferences)."""

    MARKETING = "marketing_emails"
    ABANDONED_CART = "abandoned_cart_emails"
    BROWSE_ABANDONMENT = "browse_abandonment_emails"
    PRICE_DROP = "price_drop_alerts"
    BACK_IN_STOCK = "back_in_stock_alerts"
    RECOMMENDATIONS = "product_recommendations"
    NEWSLETTER = "newsletter"
    PROMOTIONS = "promotional_emails"


class Line(Value):
    """One product in a cart or an order.

    Attributes:
        price_minor: Price of one unit, in minor units of the cart's or order's currency; None if not told.
    """

    product_id: str
    quantity: int = Field(ge=1, le=1_000_000)
    name: str | None = None
    price_minor: int | None = None
    category: str | None = None
    url: str | None = None
    image_url: str | None = None


class Fact(Value):
    """Something that happened in a store at `at` (aware, UTC, corrected for the client's clock)."""

    about_customer: ClassVar[bool] = True
    at: UtcTime

    @property
    def label(self) -> str:
        """Say what happened in a few words without personal data, for timelines."""
        return self.kind.replace("_", " ")  # type: ignore[attr-defined, no-any-return]


class ProfileChanged(Fact):
    """The store told us who a customer is. Fields that are None were not mentioned.

    Attributes:
        chosen: The customer chose these: what a browser or a shop tells by the way does not overwrite them.
    """

    kind: Literal["profile_changed"] = "profile_changed"
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    locale: str | None = None
    timezone: str | None = None
    traits: dict[str, Any] = Field(default_factory=dict)
    chosen: bool = False


class IdentitiesJoined(Fact):
    """Two identities turned out to be one person (`alias`, or `identify` with both ids)."""

    kind: Literal["identities_joined"] = "identities_joined"
    previous_id: str


class ConsentChanged(Fact):
    """The customer gave or withdrew consent to a topic on a channel, with the evidence (GDPR art. 7).

    Attributes:
        wording: The version of the text that the customer agreed to.
        message_id: The message through whose link it was said; None for whatever a client tells.
    """

    kind: Literal["consent_changed"] = "consent_changed"
    channel: Literal["email", "sms", "push"] = "email"
    topic: Topic = Topic.MARKETING
    granted: bool
    source: str
    ip: str | None = None
    user_agent: str | None = None
    wording: str | None = None
    message_id: UUID | None = None


class SignedUp(Fact):
    """The customer made an account."""

    kind: Literal["signed_up"] = "signed_up"


class NewsletterSubscribed(Fact):
    """The customer asked for the newsletter."""

    kind: Literal["newsletter_subscribed"] = "newsletter_subscribed"


class Unsubscribed(Fact):
    """The customer wants no more marketing on a channel."""

    kind: Literal["unsubscribed"] = "unsubscribed"
    channel: Literal["email", "sms", "push"] = "email"
    source: str
    ip: str | None = None
    user_agent: str | None = None
    wording: str | None = None


class ConsentConfirmed(Fact):
    """Whoever reads the mails of an address confirmed the consent that was given for it.

    It goes to workflows; what was confirmed, with the evidence, is in the `ConsentChanged` that come with it (G8).

    Attributes:
        message_id: The message through whose link.
        mail_as_such: It is about marketing or the newsletter, not only about alerts that were asked for.
    """

    kind: Literal["consent_confirmed"] = "consent_confirmed"
    message_id: UUID
    mail_as_such: bool = True


class MarketingPaused(Fact):
    """The customer wants no marketing for some time.

    Attributes:
        until: When it may go out again.
    """

    kind: Literal["marketing_paused"] = "marketing_paused"
    until: UtcTime


class MarketingResumed(Fact):
    """The customer wants marketing again before the pause is over; also derived, if a pause is made shorter."""

    kind: Literal["marketing_resumed"] = "marketing_resumed"


class ProductViewed(Fact):
    """The customer looked at a product."""

    kind: Literal["product_viewed"] = "product_viewed"
    product_id: str
    category: str | None = None
    price_minor: int | None = None
    currency: str | None = None


class ViewTimed(Fact):
    """The customer left a product page after some time."""

    kind: Literal["view_timed"] = "view_timed"
    product_id: str
    duration_s: int = Field(ge=0)


class CartLineChanged(Fact):
    """The customer put units of a product into the cart, or took them out (`removed`)."""

    kind: Literal["cart_line_changed"] = "cart_line_changed"
    line: Line
    removed: bool = False
    currency: str
    cart_id: str | None = None


class CartReported(Fact):
    """The client told us the whole cart (Cart Viewed, Checkout Started, requirements/4 cart_updated)."""

    kind: Literal["cart_reported"] = "cart_reported"
    lines: tuple[Line, ...]
    currency: str
    total_minor: int | None = None
    cart_id: str | None = None
    checkout_url: str | None = None


class OrderPlaced(Fact):
    """The customer bought."""

    kind: Literal["order_placed"] = "order_placed"
    order_id: str
    total_minor: int = 0
    currency: str
    lines: tuple[Line, ...] = ()
    coupon: str | None = None
    ref: str | None = None

    @property
    def product_ids(self) -> frozenset[str]:
        """What was bought."""
        return frozenset(line.product_id for line in self.lines)

    @property
    def label(self) -> str:
        return f"order {self.order_id}"


class OrderUpdated(Fact):
    """An order's contents changed; it is a purchase, but it starts nothing by itself."""

    kind: Literal["order_updated"] = "order_updated"
    order_id: str
    total_minor: int = 0
    currency: str
    lines: tuple[Line, ...] = ()
    coupon: str | None = None


class OrderRefunded(Fact):
    """Money went back for an order."""

    kind: Literal["order_refunded"] = "order_refunded"
    order_id: str

    @property
    def label(self) -> str:
        return f"refund of order {self.order_id}"


class OrderCancelled(Fact):
    """An order was called off."""

    kind: Literal["order_cancelled"] = "order_cancelled"
    order_id: str

    @property
    def label(self) -> str:
        return f"cancellation of order {self.order_id}"


class ProductChanged(Fact):
    """The catalogue told us about a product. Fields that are None were not mentioned.

    Attributes:
        stock: Units that can be sold now.
        seen: True when the data came along with a customer's event, so it may lag the catalogue.
    """

    about_customer: ClassVar[bool] = False
    kind: Literal["product_changed"] = "product_changed"
    product_id: str
    name: str | None = None
    category: str | None = None
    url: str | None = None
    image_url: str | None = None
    price_minor: int | None = None
    currency: str | None = None
    stock: int | None = None
    withdrawn: bool | None = None
    seen: bool = False


class StockRequested(Fact):
    """The customer wants to hear when a product can be bought again."""

    kind: Literal["stock_requested"] = "stock_requested"
    product_id: str


class ProductWatched(Fact):
    """The customer put a product on the watch list (wish list), perhaps with a target price or a percentage.

    Attributes:
        price_minor: What the customer saw it cost; None if not told.
        currency: What the two amounts are in; None if neither was told.
    """

    kind: Literal["product_watched"] = "product_watched"
    product_id: str
    target_price_minor: int | None = None
    drop_percent: int | None = Field(default=None, ge=1, le=99)
    price_minor: int | None = None
    currency: str | None = None
    notify_on_price_drop: bool = True
    notify_on_restock: bool = False


class ProductUnwatched(Fact):
    """The customer took a product off the watch list."""

    kind: Literal["product_unwatched"] = "product_unwatched"
    product_id: str


class MessageOpened(Fact):
    """A mail program loaded the open pixel of a message."""

    kind: Literal["message_opened"] = "message_opened"
    message_id: UUID


class LinkClicked(Fact):
    """A link of a message was followed."""

    kind: Literal["link_clicked"] = "link_clicked"
    message_id: UUID
    url: str


class MessageDelivered(Fact):
    """The recipient's mail server took a message."""

    kind: Literal["message_delivered"] = "message_delivered"
    message_id: UUID


class MessageBounced(Fact):
    """A message came back, or mail to an address that we may have written to.

    Attributes:
        message_id: The message; None if only its address is known.
        bounce: What it means for the address.
        detail: Status and reply code.
    """

    kind: Literal["message_bounced"] = "message_bounced"
    message_id: UUID | None = None
    address: str | None = None
    bounce: BounceKind
    detail: str = ""


class MessageComplained(Fact):
    """The recipient called a message spam."""

    kind: Literal["message_complained"] = "message_complained"
    message_id: UUID | None = None
    address: str | None = None
    detail: str = ""


class ConsentPending(Fact):
    """Derived: the customer agreed to something that counts only once whoever reads the mails has confirmed it.

    Attributes:
        new_address: The customer has another address than before, so the mails are somebody's who was not asked yet.
    """

    kind: Literal["consent_pending"] = "consent_pending"
    new_address: bool = False


class ConsentWithdrawn(Fact):
    """Derived: nothing is left that the customer could confirm."""

    kind: Literal["consent_withdrawn"] = "consent_withdrawn"


class CartChanged(Fact):
    """Derived: the cart now holds something else than before, and is not empty."""

    kind: Literal["cart_changed"] = "cart_changed"
    total_minor: int
    currency: str
    items: int


class CartEmptied(Fact):
    """Derived: nothing is left in the cart, and nothing was bought."""

    kind: Literal["cart_emptied"] = "cart_emptied"


class StockArrived(Fact):
    """Derived: customers wait for a product and it can be bought, or will never be bought again."""

    about_customer: ClassVar[bool] = False
    kind: Literal["stock_arrived"] = "stock_arrived"
    product_id: str


class StockReleased(Fact):
    """Derived: it is this customer's turn to hear that the product is back."""

    kind: Literal["stock_released"] = "stock_released"
    product_id: str


class ProductWithdrawn(Fact):
    """Derived: a product someone waits for will not come back."""

    kind: Literal["product_withdrawn"] = "product_withdrawn"
    product_id: str


class InterestShown(Fact):
    """Derived: the customer has looked at a product so often, without a cart, that it means something.

    Attributes:
        views: How often, in the time that the store's plan gives.
    """

    kind: Literal["interest_shown"] = "interest_shown"
    product_id: str
    views: int


class PriceDropped(Fact):
    """A product that the customer watches fell to a price that the customer wants to hear of."""

    kind: Literal["price_dropped"] = "price_dropped"
    product_id: str


class PriceRose(Fact):
    """A product about whose low price the customer is being told does not cost so little any more."""

    kind: Literal["price_rose"] = "price_rose"
    product_id: str


class EventHeard(Fact):
    """Derived: the customer did something that a follow-up of the store waits for.

    Attributes:
        name: In the spelling of `vocabulary.known_as`.
        event_id: The event, if it may begin a run; one that came late may have let an earlier one count.
        meets: The follow-ups whose conditions it meets; the properties that decided stay with the event (G8).
    """

    kind: Literal["event_heard"] = "event_heard"
    name: str
    event_id: UUID | None = None
    meets: tuple[str, ...] = ()
    product_id: str | None = None
    order_id: str | None = None

    @property
    def label(self) -> str:
        return f"event {self.name}"


AnyFact = Annotated[
    ProfileChanged | IdentitiesJoined | ConsentChanged | SignedUp | NewsletterSubscribed | Unsubscribed
    | MarketingPaused | MarketingResumed
    | ConsentConfirmed | ConsentPending | ConsentWithdrawn
    | ProductViewed | ViewTimed | CartLineChanged | CartReported | OrderPlaced | OrderUpdated | OrderRefunded
    | OrderCancelled | ProductChanged | StockRequested | ProductWatched | ProductUnwatched | MessageOpened
    | LinkClicked | MessageDelivered | MessageBounced | MessageComplained
    | CartChanged | CartEmptied | StockArrived | StockReleased | ProductWithdrawn
    | InterestShown | PriceDropped | PriceRose | EventHeard,
    Field(discriminator="kind"),
]  # fmt: skip
