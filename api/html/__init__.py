"""The pages that people see: plain HTML that needs no script, no cookie and no other file."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from domain.errors import InvalidToken, JourneysError, NotFound
from domain.facts import Topic

TOPICS: dict[Topic, tuple[str, str]] = {
    Topic.MARKETING: ("Marketing emails", "The main switch. When it is off, you get none of the emails below."),
    Topic.ABANDONED_CART: ("Cart reminders", "A reminder when you leave something in your cart."),
    Topic.BROWSE_ABANDONMENT: ("Viewed products", "A note about products that you looked at more than once."),
    Topic.PRICE_DROP: ("Price drops", "An alert when something on your watch list gets cheaper."),
    Topic.BACK_IN_STOCK: ("Back in stock", "An alert when something you asked for can be bought again."),
    Topic.RECOMMENDATIONS: ("Recommendations", "Products that go well with what you bought."),
    Topic.NEWSLETTER: ("Newsletter", "A welcome, and news from the shop."),
    Topic.PROMOTIONS: ("Offers", "Discounts and special offers."),
}
"""How each topic is called on the preferences page, in the order of the page; the main switch comes first."""

_LATER = (
    "Please try again in a minute",
    "Something on our side is not working right now, so we cannot be sure that this went through.",
    "Wait a minute, then follow the link in the email again.",
)
_GONE = (
    "This link leads nowhere any more",
    "The link is genuine, but what it belongs to is no longer kept.",
    "Open a newer email from the shop and follow the link in that one, or go to the shop directly.",
)
_INVALID = (
    "This link does not work",
    "Part of the link is missing or was changed on the way.",
    "Open the email again and follow the link there. If you copied the link, make sure that you copied all of it.",
)
_UNREADABLE = (
    "Your choice was not saved",
    "What your browser sent could not be read.",
    "Go back, load the page again, and try once more.",
)

_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()

_HEADERS = {
    # The one style sheet stands in the page and is allowed by its hash; nothing else is loaded or run.
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    # The address of a page holds its token.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}

_templates = Environment(
    loader=PackageLoader("api", "html"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(style=Markup(_STYLE), topics=TOPICS)  # noqa: S704 -- our own file


def page(template: str, status: int = 200, retry_after: int | None = None, **values: object) -> HTMLResponse:
    """Render a page with the headers that every page has."""
    retry = {} if retry_after is None else {"Retry-After": str(retry_after)}
    html = _templates.get_template(template).render(**values)
    return HTMLResponse(html, status_code=status, headers=_HEADERS | retry)


def problem_page(problem: JourneysError) -> HTMLResponse:
    """Say what went wrong and what to do, in the words of someone who only wanted to follow a link."""
    if problem.retryable:
        title, what, todo = _LATER
    elif isinstance(problem, NotFound):
        title, what, todo = _GONE
    elif isinstance(problem, InvalidToken):
        title, what, todo = _INVALID
    else:
        title, what, todo = _UNREADABLE
    retry_after = 60 if problem.retryable else None
    return page("problem.html", problem.status_code, retry_after, title=title, what=what, todo=todo)
