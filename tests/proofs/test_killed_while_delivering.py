"""G3 under attack: the worker dies by SIGKILL at each line of `deliver`, another takes over; never two messages.

Real processes, a real mail server, a real Temporal server and Postgres. All workers die side by side, since what takes
time is Temporal's patience with them.
"""

import asyncio
import multiprocessing
import os
import signal
import sysconfig
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import WorkflowHandle
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment

from adapters.postgres import sending_rules, stores
from adapters.postgres.identities import new_id
from adapters.postgres.tables import customers, messages, runs
from adapters.postgres.tenancy import as_store
from adapters.settings import Settings
from adapters.temporal.plugin import journeys_plugin
from adapters.temporal.search_attributes import KEYWORDS
from domain import ids
from domain.commands import EndRun
from domain.message import StoreCard
from domain.operations import Replan
from domain.plans import Step, WelcomePlan
from domain.runs import Entry, Outcome
from domain.sending_rules import Interrupted, SendingRules
from rehearsal.server import quiet_runtime
from testing.inspection import as_owner
from tests.conftest import Shop
from tests.proofs.dying_worker import Line, Wiring, work
from workflows.welcome import Welcome

DEADLINE_S = 300


class Expected(NamedTuple):
    """What there is afterwards: the state of the message's row, and how many mails the provider took."""

    state: str
    mails: int


GIVEN_UP = {
    Line.BEFORE_CLAIM: Expected("sent", 1),
    Line.AFTER_CLAIM: Expected("sent", 1),
    Line.MARKED: Expected("unknown", 0),
    Line.BEFORE_DATA: Expected("unknown", 0),
    Line.BEFORE_250: Expected("unknown", 1),
    Line.AFTER_250: Expected("unknown", 1),
    Line.BEFORE_RECORD: Expected("unknown", 1),
    Line.AFTER_RECORD: Expected("sent", 1),
}
"""By default what nobody can know is given up: a message may be missing, and never comes twice."""

SENT_AGAIN = {
    Line.MARKED: Expected("sent", 1),
    Line.BEFORE_250: Expected("sent", 2),
    Line.AFTER_250: Expected("sent", 2),
    Line.AFTER_RECORD: Expected("sent", 1),
}
"""A store that would rather repeat a message than lose it: the repeat has the same Message-ID."""


class DeadlyMailServer:
    """Takes mail, and kills who hands it in, in the middle of the conversation; by recipient."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.pids: dict[tuple[Line, str], int] = {}

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:  # noqa: N802
        self._reached(Line.BEFORE_DATA, address)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802
        (recipient,), mail = envelope.rcpt_tos, message_from_bytes(envelope.original_content or b"")
        self.taken.append((recipient, str(mail["Message-ID"])))
        self._reached(Line.BEFORE_250, recipient)
        return "250 OK"

    def message_ids(self, recipient: str) -> list[str]:
        return [message_id for address, message_id in self.taken if address == recipient]

    def _reached(self, line: Line, recipient: str) -> None:
        if (pid := self.pids.pop((line, recipient), None)) is not None:
            os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Case:
    """A message whose worker dies at a line, under a store's rule.

    Attributes:
        delay: How long its run waits before it.
    """

    store_id: str
    line: Line
    expected: Expected
    delay: timedelta = timedelta(0)
    customer_id: UUID = field(default_factory=new_id)
    run_id: UUID = field(default_factory=new_id)

    @property
    def address(self) -> str:
        return f"{self.line}@{self.store_id}.test".lower()

    @property
    def queue(self) -> str:
        return f"{self.store_id}-{self.line}"


@pytest.fixture
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    """A server that counts seconds as they pass."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sysconfig.get_path("scripts")) / "temporal"),
        dev_server_log_level="error",
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in KEYWORDS],
        plugins=[journeys_plugin()],
        runtime=quiet_runtime(),
    ) as env:
        yield env


@pytest.fixture
async def provider() -> AsyncIterator[tuple[DeadlyMailServer, int]]:
    """The mail server and its port."""
    loop, deadly = asyncio.get_running_loop(), DeadlyMailServer()
    conversations: list[SMTP] = []

    def conversation() -> SMTP:
        conversations.append(SMTP(deadly, hostname="mail.test", loop=loop))
        return conversations[-1]

    listener = await loop.create_server(conversation, "127.0.0.1", 0)
    yield deadly, listener.sockets[0].getsockname()[1]
    listener.close()
    for one in conversations:
        if one.transport is not None:
            one.transport.close()
    await asyncio.sleep(0)


@contextmanager
def processes(wirings: list[Wiring]) -> Iterator[list[BaseProcess]]:
    """Run workers for the length of the block; each is forked from a process that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.proofs.dying_worker"])
    started = [context.Process(target=work, args=(wiring,), daemon=True) for wiring in wirings]
    for process in started:
        process.start()
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.join()


async def eager_store(engine: AsyncEngine, now: datetime) -> None:
    """Make a store that has interrupted messages sent again."""
    card = StoreCard(
        store_id="eager", name="Eager", url="https://eager.test", currency="EUR", sender_email="hello@eager.test",
        sender_name="Eager",
    )  # fmt: skip
    await stores.create(engine, card, now, by="test")
    async with as_store(engine, "eager") as connection:
        rules = SendingRules(interrupted=Interrupted.RESEND)
        await sending_rules.put(connection, "eager", rules, "cli:test", now)


async def written_down(engine: AsyncEngine, cases: list[Case], now: datetime) -> None:
    """Write the customers down, and that their journeys begin."""
    async with as_owner(engine) as connection:
        for case in cases:
            mine = {"store_id": case.store_id, "customer_id": case.customer_id}
            await connection.execute(insert(customers).values(**mine, email=case.address, created_at=now))
            run = {
                "run_id": case.run_id, "journey": "welcome", "plan_version": 0, "workflow_id": workflow_id(case),
                "since": now, "begun_at": now, "expires_at": now + timedelta(days=30),
            }  # fmt: skip
            await connection.execute(insert(runs).values(**mine, **run))


def workflow_id(case: Case) -> str:
    return ids.workflow_id(case.store_id, "welcome", case.customer_id)


def entry(case: Case, now: datetime) -> Entry[WelcomePlan]:
    """Begin a welcome of one message."""
    plan = WelcomePlan(steps=(Step(name="welcome-1", template="welcome", delay=case.delay, transactional=True),))
    return Entry(
        store_id=case.store_id, journey="welcome", customer_id=case.customer_id, run_id=case.run_id, plan_version=0,
        plan=plan, since=now, begun_at=now, at_once=True,
    )  # fmt: skip


@dataclass(frozen=True)
class Battlefield:
    """What the workers need: where they are told to send, and Temporal."""

    settings: Settings
    engine: AsyncEngine
    temporal: WorkflowEnvironment
    deadly: DeadlyMailServer

    def wiring(self, cases: list[Case], line: Line | None = None) -> Wiring:
        """Tell a worker of these cases what it needs."""
        address = self.temporal.client.service_client.config.target_host
        return Wiring(self.settings, address, [case.queue for case in cases], line)

    async def after_the_death(self, cases: list[Case]) -> list[WorkflowHandle[Any, Outcome]]:
        """Begin the runs, and return them when each has lost its worker."""
        now = datetime.now(UTC)
        await written_down(self.engine, cases, now)
        start = self.temporal.client.start_workflow
        begun = [
            await start(Welcome.run, entry(case, now), id=workflow_id(case), task_queue=case.queue) for case in cases
        ]
        with processes([self.wiring([case], case.line) for case in cases]) as victims:
            for case, victim in zip(cases, victims, strict=True):
                assert victim.pid is not None
                self.deadly.pids[case.line, case.address] = victim.pid
            await asyncio.gather(*(asyncio.to_thread(victim.join, DEADLINE_S) for victim in victims))
            assert {c.queue: v.exitcode for c, v in zip(cases, victims, strict=True)} == {
                case.queue: -signal.SIGKILL for case in cases
            }
        return begun

    async def found(self, cases: list[Case]) -> dict[str, Expected]:
        """Return what there is in the end."""
        async with as_owner(self.engine) as connection:
            rows = (await connection.execute(select(messages.c.run_id, messages.c.state))).all()
        states = {row.run_id: row.state for row in rows}
        return {c.queue: Expected(states[c.run_id], len(self.deadly.message_ids(c.address))) for c in cases}


@pytest.fixture
def battle(
    settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment, provider: tuple[DeadlyMailServer, int]
) -> Battlefield:
    deadly, port = provider
    told = settings.model_copy(update={"smtp_url": f"smtp://127.0.0.1:{port}"})
    return Battlefield(told, engine, temporal, deadly)


def over(case: Case) -> EndRun:
    """Have the run end for a reason outside its journey."""
    return EndRun(run_id=case.run_id, workflow_id=workflow_id(case), outcome=Outcome.EXPIRED)


async def test_a_worker_killed_at_any_line_never_leads_to_two_messages(battle: Battlefield, store: Shop) -> None:
    """G3: what surely was not handed over is sent once; what may have been is settled by the store's rule."""
    cases = [Case(store.store_id, line, expected) for line, expected in GIVEN_UP.items()]
    cases += [Case("eager", line, expected) for line, expected in SENT_AGAIN.items()]
    await eager_store(battle.engine, datetime.now(UTC))
    begun = await battle.after_the_death(cases)
    with processes([battle.wiring(cases)]):
        async with asyncio.timeout(DEADLINE_S):
            outcomes = [await run.result() for run in begun]

    assert outcomes == [Outcome.COMPLETED] * len(cases)
    assert await battle.found(cases) == {case.queue: case.expected for case in cases}
    for case in cases:
        assert len(set(battle.deadly.message_ids(case.address))) <= 1


async def test_a_message_is_settled_though_its_run_does_not_ask_for_it_again(battle: Battlefield, store: Shop) -> None:
    """G3: the run's task is done anew with an exit in it, or a plan without the step, as if nobody had ever asked."""
    ended = Case(store.store_id, Line.BEFORE_250, Expected("unknown", 1))
    moved = [
        Case(store.store_id, Line.AFTER_250, Expected("unknown", 1)),
        Case(store.store_id, Line.MARKED, Expected("unknown", 0), delay=timedelta(seconds=6)),
    ]
    lost = [ended, *moved]
    runs_lost = await battle.after_the_death(lost)
    await runs_lost[0].signal("ended", over(ended))
    later = WelcomePlan(steps=(Step(name="another", template="welcome", delay=timedelta(days=30)),))
    replan = Replan(version=1, plan=later.model_dump(mode="json"), mode="move")
    answers = asyncio.gather(*(run.execute_update("replan", replan) for run in runs_lost[1:]))
    with processes([battle.wiring(lost)]):
        async with asyncio.timeout(DEADLINE_S):
            assert await answers == [1, 1]
            for case, run in zip(moved, runs_lost[1:], strict=True):
                await run.signal("ended", over(case))
            outcomes = [await run.result() for run in runs_lost]

    assert outcomes == [Outcome.EXPIRED] * len(lost)
    assert await battle.found(lost) == {case.queue: case.expected for case in lost}
