"""The renderer: Liquid first, then MJML, then the text part (docs/adr/0010-liquid-mjml.md)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import mrml
from liquid.exceptions import LiquidError

from adapters.rendering.environment import LINKS, environment
from adapters.rendering.links import TrackedLinks
from adapters.rendering.plaintext import plaintext, tidy
from adapters.rendering.variables import full_name, plain, variables
from domain.errors import TemplateBroken
from domain.ids import return_path, rfc_message_id
from domain.message import Letter, Material, Rendered
from domain.tokens import Signer

_MAX_SUBJECT = 200
_NO_FONTS = mrml.RenderOptions(fonts={}, disable_comments=False)
"""MRML would link fonts from a third party, which would learn who opened the mail."""


class TemplateRenderer:
    """Render the folders under `templates/` (implements `domain.ports.Renderer`).

    Args:
        templates_dir: One folder per message: `subject.liquid`, `body.mjml`, perhaps `body.txt`.
        signer: Signs the links.
        public_url: Where the API is reached from outside.
        bounce_address: Where messages come back to; None: to the store's sender address.
    """

    def __init__(self, templates_dir: Path, signer: Signer, public_url: str, bounce_address: str | None = None) -> None:
        self._is_there = cache(lambda name: (templates_dir / name).is_file())
        self._signer = signer
        self._public_url = public_url.rstrip("/")
        self._bounce_address = bounce_address
        self._markup = environment(templates_dir, escape=True)
        self._plain = environment(templates_dir, escape=False)

    def render(self, material: Material) -> Rendered:
        """Render subject, HTML and text.

        Raises:
            TemplateBroken: Names the template and what is wrong with it.
        """
        links = self._links(material)
        with _naming(material.template):
            named = self._named(material, links)
            html = mrml.to_html(self._body(material, named), render_options=_NO_FONTS).content
            text = self._text(material, named) or plaintext(html)
        if not material.transactional and not (links.unsubscribe in html and links.unsubscribe in text):
            raise TemplateBroken(f"template {material.template}: a marketing message needs an unsubscribe link")
        if links.confirm is not None and not (links.confirm in html and links.confirm in text):
            raise TemplateBroken(f"template {material.template}: a message that asks for a confirmation needs its link")
        return Rendered(subject=str(named["subject"]), html=html, text=text, urls=links.urls)

    def mjml(self, material: Material) -> str:
        """Render only as far as MJML, which is what the lint looks at.

        Raises:
            TemplateBroken: Names the template and what is wrong with it.
        """
        with _naming(material.template):
            return self._body(material, self._named(material, self._links(material)))

    def letter(self, material: Material, rendered: Rendered) -> Letter:
        """Address a rendered message."""
        store = material.store
        host = _host(store.sender_email)
        list_id = ".".join([_label(material.journey), _label(store.store_id), host])
        fields = [_label(part) for part in (store.store_id, material.journey, material.step)]
        return Letter(
            message_id=rfc_message_id(material.message_id, host),
            to=material.email,
            to_name=full_name(material),
            sender=store.sender_email,
            sender_name=store.sender_name or store.name,
            subject=rendered.subject,
            html=rendered.html,
            text=rendered.text,
            list_id=f"<{list_id}>",
            feedback_id=":".join([*fields, "journeys"]),
            store_id=store.store_id,
            unsubscribe_url=None if material.transactional else self._links(material).unsubscribe,
            return_path=self._return_path(material),
        )

    def _return_path(self, material: Material) -> str | None:
        if self._bounce_address is None:
            return None
        return return_path(self._bounce_address, material.store.store_id, material.message_id)

    def _links(self, material: Material) -> TrackedLinks:
        return TrackedLinks(material, self._signer, self._public_url)

    def _named(self, material: Material, links: TrackedLinks) -> dict[str, object]:
        named = variables(material, links) | {LINKS: links}
        subject = plain(self._plain.get_template(f"{material.template}/subject.liquid").render(named))
        if subject is None:
            raise TemplateBroken(f"template {material.template}: the subject is empty")
        return named | {"subject": subject[:_MAX_SUBJECT]}

    def _body(self, material: Material, named: dict[str, object]) -> str:
        return self._markup.get_template(f"{material.template}/body.mjml").render(named)

    def _text(self, material: Material, named: dict[str, object]) -> str | None:
        name = f"{material.template}/body.txt"
        return tidy(self._plain.get_template(name).render(named)) if self._is_there(name) else None


@contextmanager
def _naming(template: str) -> Iterator[None]:
    """Say which template is broken. MRML reports broken markup as an OSError."""
    try:
        yield
    except LiquidError as problem:
        raise TemplateBroken(f"template {template}: {problem.message}") from problem
    except OSError as problem:
        raise TemplateBroken(f"template {template}: {problem}") from problem


def _host(address: str) -> str:
    """Return the domain of an address as identifiers can hold it: in ASCII."""
    try:
        return address.rpartition("@")[2].encode("idna").decode() or "localhost"
    except UnicodeError:
        return "localhost"


def _label(part: str) -> str:
    """Return a part of an identifier with nothing in it that would end the identifier (RFC 2919, Feedback-ID)."""
    return re.sub(r"[^a-z0-9-]+", "-", part.lower()).strip("-") or "none"
