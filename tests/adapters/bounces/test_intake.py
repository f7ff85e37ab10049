"""Returned mail by LMTP, from a mail server to the store whose name stands in the address."""

import smtplib
from asyncio import to_thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.bounces.intake import Intake
from adapters.postgres.tables import customers, events, messages
from domain.ids import return_path
from testing.inspection import as_owner
from tests.conftest import Shop, SteppedClock

BOUNCE = """\
Return-Path: <>
From: MAILER-DAEMON@mx.example.com
To: bounces+mugs@j.test
Subject: Undelivered Mail Returned to Sender
Message-ID: <1@mx.example.com>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.mugs.test

Final-Recipient: rfc822; ada@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 User unknown

--b
Content-Type: text/rfc822-headers

Message-ID: <{}>
--b--
"""


@pytest.fixture
async def message_id(engine: AsyncEngine, store: Shop, clock: SteppedClock) -> UUID:
    """A message to Ada that was sent."""
    message_id, customer_id = uuid4(), uuid4()
    person = {"store_id": "mugs", "customer_id": customer_id, "email": "ada@example.com", "created_at": clock()}
    row = {
        "store_id": "mugs", "message_id": message_id, "run_id": uuid4(), "customer_id": customer_id,
        "journey": "welcome", "step": "welcome-1", "template": "welcome-1", "transactional": False, "state": "sent",
        "address": "ada@example.com", "claimed_at": clock(),
    }  # fmt: skip
    async with as_owner(engine) as connection:
        await connection.execute(insert(customers).values(person))
        await connection.execute(insert(messages).values(row))
    return message_id


def delivered(port: int, mail: str, *recipients: str) -> dict[str, tuple[int, bytes]]:
    """Deliver a mail as a mail server does; returns the recipients that were refused."""
    with smtplib.LMTP("127.0.0.1", port) as server:
        return server.sendmail("", list(recipients), mail.replace("\n", "\r\n").encode())


async def stored(engine: AsyncEngine) -> list[Any]:
    """Read the stored events."""
    async with as_owner(engine) as connection:
        return list((await connection.execute(select(events.c.store_id, events.c.name))).all())


async def test_a_bounce_of_our_message_is_stored_before_it_is_acknowledged(
    engine: AsyncEngine, clock: SteppedClock, message_id: UUID
) -> None:
    """Repeated, it changes nothing."""
    mail = BOUNCE.format(f"{message_id.hex}@mugs.test")
    async with Intake(engine, clock) as intake:
        for _ in range(2):
            await to_thread(delivered, intake.port, mail, "bounces+mugs@j.test")
            assert await stored(engine) == [("mugs", "Email Bounced")]


async def test_a_mail_that_names_no_message_of_ours_silences_nobody(
    engine: AsyncEngine, clock: SteppedClock, message_id: UUID
) -> None:
    """Anybody can write that Ada's address is gone; it is taken, so that it does not bounce, and means nothing."""
    async with Intake(engine, clock) as intake:
        for claimed in ("1@elsewhere.test", f"{uuid4().hex}@mugs.test"):
            await to_thread(delivered, intake.port, BOUNCE.format(claimed), "bounces+mugs@j.test")

    assert await stored(engine) == []


async def test_the_address_that_it_came_back_to_names_the_message(
    engine: AsyncEngine, clock: SteppedClock, message_id: UUID
) -> None:
    """Many servers return nothing of the message (VERP)."""
    there = return_path("bounces@j.test", "mugs", message_id)
    async with Intake(engine, clock) as intake:
        await to_thread(delivered, intake.port, BOUNCE.format("1@elsewhere.test"), there.upper())

    assert await stored(engine) == [("mugs", "Email Bounced")]


async def test_an_address_without_a_store_is_refused(engine: AsyncEngine, clock: SteppedClock) -> None:
    """It is not ours."""
    async with Intake(engine, clock) as intake:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            await to_thread(delivered, intake.port, BOUNCE, "postmaster@j.test")


async def test_a_database_that_is_down_asks_for_the_mail_again(
    engine: AsyncEngine, clock: SteppedClock, message_id: UUID
) -> None:
    """The mail server keeps it in its queue."""
    mail = BOUNCE.format(f"{message_id.hex}@mugs.test")
    async with as_owner(engine) as connection:
        await connection.execute(text("alter table events rename to away"))
    try:
        async with Intake(engine, clock) as intake:
            with pytest.raises(smtplib.SMTPDataError) as refusal:
                await to_thread(delivered, intake.port, mail, "bounces+mugs@j.test")
    finally:
        async with as_owner(engine) as connection:
            await connection.execute(text("alter table away rename to events"))

    assert refusal.value.smtp_code == 451
