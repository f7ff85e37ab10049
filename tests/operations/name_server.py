"""A real name server on this machine, whose zone a test writes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[str, Mapping[str, list[str]]]
"""Name -> kind of record -> values, as in a zone file."""


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        answer = dns.message.make_response(query)
        here = self._zone.get(question.name.to_text(omit_final_dot=True).lower())
        if here is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif values := here.get(dns.rdatatype.to_text(question.rdtype)):
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", question.rdtype, *values))
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def name_server(zone: Zone) -> AsyncIterator[dns.asyncresolver.Resolver]:
    """Serve a zone, and return a resolver that asks nobody else."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Answers(zone), local_addr=("127.0.0.1", 0))
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    resolver.lifetime = 5.0
    try:
        yield resolver
    finally:
        transport.close()
