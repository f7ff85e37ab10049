"""A mail server with moods: `python -m chaos.sink PORT FILE MOOD SEED`.

It writes down each message it takes, one line of JSON, and syncs the file before it says 250; so what it said it took
is known however it dies. Its mood is read from a file again and again, so it keeps its mood when it is killed. It is
slow on purpose: the longer a message is under way, the more can happen to it.
"""

import asyncio
import json
import os
import sys
import time
from email.message import Message
from email.parser import BytesHeaderParser
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any, TextIO, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from chaos.record import Mail

_LONGEST_ANSWER_S = 0.15
_PARTING = "421 4.3.2 going down"
_NOT_NOW = {
    "MAIL": ("450 4.3.2 not now", "451 4.7.1 greylisted", _PARTING),
    "RCPT": ("450 4.2.1 mailbox busy", "452 4.2.2 mailbox full", _PARTING),
    "DATA": ("451 4.3.0 try again later", "452 4.3.1 no space"),
}
"""What a server says that does not take mail now (RFC 5321 §4.2.1: 4yz, try again)."""


class Mood(StrEnum):
    """How it treats its clients.

    OPEN takes everything. BUSY says 4xx somewhere in the conversation. DEAF hangs up at once. BROKEN hangs up somewhere
    in the conversation, also between a message that it has taken and its 250.
    """

    OPEN = "open"
    BUSY = "busy"
    DEAF = "deaf"
    BROKEN = "broken"


class Moody:
    """Handles conversations (an aiosmtpd handler); the mood may change in the middle of one."""

    def __init__(self, post: TextIO, mood: Path, seed: str) -> None:
        self._post = post
        self._mood = mood
        self._random = Random(seed)

    async def handle_MAIL(self, server: SMTP, _: Session, envelope: Envelope, address: str, ___: list[str]) -> str:  # noqa: N802
        if (trouble := await self._trouble(server, "MAIL")) is not None:
            return trouble
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server: SMTP, _: Session, envelope: Envelope, address: str, ___: list[str]) -> str:  # noqa: N802
        if (trouble := await self._trouble(server, "RCPT")) is not None:
            return trouble
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:  # noqa: N802
        if (trouble := await self._trouble(server, "DATA")) is not None:
            return trouble
        mail = BytesHeaderParser().parsebytes(envelope.original_content or b"", headersonly=True)
        self._write_down(mail, str(envelope.rcpt_tos[0]))
        if self.mood is Mood.BROKEN and self._random.random() < 0.5:
            return self._hang_up(server)
        return "250 2.0.0 taken"

    @property
    def mood(self) -> Mood:
        return Mood(self._mood.read_text(encoding="ascii"))

    async def _trouble(self, server: SMTP, command: str) -> str | None:
        """Take some time, and say what is wrong, if anything is."""
        await asyncio.sleep(self._random.uniform(0, _LONGEST_ANSWER_S))
        mood = self.mood
        # Not each time, or nobody would ever get far enough for the troubles at the end.
        if mood is Mood.OPEN or (mood is not Mood.DEAF and self._random.random() < 0.5):
            return None
        return self._random.choice(_NOT_NOW[command]) if mood is Mood.BUSY else self._hang_up(server)

    def _hang_up(self, server: SMTP) -> str:
        if server.transport is not None:
            cast("asyncio.WriteTransport", server.transport).abort()  # uvloop's are no subclass of asyncio's
        return _PARTING  # nobody hears it

    def _write_down(self, mail: Message, to: str) -> None:
        _, journey, step, _ = str(mail["Feedback-ID"]).split(":")
        taken = {"message_id": str(mail["Message-ID"]).strip("<> ").partition("@")[0], "to": to}
        self._post.write(json.dumps({**taken, "journey": journey, "step": step, "at": time.time()}) + "\n")
        self._post.flush()
        os.fsync(self._post.fileno())


class _Session(SMTP):
    """A conversation that does not begin while nobody listens."""

    def connection_made(self, transport: Any) -> None:
        if self.event_handler.mood is Mood.DEAF:
            transport.abort()
        else:
            super().connection_made(transport)


def set_mood(file: Path, mood: Mood) -> None:
    """Change the mood of the server that reads this file; it never sees half of it."""
    unfinished = file.with_suffix(".new")
    unfinished.write_text(mood, encoding="ascii")
    unfinished.replace(file)


def taken(file: Path) -> list[Mail]:
    """Read what a server has taken; a line that was cut off was never confirmed."""
    if not file.exists():
        return []
    *lines, _ = file.read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    return [Mail(row["message_id"], row["to"], row["journey"], row["step"]) for row in rows]


async def _serve(port: int, file: Path, mood: Path, seed: str) -> None:
    loop = asyncio.get_running_loop()
    so_far = len(taken(file))  # a server that was killed does not repeat what it did before
    with file.open("a", encoding="utf-8") as post:
        moody = Moody(post, mood, f"{seed}:sink:{so_far}")
        listener = await loop.create_server(lambda: _Session(moody, hostname="sink.test", loop=loop), "127.0.0.1", port)
        await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
