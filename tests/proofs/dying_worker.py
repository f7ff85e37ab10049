"""A worker that dies by SIGKILL at a line of `deliver`, and the one that comes after it. Runs as a process of its own.

It is wired as `worker.main` wires the real one, except for what stands around the ledger and the channel here; what
Temporal waits for before it gives a worker up is shortened to seconds.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from multiprocessing import parent_process
from pathlib import Path
from typing import Any
from uuid import UUID

from temporalio.client import Client
from temporalio.worker import Worker

import templates
import workflows.sending
from activities import heartbeats
from activities.deliver import Deliver
from adapters.channels.smtp import SmtpChannel
from adapters.postgres.engine import create_engine
from adapters.postgres.ledger import PostgresLedger
from adapters.rendering.renderer import TemplateRenderer
from adapters.settings import Settings
from adapters.temporal.plugin import journeys_plugin
from domain.delivery import Delivery, Slot
from domain.message import Letter
from domain.ports import Claim
from domain.tokens import Signer
from workflows.welcome import Welcome


class Line(StrEnum):
    """Where a worker dies, in the order of `deliver`; inside the SMTP session it is the mail server that kills it."""

    BEFORE_CLAIM = "before-the-claim"
    AFTER_CLAIM = "after-the-claim"
    MARKED = "after-it-was-marked-as-sending"
    BEFORE_DATA = "before-DATA"
    BEFORE_250 = "before-the-250"
    AFTER_250 = "after-the-250"
    BEFORE_RECORD = "before-the-record"
    AFTER_RECORD = "after-the-record"


@dataclass(frozen=True)
class Wiring:
    """What a worker is told.

    Attributes:
        dies_at: Where it dies; None: it lives, and takes over from those that died.
    """

    settings: Settings
    temporal: str
    task_queues: Sequence[str]
    dies_at: Line | None = None


class Fate:
    """Ends the process at its line."""

    def __init__(self, line: Line | None) -> None:
        self._line = line

    def reached(self, line: Line) -> None:
        if line is self._line:
            os.kill(os.getpid(), signal.SIGKILL)


class WatchedLedger(PostgresLedger):
    """The ledger, and the lines around it."""

    def __init__(self, fate: Fate, *wiring: Any) -> None:
        super().__init__(*wiring)
        self._fate = fate

    async def claim(self, slot: Slot, now: datetime) -> Claim:
        self._fate.reached(Line.BEFORE_CLAIM)
        claim = await super().claim(slot, now)
        self._fate.reached(Line.AFTER_CLAIM)
        return claim

    async def sending(self, slot: Slot, message_id: UUID, urls: Sequence[str], now: datetime) -> None:
        await super().sending(slot, message_id, urls, now)
        self._fate.reached(Line.MARKED)

    async def record(self, slot: Slot, message_id: UUID, delivery: Delivery, now: datetime) -> None:
        self._fate.reached(Line.BEFORE_RECORD)
        await super().record(slot, message_id, delivery, now)
        self._fate.reached(Line.AFTER_RECORD)


class WatchedChannel(SmtpChannel):
    """The channel, and the line behind it."""

    def __init__(self, fate: Fate, *wiring: Any) -> None:
        super().__init__(*wiring)
        self._fate = fate

    async def send(self, letter: Letter) -> None:
        await super().send(letter)
        self._fate.reached(Line.AFTER_250)


def work(wiring: Wiring) -> None:
    """Run a worker until it dies or its parent does."""
    asyncio.run(_work(wiring))


async def _work(wiring: Wiring) -> None:
    heartbeats.INTERVAL = timedelta(seconds=1)
    workflows.sending._SILENCE = timedelta(seconds=3)
    fate = Fate(wiring.dies_at)
    settings = wiring.settings
    client = await Client.connect(wiring.temporal, plugins=[journeys_plugin()])
    engine = create_engine(settings.sqlalchemy_url, pool_size=4)
    renderer = TemplateRenderer(Path(templates.__path__[0]), Signer(settings.signing_secrets()), settings.public_url)
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(WatchedChannel(fate, settings.smtp_url, _now))
        deliver = Deliver(WatchedLedger(fate, engine), renderer, channel, _now)
        for queue in wiring.task_queues:
            worker = Worker(
                client, task_queue=queue, workflows=[Welcome], activities=[deliver.deliver, deliver.abandon]
            )
            await stack.enter_async_context(worker)
        orphaned = asyncio.Event()
        parent = parent_process()
        assert parent is not None
        asyncio.get_running_loop().add_reader(parent.sentinel, orphaned.set)
        await orphaned.wait()


def _now() -> datetime:
    return datetime.now(UTC)
