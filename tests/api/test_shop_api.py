"""The endpoints of requirements 1 and 4 say the same as tracking calls, through the same door."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import insert
from uuid_utils.compat import uuid7

from adapters.postgres import tables
from testing.inspection import as_owner

VIEW = {
    "product_id": "prod_001",
    "product_name": "Christian Voter Guide",
    "product_price": 1999,
    "product_category": "Books",
    "referrer": "https://google.com",
    "device_type": "desktop",
}


async def test_a_view_is_a_product_viewed_event_with_decimal_prices(client, stored):
    """The example of the requirements works as it stands, and names the session that was made for it."""
    answer = await client.post("/track/view", json=VIEW)

    assert answer.status_code == 200
    (event,) = await stored()
    body = answer.json()
    assert (body["success"], body["view_id"]) == (True, str(event.id))
    assert (event.type, event.name, event.anonymous_id) == ("track", "Product Viewed", body["session_id"])
    properties = {"product_id": "prod_001", "name": "Christian Voter Guide", "price": 19.99, "category": "Books"}
    assert event.payload["properties"] == {
        **properties, "currency": "EUR", "referrer": "https://google.com", "device_type": "desktop",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "name", "properties"),
    [
        ("/track/duration", {"duration": 45}, "Product View Timed", {"duration": 45}),
        ("/track/cart-add", {"quantity": 2, "product_price": 500}, "Product Added", {"quantity": 2, "price": 5.0}),
        (
            "/track/watchlist/add",
            {"target_price": 1500, "notify_on_price_drop": True, "notify_on_restock": False},
            "Product Added to Wishlist",
            {"target_price": 15.0, "notify_on_price_drop": True, "notify_on_restock": False},
        ),
    ],
)
async def test_each_endpoint_is_one_event(client, stored, clock, path, body, name, properties):
    """Who, when and the dedup key move to the envelope; the rest are properties."""
    when = (clock() - timedelta(minutes=5)).isoformat()
    who = {"user_id": 7, "session_id": "s-1", "message_id": "once", "timestamp": when}
    answers = [await client.post(path, json={"product_id": "p", **body, **who}) for _ in range(2)]

    assert [(answer.status_code, answer.json()["success"]) for answer in answers] == [(200, True)] * 2
    assert "session_id" not in answers[0].json()
    (event,) = await stored()
    assert (event.name, event.user_id, event.anonymous_id, event.message_id) == (name, "7", "s-1", "once")
    assert event.payload["properties"] == {"currency": "EUR", "product_id": "p", **properties}
    assert event.at == clock() - timedelta(minutes=5)


async def test_cents_are_minor_units_of_the_currency_that_is_told(client, stored):
    """1999 yen are not 19.99 yen."""
    answer = await client.post("/track/view", json={**VIEW, "currency": "JPY"})

    assert answer.status_code == 200
    assert (await stored())[0].payload["properties"]["price"] == 1999


async def test_a_beacon_needs_no_headers(anyone, store, stored):
    """`navigator.sendBeacon` sends text/plain and cannot set a header."""
    answer = await anyone.post(
        "/track/duration",
        params={"writeKey": store.write_key},
        content=json.dumps({"product_id": "p", "duration": 3}),
        headers={"content-type": "text/plain;charset=UTF-8"},
    )

    assert answer.status_code == 200
    assert [event.name for event in await stored()] == ["Product View Timed"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"product_id": None}, "product_id"),
        ({"product_price": 19.99}, "product_price"),
        ({"product_price": "19.99"}, "product_price"),
        ({"product_price": -1}, "product_price"),
        ({"product_price": 10**18}, "product_price"),
        ({"user_id": {}}, "user_id"),
        ({"session_id": True}, "session_id"),
        ({"timestamp": "soon"}, "timestamp"),
        ({"product_name": "a\0b"}, "properties.name"),
    ],
)
async def test_a_broken_rule_is_named_as_the_caller_wrote_it(client, stored, change, field):
    """Cents are whole numbers; the rest are the rules of every event."""
    answer = await client.post("/track/view", json={**VIEW, **change})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert await stored() == []


async def test_every_shop_endpoint_needs_a_write_key(anyone):
    """No second door."""
    for path in ("/track/view", "/track/duration", "/track/cart-add", "/track/watchlist/add", "/api/v1/carts/track"):
        assert (await anyone.post(path, json=VIEW)).status_code == 401
    assert (await anyone.get("/track/recommendations/u")).status_code == 401


async def test_a_cart_is_told_whole(client, stored):
    """It is stored as told; the customer's id and address identify, and the cart's id does for the browser's."""
    cart = {
        "cart_id": "c-77",
        "items": [{"id": 5, "title": "Mug", "price": "12.50", "quantity": 2}],
        "total": 25,
        "customer": {"id": 42, "email": "Ann@Example.com"},
    }
    answer = await client.post(
        "/api/v1/carts/track", json={"event": "cart_updated", "cart_data": cart, "message_id": 9}
    )

    assert answer.status_code == 200
    (event,) = await stored()
    assert (event.name, event.user_id, event.anonymous_id) == ("Cart Updated", "42", "c-77")
    assert (event.email, event.message_id) == ("ann@example.com", "9")
    assert event.payload["properties"] == cart


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"event": "cart_updated"}, "cart_data"),
        ({"cart_data": {}}, "event"),
        ({"event": "cart_updated", "cart_data": []}, "cart_data"),
        ({"event": "cart_updated", "cart_data": {"items": []}}, "user_id"),
    ],
)
async def test_a_cart_that_cannot_be_understood_is_refused(client, body, field):
    """The field is named."""
    answer = await client.post("/api/v1/carts/track", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


async def test_recommendations_are_the_best_sellers_of_the_favourite_category(client, engine, clock):
    """The category of most of the last 50 views; six that can be bought, best first."""
    customer = uuid7()
    books = [
        {
            "product_id": f"book-{n}",
            "category": "Books",
            "sold": n,
            "price_minor": 100 * n,
            "stock": None,
            "withdrawn": False,
        }
        for n in range(8)
    ]
    books[7]["stock"] = 0
    books[6]["withdrawn"] = True
    mugs = [{**books[0], "product_id": "mug", "category": "Mugs", "sold": 99}]
    # 30 old views of mugs, then 26 of books (some without a category of their own) and 24 of mugs.
    seen = ["mug"] * 30 + ["book-1"] * 26 + ["mug"] * 24
    views = [
        {
            "store_id": "mugs",
            "view_id": uuid7(),
            "customer_id": customer,
            "product_id": product,
            "category": None if n % 2 else product.partition("-")[0].capitalize() + "s",
            "at": clock() + timedelta(minutes=n),
        }
        for n, product in enumerate(seen)
    ]
    async with as_owner(engine) as connection:
        row = {"store_id": "mugs", "customer_id": customer, "created_at": clock()}
        await connection.execute(insert(tables.customers), row)
        identity = {"store_id": "mugs", "kind": "user", "value": "u/1", "customer_id": customer}
        await connection.execute(insert(tables.identities), identity)
        await connection.execute(insert(tables.products), [{"store_id": "mugs", **p} for p in [*books, *mugs]])
        await connection.execute(insert(tables.views), views)
    answer = (await client.get("/track/recommendations/u/1")).json()
    nobody = (await client.get("/track/recommendations/nobody")).json()

    assert answer["category"] == "Books"
    assert [product["product_id"] for product in answer["products"]] == [f"book-{n}" for n in (5, 4, 3, 2, 1, 0)]
    assert answer["products"][0]["price"] == 500
    assert nobody == {"success": True, "category": None, "products": []}
