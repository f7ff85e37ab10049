"""Codes from a shop: a real HTTP server as the shop, a real database, and whatever may go wrong between them."""

import asyncio
import base64
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres import discounts
from adapters.postgres.code_sources import PAUSE, CodeSource, CodeSources
from adapters.postgres.provider_secrets import ProviderSecrets
from adapters.postgres.tables import discount_codes
from adapters.postgres.tenancy import as_store
from adapters.shops.codes import ShopCodes
from adapters.shops.signature import new_secret, signed
from domain.discounts import CodeOrder, checked_url
from domain.errors import InvalidInput, JourneysError
from tests.adapters.postgres.conftest import Telling
from tests.conftest import Shop, SteppedClock
from worker.supply import Supply

SECRET = new_secret()


class CodeShop(ThreadingHTTPServer):
    """A shop that makes as many codes as it is asked for, once for each order, and believes signatures alone.

    Attributes:
        orders: What it made for each order.
        requests: The id of each request that it believed.
        fault: What it answers instead.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Desk)
        self.orders: dict[str, list[str]] = {}
        self.requests: list[str] = []
        self.fault: tuple[int, bytes] | None = None
        self.made = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/codes"

    def answer(self, headers: Any, body: bytes) -> tuple[int, bytes]:
        request, at = headers["webhook-id"], headers["webhook-timestamp"]
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        proof = base64.b64encode(hmac.digest(key, f"{request}.{at}.".encode() + body, "sha256")).decode()
        if f"v1,{proof}" not in headers["webhook-signature"].split():
            return 401, b""
        self.requests.append(request)
        if self.fault is not None:
            return self.fault
        if request not in self.orders:
            count = json.loads(body)["count"]
            self.orders[request] = [f"SHOP-{self.made + number}" for number in range(count)]
            self.made += count
        return 200, json.dumps({"codes": self.orders[request]}).encode()


class _Desk(BaseHTTPRequestHandler):
    server: CodeShop

    def do_POST(self) -> None:
        status, body = self.server.answer(self.headers, self.rfile.read(int(self.headers["content-length"])))
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", self.server.url)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class House:
    """A store whose pool `spring` is filled by the shop when fewer than 3 codes are free, 5 at a time."""

    def __init__(self, engine: AsyncEngine, clock: SteppedClock, shop: CodeShop) -> None:
        self.mugs, self.clock, self.shop = Telling(engine), clock, shop
        self.sources = CodeSources(engine)
        self.issuer = ShopCodes(ProviderSecrets(engine, ()), clock)
        self.supply = Supply(self.sources, self.issuer, clock)

    async def top_up(self) -> list[int | str]:
        """Let a worker look after the store; return what its orders brought, or what went wrong."""
        brought: list[int | str] = []

        def told(_: CodeOrder, what: int | JourneysError) -> None:
            brought.append(str(what) if isinstance(what, JourneysError) else what)

        await self.supply.top_up("mugs", told=told)
        return brought

    async def free(self) -> list[str]:
        return sorted(row.code for row in await self.mugs.rows(discount_codes) if row.message_id is None)

    async def problem(self) -> str | None:
        (source,) = await self.sources.of("mugs")
        return source.problem


@pytest.fixture
def shop() -> Iterator[CodeShop]:
    """A shop on this machine."""
    with CodeShop() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
async def house(engine: AsyncEngine, store: Shop, clock: SteppedClock, shop: CodeShop) -> House:
    """The store and its source."""
    house = House(engine, clock, shop)
    await ProviderSecrets(engine, ()).add("mugs", "shop", SECRET, clock, by="test")
    await house.sources.put("mugs", CodeSource(pool="spring", url=shop.url, low=3, batch=5), clock(), by="test")
    return house


def test_a_request_is_signed_as_the_specification_says() -> None:
    """The example that the specification's own libraries are tested with; a second secret adds a second signature."""
    secret, at = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", datetime.fromtimestamp(1614265330, UTC)
    body = b'{"test": 2432232314}'
    headers = signed([secret, SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body)

    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"].split()[0] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert len(headers["webhook-signature"].split()) == 2


async def test_a_pool_is_filled_before_it_is_empty(house: House) -> None:
    """Five codes come when none is there; no more are ordered until fewer than three are left, and not at once."""
    assert await house.top_up() == [5]
    house.clock.advance(PAUSE)
    assert await house.top_up() == []

    await house.mugs.write(discount_codes.delete().where(discount_codes.c.code.in_(["SHOP-0", "SHOP-1", "SHOP-2"])))
    assert await house.top_up() == [5]
    assert await house.free() == [f"SHOP-{number}" for number in range(3, 10)]
    assert len(house.shop.orders) == 2


async def test_an_order_whose_answer_was_lost_is_the_same_order_again(house: House) -> None:
    """The worker died between the shop's answer and the record: the next one asks the same and gets the same codes."""
    (order,) = await house.sources.orders("mugs", house.clock())
    lost = await house.issuer.issue(order)
    assert await house.free() == []
    assert await house.top_up() == []  # the first may still be at it

    house.clock.advance(PAUSE)
    assert await house.top_up() == [5]
    assert house.shop.requests == [str(order.order_id)] * 2
    assert await house.free() == sorted(lost)


async def test_workers_that_order_at_once_make_one_order(house: House) -> None:
    """And whoever hears the same answer twice adds nothing."""
    brought = await asyncio.gather(*(house.top_up() for _ in range(4)))
    assert sorted(brought) == [[], [], [], [5]]

    house.clock.advance(PAUSE)
    await house.mugs.write(discount_codes.delete())
    (order,) = await house.sources.orders("mugs", house.clock())
    codes = await house.issuer.issue(order)
    added = await asyncio.gather(*(house.sources.filled(order, codes, house.clock()) for _ in range(3)))
    assert sorted(added) == [0, 0, 5]
    assert await house.problem() is None


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ((503, b""), "the shop answered 503"),
        ((307, b""), "the shop answered 307"),
        ((200, b"not json"), "the shop's answer must hold a list of texts"),
        ((200, b'{"codes": ["A", "B", "C", "D", "E", "F"]}'), "the shop sent 6 codes for an order of 5"),
        ((200, b'{"codes": ["two words"]}'), "a code has at most 40 printable characters, and no spaces"),
        ((200, b'{"codes": []}'), "the shop sent no code that is new"),
        ((200, b" " * 1_000_001), "the shop's answer is larger than a megabyte"),
    ],
)
async def test_what_a_shop_cannot_give_is_asked_for_again(house: House, fault: tuple[int, bytes], problem: str) -> None:
    """Nothing of a wrong answer is kept; the operator sees what is wrong; after the pause it is tried again."""
    house.shop.fault = fault
    await house.top_up()
    assert problem in str(await house.problem())
    assert await house.free() == []

    house.shop.fault = None
    house.clock.advance(PAUSE)
    assert await house.top_up() == [5]
    assert await house.problem() is None


async def test_a_code_that_somebody_has_is_never_added_again(house: House) -> None:
    """A shop that forgets what it has made cannot give one code to two people."""
    async with as_store(house.mugs.engine, "mugs") as connection:
        await discounts.add(connection, "mugs", "old", ["SHOP-1", "SHOP-2"], house.clock())
    assert await house.top_up() == [3]
    assert await house.free() == [f"SHOP-{number}" for number in range(5)]


async def test_a_shop_that_is_away_or_does_not_know_us_is_named(house: House) -> None:
    """Another secret is another store; a shop that is down is tried again."""
    secrets = ProviderSecrets(house.mugs.engine, ())
    await secrets.forget("mugs", "shop", house.clock, by="test")
    assert await house.top_up() == ["mugs has no secret to sign orders with"]
    await secrets.add("mugs", "shop", new_secret(), house.clock, by="test")
    house.clock.advance(PAUSE)
    assert await house.top_up() == ["the shop answered 401"]

    nobody = CodeSource(pool="spring", url="http://127.0.0.1:9/codes", low=3, batch=5)
    await house.sources.put("mugs", nobody, house.clock(), by="test")
    house.clock.advance(timedelta(hours=1))
    assert await house.top_up() == ["the shop cannot be reached: ConnectError"]


async def test_a_worker_looks_after_every_store_that_has_a_source(house: House) -> None:
    """By itself, until its process ends."""
    assert await house.sources.stores(house.clock()) == ["mugs"]
    working = asyncio.create_task(house.supply.run())
    async with asyncio.timeout(60):
        while not await house.free():
            await asyncio.sleep(0.01)
    working.cancel()

    assert await house.sources.stores(house.clock()) == []
    assert await house.sources.forget("mugs", "spring", house.clock(), by="test")
    assert await house.sources.stores(house.clock() + PAUSE) == []


@pytest.mark.parametrize(
    "url",
    ["http://shop.example/codes", "https://user:word@shop.example/", "ftp://shop.example", "http://localhost.example/"],
)
def test_codes_do_not_travel_in_the_clear(url: str) -> None:
    """Who reads them can use them; only this machine talks to itself without TLS."""
    with pytest.raises(InvalidInput, match="https"):
        checked_url(url)
    for fine in ("https://shop.example/codes?for=mail", "http://127.0.0.1:8080/codes"):
        assert checked_url(fine) == fine
