"""The one activity of a step: what each answer of a provider makes of the message, on a real ledger."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment

import templates
from activities.deliver import Deliver
from adapters.channels.memory import MemoryChannel
from adapters.postgres import ledger as ledger_module
from adapters.postgres.batch import Batch
from adapters.postgres.identities import new_id
from adapters.postgres.ingest import EventStore
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.routing import route
from adapters.postgres.tables import customers, messages, suppressions
from adapters.rendering.renderer import TemplateRenderer
from domain.delivery import Delivery, Result, Slot
from domain.errors import ChannelUnavailable, DeliveryUnknown, RecipientRejected, TemplateBroken
from domain.events import Event, Who
from domain.message import Letter, Material, Rendered
from domain.plans import Step
from domain.tokens import Signer
from testing.inspection import as_owner
from tests.conftest import Shop, SteppedClock


class Provider(MemoryChannel):
    """Answers with the errors it was given, one per letter, and takes the letters after that."""

    def __init__(self, *answers: Exception) -> None:
        super().__init__()
        self.answers = list(answers)

    async def send(self, letter: Letter) -> None:
        if self.answers:
            raise self.answers.pop(0)
        await super().send(letter)


class Broken(TemplateRenderer):
    """Templates that cannot be rendered."""

    def render(self, material: Material) -> Rendered:
        raise TemplateBroken("cart-reminder: a tag is not closed")


Perform = Callable[..., Any]


@pytest.fixture
def renderer() -> TemplateRenderer:
    return TemplateRenderer(Path(templates.__path__[0]), Signer(["a-secret-for-tests-only"]), "https://j.test")


def told(clock: SteppedClock, name: str | None, **body: Any) -> Event:
    event_id = new_id()
    kind: Any = "track" if name else "identify"
    return Event(
        store_id="mugs", id=event_id, message_id=str(event_id), type=kind, name=name, who=Who(user_id="ada"),
        payload={"type": kind, "event": name, "traits": body, "properties": body}, at=clock(), received_at=clock(),
    )  # fmt: skip


@pytest.fixture
async def slot(engine: AsyncEngine, store: Shop, clock: SteppedClock) -> Slot:
    """A reminder to Ada, who may be written to."""
    async with as_owner(engine) as connection:
        await route(connection, told(clock, None, email="ada@example.com", marketing_consent=True), clock(), Batch())
        customer = (await connection.execute(select(customers.c.customer_id))).scalar_one()
    return Slot(
        store_id="mugs", customer_id=customer, run_id=uuid4(), journey="cart-recovery",
        step=Step(name="reminder-1", template="cart-reminder"), gap=timedelta(0), due=clock(), waited_from=clock(),
    )  # fmt: skip


@pytest.fixture
def perform(engine: AsyncEngine, clock: SteppedClock, renderer: TemplateRenderer, slot: Slot) -> Perform:
    """Run the activity as a worker would."""

    async def run(channel: MemoryChannel, rendering: TemplateRenderer = renderer) -> Delivery:
        deliver = Deliver(PostgresLedger(engine), rendering, channel, clock)
        delivery: Delivery = await ActivityEnvironment().run(deliver.deliver, slot)
        return delivery

    return run


async def state(engine: AsyncEngine) -> str:
    async with as_owner(engine) as connection:
        return str((await connection.execute(select(messages.c.state))).scalar_one())


async def test_a_message_that_the_provider_takes_is_sent_once(engine: AsyncEngine, perform: Perform) -> None:
    """Also if the answer gets lost and the activity runs again."""
    provider = Provider()
    assert (await perform(provider)).result is Result.SENT
    assert (await perform(provider)).result is Result.SENT
    assert [letter.to for letter in provider.letters] == ["ada@example.com"]
    assert await state(engine) == "sent"


async def test_a_provider_that_is_down_leaves_the_claim_and_is_asked_again(
    engine: AsyncEngine, perform: Perform
) -> None:
    """It surely did not take the message, so the retry sends it, under the same Message-ID."""
    provider = Provider(ChannelUnavailable("421 come back later"), ChannelUnavailable())
    for _ in range(2):
        with pytest.raises(ApplicationError) as failure:
            await perform(provider)
        assert (failure.value.type, failure.value.non_retryable) == ("ChannelUnavailable", False)
        assert await state(engine) == "claimed"
    assert (await perform(provider)).result is Result.SENT
    assert len(provider.letters) == 1


async def test_a_refused_recipient_is_a_bounce_and_hears_nothing_more(engine: AsyncEngine, perform: Perform) -> None:
    """A 5xx is final; its text may quote the address, so only the code is kept."""
    delivery = await perform(Provider(RecipientRejected(550, "no such user ada@example.com")))
    assert (delivery.result, delivery.because) == (Result.BOUNCED, "the provider refused the recipient: 550")
    assert await state(engine) == "bounced"
    async with as_owner(engine) as connection:
        row = (await connection.execute(select(suppressions))).one()
    assert (row.address, row.reason) == ("ada@example.com", "bounced")


async def test_a_message_the_provider_did_not_confirm_is_unknown_and_not_repeated(
    engine: AsyncEngine, perform: Perform
) -> None:
    """G3: it may have gone out."""
    provider = Provider(DeliveryUnknown())
    assert (await perform(provider)).result is Result.UNKNOWN
    assert (await perform(provider)).result is Result.UNKNOWN
    assert provider.letters == []
    assert await state(engine) == "unknown"


async def test_a_worker_that_died_with_the_provider_leaves_an_unknown_message(
    engine: AsyncEngine, perform: Perform
) -> None:
    """Whatever ends the attempt there, the next one finds `sending` and must not send."""
    with pytest.raises(MemoryError):
        await perform(Provider(MemoryError()))
    assert await state(engine) == "sending"
    provider = Provider()
    assert (await perform(provider)).result is Result.UNKNOWN
    assert provider.letters == []


async def test_a_broken_template_fails_its_step_and_not_the_worker(
    engine: AsyncEngine, perform: Perform, renderer: TemplateRenderer
) -> None:
    """Trying again would not mend it."""
    provider = Provider()
    broken = Broken(Path(templates.__path__[0]), Signer(["a-secret-for-tests-only"]), "https://j.test")
    delivery = await perform(provider, broken)
    assert (delivery.result, delivery.because) == (Result.FAILED, "cart-reminder: a tag is not closed")
    assert await state(engine) == "failed"
    assert (await perform(provider)).result is Result.FAILED
    assert provider.letters == []


async def test_an_event_that_is_not_applied_yet_makes_the_activity_wait_without_alarm(
    engine: AsyncEngine, perform: Perform, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The router is a moment behind: that is routine, and retried."""
    monkeypatch.setattr(ledger_module, "_LOOKS_S", (0.0,))
    door = EventStore(engine)
    await door.accept([told(clock, "Order Completed", order_id="o-1")])
    await door.close()
    provider = Provider()
    with pytest.raises(ApplicationError) as failure:
        await perform(provider)
    assert (failure.value.type, failure.value.non_retryable) == ("EventsPending", False)
    assert failure.value.category is ApplicationErrorCategory.BENIGN
    assert provider.letters == []


async def test_a_withheld_message_never_reaches_the_provider(
    engine: AsyncEngine, perform: Perform, clock: SteppedClock
) -> None:
    """The decision comes back as it was made."""
    row = {"store_id": "mugs", "channel": "email", "address": "ada@example.com", "reason": "complained"}
    async with as_owner(engine) as connection:
        await connection.execute(insert(suppressions).values(**row, at=clock()))
    provider = Provider()
    assert (await perform(provider)).result is Result.SUPPRESSED
    assert provider.letters == []
