"""A mail server that takes everything and keeps only when it came and to whom: `python -m bench.sink PORT FILE`.

As quick as a mail server can be, since it is not what is measured.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import TextIO, cast

import uvloop


class _Session(asyncio.Protocol):
    """One connection: EHLO, MAIL, RCPT, DATA, as often as wanted; pipelined or not."""

    def __init__(self, post: TextIO) -> None:
        self._post = post
        self._received = b""
        self._to = ""
        self._in_data = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            end = b"\r\n.\r\n" if self._in_data else b"\r\n"
            taken, found, rest = self._received.partition(end)
            if not found:
                return
            self._received = rest
            self._transport.write(self._taken() if self._in_data else self._answer(taken))

    def _taken(self) -> bytes:
        self._in_data = False
        self._post.write(f"{time.time():.6f} {self._to}\n")
        self._post.flush()
        return b"250 2.0.0 taken\r\n"

    def _answer(self, line: bytes) -> bytes:
        command = line[:4].upper()
        match command:
            case b"EHLO":
                return b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 10485760\r\n"
            case b"RCPT":
                self._to = line.decode("ascii", "replace").partition("<")[2].partition(">")[0]
            case b"DATA":
                self._in_data = True
                return b"354 go on\r\n"
            case b"QUIT":
                self._transport.write(b"221 bye\r\n")
                self._transport.close()
                return b""
        return b"250 2.0.0 OK\r\n"


async def _serve(port: int, file: Path) -> None:
    with file.open("a", encoding="utf-8") as post:
        server = await asyncio.get_running_loop().create_server(lambda: _Session(post), "127.0.0.1", port)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
