"""Deliver: the one activity of a journey's step. Claim, render, hand over, record; each crash is settled by rule.

The claim decides under the customer's lock whether the message may go out, and makes it ours. `sending` is
committed before the provider is called: whoever finds a message in that state after a crash cannot know
whether it went out. By the store's rule it is recorded as `unknown` and not sent again, or sent again once (G3).
"""

import asyncio

from temporalio import activity

from activities.failures import as_application_errors
from activities.heartbeats import heartbeats
from activities.places import Places
from domain.delivery import Delivery, Result, Rule, Slot
from domain.errors import ChannelUnavailable, DeliveryUnknown, RecipientRejected, TemplateBroken
from domain.message import Material
from domain.ports import Channel, Clock, Ledger, Renderer

_LOCAL = 50
"""So many attempts may be part of their runs' own tasks at a time; `worker.main` has tasks for more runs than these."""


class Deliver:
    """Send a step's message, or say why not."""

    def __init__(self, ledger: Ledger, renderer: Renderer, channel: Channel, clock: Clock) -> None:
        self._ledger = ledger
        self._renderer = renderer
        self._channel = channel
        self._clock = clock
        self._places = Places(_LOCAL)

    @activity.defn(name="deliver")
    async def deliver(self, slot: Slot) -> Delivery:
        """Settle a slot.

        Raises:
            ApplicationError: Retryable: events of the customer are not applied yet, or the provider is down, or too
                many attempts are local.
        """
        with as_application_errors(), heartbeats():
            async with self._places.taken():
                return await self._settle(slot)

    @activity.defn(name="abandon-delivery")
    async def abandon(self, slot: Slot, left: bool = False) -> Delivery:
        """Settle a slot that is not asked for again, so that its run and its row do not stay open."""
        with as_application_errors():
            now = self._clock()
            return (await self._ledger.abandon(slot, now, left=left)).model_copy(update={"at": now})

    async def _settle(self, slot: Slot) -> Delivery:
        decided_at = self._clock()
        claim = await self._ledger.claim(slot, decided_at)
        delivery = claim.delivery
        while (material := claim.material) is not None:
            try:
                delivery = await self._hand_over(slot, material, claim.delivery)
            except DeliveryUnknown:
                # As after a crash: the next claim settles what nobody can know, by the store's rule.
                claim = await self._ledger.claim(slot, self._clock())
                delivery = claim.delivery
            else:
                await self._ledger.record(slot, material.message_id, delivery, self._clock())
                break
        return delivery.model_copy(update={"at": delivery.at or decided_at})

    async def _hand_over(self, slot: Slot, material: Material, claimed: Delivery) -> Delivery:
        try:
            rendered = self._renderer.render(material)
        except TemplateBroken as broken:
            return Delivery(result=Result.FAILED, rule=Rule.TEMPLATE, because=str(broken))
        await self._ledger.sending(slot, material.message_id, rendered.urls, self._clock())
        try:
            await self._channel.send(self._renderer.letter(material, rendered))
        except asyncio.CancelledError:
            # The run has ended meanwhile and asks no more: what nobody can know is settled here and now.
            because = "interrupted while the provider had the message"
            unknown = Delivery(result=Result.UNKNOWN, rule=Rule.PROVIDER, because=because)
            await asyncio.shield(self._ledger.record(slot, material.message_id, unknown, self._clock()))
            raise
        except ChannelUnavailable:
            await self._ledger.not_sent(slot, material.message_id)
            raise
        except RecipientRejected as rejection:
            because = f"the provider refused the recipient: {rejection.code}"
            return Delivery(result=Result.BOUNCED, rule=Rule.PROVIDER, because=because, bounce=rejection.kind)
        return claimed
