"""Identities that turn out to be one person: the cart and the running journeys follow, one run per journey remains."""

from sqlalchemy import select

from adapters.postgres.tables import customers, events
from testing import TimeSkippingShop
from testing.inspection import as_owner

MUG = {"product_id": "mug", "name": "Blue mug", "price": 12.5, "quantity": 1, "currency": "EUR"}


async def test_an_anonymous_cart_is_recovered_once_the_browser_is_known(shop: TimeSkippingShop) -> None:
    """The run began without an address; by the time of the reminder there is one."""
    await shop.browse("Product Added", "browser-1", **MUG)
    await shop.skip(minutes=30)
    await shop.identify("ada", "browser-1", email="ada@example.com", marketing_consent=True)
    await shop.skip(minutes=31)

    assert await shop.until_said(1) == [("reminder-1", "sent")]
    assert "Blue mug" in shop.outbox.letters[0].text


async def test_of_two_runs_of_one_journey_the_older_remains_with_its_timer(shop: TimeSkippingShop) -> None:
    """One person gets one reminder, at the time that the older run waits for, about everything in both carts."""
    await shop.subscriber()
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=10)
    await shop.browse("Product Added", "browser-1", **MUG | {"product_id": "cup", "name": "Tea cup"})
    await shop.identify("ada", "browser-1")

    outcomes = sorted(row.outcome for row in await shop.runs("cart-recovery"))
    assert outcomes == ["merged", "running"]

    await shop.skip(minutes=70)
    assert await shop.until_said(1) == [("reminder-1", "sent")]
    assert all(name in shop.outbox.letters[0].text for name in ("Blue mug", "Tea cup"))


async def test_a_joined_run_is_found_under_the_id_that_remains(shop: TimeSkippingShop) -> None:
    """The row follows at once; the search attribute follows by signal."""
    await shop.subscriber()
    await shop.browse("Product Added", "browser-1", **MUG)
    await shop.identify("ada", "browser-1")
    (row,) = await shop.runs("cart-recovery")
    async with as_owner(shop.engine) as connection:
        owner = await connection.scalar(select(customers.c.customer_id).where(customers.c.email == "ada@example.com"))

    assert row.customer_id == owner
    assert str(owner) not in row.workflow_id

    await shop.skip(minutes=61)
    await shop.until_said(1)
    attributes = (await (await shop.handle("cart-recovery")).describe()).typed_search_attributes
    assert str(owner) in {pair.value for pair in attributes}


async def test_an_order_of_the_known_customer_ends_the_run_of_the_browser(shop: TimeSkippingShop) -> None:
    """Whoever bought on the phone is not reminded of the laptop's cart."""
    await shop.browse("Product Added", "browser-1", **MUG)
    await shop.skip(minutes=5)
    await shop.subscriber()
    await shop.track("Order Completed", order_id="o-1", total=12.5)
    await shop.identify("ada", "browser-1")
    await shop.skip(hours=3)

    assert "reminder-1" not in [step for step, _ in await shop.said()]


async def test_alias_joins_two_ids_outright(shop: TimeSkippingShop) -> None:
    """`alias` says that the previous id is the same person."""
    await shop.subscriber("ada")
    await shop.browse("Product Added", "browser-1", **MUG)
    await shop.alias("browser-1", "ada")
    await shop.skip(minutes=61)

    assert await shop.until_said(1) == [("reminder-1", "sent")]


async def test_two_accounts_on_one_browser_stay_two_people(shop: TimeSkippingShop) -> None:
    """A shared computer must not merge a family."""
    await shop.identify("ada", "family-pc", email="ada@example.com")
    await shop.identify("bob", "family-pc", email="bob@example.com")
    async with as_owner(shop.engine) as connection:
        known = (await connection.execute(select(customers.c.email, customers.c.merged_into))).all()

    assert sorted(tuple(row) for row in known) == [("ada@example.com", None), ("bob@example.com", None)]


async def test_a_newsletter_address_becomes_part_of_the_account_made_later(shop: TimeSkippingShop) -> None:
    """Consent given by address alone is the account's consent."""
    await shop.subscribe_by_address("ada@example.com")
    await shop.identify("ada", email="ada@example.com")
    await shop.track("Product Added", **MUG)
    await shop.skip(minutes=61)

    assert ("reminder-1", "sent") in await shop.until_said(2)


async def test_every_event_of_a_joined_customer_was_routed(shop: TimeSkippingShop) -> None:
    """Joining leaves nothing behind in the queue."""
    await shop.browse("Product Added", "browser-1", **MUG)
    await shop.identify("ada", "browser-1", email="ada@example.com")
    async with as_owner(shop.engine) as connection:
        states = set((await connection.execute(select(events.c.state))).scalars())

    assert states == {"routed"}
