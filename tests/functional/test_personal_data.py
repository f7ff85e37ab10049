"""No personal data in the open (G8): everything but mails and tables is searched for the customers of the demo."""

import asyncio
import copy
import email.policy
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any
from uuid import uuid4

import httpx
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowExecution

from adapters.postgres import plans, stores
from adapters.postgres.keys import KeyStore
from cli.demo import report
from cli.demo.compression import scaled
from cli.demo.replay import Replay
from cli.demo.shop import TimedEvent, generated
from domain.access import WRITE_KEY
from domain.message import StoreCard
from domain.plans import PLANS, BackInStockPlan
from tests.functional.conftest import House, eventually

SHOPPERS = 8
"""Of the demo's 205 customers those to whom the most different things happen; together they are in every journey."""
DAY = timedelta(seconds=0.05)
WAIT = timedelta(seconds=0.4)
SHOP = StoreCard(
    store_id=f"open-{uuid4().hex[:8]}", name="Open Shop", url="https://open.example", currency="GBP",
    sender_email="hello@open.example", sender_name="Open Shop",
)  # fmt: skip

_TO_WHOM = {"To", "Subject", "X-RcptTo"}
"""What of a mail's head is the customer's own; the last is written by the inbox."""


class Neighbourhood:
    """The demo's events of a few customers, who have everything that names a person, each in words of their own."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        life = generated()
        kinds: dict[str, set[str]] = defaultdict(set)
        for event in life:
            kinds[event.body.get("userId", "")].add(event.body.get("event", event.body["type"]))
        busiest = sorted(kinds.keys() - {""}, key=lambda who: (-len(kinds[who]), who))[:SHOPPERS]
        self.events = [self._named(event) for event in life if _customer(event.body) in {None, *busiest}]

    def _named(self, event: TimedEvent) -> TimedEvent:
        if (customer := _customer(event.body)) is None or event.body["type"] != "identify":
            return event
        told = {
            "firstName": f"Firstname{customer}", "lastName": f"O'Lastname-{customer}", "phone": f"+4420{customer}77",
            "birthday": "1815-12-10", "company": {"name": f"Company{customer}"},
        }  # fmt: skip
        body: dict[str, Any] = copy.deepcopy(event.body)
        body["traits"] |= told
        body["traits"]["address"] |= {"street": f"Lane{customer} 7", "city": f"City{customer}"}
        self.names |= {f"shopper-{customer}", f"Company{customer}", f"Lane{customer}", f"City{customer}"}
        self.names |= {str(told[field]) for field in ("firstName", "lastName", "phone")}
        return TimedEvent(event.at_day, body)

    def named_in(self, text: str) -> set[str]:
        """The names and addresses in a text."""
        return {name for name in self.names if name.casefold() in text.casefold()}


async def test_nobody_is_named_outside_of_mails_and_tables(house: House, metrics_ports: range) -> None:
    """Logs, metrics, workflow ids, search attributes, memos, summaries, details, histories, links, mail headers."""
    people = Neighbourhood()
    write_key = await opened(house)
    async with httpx.AsyncClient(base_url=house.stack.info.api, timeout=20) as client:
        await Replay(client, write_key, lambda: datetime.now(UTC)).play(people.events, DAY)
        await misfortunes(client, write_key)
    through = await eventually(lambda: report.read(house.engine, SHOP.store_id), lambda r: r.through, "all is through")
    assert through.sent > SHOPPERS

    searched: Counter[str] = Counter()
    leaks = set()
    async for place, text in in_the_open(house, metrics_ports):
        searched[place.partition(" ")[0]] += 1
        leaks |= {(place, name) for name in people.named_in(text)}

    assert leaks == set()
    # The demo's customers are not asked twice for their consent.
    assert PLANS.keys() - {"double-opt-in"} <= searched.keys(), searched
    assert {"api.log", "worker.log", "router.log", "temporal.log", "mail"} <= searched.keys(), searched
    assert searched["metrics"] == len(metrics_ports)


async def opened(house: House) -> str:
    """Open the shop, with the journeys of the demo, quick ones; return its write key."""
    now = datetime.now(UTC)
    await stores.create(house.engine, SHOP, now, by="test")
    for journey, plan in PLANS.items():
        quick = scaled(plan.model_validate({}), DAY / timedelta(days=1), WAIT)
        if isinstance(quick, BackInStockPlan):  # a busy machine may be late with a restock
            quick = quick.model_copy(update={"patience": timedelta(days=1)})
        await plans.put(house.engine, SHOP.store_id, journey, quick, now)
    keys = KeyStore(house.engine, lambda: now)
    return (await keys.create(SHOP.store_id, WRITE_KEY, by="test")).secret


async def misfortunes(client: httpx.AsyncClient, write_key: str) -> None:
    """Requests that are refused or fail, each with somebody's address where it does not belong."""
    address = "shopper-15658@example.com"
    auth = (write_key, "")
    refused = [
        await client.post("/v1/track", content=b'{"userId": "' + address.encode(), auth=auth),
        await client.post("/v1/track", json={"event": address}, auth=auth),
        await client.post("/v1/identify", json={"traits": {"email": address}}, auth=(address, "")),
        await client.get("/track/email-click", params={"token": address}),
        await client.get(f"/unsubscribe/{address}", params={"email": address}),
        await client.get(f"/api/v1/customers/{address}/journeys", headers={"Authorization": f"Bearer {address}"}),
    ]
    assert all(400 <= answer.status_code < 500 for answer in refused), refused
    nonsense = {"userId": "15658", "traits": {"email": f"{address} or so", "firstName": ["Firstname15658"]}}
    assert (await client.post("/v1/identify", json=nonsense, auth=auth)).status_code == 200


async def in_the_open(house: House, metrics_ports: range) -> AsyncIterator[tuple[str, str]]:
    """Everything that people see who may not see customers, with the place where it was found.

    What is told in a new place joins here.
    """
    for port in metrics_ports:
        yield "metrics", (await house.http.get(f"http://127.0.0.1:{port}/metrics")).raise_for_status().text
    for file in house.stack.data_dir.glob("*.log"):
        if file.name != "inbox.log":  # it stands for the mail server
            yield file.name, file.read_text(errors="replace")
    found = [run async for run in house.temporal.list_workflows(f'WorkflowId STARTS_WITH "{SHOP.store_id}/"')]
    for several in await asyncio.gather(*(of_a_run(house, run) for run in found)):
        for text in several:
            yield several[0].split("/")[1], text
    async for mail in mails(house):
        for name, value in mail.items():
            if name not in _TO_WHOM:
                yield f"mail {name}", f"{name}: {value}"
        for url in links(mail):
            yield "mail link", url


async def of_a_run(house: House, run: WorkflowExecution) -> list[str]:
    """Its id, what a list shows of it, its description, its current details and its history, without a codec."""
    handle = house.temporal.get_workflow_handle(run.id, run_id=run.run_id)
    described, history = await asyncio.gather(handle.describe(), handle.fetch_history())
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    messages: Iterable[Any] = (run.raw_info, described.raw_description, *history.events)
    raw = (message.SerializeToString().decode(errors="replace") for message in messages)
    return [run.id, metadata.current_details, *raw]


async def mails(house: House) -> AsyncIterator[EmailMessage]:
    """The shop's mails in the inbox."""
    inbox = f"{house.stack.info.inbox}/api/messages/"
    listing = (await house.http.get(inbox, params={"page_size": 1000})).json()["data"]
    for entry in listing:
        if SHOP.sender_email in entry["sender_message"]:
            source = (await house.http.get(f"{inbox}{entry['id']}.eml")).content
            yield BytesParser(EmailMessage, policy=email.policy.default).parsebytes(source)


def links(mail: EmailMessage) -> list[str]:
    """Every URL in its parts: they end up in the logs of proxies and shops."""
    texts = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
    return [url for text in texts for url in re.findall(r"https?://[^\s\"'<>]+", text)]


def _customer(body: dict[str, Any]) -> str | None:
    """Whose event it is; None: about a product."""
    return body.get("userId") or body.get("anonymousId", "").removeprefix("browser-") or None
