"""What came back for a message that we sent, through the same door.

Opens and clicks are told by our own pages; what mail servers and providers told us of a message counts only in an event
that we recorded ourselves: it names the customer by our own id, which no client can.
"""

from collections.abc import Iterator

from domain.bounces import Kind
from domain.decoding.report import Report
from domain.facts import (
    AnyFact,
    LinkClicked,
    MessageBounced,
    MessageComplained,
    MessageDelivered,
    MessageOpened,
)


def opened(report: Report) -> Iterator[AnyFact]:
    """Email Opened."""
    if (message := report.properties.uuid("message_id")) is not None:
        yield MessageOpened(at=report.at, message_id=message)


def clicked(report: Report) -> Iterator[AnyFact]:
    """Email Link Clicked: the click counts even if the link was not told."""
    if (message := report.properties.uuid("message_id")) is not None:
        yield LinkClicked(at=report.at, message_id=message, url=report.properties.url("url", "link") or "")


def delivered(report: Report) -> Iterator[AnyFact]:
    """Email Delivered: counts only from ourselves."""
    message = report.properties.uuid("message_id")
    if message is not None and report.ours:
        yield MessageDelivered(at=report.at, message_id=message)


def bounced(report: Report) -> Iterator[AnyFact]:
    """Email Bounced: counts only from ourselves."""
    told = report.properties
    kind = told.text("bounce")
    if kind in _BOUNCES and report.ours:
        yield MessageBounced(
            at=report.at, message_id=told.uuid("message_id"), address=told.email("address"), bounce=Kind(kind),
            detail=told.text("detail") or "",
        )  # fmt: skip


def complained(report: Report) -> Iterator[AnyFact]:
    """Email Complained: counts only from ourselves."""
    told = report.properties
    if report.ours:
        yield MessageComplained(
            at=report.at, message_id=told.uuid("message_id"), address=told.email("address"),
            detail=told.text("detail") or "",
        )  # fmt: skip


DECODERS = {
    "Email Opened": opened,
    "Email Link Clicked": clicked,
    "Email Delivered": delivered,
    "Email Bounced": bounced,
    "Email Complained": complained,
}
_BOUNCES = {Kind.GONE, Kind.NOT_NOW, Kind.REFUSED}
