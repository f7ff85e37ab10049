"""The stage: the real stack as `journeys dev` runs it, durable as in production, with a mail server of moods."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from sqlalchemy import Select, Table, func, select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from adapters.postgres import plans
from adapters.postgres.engine import create_engine
from adapters.postgres.tables import events, messages, runs
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from adapters.temporal.plugin import journeys_plugin
from chaos import sink
from chaos.expected import plans as plans_of_the_store
from chaos.record import Entry, Mail
from chaos.sink import Mood
from cli.stack import ports
from cli.stack.local import Options, Stack
from cli.stack.postgres import temporary_dir
from cli.stack.processes import Child, Program
from domain.plans import validated

SINK = "mail server"
_STORE = "demo"


@dataclass
class Stage:
    """A running stack, its mail server, and what one looks at them with."""

    stack: Stack
    engine: AsyncEngine
    temporal: Client
    http: httpx.AsyncClient
    directory: Path
    server: Child

    def kill(self, part: str) -> None:
        """End a part with SIGKILL."""
        if part == SINK:
            self.server.kill()
        else:
            self.stack.kill(part)

    def start(self, part: str) -> None:
        """Start a part again and wait until it is ready."""
        if part == SINK:
            self.server.start()
        else:
            self.stack.start(part)

    def check(self) -> None:
        """Make sure that nothing ended that we did not end.

        Raises:
            Unavailable: Names the part and carries the end of its log.
        """
        self.stack.check()
        self.server.check()

    def mood(self, mood: Mood) -> None:
        """Put the mail server into a mood."""
        sink.set_mood(self.directory / "mood", mood)

    def mails(self) -> list[Mail]:
        """Return what the mail server has taken."""
        return sink.taken(self.directory / "post")

    async def under_way(self) -> dict[str, int]:
        """Count what is not at rest: events that are not routed, runs of Postgres, workflows of Temporal."""
        async with as_store(self.engine, _STORE) as connection:
            waiting = await connection.scalar(_count(events).where(events.c.state.in_(["pending", "applied"]))) or 0
            running = await connection.scalar(_count(runs).where(runs.c.ended_at.is_(None))) or 0
        workflows = (await self.temporal.count_workflows('ExecutionStatus = "Running"')).count
        return {"events": waiting, "runs": running, "workflows": workflows}

    async def stored(self) -> dict[str, list[str]]:
        """Return the states of the stored events of each `messageId`."""
        found: dict[str, list[str]] = {}
        async with as_store(self.engine, _STORE) as connection:
            for row in await connection.execute(select(events.c.message_id, events.c.state)):
                found.setdefault(row.message_id, []).append(row.state)
        return found

    async def ledger(self) -> list[Entry]:
        """Return the messages as the product has them."""
        columns = [messages.c[name] for name in ("message_id", "address", "journey", "step", "state", "claimed_at")]
        async with as_store(self.engine, _STORE) as connection:
            rows = (await connection.execute(select(*columns))).all()
        return [
            Entry(row.message_id.hex, row.address or "", row.journey, row.step, row.state, row.claimed_at.timestamp())
            for row in rows
        ]


@contextlib.asynccontextmanager
async def stage(seed: int, pace: float = 1.0) -> AsyncIterator[Stage]:
    """Run the stack and its mail server until the end of the block; nothing of them is left."""
    with temporary_dir() as directory, contextlib.ExitStack() as running:
        sink.set_mood(directory / "mood", Mood.OPEN)
        port = ports.free()
        server = Child(_mail_server(directory, port, seed))
        running.callback(server.stop)
        server.start()
        smtp = Settings(database_url="", smtp_url=f"smtp://{ports.HOST}:{port}")
        stack = running.enter_context(Stack(Options(directory / "stack", 0, 0, 0, 0, 0, 0), smtp))
        engine = create_engine(Settings(database_url=stack.info.database_url).sqlalchemy_url, pool_size=4)
        for journey, settings in plans_of_the_store(pace).items():
            await plans.put(engine, _STORE, journey, validated(journey, settings), datetime.now(UTC))
        temporal = await Client.connect(stack.info.temporal_address, plugins=[journeys_plugin()])
        async with httpx.AsyncClient(base_url=stack.info.api, timeout=10) as http:
            yield Stage(stack, engine, temporal, http, directory, server)
        await engine.dispose()


def _count(rows: Table) -> Select[int]:
    return select(func.count()).select_from(rows).where(rows.c.store_id == _STORE)


def _mail_server(directory: Path, port: int, seed: int) -> Program:
    argv = [
        sys.executable,
        "-m",
        "chaos.sink",
        *(str(word) for word in (port, directory / "post", directory / "mood", seed)),
    ]
    return Program(name=SINK, argv=argv, env=os.environ, log=directory / "sink.log", ready=lambda: ports.answers(port))
