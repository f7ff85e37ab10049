"""Every operation of the OpenAPI document against what its schema allows and forbids: it does what the document says.

`make test` tries a few requests of each operation, always the same; `make fuzz TARGET=api EXAMPLES=300` many new ones.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
from sqlalchemy import update
from temporalio.client import Client

from adapters.postgres.keys import KeyStore
from adapters.postgres.tables import messages
from adapters.settings import Settings
from api.app import create_app
from domain.access import ADMIN_KEY, WRITE_KEY
from domain.tokens import Purpose, Signer
from testing import TimeSkippingShop
from tests.adapters.postgres.conftest import Telling

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5"))
NEW = "FUZZ_EXAMPLES" in os.environ
"""Whether to try other requests than the last time."""
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PURPOSES = {
    "/track/email-open": Purpose.OPEN,
    "/track/email-click": Purpose.CLICK,
    "/unsubscribe": Purpose.UNSUBSCRIBE,
    "/preferences": Purpose.PREFERENCES,
    "/confirm": Purpose.CONFIRM,
}


@dataclass(frozen=True)
class Door:
    """The running API, and what there is in its store to ask for."""

    app: FastAPI
    client: AsyncClient
    keys: Mapping[str, str]
    known: Mapping[str, list[str]]
    signer: Signer
    message_id: Any

    async def answer(self, case: Case, key: str) -> Response:
        """Send a request, byte for byte as schemathesis would."""
        told = requests.Request(**case.as_transport_kwargs(base_url="http://api.test")).prepare()
        headers = {name: value for name, value in told.headers.items() if name.lower() != "authorization"}
        secret = {"Authorization": f"Bearer {self.keys[key]}"} if key in self.keys else {}
        return await self.client.request(
            str(told.method), str(told.url), headers={**headers, **secret}, content=told.body or b""
        )


@pytest.fixture
async def door(shop: TimeSkippingShop, settings: Settings) -> AsyncIterator[Door]:
    """A store with customers, runs, messages and keys, whose limits are out of reach."""

    async def temporal() -> Client:
        return shop.env.client

    for user in ("ada", "eve"):
        await shop.subscriber(user)
        await shop.track("Product Added", user, product_id="mug", name="Mug", price=12.5, currency="EUR")
    telling = Telling(shop.engine, shop.store_id)
    message_id = await telling.sent_message(await telling.customer(), shop.now)
    await telling.write(update(messages).values(urls=["https://shop.test/"]))
    runs = await shop.runs("cart-recovery")
    store = KeyStore(shop.engine, lambda: shop.now)
    keys = {kind: await store.create(shop.store_id, grant, by="test") for kind, grant in KINDS.items()}
    spare = [await store.create(shop.store_id, WRITE_KEY, by="test") for _ in range(2)]
    app = create_app(settings, lambda: shop.now, temporal=temporal, engine_check=shop_answers)
    async with app.router.lifespan_context(app):
        app.state.services.meter.take = lambda *_: None
        known = {
            "customer": [str(await telling.customer()), "ada", "eve"],
            "user_id": ["ada", "eve"],
            "run": [str(run.run_id) for run in runs],
            "key": [keys["write"].secret],
            "key_id": [str(one.key_id) for one in spare],
        }
        transport = ASGITransport(app, raise_app_exceptions=False)
        async with AsyncClient(transport=transport, base_url="http://api.test") as client:
            secrets = {kind: key.secret for kind, key in keys.items()}
            yield Door(app, client, secrets, known, Signer(settings.signing_secrets()), message_id)


KINDS = {"write": WRITE_KEY, "admin": ADMIN_KEY}


async def shop_answers() -> None:
    """Stand for the check of the workflow engine."""


async def test_every_operation_does_what_its_description_says(door: Door, subtests: pytest.Subtests) -> None:
    """No 5xx, only documented statuses, content types and bodies: with each kind of key and with none."""
    schema = schemathesis.openapi.from_dict(door.app.openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    # What ends things comes last, so that there is something to ask for until then.
    operations.sort(key=lambda operation: operation.method.upper() == "DELETE" or "leave" in operation.path)
    answered: dict[str, set[int]] = {}
    for operation in operations:
        with subtests.test(operation=operation.label):
            answered[operation.label] = await asyncio.to_thread(_tried, door, operation, asyncio.get_running_loop())

    documented = {
        f"{method.upper()} {path}" for path, methods in door.app.openapi()["paths"].items() for method in methods
    }
    assert set(answered) == documented
    # Each was reached behind its keys and tokens; there is nothing to confirm, which is 410.
    assert [label for label, statuses in answered.items() if not _reached(statuses)] == []


def _reached(statuses: set[int]) -> bool:
    return any(status < 400 or status == 410 for status in statuses)


def _tried(door: Door, operation: Any, loop: asyncio.AbstractEventLoop) -> set[int]:
    """Try one operation, outside of the loop that serves it; return the statuses that were answered."""
    statuses: set[int] = set()
    # Not those that `default` stands for: whoever reads the document is to know what can come back.
    documented = set(door.app.openapi()["paths"][operation.path][operation.method]["responses"])
    phases = [Phase.generate, Phase.shrink] if NEW else [Phase.generate]

    few = hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=not NEW,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    cases = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @few
    @hypothesis.given(st.one_of(cases), st.data())
    def each(case: Case, data: st.DataObject) -> None:
        _point_at_something(door, case, data)
        answers(case)

    @hypothesis.settings(few, max_examples=100)
    @hypothesis.given(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), st.data())
    def until_reached(case: Case, data: st.DataObject) -> None:
        _point_at_something(door, case, data)
        if not _reached(statuses):
            answers(case)

    def answers(case: Case) -> None:
        for key in ("none", "write", "admin"):
            answer = asyncio.run_coroutine_threadsafe(door.answer(case, key), loop).result(60)
            statuses.add(answer.status_code)
            assert str(answer.status_code) in documented, f"{answer.status_code} is not documented: {answer.text[:300]}"
            case.validate_response(answer, checks=CHECKS)

    each()
    if not _reached(statuses):  # a few requests may all have been refused, rightly
        until_reached()
    return statuses


def _point_at_something(door: Door, case: Case, data: st.DataObject) -> None:
    """Name, as often as not, what there is in the store."""
    if not data.draw(st.integers(0, 3)):
        return
    for name in set(case.path_parameters or {}) & set(door.known):
        case.path_parameters[name] = data.draw(st.sampled_from(door.known[name]))
    if (purpose := PURPOSES.get(case.operation.path)) is not None:
        until = datetime(2100, 1, 1, tzinfo=UTC) if purpose is Purpose.CONFIRM else None
        case.query = {"token": door.signer.token(door.message_id, purpose, expires_at=until)}
