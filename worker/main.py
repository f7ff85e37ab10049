"""Composition roots: wire the Temporal worker, and the router, from the settings, and run until told to stop."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import structlog
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

import templates
from activities.deliver import Deliver
from activities.note import NoteOperation
from activities.retention import EnforceRetention
from activities.rollout import RollOut
from activities.stock import ReleaseWave
from adapters import metrics
from adapters.channels.smtp import SmtpChannel
from adapters.postgres import tenancy
from adapters.postgres.audit import PostgresOperations
from adapters.postgres.backlog import Backlog
from adapters.postgres.code_sources import CodeSources
from adapters.postgres.dkim_keys import DkimKeys
from adapters.postgres.engine import create_engine
from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.pauses import PostgresPauses
from adapters.postgres.provider_secrets import ProviderSecrets
from adapters.postgres.queue import CHANNEL, listener
from adapters.postgres.retention import PostgresRetention
from adapters.postgres.rollouts import PostgresReplans
from adapters.postgres.waitlist import PostgresWaitlist
from adapters.rendering.renderer import TemplateRenderer
from adapters.settings import Settings
from adapters.shops.codes import ShopCodes
from adapters.temporal.client import check_search_attributes, connect
from adapters.temporal.codec import customer_codec
from adapters.temporal.engine import Engine
from adapters.temporal.log_context import LogContext
from adapters.temporal.rollouts import TemporalRuns
from adapters.temporal.runtime import runtime
from adapters.temporal.schedules import schedule_retention
from adapters.temporal.versioning import versioning
from domain.tokens import Signer
from worker.router import Router
from worker.supply import Supply
from workflows.registry import WORKFLOWS

log = structlog.get_logger("worker")

GRACE = timedelta(seconds=150)
"""How long what is under way may take once the worker is told to stop. A mail server has two minutes for its verdict
(adapters/channels/smtp.py): who gives up before leaves a message behind of which nobody knows whether it went out.
What takes hours hands over at once (activities/heartbeats.py)."""
POOL = 20
"""Connections to Postgres that a worker or a router keeps; half as many again under load."""
TASKS = 200
"""Of runs, at a time: four times the local attempts, and few enough to be through in the ten seconds of a task."""
POLLERS = 20
"""Of each kind of task, always; half of those for runs ask for runs that are not in the cache."""
TRUSTED_S = 1.0
"""Under load nearly every connection has answered since, and what fails of a dead one is tried again."""


def now() -> datetime:
    """Read the machine's clock: the one place where business time comes from it."""
    return datetime.now(UTC)


async def run_worker(settings: Settings) -> None:
    """Run journeys and activities until SIGTERM or SIGINT; work under way is finished.

    Raises:
        ConfigurationError: The settings, the database's roles or the Temporal namespace cannot work.
    """
    engine = create_engine(settings.sqlalchemy_url, pool_size=POOL, trusted_s=TRUSTED_S, by_key=True)
    await tenancy.check(engine)
    client = await connect(codec=customer_codec(settings, engine, now), runtime=runtime(settings))
    await check_search_attributes(client)
    await schedule_retention(client, settings.task_queue)
    folder, signer = Path(templates.__path__[0]), Signer(settings.signing_secrets())
    renderer = TemplateRenderer(folder, signer, settings.public_url, settings.bounce_address)
    keys = DkimKeys(engine, settings.master_secrets())
    async with SmtpChannel(settings.smtp_url, now, keys=keys) as channel:
        deliver = Deliver(PostgresLedger(engine), renderer, channel, now)
        note = NoteOperation(PostgresOperations(engine), now)
        runs = Engine(client, settings.task_queue)
        waves = ReleaseWave(PostgresWaitlist(engine), runs, now)
        rollout = RollOut(PostgresReplans(engine), PostgresPauses(engine), TemporalRuns(client, runs), now)
        supply = Supply(CodeSources(engine), ShopCodes(ProviderSecrets(engine, settings.master_secrets()), now), now)
        retention = EnforceRetention(PostgresRetention(engine), now)
        activities: list[Callable[..., Any]] = [
            deliver.deliver, deliver.abandon, waves.release, note.note, rollout.roll_out, retention.enforce,
        ]  # fmt: skip
        worker = Worker(
            client,
            task_queue=settings.task_queue,
            workflows=WORKFLOWS,
            activities=activities,
            graceful_shutdown_timeout=GRACE,
            max_concurrent_activities=50,
            # A run's local attempt keeps its task: there is room for more runs than have places (activities/places.py).
            max_concurrent_workflow_tasks=TASKS,
            max_concurrent_local_activities=TASKS,
            # The SDK's five, of which one asks for runs that are not in the cache, had runs wait while nobody was busy.
            # Where the SDK chooses how many, it loses tasks that come as it stops one: these are missed after 10 s.
            workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(POLLERS),
            nonsticky_to_sticky_poll_ratio=0.5,
            activity_task_poller_behavior=PollerBehaviorSimpleMaximum(POLLERS),
            interceptors=[LogContext()],
            **versioning(settings.deployment, settings.build_id),
        )
        with metrics.served(settings.metrics_host, settings.metrics_port):
            async with worker, _beside(supply.run()):
                log.info("ready", task_queue=settings.task_queue, build_id=settings.build_id)
                await _told_to_stop().wait()
    await engine.dispose()


async def run_router(settings: Settings) -> None:
    """Route events until SIGTERM or SIGINT; what is under way is finished.

    Raises:
        ConfigurationError: The settings or the database's roles cannot work.
    """
    engine = create_engine(settings.sqlalchemy_url, pool_size=POOL, trusted_s=TRUSTED_S, by_key=True)
    await tenancy.check(engine)
    # Lazily: the router starts, and events wait, while Temporal is down.
    client = await connect(lazy=True, codec=customer_codec(settings, engine, now), runtime=runtime(settings))
    router = Router(engine, Engine(client, settings.task_queue), now)
    stopping, waiting = _told_to_stop(), Backlog(settings.psycopg_url, now)
    with metrics.served(settings.metrics_host, settings.metrics_port, waiting):
        async with _beside(_listen(settings.psycopg_url, router)):
            log.info("ready")
            await router.run(stopping)
    await engine.dispose()


def _told_to_stop() -> asyncio.Event:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do something that never ends beside the block, for as long as that takes."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _listen(url: str, router: Router) -> None:
    """Wake the router with every NOTIFY; while the database is away, its poll is enough."""
    while True:
        with contextlib.suppress(psycopg.OperationalError):
            named = psycopg.AsyncConnection.connect(url, autocommit=True, application_name=listener())
            async with await named as connection:
                await connection.execute(f"listen {CHANNEL}")  # a constant of ours
                router.wake()
                async for _ in connection.notifies():
                    router.wake()
        await asyncio.sleep(1)
