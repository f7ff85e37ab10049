"""A report: one event while it is being understood, with its parts within reach."""

from datetime import datetime
from typing import Any, NamedTuple

from domain.decoding.fields import Fields
from domain.events import Event

WORDING = ("consent_wording", "wording")
"""Under which names a client tells the version of the text that a customer agreed to."""


class Report(NamedTuple):
    """One event and what every decoder needs of it.

    Attributes:
        properties: What a track event says about itself.
        traits: What an identify call says about the customer.
        context: Segment's `context`: page, locale, timezone, ip, the traits known to the client.
        currency: What amounts are in: as told, else the store's own.
    """

    event: Event
    body: Fields
    properties: Fields
    traits: Fields
    context: Fields
    currency: str

    @classmethod
    def of(cls, event: Event, currency: str) -> "Report":
        """Take an event apart."""
        body = Fields(event.payload)
        properties = body.under("properties")
        told = properties.opened("order", "cart", "cart_data").currency(currency)
        return cls(event, body, properties, body.under("traits"), body.under("context"), told)

    @property
    def at(self) -> datetime:
        """When it happened."""
        return self.event.at

    @property
    def ip(self) -> str | None:
        """Where it came from, as evidence of consent: what the door let through; a payload never says it whole."""
        return self.event.ip or self.context.ip("ip")

    @property
    def ours(self) -> bool:
        """Whether we recorded the event ourselves: only we name customers by our own ids."""
        return self.event.who.customer_id is not None

    @property
    def evidence(self) -> dict[str, Any]:
        """What proves a word of consent, as fields of its fact: when, where, with what, on which text."""
        told = self.properties.opened("traits", "customer").over(self.traits)
        return {
            "at": self.at,
            "ip": self.ip,
            "user_agent": self.context.text("user_agent"),
            "wording": told.over(self.context.under("traits")).text(*WORDING, limit=100),
            "message_id": self.properties.uuid("message_id") if self.ours else None,
        }
