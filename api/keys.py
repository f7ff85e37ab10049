"""Who is asking: the keys that a request shows, wherever its client puts them."""

from typing import Annotated

from fastapi import Query, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer

from adapters.postgres.stores import Access, Kind
from api.services import Services, Wired
from domain.errors import NotAuthorised

_basic = HTTPBasic(auto_error=False, scheme_name="Basic", description="The key as user name, without a password.")
_bearer = HTTPBearer(auto_error=False, scheme_name="Bearer", description="The key as bearer token.")


def shown_keys(
    basic: Annotated[HTTPBasicCredentials | None, Security(_basic)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    write_key: Annotated[
        str | None,
        Query(alias="writeKey", description="The write key, where a client cannot set headers (`sendBeacon`)."),
    ] = None,
) -> list[str]:
    """Collect the keys that a request shows outside its body."""
    shown = [basic.username if basic else None, bearer.credentials if bearer else None, write_key]
    return [key for key in shown if key]


Shown = Annotated[list[str], Security(shown_keys)]


async def access(services: Services, shown: list[str], *kinds: Kind) -> Access:
    """Find the store that one of the keys opens; a wrong key next to a right one does not matter.

    Raises:
        NotAuthorised: None of them is valid and of one of the kinds.
        Unavailable: The keys cannot be read now.
    """
    for key in dict.fromkeys(shown):
        try:
            found = await services.keys.verify(key)
        except NotAuthorised:
            continue
        if found.kind in kinds:
            return found
    raise NotAuthorised


async def administrator(services: Wired, shown: Shown) -> Access:
    """Require an admin key."""
    return await access(services, shown, "admin")


Administrator = Annotated[Access, Security(administrator)]
