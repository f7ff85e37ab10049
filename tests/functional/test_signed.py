"""A store with a DKIM key: the running worker signs its mail."""

import dkim

from adapters.postgres import stores
from adapters.postgres.dkim_keys import DkimKeys
from adapters.postgres.keys import KeyStore
from cli.operate import system_now
from cli.stack.keys import DEMO_STORE
from domain.access import WRITE_KEY
from tests.functional.conftest import House, eventually


async def test_the_worker_signs_with_the_key_that_the_store_has_started(house: House, customer: str) -> None:
    """From a request to a mail whose signature another implementation accepts."""
    store, keys = customer, DkimKeys(house.engine, ())
    card = DEMO_STORE.model_copy(update={"store_id": store, "sender_email": "hello@signed.example"})
    shop = KeyStore(house.engine, system_now)
    await stores.create(house.engine, card, system_now(), by="test")
    write_key = (await shop.create(store, WRITE_KEY, by="test")).secret
    made = await keys.make(store, "signed.example", "j1", "ed25519-sha256", system_now(), by="test")
    await keys.start(store, "signed.example", "j1", system_now(), by="test")
    traits = {"email": f"{customer}@example.com", "firstName": "Ada", "marketing_consent": True}
    for path, body in (("identify", {"traits": traits}), ("track", {"event": "Newsletter Subscribed"})):
        body |= {"userId": customer}
        answer = await house.http.post(f"{house.stack.info.api}/v1/{path}", json=body, auth=(write_key, ""))
        assert answer.status_code == 200

    async def arrived() -> list[bytes]:
        inbox = f"{house.stack.info.inbox}/api/messages"
        listing = (await house.http.get(f"{inbox}/", params={"page_size": 1000})).json()["data"]
        mine = [entry["id"] for entry in listing if f"{customer}@example.com" in entry["recipients_envelope"]]
        return [(await house.http.get(f"{inbox}/{number}.eml")).content for number in mine]

    raw = (await eventually(arrived, what="the welcome arrives"))[0]

    def dns(name: bytes, timeout: int = 5) -> bytes | None:
        return made.record.encode() if name == f"{made.name}.".encode() else None

    assert b"\nDKIM-Signature:" in b"\n" + raw
    assert dkim.DKIM(raw).verify(dnsfunc=dns)
