"""Every endpoint of the API, so that a rule for all of them is tried on those of tomorrow too."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute


def every_route(app: FastAPI) -> list[APIRoute]:
    """Collect the endpoints, those outside the OpenAPI document included."""
    found = list(_routes(app))
    assert len(found) > 50
    return found


def _routes(holder: Any) -> Iterator[APIRoute]:
    for route in holder.routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):  # an included router is kept as it is
            yield from _routes(route.original_router)
