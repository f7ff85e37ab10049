"""The languages of the pages: English as it stands in the templates, and a file of translations for each other one.

The files are gettext's (`de.po`), which every tool for translators reads. A page speaks the language that its reader
chose or the shop knows, else one that the browser asks for, else English.
"""

from collections.abc import Iterable, Iterator
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path

from babel.core import Locale, UnknownLocaleError, negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

ENGLISH = "en"
_LONGEST_WISH = 500


def _translations(file: Path) -> Translations:
    with file.open("rb") as written:
        catalog = read_po(written, locale=file.stem)
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(compiled)


TRANSLATIONS: dict[str, NullTranslations] = {
    ENGLISH: NullTranslations(),
    **{file.stem: _translations(file) for file in sorted(Path(__file__).parent.glob("*.po"))},
}
"""What makes each language of the English texts, by its tag."""


def noted(text: str) -> str:
    """Mark a text for translation that is translated only where it is shown."""
    return text


def spoken(known: str | None, accepted: str) -> str:
    """Choose the language of a page.

    Args:
        known: The reader's own locale, if we know it.
        accepted: The request's `Accept-Language` (RFC 9110 §12.5.4), or nothing.
    """
    wanted = [*([known] if known else []), *_wished(accepted[:_LONGEST_WISH])]
    tags = [tag.replace("-", "_") for tag in wanted]
    return negotiate_locale(tags, list(TRANSLATIONS)) or ENGLISH


def locale(tag: str) -> Locale | None:
    """Return what is known of a locale; None if there is no such."""
    try:
        return Locale.parse(tag.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return None


def choices(offered: Iterable[str], current: str | None) -> list[tuple[str, str]]:
    """Return the languages to choose from, each with its name in itself.

    Args:
        offered: Those that the store writes in; if it does not say, those of the pages.
        current: What the customer has. It stays a choice, in place of the same language without its country.
    """
    mine = locale(current) if current else None
    tags = [tag for tag in [*offered] or [*TRANSLATIONS] if mine is None or not _means(tag, mine)]
    named = [(tag, known) for tag in tags if (known := locale(tag)) is not None]
    if mine is not None and current is not None:
        named.append((current, mine))
    return sorted(((tag, _own_name(known)) for tag, known in named), key=lambda choice: choice[1].casefold())


def _means(tag: str, other: Locale) -> bool:
    offered = locale(tag)
    return offered is not None and (offered == other or offered == Locale(other.language))


def _own_name(known: Locale) -> str:
    name = known.get_display_name() or str(known)
    return name[:1].upper() + name[1:]


def _wished(header: str) -> Iterator[str]:
    wishes = []
    for wish in header.split(","):
        tag, _, weight = wish.strip().partition(";q=")
        try:
            wishes.append((float(weight or 1), tag.strip()))
        except ValueError:
            continue
    yield from (tag for weight, tag in sorted(wishes, key=lambda wish: -wish[0]) if weight > 0)
