"""A kept history names nobody, says nothing of what was bought, and still replays (G8)."""

import json
from base64 import b64decode
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from adapters.temporal.plugin import journeys_plugin
from domain.errors import OperationRefused
from domain.operations import Leave
from rehearsal.examples import MUG
from rehearsal.scrub import scrubbed
from testing import TimeSkippingShop
from workflows.registry import WORKFLOWS


def texts(value: Any) -> list[str]:
    """Every text of a history's JSON, payloads decoded."""
    if isinstance(value, dict):
        data = [b64decode(value["data"]).decode()] if "metadata" in value and "data" in value else []
        return data + [text for part in value.values() for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [str(value)]


async def ordered(shop: TimeSkippingShop) -> WorkflowHistory:
    """A cart that was bought."""
    await shop.only("cart-recovery")
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(hours=2)
    order = {"order_id": "PO-4711-lovelace", "total": 12.5, "coupon": "ADAS-GIFT", "products": [MUG]}
    await shop.track("Order Completed", **order)
    await shop.settled("cart-recovery")
    return await shop.history("cart-recovery")


async def test_a_scrubbed_history_holds_no_id_of_a_customer_and_nothing_bought(shop: TimeSkippingShop) -> None:
    """Store, customer, run, order, goods, coupon, and the machine that ran it."""
    history = await ordered(shop)
    run = (await shop.runs("cart-recovery"))[-1]
    raw, clean = "\n".join(texts(json.loads(history.to_json()))), "\n".join(texts(json.loads(scrubbed(history))))

    ids = [shop.store_id, str(run.customer_id), str(run.run_id), shop.task_queue]
    secrets = [*ids, "4711", "Blue mug", "ADAS-GIFT", "CART10"]
    assert [secret for secret in secrets if secret not in raw] == []
    assert [secret for secret in secrets if secret in clean] == []
    assert "before reminder-2" in clean


async def test_what_an_operator_wrote_is_scrubbed_and_the_history_replays(shop: TimeSkippingShop) -> None:
    """Free text may hold anything."""
    await shop.only("cart-recovery")
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(hours=2)
    await shop.at_rest()
    handle = await shop.handle("cart-recovery")
    await handle.execute_update("leave", Leave(by="marketing-eve", because="Ada Lovelace asked on the phone"))
    await shop.settled("cart-recovery")
    history = await shop.history("cart-recovery")
    clean = scrubbed(history)

    assert "Lovelace" in "\n".join(texts(json.loads(history.to_json())))
    assert [text for text in texts(json.loads(clean)) if "Lovelace" in text or "marketing-eve" in text] == []
    replayer = Replayer(workflows=WORKFLOWS, plugins=[journeys_plugin()])
    await replayer.replay_workflow(WorkflowHistory.from_json("cart-recovery", clean))


async def test_a_history_that_cannot_be_read_is_refused(shop: TimeSkippingShop) -> None:
    """An encrypted payload could hold anything."""
    history = await ordered(shop)
    history.events[0].workflow_execution_started_event_attributes.input.payloads[0].metadata["encoding"] = b"binary/aes"

    with pytest.raises(OperationRefused, match="binary/aes"):
        scrubbed(history)
