"""The record: what was seen from outside. All times are seconds since 1970, of this machine's one clock."""

from dataclasses import dataclass
from typing import Any

Call = dict[str, Any]
"""A call as an SDK sends it, without its timestamp."""


@dataclass(frozen=True)
class Acknowledged:
    """A call that was answered with 200.

    Attributes:
        sent_at: Before the first attempt: no effect of it is older.
        at: After the answer: the promise holds from here on.
    """

    call: Call
    sent_at: float
    at: float


@dataclass(frozen=True)
class Mail:
    """A mail that the mail server took, as it wrote it down."""

    message_id: str
    to: str
    journey: str
    step: str


@dataclass(frozen=True)
class Entry:
    """A message as the product's ledger has it; the id is the mail's."""

    message_id: str
    to: str
    journey: str
    step: str
    state: str
    claimed_at: float
