"""What a key may be made for, and what an origin is."""

import pytest
from pydantic import ValidationError

from domain.access import ADMIN_KEY, MAX_ORIGINS, WRITE_KEY, Grant, Scope, origins
from domain.errors import InvalidInput


def test_a_public_key_has_no_scopes_and_a_secret_one_has_some() -> None:
    """What stands in a page must never read or change anything."""
    assert (WRITE_KEY.scopes, set(ADMIN_KEY.scopes)) == ((), set(Scope))
    for given in ({"kind": "write", "scopes": ["read"]}, {"kind": "api"}, {"kind": "api", "scopes": ["all"]}):
        with pytest.raises(ValidationError):
            Grant.model_validate(given)
    with pytest.raises(ValidationError):
        Grant(kind="write", name="for ada@example.com")


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("https://Shop.Example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(told: str, kept: str) -> None:
    """Else a comparison with what they send would fail for ever."""
    assert origins([told, told]) == (kept,)


@pytest.mark.parametrize(
    "told", ["", "*", "null", "shop.example", "https://", "https://shop.example/path", "https://ünï.example", "a b://c"]
)
def test_what_no_browser_sends_is_no_origin(told: str) -> None:
    """A list with a mistake would shut out the shop itself."""
    with pytest.raises(InvalidInput, match="origin"):
        origins([told])


def test_a_list_of_origins_is_bounded() -> None:
    """It is read with every request of a browser."""
    with pytest.raises(InvalidInput, match="more than"):
        origins([f"https://{n}.example" for n in range(MAX_ORIGINS + 1)])
