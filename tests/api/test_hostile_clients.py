"""Clients that mean harm, against the process that `journeys api` is: little memory, a clear error, others are served.

docs/bad-input.md says what is bounded by what.
"""

import gzip
import json
import os
import resource
import selectors
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from adapters.postgres import stores
from adapters.postgres.engine import create_engine
from adapters.postgres.keys import KeyStore
from adapters.settings import Settings
from api.app import system_clock
from cli.stack.ports import reserve
from domain.access import ADMIN_KEY, WRITE_KEY
from domain.message import StoreCard
from testing.fixtures import copied
from tests.api.impatient import BODY_TIME, HEAD_TIME

MB = 1 << 20
WAIT = 60.0
"""Seconds until a test gives up; nothing here takes as long on a machine of its own."""
IDLE = 10_000


@dataclass(frozen=True)
class Answer:
    """What the API answered."""

    status: int
    body: Any

    @property
    def problem(self) -> str:
        """The first error: its field and its rule."""
        first = self.body["errors"][0]
        return f"{first['field']}: {first['message']}"


@dataclass(frozen=True)
class Api:
    """The process under attack."""

    port: int
    process: psutil.Process
    database: str
    key: str
    admin_key: str

    def connected(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)

    def told(self, *parts: bytes) -> Answer:
        """Send bytes as they are, and read the answer; it may come before all is sent."""
        with self.connected() as connection:
            for part in parts:
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(part)
            return read(connection)

    def post(self, body: bytes | Iterable[bytes], *fields: bytes, path: bytes = b"/v1/track") -> Answer:
        """Send a request with the key; a body in pieces is sent in chunks."""
        head = [b"POST " + path + b" HTTP/1.1", b"Host: a", b"Authorization: " + self.credentials, *fields]
        if isinstance(body, bytes):
            return self.told(b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body]))
        chunks = (b"%x\r\n%b\r\n" % (len(piece), piece) for piece in body)
        return self.told(b"\r\n".join([*head, b"Transfer-Encoding: chunked", b"", b""]), *chunks, b"0\r\n\r\n")

    @property
    def credentials(self) -> bytes:
        """What opens the store."""
        return b"Basic " + b64encode(f"{self.key}:".encode())

    def serves(self) -> bool:
        """Tell whether a good request is answered."""
        return self.post(b'{"event": "Product Viewed", "userId": "ada"}').status == 200

    def stored(self) -> int:
        """Count the events."""
        with psycopg.connect(self.database) as connection:
            row = connection.execute("select count(*) from events").fetchone()
            return int(row[0]) if row else 0

    def grown(self) -> "Growth":
        """Watch how much memory it takes."""
        return Growth(self.process)


class Growth(threading.Thread):
    """How much larger the process has become at most, looked at all the time until somebody asks."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._before = self._peak = process.memory_info().rss
        self._asked = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._asked.wait(0.005):
            self._peak = max(self._peak, self._process.memory_info().rss)

    @property
    def megabytes(self) -> float:
        """So much more than at the beginning."""
        self._asked.set()
        self.join()
        return float(max(self._peak, self._process.memory_info().rss) - self._before) / MB


def read(connection: socket.socket) -> Answer:
    """Read one answer."""
    said = b""
    while b"\r\n\r\n" not in said:
        if not (part := connection.recv(1 << 16)):
            raise ConnectionError("closed without an answer")
        said += part
    head, _, body = said.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = int(next(line for line in lines if line.startswith("content-length:")).partition(":")[2])
    while len(body) < length:
        body += connection.recv(1 << 16)
    return Answer(int(lines[0].split(" ")[1]), json.loads(body))


@pytest.fixture(scope="module")
async def shop(database_url: str, template: str) -> AsyncIterator[tuple[str, str, str]]:
    """A database of this module's own with one store: its URL, a write key and an admin key."""
    with copied(database_url, template) as database:
        engine = create_engine(Settings(database_url=database).sqlalchemy_url)
        card = {"name": "Mugs", "url": "https://m.test", "currency": "EUR", "sender_email": "a@m.test"}
        await stores.create(engine, StoreCard(store_id="mugs", sender_name="M", **card), system_clock(), by="test")
        keys = KeyStore(engine, system_clock)
        write, admin = [await keys.create("mugs", grant, by="test") for grant in (WRITE_KEY, ADMIN_KEY)]
        await engine.dispose()
        yield database, write.secret, admin.secret


@pytest.fixture(scope="module")
def api(shop: tuple[str, str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The process that all these clients attack, one after the other."""
    port, log = reserve(0, "--api-port"), tmp_path_factory.mktemp("api") / "log"
    env = {**os.environ, "DATABASE_URL": shop[0], "JOURNEYS_SECRET_KEYS": "a-secret-for-tests-only"}
    env |= {"JOURNEYS_API_PORT": str(port)}
    argv = [sys.executable, "-m", "tests.api.impatient"]
    with log.open("wb") as lines:
        process = subprocess.Popen(argv, cwd=Path(__file__).parents[2], env=env, stdout=lines, stderr=lines)
        try:
            running = Api(port, psutil.Process(process.pid), *shop)
            deadline = time.monotonic() + WAIT
            while not _is_up(running):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield running
        finally:
            process.terminate()
            process.wait(30)


def _is_up(api: Api) -> bool:
    try:
        return api.serves()
    except ConnectionError:
        return False


def test_a_zip_bomb_is_refused_in_constant_memory(api: Api) -> None:
    """400 KB that would be 400 MB: what is unpacked is thrown away with the first byte beyond the limit."""
    bomb = gzip.compress(b" " * (4 * MB)) * 90
    assert len(bomb) < 500 << 10
    growth = api.grown()

    for path in (b"/v1/batch", b"/v1/batch", b"/v1/import", b"/v1/track"):
        answer = api.post(bomb, b"Content-Encoding: gzip", path=path)
        assert (answer.status, answer.body["code"]) == (413, "too_large")
        assert answer.problem in ("body: must not be larger than 500 KB", "body: must not be larger than 32 KB")
    assert growth.megabytes < 32
    assert api.serves()


def test_ten_megabytes_are_refused_before_they_are_kept(api: Api) -> None:
    """With their length said and in chunks of unknown number, by every kind of endpoint; a claim alone is enough."""
    growth = api.grown()

    for path in (b"/v1/track", b"/v1/batch", b"/track/view", b"/webhooks/ses/mugs"):
        for body in (b"x" * (10 * MB), (b"x" * MB for _ in range(10))):
            answer = api.post(body, path=path)
            assert (path, answer.status, answer.body["errors"][0]["field"]) == (path, 413, "body")
    claim = api.told(b"POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
    assert claim.status == 413
    assert growth.megabytes < 32
    assert api.serves()


def test_a_head_without_an_end_is_refused_in_constant_memory(api: Api) -> None:
    """One address, one field or many fields of megabytes."""
    growth = api.grown()
    begun = b"GET /api/health HTTP/1.1\r\nHost: a\r\n"

    for parts in (
        [b"GET /", *[b"x" * MB] * 20],
        [begun, b"X-Long: ", *[b"x" * MB] * 20],
        [begun, *[b"X-Field: x\r\n" * 50_000] * 20],
        [begun, *[b"x" * MB] * 20],
    ):
        answer = api.told(*parts)
        assert answer.status == 400
        assert answer.problem == "request: the request line and the header fields must not be larger than 32 KB"
    assert growth.megabytes < 32
    assert api.serves()


def test_a_body_that_drips_is_given_up_while_others_are_served(api: Api) -> None:
    """503, since tracking clients drop what is refused by a 4xx."""
    head = (
        b"POST /v1/track HTTP/1.1\r\nHost: a\r\nAuthorization: " + api.credentials + b"\r\nContent-Length: 1000\r\n\r\n"
    )
    with ExitStack() as stack:
        slow = [stack.enter_context(api.connected()) for _ in range(50)]
        for connection in slow:
            connection.sendall(head + b'{"event": ')
        begun = time.monotonic()
        served = 0
        while time.monotonic() - begun < BODY_TIME / 2:
            served += api.serves()
            for connection in slow:
                connection.sendall(b" ")
        answers = [read(connection) for connection in slow]

    assert served > 0
    assert {answer.status for answer in answers} == {503}
    assert {answer.problem for answer in answers} == {"request: the body did not arrive in time; send it again"}


def test_ten_thousand_silent_connections_cost_little_and_stop_nobody(api: Api) -> None:
    """They are closed in the end, since no head comes; until then others are served at once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = IDLE if hard == resource.RLIM_INFINITY else min(IDLE, hard - 500)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    growth = api.grown()
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        waiting = selectors.DefaultSelector()
        for number in range(count):
            connection = stack.enter_context(api.connected())
            if number % 2:
                connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: ")
            waiting.register(connection, selectors.EVENT_READ)
        assert api.serves()
        assert growth.megabytes < 300

        deadline = time.monotonic() + HEAD_TIME + WAIT
        while waiting.get_map() and time.monotonic() < deadline:
            for ready, _ in waiting.select(1.0):
                waiting.unregister(ready.fileobj)
        assert not waiting.get_map(), f"{len(waiting.get_map())} of {count} are still open"
    assert api.serves()


GET = b"GET /api/health HTTP/1.1\r\n"
POST = b"POST /v1/track HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "field", "rule"),
    [
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "request", "Content-Length"),
        (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "request", "Content-Length"),
        (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "request", "Transfer-Encoding"),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", "request", "Content-Length"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "request", "chunk size"),
        (POST + b"Content-Length: -1\r\n\r\n", "request", "Content-Length"),
        (POST + b"Content-Length: 1e3\r\n\r\n", "request", "Content-Length"),
        (POST + b"Authorization: Basic YQ==\r\nauthorization: Basic Yg==\r\n\r\n", "authorization", "given twice"),
        (POST + b"Content-Type: text/plain\r\nContent-Type: a/b\r\n\r\n", "content-type", "must not be given twice"),
        (POST + b"Content-Encoding: gzip\r\nContent-Encoding: br\r\n\r\n", "content-encoding", "must not be given"),
        (GET + b"Host: a\r\nHost: b\r\n\r\n", "host", "must not be given twice"),
        (GET + b"X: a\0b\r\n\r\n", "request", "header value"),
        (GET + b"X y: a\r\n\r\n", "request", "header token"),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", "request", ""),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", "request", "HTTP version"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "request", "method"),
    ],
)  # fmt: skip
def test_a_head_that_contradicts_itself_is_refused_by_name(
    api: Api, request_bytes: bytes, field: str, rule: str
) -> None:
    """None of two readings is chosen: what is behind us, or in front, might choose the other."""
    before = api.stored()

    answer = api.told(request_bytes)

    assert (answer.status, answer.body["code"], answer.body["errors"][0]["field"]) == (400, "invalid", field)
    assert rule in answer.problem
    assert api.stored() == before


@pytest.mark.parametrize("what", ["%00", "%ED%A0%80", "%FF", "%2F..%2F", "x" * 20_000, "'%22%3B--", "%C4%B0" * 300])
def test_an_address_that_names_nothing_is_no_defect(api: Api, what: str) -> None:
    """Whatever stands where an id does: it is refused or found nowhere."""
    credentials = b64encode(f"{api.admin_key}:".encode()).decode()
    for method, address in (
        ("GET", "/api/v1/customers/{}/journeys"), ("GET", "/api/v1/customers/{}/export"),
        ("DELETE", "/api/v1/customers/{}"), ("GET", "/api/v1/customers/{}/consents"), ("GET", "/api/v1/runs/{}/why"),
        ("POST", "/api/v1/runs/{}/skip-wait"), ("GET", "/track/recommendations/{}"), ("DELETE", "/api/v1/keys/{}"),
        ("GET", "/api/v1/audit?action={0}&subject={0}"), ("POST", "/api/v1/keys/{}/rotate"),
        ("GET", "/api/v1/audit?limit={0}&before={0}"), ("GET", "/sourceConfig?writeKey={}"),
        ("GET", "/v1/projects/{}/settings"), ("POST", "/webhooks/ses/{}"), ("POST", "/webhooks/{}/mugs"),
        ("POST", "/v1/track?writeKey={}"), ("GET", "/unsubscribe?token={}"), ("POST", "/preferences?token={}"),
        ("GET", "/track/email-open?token={}"), ("GET", "/confirm?token={}"), ("GET", "/{}"),
    ):  # fmt: skip
        head = f"{method} {address.format(what)} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {credentials}\r\n\r\n"
        with api.connected() as connection:
            connection.sendall(head.encode())
            status = int(connection.recv(1 << 16).split(b" ")[1])
        assert status < 500, (method, address, status)


NAMES = b'{"event": "Order Completed", "userId": "ada", "properties": '


@pytest.mark.parametrize(
    ("body", "fields", "problem"),
    [
        (NAMES + b'{"name": "a\\u0000b"}}', (), "properties.name: must not contain the NUL character"),
        (NAMES + b'{"a\\u0000": 1}}', (), "a name in properties: must not contain the NUL character"),
        (NAMES + b'{"name": "\\ud800"}}', (), "properties.name: must not contain half of a surrogate pair"),
        (NAMES + b'{"total": 1e999}}', (), "properties.total: must be a finite number of at most 300 digits"),
        (NAMES + b'{"total": NaN}}', (), "properties.total: must be a finite number of at most 300 digits"),
        (NAMES + b'{"total": ' + b"9" * 30_000 + b"}}", (), "properties.total: must be a finite number of at most 300"),
        (NAMES + b"[" * 15_000 + b"]" * 15_000 + b"}", (), "nested"),
        (NAMES + b"[" * 40 + b"]" * 40 + b"}", (), "properties: must be an object|nested deeper than 32 levels"),
        (NAMES + b'{"name": "\xff\xfe"}}', (), "body: is not valid JSON"),
        (NAMES, (), "body: is not valid JSON (line 1, column"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff", (), "body: is not valid gzip"),
        (b"{}", (b"Content-Encoding: br",), "content-encoding: "),
        (b"{}", (b"Content-Encoding: gzip, gzip",), "content-encoding: "),
    ],
)  # fmt: skip
def test_a_body_that_nobody_can_keep_is_refused_by_name(
    api: Api, body: bytes, fields: tuple[bytes, ...], problem: str
) -> None:
    """The field and the rule, and nothing of it is stored."""
    before = api.stored()

    answer = api.post(body, *fields)

    assert answer.status in (400, 415)
    assert any(expected in answer.problem for expected in problem.split("|")), answer.problem
    assert api.stored() == before


def test_one_bad_event_of_a_batch_is_named_and_the_others_are_stored(api: Api) -> None:
    """By its position, with the rule; no batch is half done without saying so."""
    good = {"type": "track", "event": "Product Viewed", "userId": "ada"}
    before = api.stored()

    answer = api.post(json.dumps({"batch": [good, {**good, "event": "\0"}, good]}).encode(), path=b"/v1/batch")

    assert (answer.status, answer.body["errors"][0]["index"], answer.body["errors"][0]["field"]) == (400, 1, "event")
    assert api.stored() == before + 2


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"event": "Product Viewed", "userId": "eve", "userId": "ada"}', ()),
        ('{"event": "Product Viewed", "userId": "ada"}'.encode("utf-16"), ()),
        (b'{"event": "Product Viewed", "userId": "ada"}', (b"Content-Type: application/json; charset=klingon-8",)),
        (b'{"event": "Product Viewed", "userId": "ada"}', (b"Content-Type: \xff",)),
    ],
)
def test_what_clients_get_wrong_without_harm_is_taken(api: Api, body: bytes, fields: tuple[bytes, ...]) -> None:
    """Of a name said twice the last counts, as for every JavaScript client; content types are not looked at."""
    assert api.post(body, *fields).status == 200
    with psycopg.connect(api.database) as connection:
        newest = connection.execute("select user_id from events order by id desc limit 1").fetchone()
    assert newest == ("ada",)
