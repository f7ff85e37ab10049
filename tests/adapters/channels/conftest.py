from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.ids import rfc_message_id
from domain.message import Letter
from domain.ports import Clock
from tests.adapters.channels.mail_server import MailServer, mail_server

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
MESSAGE = UUID("0190a5b2-6c1d-5e3f-8a47-5d9b1c2e3f40")


@pytest.fixture
def clock() -> Clock:
    return lambda: NOW


@pytest.fixture
def letter() -> Letter:
    return Letter(
        message_id=rfc_message_id(MESSAGE, "hearth.example"),
        to="ada@customers.example",
        to_name="Ada Byron",
        sender="hello@hearth.example",
        sender_name="Hearth & Table",
        subject="You left something in your cart",
        html="<p>Hello Ada</p>",
        text="Hello Ada\n",
        list_id="<cart-recovery.hearth.hearth.example>",
        feedback_id="hearth:cart-recovery:reminder-1:journeys",
        unsubscribe_url="https://mail.example/unsubscribe?token=AwAAAZClsmwdXj-KR12bHC4_QGpX7Ia5T22tcvVreLIluKk",
    )


@pytest.fixture
def altered(letter: Letter) -> Callable[..., Letter]:
    """Return the letter with some fields changed."""

    def altered(**fields: object) -> Letter:
        return letter.model_copy(update=fields)

    return altered


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server
