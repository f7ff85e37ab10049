"""Decoding: what a stored event means. Pure and total: any JSON gives facts, fewer the less can be understood.

Names of events and fields count in any spelling (domain/vocabulary.py); optional things that are malformed count
as not said; docs/events.md lists what is read. The facts of one event stand in the order in which they are to be
applied: who the customer is, what they allow, what is known of the product, and then what happened.

Facts whose class says `about_customer = False` (`ProductChanged`) need no customer. Nothing else comes of the
events that `vocabulary.is_catalogue` names, so no customer must be made for them.
"""

from domain.decoding import catalogue, commerce, mail, people
from domain.decoding.report import Report
from domain.events import Event
from domain.facts import AnyFact
from domain.vocabulary import canonical, is_catalogue

DECODERS = {**people.DECODERS, **catalogue.DECODERS, **commerce.DECODERS, **mail.DECODERS}
"""Canonical event name -> how it is understood. Names without a decoder tell at most who the customer is."""


def facts(event: Event, currency: str = "USD") -> list[AnyFact]:
    """Say what an event means.

    Args:
        event: Any stored event.
        currency: What amounts are in when the event does not tell: the store's own.

    Returns:
        Its facts in the order to apply them; none for an event that is not understood.
    """
    match event.type:
        case "track":
            name = canonical(event.name or "")
            # Of what nobody here knows, and of a busy shop's events that is the most, nothing is read.
            return [] if name is None else _happened(Report.of(event, currency), name)
        case "alias":
            return list(people.joined(Report.of(event, currency)))
        case "identify":
            return list(people.identified(Report.of(event, currency)))
        case "page" | "screen":
            return list(people.introduced(Report.of(event, currency)))
        case "group":
            return []


def _happened(report: Report, name: str) -> list[AnyFact]:
    about_customer = [] if is_catalogue(name) or name in people.DECODERS else people.introduced(report, name)
    decode = DECODERS.get(name)
    return [*about_customer, *(decode(report) if decode is not None else ())]
