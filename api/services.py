"""What every request handler may use, built once by `create_app`."""

from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.ingest import EventStore
from adapters.postgres.keys import KeyStore
from adapters.postgres.meter import Meter
from adapters.providers.sns import SnsVerifier
from adapters.settings import Settings
from adapters.temporal.codec import CustomerCodec
from adapters.temporal.operator import RunOperator
from domain.ports import Clock
from domain.tokens import Signer


@dataclass(frozen=True)
class Services:
    """The parts of a running API; found at `request.app.state.services`."""

    settings: Settings
    engine: AsyncEngine
    events: EventStore
    keys: KeyStore
    signer: Signer
    clock: Clock
    operator: RunOperator
    codec: CustomerCodec | None = None
    sns: SnsVerifier = field(default_factory=SnsVerifier)
    meter: Meter = field(default_factory=Meter)


async def services(request: Request) -> Services:
    """Return the parts of the running API."""
    return cast("Services", request.app.state.services)


Wired = Annotated[Services, Depends(services)]
"""The type of a handler's parameter that takes the services."""
