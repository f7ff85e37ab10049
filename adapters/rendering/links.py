"""Tracked links: what a message links to, and the signed link that stands for it.

A click link carries a position in the message, never an address to go to, so it can only lead where the message
itself pointed: there is no open redirect.
"""

from functools import lru_cache
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from domain.message import Material
from domain.tokens import Purpose, Signer

_KEPT = "%/:=&?~#+!$,;'@()*[]"
"""What may stand in a URL as it is; everything else (line breaks first of all) is percent-encoded."""


class TrackedLinks:
    """The links of one message, in the order in which they were first used.

    Args:
        material: The message; its id goes into every link and into `ref`.
        signer: Makes the tokens.
        public_url: Where the tracking endpoints are reached.
    """

    def __init__(self, material: Material, signer: Signer, public_url: str) -> None:
        self._message_id = material.message_id
        self._signer = signer
        self._public_url = public_url
        self._confirm_by = material.confirm_by
        self._home = web_url(material.store.url) or public_url
        self._positions: dict[str, int] = {}

    @property
    def urls(self) -> tuple[str, ...]:
        """The shop's URLs by position."""
        return tuple(self._positions)

    def track(self, url: object) -> str:
        """Return the tracked link for a shop URL; what cannot be linked leads to the store itself."""
        target = with_ref(web_url(url, self._home) or self._home, f"jn_{self._message_id.hex}")
        position = self._positions.setdefault(target, len(self._positions))
        return f"{self._public_url}/track/email-click?token={self._token(Purpose.CLICK, position)}"

    @property
    def pixel(self) -> str:
        """The address of the open pixel."""
        return f"{self._public_url}/track/email-open?token={self._token(Purpose.OPEN)}"

    @property
    def unsubscribe(self) -> str:
        """The address that serves both the page (GET) and one-click (RFC 8058 POST)."""
        return f"{self._public_url}/unsubscribe?token={self._token(Purpose.UNSUBSCRIBE)}"

    @property
    def preferences(self) -> str:
        """The address of the preferences page."""
        return f"{self._public_url}/preferences?token={self._token(Purpose.PREFERENCES)}"

    @property
    def confirm(self) -> str | None:
        """The address of the page that confirms consent, for as long as that is possible."""
        if self._confirm_by is None:
            return None
        token = self._signer.token(self._message_id, Purpose.CONFIRM, expires_at=self._confirm_by)
        return f"{self._public_url}/confirm?token={token}"

    def _token(self, purpose: Purpose, link: int = 0) -> str:
        return self._signer.token(self._message_id, purpose, link)

    def __str__(self) -> str:
        return ""


def web_url(url: object, base: str = "") -> str | None:
    """Return an http(s) URL that is safe in a header and in HTML, or None.

    Args:
        url: What the shop told us; relative URLs are taken as relative to `base`.
        base: The store's own URL.
    """
    if not isinstance(url, str) or not url.strip():
        return None
    # What stands in a template itself is markup, a string that escapes whatever it is put together with.
    return _web_url(str(url).strip(), base)


@lru_cache(maxsize=4096)  # a shop's messages lead to the same pages
def _web_url(url: str, base: str) -> str | None:
    try:
        parts = urlsplit(urljoin(base, url))
        host = (parts.hostname or "").encode("idna").decode()
        port = f":{parts.port}" if parts.port is not None else ""
    except (UnicodeError, ValueError):
        return None
    if parts.scheme not in ("http", "https") or not host:
        return None
    # User and password of a URL are dropped: in a mail they only ever serve to deceive.
    netloc = (f"[{host}]" if ":" in host else host) + port
    return urlunsplit((parts.scheme, netloc, *(quote(part, safe=_KEPT, errors="replace") for part in parts[2:])))


def with_ref(url: str, ref: str) -> str:
    """Add `ref` to the query of a URL and leave the rest of it as it is (some shops sign their queries)."""
    parts = urlsplit(url)
    query = [pair for pair in parts.query.split("&") if pair and not pair.startswith("ref=")]
    return urlunsplit(parts._replace(query="&".join([*query, f"ref={ref}"])))
