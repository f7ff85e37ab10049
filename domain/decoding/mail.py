"""What came back for a message that we sent. Our own pages and pixels report it, through the same door."""

from collections.abc import Iterator

from domain.decoding.report import Report
from domain.facts import AnyFact, LinkClicked, MessageOpened


def opened(report: Report) -> Iterator[AnyFact]:
    """Email Opened."""
    if (message := report.properties.uuid("message_id")) is not None:
        yield MessageOpened(at=report.at, message_id=message)


def clicked(report: Report) -> Iterator[AnyFact]:
    """Email Link Clicked: the click counts even if the link was not told."""
    if (message := report.properties.uuid("message_id")) is not None:
        yield LinkClicked(at=report.at, message_id=message, url=report.properties.url("url", "link") or "")


DECODERS = {"Email Opened": opened, "Email Link Clicked": clicked}
