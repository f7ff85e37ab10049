"""The lint: what a template can get wrong without any library saying so.

MRML drops text between components and passes unknown components through, both in silence; a raw `href` is a
link that nobody can count; a variable without a default breaks the one mail whose customer has no first name.
"""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from pydantic import ValidationError

from adapters.rendering.environment import environment
from adapters.rendering.renderer import TemplateRenderer
from adapters.rendering.variables import NAMES
from domain.errors import TemplateBroken
from domain.message import Material, StoreCard
from domain.tokens import Signer

_HOLDERS = frozenset(
    {
        "mjml",
        "mj-head",
        "mj-body",
        "mj-attributes",
        "mj-wrapper",
        "mj-section",
        "mj-group",
        "mj-column",
        "mj-hero",
        "mj-navbar",
        "mj-social",
        "mj-accordion",
        "mj-accordion-element",
        "mj-carousel",
    }
)
"""Components that hold only components: text in them is dropped."""
_CONTENT = frozenset(
    {
        "mj-text",
        "mj-button",
        "mj-table",
        "mj-raw",
        "mj-style",
        "mj-title",
        "mj-preview",
        "mj-navbar-link",
        "mj-social-element",
        "mj-accordion-title",
        "mj-accordion-text",
    }
)
"""Components whose content is text or HTML."""
_EMPTY = frozenset(
    {
        "mj-all",
        "mj-class",
        "mj-image",
        "mj-divider",
        "mj-spacer",
        "mj-breakpoint",
        "mj-carousel-image",
    }
)
"""Components without content. `mj-font` is not among them: it would fetch from a third party."""
_KNOWN = _HOLDERS | _CONTENT | _EMPTY

_HREF = re.compile(r"""href\s*=\s*("[^"]*"|'[^']*')""", re.IGNORECASE)
_COUNTED = re.compile(
    r"""^["']\{\{-?\s*(?:[^{}]*\|\s*link|unsubscribe_url|preferences_url|confirm_url)\s*-?\}\}["']$"""
)


def problems(templates: Path, name: str) -> list[str]:
    """Return what is wrong with a template, an empty list if nothing is.

    Args:
        templates: The folder of all templates.
        name: The template's folder in it.
    """
    folder = templates / name
    missing = [
        f"{name}: {file} is missing"
        for file in ("subject.liquid", "body.mjml", "sample.json")
        if not (folder / file).is_file()
    ]
    if missing:
        return missing
    try:
        sample = Material.model_validate(json.loads((folder / "sample.json").read_text("utf-8")) | {"template": name})
    except (ValueError, ValidationError) as problem:
        return [f"{name}: sample.json is not a message's material: {problem}"]
    return [
        f"{name}: {problem}"
        for problem in [*_raw_links(folder), *_unknown_variables(templates, name), *_rendered(templates, sample)]
    ]


def bare(material: Material) -> Material:
    """Return the same message with every variable missing that can be."""
    kept = material.model_dump(include={"message_id", "email", "journey", "step", "template", "transactional"})
    store = material.store.model_copy(update={"name": "", "url": "", "currency": "", "sender_name": "", "address": ""})
    return Material(**kept, store=StoreCard.model_validate(store), currency="")


def markup_problems(mjml: str) -> list[str]:
    """Return what MRML would drop or pass through in silence."""
    checker = _MarkupChecker()
    checker.feed(mjml)
    checker.close()
    return checker.problems


def _rendered(templates: Path, sample: Material) -> list[str]:
    renderer = TemplateRenderer(templates, Signer(["only for the lint"]), "https://lint.example")
    found = []
    for material, how in ((sample, "with its sample"), (bare(sample), "with every variable missing")):
        try:
            found += [f"{problem} ({how})" for problem in markup_problems(renderer.mjml(material))]
            renderer.render(material)
        except TemplateBroken as problem:
            found.append(f"{problem} ({how})")
    return found


def _raw_links(folder: Path) -> list[str]:
    sources = [
        file.read_text("utf-8") for parent in (folder, folder.parent / "_layout") for file in parent.glob("*.mjml")
    ]
    hrefs = [href for source in sources for href in _HREF.findall(source)]
    return [f"{href} does not pass through `link`" for href in hrefs if not _COUNTED.match(href)]


def _unknown_variables(templates: Path, name: str) -> list[str]:
    env = environment(templates, escape=False)
    files = [file.name for file in sorted((templates / name).iterdir()) if file.name != "sample.json"]
    used = {variable for file in files for variable in env.get_template(f"{name}/{file}").analyze().globals}
    return [f"there is no variable {variable}" for variable in sorted(used - NAMES)]


class _MarkupChecker(HTMLParser):
    """Follow the components of an MJML document, and skip what is inside the content of one."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if self._in_content():
            return
        self._check(tag)
        self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if not self._in_content():
            self._check(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()
        elif not self._in_content():
            self.problems.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._in_content():
            self.problems.append(f"stray text between components is dropped: {data.strip()[:40]!r}")

    def close(self) -> None:
        super().close()
        self.problems += [f"<{tag}> is never closed" for tag in self._open]

    def _in_content(self) -> bool:
        return bool(self._open) and self._open[-1] in _CONTENT

    def _check(self, tag: str) -> None:
        attributes = "mj-attributes" in self._open
        if tag not in _KNOWN:
            self.problems.append(f"<{tag}> is not an MJML component")
        elif self._open and self._open[-1] not in _HOLDERS and not attributes:
            self.problems.append(f"<{tag}> stands in <{self._open[-1]}>, which holds no components")
