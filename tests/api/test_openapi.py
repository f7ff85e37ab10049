"""The description of the API is complete: every body, every error, an example each."""

import pytest

PUBLIC = ("/track/email-open", "/track/email-click", "/unsubscribe", "/preferences", "/confirm")
ADMIN = ("/api/v1/runs/", "/api/v1/keys")
"""Opened by an API key alone; tests/api/test_runs_api.py and tests/api/test_security_api.py call them."""


@pytest.fixture
async def document(anyone) -> dict:
    return (await anyone.get("/openapi.json")).json()


def operations(document: dict):
    for path, methods in document["paths"].items():
        if not path.startswith(PUBLIC):
            yield from ((path, method, operation) for method, operation in methods.items())


async def test_every_endpoint_of_the_issue_is_described(document):
    """Segment's calls, the shop's, the admin's, health, and the links in messages."""
    expected = {
        *(f"/v1/{call}" for call in ("track", "identify", "page", "screen", "group", "alias", "batch", "import")),
        *(f"/track/{call}" for call in ("view", "cart-add", "duration", "watchlist/add", "recommendations/{user_id}")),
        "/api/v1/carts/track",
        "/api/v1/customers/{customer}/journeys",
        "/api/v1/customers/{customer}/consents",
        *(f"/api/v1/runs/{{run}}/{what}" for what in ("why", "skip-wait", "leave")),
        *(f"/api/v1/{what}" for what in ("keys", "keys/{key_id}", "keys/{key_id}/rotate", "origins", "audit")),
        *(f"/api/health{part}" for part in ("", "/db", "/engine", "/queue")),
    }

    assert expected <= set(document["paths"])


async def test_every_post_describes_its_body_with_examples_that_work(document, client):
    """Each example is sent to its endpoint and accepted."""
    sent = 0
    for path, method, operation in operations(document):
        if method != "post" or path.startswith(ADMIN):
            continue
        content = operation["requestBody"]["content"]["application/json"]
        assert content["schema"]["properties"]
        for example in content["examples"].values():
            answer = await client.post(path, json=example["value"])
            assert (path, answer.status_code) == (path, 200)
            sent += 1

    assert sent >= 13


async def test_every_operation_has_a_summary_and_its_errors(document):
    """Whoever reads the document knows what can come back."""
    for path, method, operation in operations(document):
        assert operation["summary"], path
        if method == "post":
            expected = set() if path.startswith(ADMIN) else {"400", "413", "415"}
            assert {"401", "403", "429", "503", *expected} <= set(operation["responses"]), path
        assert "422" not in operation["responses"], f"{path}: our rule is 400"
    schemes = document["components"]["securitySchemes"]
    assert {scheme["scheme"] for scheme in schemes.values()} == {"basic", "bearer"}
