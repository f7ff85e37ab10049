"""Journeys that nobody should write: each breaks one rule of the lint, in a file of its own kind."""

from datetime import timedelta
from typing import ClassVar

from temporalio import workflow

from domain.facts import (
    CartChanged,
    CartEmptied,
    NewsletterSubscribed,
    OrderPlaced,
    ProductViewed,
    SignedUp,
    StockRequested,
    Topic,
)
from domain.plans import Plan, Step
from domain.plans.plan import step
from domain.runs import Entry, Outcome
from workflows.journey import Journey


class OnePlan(Plan):
    """One message at once, about nothing in particular."""

    gap: timedelta = timedelta(hours=1)
    steps: tuple[Step, ...] = (step("hello", "welcome", 0, Topic.NEWSLETTER),)


class TwoPlan(OnePlan):
    """Two messages."""

    steps: tuple[Step, ...] = (
        step("hello", "welcome", 0, Topic.NEWSLETTER),
        step("again", "welcome-stories", 2, Topic.NEWSLETTER),
    )


class Sound(Journey[OnePlan]):
    """A journey with nothing wrong; the others are made from it."""

    name = "sound"
    plan = OnePlan
    entered_by = (SignedUp,)
    ends: ClassVar = {OrderPlaced: Outcome.CONVERTED}

    @workflow.run
    async def run(self, entry: Entry[OnePlan]) -> Outcome:
        async with self.until_exit(entry):
            async for due in self.steps_due():
                await self.send(due)
        return self.outcome

    @workflow.signal(description="The customer bought.")
    def order_placed(self, order: OrderPlaced) -> None:
        self.end(order)


class EnteredByAView(Sound):
    """J001: a view is applied, and no journey ever hears of it."""

    entered_by = (ProductViewed,)


class DeafToItsExit(Sound):
    """J001: the router would close the row, and the workflow would go on."""

    ends: ClassVar = {OrderPlaced: Outcome.CONVERTED, CartEmptied: Outcome.CART_EMPTIED}


class ListensForNothing(Sound):
    """J001: no fact has this kind."""

    @workflow.signal(description="The moon is full.")
    def moon_rose(self, order: OrderPlaced) -> None:
        self.end(order)


class TopiclessPlan(OnePlan):
    """J002: whom may this be sent to?"""

    steps: tuple[Step, ...] = (Step(name="hello", template="welcome"),)


class Topicless(Sound):
    plan = TopiclessPlan


class SendsTheFirstOnly(Sound):
    """J003: beyond what `run` sends."""

    plan = TwoPlan

    @workflow.run
    async def run(self, entry: Entry[TwoPlan]) -> Outcome:
        async with self.until_exit(entry):
            await self.send(self.entry.plan.steps[0])
        return self.outcome


class LeavesInTheFirstRound(Sound):
    """J003: the loop ends in its first round."""

    plan = TwoPlan

    @workflow.run
    async def run(self, entry: Entry[TwoPlan]) -> Outcome:
        async with self.until_exit(entry):
            async for due in self.steps_due():
                await self.send(due)
                self.leave(Outcome.COMPLETED, because="enough")
        return self.outcome


class SendsAfterItsExit(Sound):
    """J003: behind an exit."""

    plan = TwoPlan

    @workflow.run
    async def run(self, entry: Entry[TwoPlan]) -> Outcome:
        async with self.until_exit(entry):
            hello = self.entry.plan.steps[0]
            await self.send(hello)
            if await self.wait_for(lambda: False, at_most=timedelta(days=1), summary="for nothing"):
                self.leave(Outcome.COMPLETED, because="it came")
            else:
                self.leave(Outcome.EXPIRED, because="it did not come")
            await self.send(self.entry.plan.steps[-1])
        return self.outcome


class SendsAfterWaitingForEver(Sound):
    """J003: behind a loop that never ends."""

    plan = TwoPlan

    @workflow.run
    async def run(self, entry: Entry[TwoPlan]) -> Outcome:
        async with self.until_exit(entry):
            while True:
                await self.send(self.entry.plan.steps[0])
                for _ in range(3):
                    break
            await self.send(self.entry.plan.steps[1])
        return self.outcome


class ForgetsThePurchase(Journey[OnePlan]):
    """J004: reminds of a cart that has been paid."""

    name = "forgets-the-purchase"
    plan = OnePlan
    entered_by = (CartChanged,)

    @workflow.run
    async def run(self, entry: Entry[OnePlan]) -> Outcome:
        async with self.until_exit(entry):
            async for due in self.steps_due():
                await self.send(due)
        return self.outcome


class CartTopicPlan(OnePlan):
    """Reminds of a cart, whatever a customer entered by."""

    steps: tuple[Step, ...] = (step("hello", "welcome", 0, Topic.ABANDONED_CART),)


class ForgetsThePurchaseByItsTopic(ForgetsThePurchase):
    """J004: a journey is about carts if its messages are."""

    plan = CartTopicPlan
    entered_by = (SignedUp,)


class HastyPlan(OnePlan):
    """J005: closed before its second message is due."""

    steps: tuple[Step, ...] = (
        step("hello", "welcome", 0, Topic.NEWSLETTER),
        step("late", "welcome-stories", 30, Topic.NEWSLETTER),
    )

    @property
    def longest(self) -> timedelta:
        return timedelta(days=3)


class Hasty(Sound):
    plan = HastyPlan


class GaplessPlan(OnePlan):
    """J006: waits for nobody."""

    gap: timedelta = timedelta(0)


class Gapless(Sound):
    name = "gapless"
    plan = GaplessPlan
    entered_by = (SignedUp, NewsletterSubscribed)


class GaplessToo(Gapless):
    name = "gapless-too"


class ProductPlan(OnePlan):
    """J007: its template shows a product."""

    steps: tuple[Step, ...] = (step("hello", "back-in-stock", 0, Topic.NEWSLETTER),)


class ShowsNoProduct(Sound):
    """J007: nobody signs up about a product."""

    plan = ProductPlan


class ShowsItsProduct(Sound):
    """Nothing wrong: a request is about a product."""

    plan = ProductPlan
    entered_by = (StockRequested,)


class TemplatelessPlan(OnePlan):
    """J008: names a folder that is not there."""

    steps: tuple[Step, ...] = (step("hello", "no-such-template", 0, Topic.NEWSLETTER),)


class Templateless(Sound):
    plan = TemplatelessPlan
