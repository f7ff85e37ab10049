"""G3 under attack: the worker dies by SIGKILL at each line of `deliver`, another takes over; never two messages.

Real processes, a real mail server, a real Temporal server and Postgres. All workers die side by side, since what takes
time is Temporal's patience with them.
"""

import asyncio
import multiprocessing
import os
import shutil
import signal
import sysconfig
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment

from adapters.postgres import sending_rules
from adapters.postgres.identities import new_id
from adapters.postgres.tables import customers, messages, runs
from adapters.settings import Settings
from adapters.temporal.plugin import journeys_plugin
from adapters.temporal.search_attributes import KEYWORDS
from domain import ids
from domain.message import StoreCard
from domain.plans import Step, WelcomePlan
from domain.runs import Entry, Outcome
from domain.sending_rules import SendingRules
from rehearsal.server import quiet_runtime
from tests.adapters.channels.mail_server import MailServer, mail_server
from tests.conftest import Shop
from tests.proofs.dying_worker import Line, Wiring, work
from workflows.welcome import Welcome

DEADLINE_S = 90


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


class DeadlyMailServer(MailServer):
    """Kills who sends, in the middle of the conversation; by recipient."""

    def __init__(self) -> None:
        super().__init__()
        self.kills: dict[tuple[Line, str], int | None] = {}

    async def handle_RCPT(self, server: SMTP, _: Session, envelope: Envelope, address: str, __: list[str]) -> str:  # noqa: N802
        self._reached(Line.BEFORE_DATA, address)
        return await super().handle_RCPT(server, _, envelope, address, __)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = await super().handle_DATA(server, session, envelope)
        self._reached(Line.BEFORE_250, envelope.rcpt_tos[0])
        return answer

    def _reached(self, line: Line, address: str) -> None:
        if (pid := self.kills.pop((line, address), None)) is not None:
            os.kill(pid, signal.SIGKILL)
