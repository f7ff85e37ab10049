"""The Liquid environments: limits, filters, and what happens to a variable without a value."""

from functools import lru_cache
from pathlib import Path

import liquid
from babel import Locale, UnknownLocaleError
from babel.numbers import format_currency
from liquid import CachingFileSystemLoader, RenderContext
from liquid.extra import BlockTag, ExtendsTag
from liquid.filter import with_context
from liquid.undefined import FalsyStrictUndefined, is_undefined

from adapters.rendering.links import TrackedLinks
from domain.money import to_decimal

LINKS = "tracked links"
"""Where the links of a render are kept among its variables: not a name that Liquid can spell."""


class Missing(FalsyStrictUndefined):
    """A variable without a value: false in an `if`, replaced by `default`, and an error when it is printed."""

    force_liquid_default = True


class MessageEnvironment(liquid.Environment):
    """Liquid with the limits that a template written by anyone needs."""

    context_depth_limit = 20
    loop_iteration_limit = 5_000
    local_namespace_limit = 200_000
    output_stream_limit = 500_000


def environment(templates: Path, *, escape: bool) -> MessageEnvironment:
    """Build an environment that parses each template once.

    Args:
        templates: The folder of all templates.
        escape: True where the output is markup.
    """
    loader = CachingFileSystemLoader(templates, ext=".mjml", auto_reload=False)
    env = MessageEnvironment(loader=loader, undefined=Missing, autoescape=escape)
    env.add_tag(ExtendsTag)
    env.add_tag(BlockTag)
    env.add_filter("money", money)
    env.add_filter("link", link)
    return env


@with_context
def money(minor: object, currency: object = None, *, context: RenderContext) -> object:
    """Format an amount in minor units, in the currency given or else the message's, for the customer's locale.

    Anything that is not an amount passes through, so that `default` can follow.
    """
    if is_undefined(minor) or not isinstance(minor, int):
        return minor
    code = str(context.resolve("currency") if is_undefined(currency) or not currency else currency).upper()
    return _money(minor, code, str(context.resolve("locale", default="en")))


@with_context
def link(url: object, *, context: RenderContext) -> str:
    """Return the tracked link for a shop URL; a URL that is missing or cannot be linked leads to the store."""
    links = context.resolve(LINKS)
    assert isinstance(links, TrackedLinks)  # noqa: S101 - the renderer puts it there
    return links.track(None if is_undefined(url) else url)


@lru_cache(maxsize=4096)  # a shop has fewer prices than customers
def _money(minor: int, code: str, locale: str) -> str:
    # The amount has as many decimals as we keep for the currency; Babel must not round them to its own idea.
    return format_currency(to_decimal(minor, code), code, locale=_locale(locale), decimal_quantization=False)


@lru_cache(maxsize=256)
def _locale(tag: str) -> Locale:
    try:
        return Locale.parse(tag.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return Locale("en")
