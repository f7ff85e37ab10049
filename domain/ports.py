"""Ports: what the activities need from the outside, as Protocols. The adapters implement them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.commands import ReleaseStock
from domain.delivery import Delivery, Slot
from domain.discounts import CodeOrder
from domain.facts import AnyFact, ProductWithdrawn, StockReleased
from domain.message import Letter, Material, Rendered
from domain.operations import Note, Operator, Replan
from domain.retention import Kind, Report, Terms, Week
from domain.rollouts import Answer, ReplanOrder, ResumeOrder, Target
from domain.values import Value


class Clock(Protocol):
    """Tell the business time (aware, UTC)."""

    def __call__(self) -> datetime: ...


class Claim(Value):
    """What became of a claim: with material the message is ours to send, without it the slot is settled."""

    delivery: Delivery
    material: Material | None = None


class Ledger(Protocol):
    """The message ledger: one row for one step of one run (G3)."""

    async def claim(self, slot: Slot, now: datetime) -> Claim:
        """Read what is true now, decide, and claim the message row in one transaction.

        Raises:
            EventsPending: An accepted event of this customer has not been applied yet (G4).
        """
        ...

    async def sending(self, slot: Slot, message_id: UUID, urls: Sequence[str], now: datetime) -> None:
        """Note that the message is about to be handed to the provider: from here on a crash means `unknown`."""
        ...

    async def not_sent(self, slot: Slot, message_id: UUID) -> None:
        """Note that the provider surely did not take the message, so it may be tried again."""
        ...

    async def abandon(self, slot: Slot, now: datetime, *, left: bool = False) -> Delivery:
        """Settle a slot whose attempts are over: failed, or unknown if the provider may have the message.

        If the passage was left in the middle of it, a message that was not handed over has not failed: the passage may
        begin again, and ask for it again.
        """
        ...

    async def record(self, slot: Slot, message_id: UUID, delivery: Delivery, now: datetime) -> None:
        """Record the final result, and close the run if the slot is its last."""
        ...


class Renderer(Protocol):
    """Turn a template and its material into a message."""

    def render(self, material: Material) -> Rendered:
        """Render subject, HTML and text.

        Raises:
            TemplateBroken: The template cannot be rendered with any material.
        """
        ...

    def letter(self, material: Material, rendered: Rendered) -> Letter:
        """Address a rendered message."""
        ...


class Channel(Protocol):
    """A way to reach a customer."""

    async def send(self, letter: Letter) -> None:
        """Hand a message to the provider; returning means that the provider accepted it.

        Raises:
            ChannelUnavailable: It surely did not take the message; try again later.
            RecipientRejected: It refused this recipient for good.
            DeliveryUnknown: The connection broke after the message was handed over.
        """
        ...


class Wave(Value):
    """The customers of one wave: their runs, and how many still wait."""

    workflow_ids: tuple[str, ...]
    fact: StockReleased | ProductWithdrawn | None = None
    waiting: int = 0


class Waitlist(Protocol):
    """The customers who wait for a product, first come first served."""

    async def next_wave(self, store_id: str, product_id: str, ratio: float, now: datetime) -> Wave:
        """Read the stock again and choose who is told next; of an unfinished wave, those who are not told yet.

        Raises:
            Unavailable: A run of the wave has yet to begin; ask again.
        """
        ...

    async def wave_told(
        self, store_id: str, fact: StockReleased | ProductWithdrawn, workflow_ids: Sequence[str], now: datetime
    ) -> None:
        """Note what these runs were told of a product; a place that was taken again meanwhile is kept."""
        ...


class Operations(Protocol):
    """What operators did to runs."""

    async def note(self, note: Note, key: str, now: datetime) -> None:
        """Write an operation down once for each `key`; one that leaves closes the run's row."""
        ...


class ShopSecrets(Protocol):
    """What signs our requests to the shop of a store."""

    async def of(self, store_id: str, provider: str) -> Sequence[str]:
        """Return the secrets of a store; none if it has set none.

        Raises:
            Unavailable: They cannot be read now.
        """
        ...


class CodeIssuer(Protocol):
    """A shop that makes discount codes."""

    async def issue(self, order: CodeOrder) -> Sequence[str]:
        """Return new codes; the same ones for the same order, however often it is asked.

        Raises:
            Unavailable: The shop cannot be reached, or does not make any now.
            InvalidInput: What it sent are no codes.
            ConfigurationError: There is nothing to sign the order with.
        """
        ...


class Runs(Protocol):
    """The runs under way."""

    async def tell(self, workflow_id: str, fact: AnyFact) -> None:
        """Send a fact to a run; a run that has ended is left alone."""
        ...


class RunsUnderWay(Protocol):
    """The runs under way, as a rollout reaches them."""

    async def replan(self, workflow_id: str, command: Replan) -> Answer:
        """Give a run another plan; `ended` if there is no such workflow.

        Raises:
            Unavailable: Temporal is down.
        """
        ...

    async def resumed(self, workflow_id: str) -> bool:
        """Tell a run that its journey is no longer paused; False if it has ended."""
        ...

    async def release(self, store_id: str, waves: ReleaseStock) -> None:
        """Begin the waves of a product again."""
        ...


class Replans(Protocol):
    """Which runs have which plan."""

    async def behind(self, order: ReplanOrder, after: UUID | None, limit: int) -> Sequence[Target]:
        """Return the next runs under way, by id, that began with an older version than the order's."""
        ...

    async def settle(self, order: ReplanOrder, run: Target, answer: Answer, now: datetime) -> Answer:
        """Write down what a run answered; it turns out only now whether one that was not found has yet to begin."""
        ...


class Pauses(Protocol):
    """The pauses of journeys, and whom they hold up."""

    async def end(self, order: ResumeOrder, now: datetime) -> None:
        """End a pause; once it is over nothing changes any more."""
        ...

    async def held_up(self, order: ResumeOrder, after: UUID | None, limit: int) -> Sequence[Target]:
        """Return the next runs, by id, that asked to send and were told to wait."""
        ...

    async def waves(self, order: ResumeOrder) -> Sequence[ReleaseStock]:
        """Return the restocks that the pause kept from being announced."""
        ...


class Retention(Protocol):
    """What is kept, and what may go; each call is one short transaction.

    Raises:
        Unavailable: The database is down, or somebody holds what is needed for too long.
    """

    async def stores(self) -> Sequence[str]:
        """Return every store."""
        ...

    async def terms(self, store_id: str) -> Terms:
        """Return a store's policy, and what its rules need."""
        ...

    async def missing_weeks(self, now: datetime) -> Sequence[datetime]:
        """Return the Mondays of the weeks that should have a table for their events by now, and have none."""
        ...

    async def make_week(self, monday: datetime) -> str:
        """Make the table of a week, and return its name."""
        ...

    async def weeks_before(self, moment: datetime) -> Sequence[Week]:
        """Return the weeks that were over at a moment, the oldest first."""
        ...

    async def unfinished(self, week: Week) -> bool:
        """Tell whether an event of a week still waits, or was given up and may be tried again."""
        ...

    async def forget_keys(self, week: Week, after: UUID | None) -> UUID | None:
        """Forget the dedup keys of a page of a week's events; return the last of them, or None."""
        ...

    async def drop(self, week: Week) -> bool:
        """Drop a week with its events; False if one of them is not finished after all."""
        ...

    async def forget(self, store_id: str, kind: Kind, terms: Terms, now: datetime) -> int:
        """Delete a batch of what a store keeps no longer, and return how many rows that were."""
        ...

    async def count(self, store_id: str, kind: Kind, terms: Terms, now: datetime, without: Sequence[Week]) -> int:
        """Count the rows that `forget` would delete one by one once these weeks are gone."""
        ...

    async def write_down(self, report: Report, stores: Sequence[str], key: str, by: Operator, now: datetime) -> None:
        """Write what was done into the audit logs of the stores that it concerns, once for each `key`."""
        ...
