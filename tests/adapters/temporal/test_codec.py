"""What Temporal keeps is encrypted for the customer it is about."""

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import ActivitySerializationContext, DataConverter, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError

from adapters.master_keys import MasterKeys
from adapters.postgres.customer_keys import CustomerKeys, Owner, destroy
from adapters.postgres.tables import data_keys
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from adapters.temporal.codec import KEY_ID, CustomerCodec, owner_of
from adapters.temporal.plugin import journeys_plugin
from domain import ids
from domain.errors import ConfigurationError, InvalidInput, NotFound
from testing.inspection import as_owner
from tests.conftest import Shop, SteppedClock

OLD, NEW = "an-old-master-key-of-enough-letters", "a-new-master-key-of-enough-letters"
ADA, BOB = UUID("0197a1f2-7d4b-7c0f-9a3e-2f1f6f6f7a10"), UUID("0197a1f2-7d4b-7c0f-9a3e-2f1f6f6f7a11")
SECRET = Payload(metadata={"encoding": b"json/plain"}, data=b'"ada@example.com"')

CodecOf = Callable[..., CustomerCodec]


class InMemory:
    """Keys that need no database."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}

    async def made(self, owner: Owner) -> bytes:
        return self.keys.setdefault(owner.name, owner.name.encode().ljust(32, b"-")[-32:])

    async def existing(self, owner: Owner) -> bytes:
        return self.keys[owner.name]


def context(workflow_id: str) -> WorkflowSerializationContext:
    return WorkflowSerializationContext(namespace="default", workflow_id=workflow_id)


@pytest.fixture
def codec_of(engine: AsyncEngine, clock: SteppedClock) -> CodecOf:
    """A process with its own memory: a codec for a customer's run."""

    def make(customer: UUID, *masters: str, remember: float = 60.0) -> CustomerCodec:
        keys = CustomerKeys(engine, MasterKeys(masters or [OLD]), clock, remember=remember)
        return CustomerCodec(keys).with_context(context(ids.workflow_id("mugs", "welcome", customer)))

    return make


@given(
    data=st.binary(max_size=300),
    metadata=st.dictionaries(st.text(max_size=8), st.binary(max_size=20), max_size=3),
    others=st.lists(st.binary(max_size=20), max_size=3),
)
async def test_whatever_is_encrypted_comes_back_as_it_was_and_no_payload_shows_it(
    data: bytes, metadata: dict[str, bytes], others: list[bytes]
) -> None:
    """A codec is the identity for whoever has the key, and noise for everybody else."""
    codec = CustomerCodec(InMemory()).with_context(context(ids.workflow_id("mugs", "welcome", ADA)))
    payloads = [Payload(metadata=metadata, data=data), *(Payload(data=other) for other in others)]

    encoded = await codec.encode(payloads)

    assert await codec.decode(encoded) == payloads
    assert [sorted(payload.metadata) for payload in encoded] == [["encoding", KEY_ID]] * len(payloads)
    assert len(data) < 6 or all(data not in payload.data for payload in encoded)


@pytest.mark.parametrize(
    ("workflow_id", "customer"),
    [
        (ids.workflow_id("mugs", "cart-recovery", ADA), ADA),
        (ids.workflow_id("mugs", "back-in-stock", ADA, str(BOB)), ADA),
        (ids.workflow_id("mugs", "follow-up/care", ADA), ADA),
        (ids.waves_id("mugs", str(BOB)), None),
        (ids.rollout_id("mugs", "follow-up/care", "v4"), None),
        (ids.rollout_id(ids.RETENTION, "welcome", "v4"), None),
    ],
)
def test_the_id_of_a_workflow_says_whose_key_encrypts_it(workflow_id: str, customer: UUID | None) -> None:
    """Each customer's runs have that customer's key; what is about no customer has the store's."""
    assert owner_of(workflow_id) == Owner(store_id=workflow_id.partition("/")[0], customer_id=customer)


async def test_what_is_about_no_store_is_readable_and_makes_no_key() -> None:
    """Retention reports on all stores, so no store's key could open it. A store of the same name is a store."""
    keys = InMemory()
    for workflow_id, readable in (
        (f"{ids.RETENTION}-2026-01-15T03:20:00Z", True),
        (ids.workflow_id(ids.RETENTION, "welcome", ADA), False),
    ):
        codec = CustomerCodec(keys).with_context(context(workflow_id))
        encoded = await codec.encode([SECRET])
        assert (encoded == [SECRET]) is readable
        assert await codec.decode(encoded) == [SECRET]

    assert list(keys.keys) == [f"{ids.RETENTION}/{ADA}"]


async def test_an_activity_has_the_key_of_its_workflow() -> None:
    """Inputs and results of activities are about the customer, too."""
    activity = ActivitySerializationContext(
        namespace="default", activity_id="1", activity_type="deliver", activity_task_queue="journeys",
        workflow_id=ids.workflow_id("mugs", "welcome", ADA), workflow_type="welcome", is_local=False,
    )  # fmt: skip
    [encoded] = await CustomerCodec(InMemory()).with_context(activity).encode([SECRET])

    assert encoded.metadata[KEY_ID] == f"mugs/{ADA}".encode()


async def test_what_was_never_encrypted_is_passed_on_as_it_is() -> None:
    """Runs from before, and recorded histories, go on."""
    assert await CustomerCodec(InMemory()).decode([SECRET]) == [SECRET]


async def test_a_payload_under_another_customers_name_opens_for_nobody(codec_of: CodecOf) -> None:
    """A ciphertext is bound to the name of its key, so it cannot be passed off as another's."""
    [ada], [_] = await codec_of(ADA).encode([SECRET]), await codec_of(BOB).encode([SECRET])
    ada.metadata[KEY_ID] = f"mugs/{BOB}".encode()

    with pytest.raises(InvalidInput):
        await codec_of(BOB).decode([ada])


async def test_two_processes_that_begin_at_once_agree_on_a_customers_key(codec_of: CodecOf) -> None:
    """What one wrote, the other reads."""
    [first], [second] = await codec_of(ADA).encode([SECRET]), await codec_of(ADA).encode([SECRET])

    assert await codec_of(BOB).decode([first, second]) == [SECRET, SECRET]
    assert first.data != second.data


async def test_the_database_holds_no_key_that_opens_anything_without_a_master_key(
    codec_of: CodecOf, engine: AsyncEngine
) -> None:
    """Whoever has the database and Temporal, but not the settings, reads nothing."""
    [encoded] = await codec_of(ADA, OLD).encode([SECRET])

    with pytest.raises(ConfigurationError):
        await codec_of(ADA, NEW).decode([encoded])
    async with as_owner(engine) as connection:
        await connection.execute(update(data_keys).values(owner=str(BOB)))
    with pytest.raises(NotFound):
        await codec_of(ADA, OLD).decode([encoded])


async def test_a_master_key_is_rotated_without_touching_what_is_encrypted(
    codec_of: CodecOf, engine: AsyncEngine, clock: SteppedClock, store: Shop
) -> None:
    """The new one in front, the keys wrapped anew, the old one gone; a second time there is nothing to do."""
    [before] = await codec_of(ADA, OLD).encode([SECRET])
    rotating = CustomerKeys(engine, MasterKeys([NEW, OLD]), clock)

    assert await codec_of(ADA, NEW, OLD).decode([before]) == [SECRET]
    assert (await rotating.rewrap(), await rotating.rewrap()) == (1, 0)
    assert await codec_of(ADA, NEW).decode([before]) == [SECRET]


async def test_a_destroyed_key_opens_nothing_and_is_never_made_again(
    codec_of: CodecOf, engine: AsyncEngine, clock: SteppedClock
) -> None:
    """A process that has seen the key forgets it; a customer without a key gets none afterwards either."""
    forgetful = codec_of(ADA, remember=0.0)
    [ada] = await forgetful.encode([SECRET])
    async with as_store(engine, "mugs") as connection:
        owners = [Owner(store_id="mugs", customer_id=customer) for customer in (ADA, BOB)]
        assert await destroy(connection, owners, clock()) == 1

    for codec in (forgetful, codec_of(ADA), codec_of(BOB)):
        with pytest.raises(NotFound):
            await codec.encode([SECRET])
    with pytest.raises(NotFound):
        await forgetful.decode([ada])
    async with as_owner(engine) as connection:
        assert set((await connection.execute(select(data_keys.c.wrapped))).scalars()) == {None}


def test_master_keys_that_are_too_short_are_refused() -> None:
    """A password is not a key."""
    with pytest.raises(ConfigurationError):
        Settings(master_keys="hunter2").master_secrets()
    assert Settings(master_keys=f" {NEW}, {OLD},").master_secrets() == [NEW, OLD]


async def test_what_went_wrong_in_a_run_is_encrypted_too() -> None:
    """An error may quote what it was about; its message and its stack trace are sealed like everything else."""
    plugin = journeys_plugin(CustomerCodec(InMemory()))
    converter = plugin.data_converter
    assert isinstance(converter, DataConverter)
    converter = converter.with_context(context(ids.workflow_id("mugs", "welcome", ADA)))
    failure = Failure()

    await converter.encode_failure(ApplicationError("550 ada@example.com", "ada@example.com", type="Refused"), failure)

    assert b"ada@example.com" not in failure.SerializeToString()
    read = await converter.decode_failure(failure)
    assert isinstance(read, ApplicationError)
    assert (read.message, read.details, read.type) == ("550 ada@example.com", ("ada@example.com",), "Refused")
