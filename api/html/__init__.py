"""The pages that people see: plain HTML that needs no script, no cookie and no other file, in the reader's language."""

from base64 import b64encode
from functools import cache
from gettext import NullTranslations
from hashlib import sha256
from pathlib import Path

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from api.html.languages import ENGLISH, TRANSLATIONS, noted
from domain.errors import InvalidToken, JourneysError, NotFound
from domain.facts import Topic

TOPICS: dict[Topic, tuple[str, str]] = {
    Topic.MARKETING: (
        noted("Marketing emails"),
        noted("The main switch. When it is off, you get none of the emails below."),
    ),
    Topic.ABANDONED_CART: (noted("Cart reminders"), noted("A reminder when you leave something in your cart.")),
    Topic.BROWSE_ABANDONMENT: (
        noted("Viewed products"),
        noted("A note about products that you looked at more than once."),
    ),
    Topic.PRICE_DROP: (noted("Price drops"), noted("An alert when something on your watch list gets cheaper.")),
    Topic.BACK_IN_STOCK: (noted("Back in stock"), noted("An alert when something you asked for can be bought again.")),
    Topic.RECOMMENDATIONS: (noted("Recommendations"), noted("Products that go well with what you bought.")),
    Topic.NEWSLETTER: (noted("Newsletter"), noted("A welcome, and news from the shop.")),
    Topic.PROMOTIONS: (noted("Offers"), noted("Discounts and special offers.")),
}
"""How each topic is called on the preferences page, in the order of the page; the main switch comes first."""

_LATER = (
    noted("Please try again in a minute"),
    noted("Something on our side is not working right now, so we cannot be sure that this went through."),
    noted("Wait a minute, then follow the link in the email again."),
)
_GONE = (
    noted("This link leads nowhere any more"),
    noted("The link is genuine, but what it belongs to is no longer kept."),
    noted("Open a newer email from the shop and follow the link in that one, or go to the shop directly."),
)
_INVALID = (
    noted("This link does not work"),
    noted("Part of the link is missing or was changed on the way."),
    noted(
        "Open the email again and follow the link there. If you copied the link, make sure that you copied all of it."
    ),
)
_UNREADABLE = (
    noted("Your choice was not saved"),
    noted("What your browser sent could not be read."),
    noted("Go back, load the page again, and try once more."),
)

_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
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


def _environment(translations: NullTranslations) -> Environment:
    templates = Environment(
        loader=PackageLoader("api", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    templates.globals.update(style=Markup(_STYLE), topics=TOPICS)  # noqa: S704 -- our own file
    templates.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined] # the extension's
    return templates


_TEMPLATES = {language: _environment(translations) for language, translations in TRANSLATIONS.items()}


def page(
    template: str, status: int = 200, retry_after: int | None = None, *, language: str = ENGLISH, **values: object
) -> HTMLResponse:
    """Render a page with the headers that every page has.

    Args:
        template: Name of the file.
        status: Of the answer.
        retry_after: Seconds after which to ask again, if that makes sense.
        language: One of `TRANSLATIONS`.
        values: What the template shows; it also knows its own `language` and `wording`.
    """
    retry = {} if retry_after is None else {"Retry-After": str(retry_after)}
    shown = {"language": language, "wording": wording(template, language), **values}
    html = _TEMPLATES[language].get_template(template).render(**shown)
    return HTMLResponse(html, status_code=status, headers=HEADERS | retry)


@cache
def wording(template: str, language: str) -> str:
    """Name what a page says, such as `preferences/en/5f0c1b2a9d3e`: another text has another name.

    Whoever decides on a page sends it along, so that the ledger can say which words they had before them.
    """
    templates = _TEMPLATES[language]
    source = (Path(__file__).parent / template).read_text(encoding="utf-8")
    texts = [text for _, _, said in templates.extract_translations(source) for text in _texts(said)]  # type: ignore[attr-defined]
    texts += [text for topic in TOPICS.values() for text in topic]
    said = "\0".join([source, *map(TRANSLATIONS[language].gettext, texts)])
    return f"{Path(template).stem}/{language}/{sha256(said.encode()).hexdigest()[:12]}"


def _texts(said: str | tuple[str | None, ...] | None) -> list[str]:
    """Return the texts that stand in the template itself."""
    return [said] if isinstance(said, str) else [text for text in said or () if text]


def problem_page(problem: JourneysError, language: str = ENGLISH) -> HTMLResponse:
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
    said = {"title": title, "what": what, "todo": todo}
    return page("problem.html", problem.status_code, retry_after, language=language, **said)
