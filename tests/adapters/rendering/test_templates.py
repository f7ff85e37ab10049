"""The shop's messages: every template of every plan, with its sample and with nothing."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.rendering.lint import bare, problems
from adapters.rendering.renderer import TemplateRenderer
from domain.message import Material, Rendered
from domain.plans import PLANS, Plan
from domain.tokens import Purpose, Signer
from tests import follow_ups
from tests.adapters.rendering.conftest import TEMPLATES

NAMES = sorted(folder.name for folder in TEMPLATES.iterdir() if not folder.name.startswith("_"))
SENT_BY: dict[str, Plan] = {journey: plan() for journey, plan in PLANS.items()} | follow_ups.PLANS
TRANSACTIONAL = {step.template for plan in SENT_BY.values() for step in plan.steps if step.transactional}
MAY_BE_MISSING = sorted(set(Material.model_fields) - {"message_id", "store", "email", "journey", "step", "template"})
TRACKING = re.compile(r"https://mail\.example/track/email-click\?token=[\w-]+")


def sample(name: str) -> Material:
    return Material.model_validate_json((TEMPLATES / name / "sample.json").read_text("utf-8"))


@pytest.fixture(params=["its sample", "every variable missing"])
def filled(request: pytest.FixtureRequest) -> Any:
    return sample if request.param == "its sample" else lambda name: bare(sample(name))


def looks_sensible(rendered: Rendered) -> None:
    for part in (rendered.subject, rendered.text):
        assert not re.search(r"None|Undefined|\{\{|\}\}|\{%|\[\]|nan", part)
        assert not re.search(r" ,| \.|,,|  ", part), part
        assert not re.search(r"^<http", part, re.MULTILINE), "a link without words"
        assert not re.search(r"&(amp|lt|gt|quot|#\d+);", part)
    assert "\n" not in rendered.subject
    assert 10 <= len(rendered.subject) <= 100
    assert len(rendered.text) > 200
    assert "{{" not in rendered.html
    assert "<mj-" not in rendered.html
    assert len(rendered.html.encode()) < 102_000, "Gmail cuts longer messages off, and the unsubscribe link with them"


def test_every_step_of_every_plan_has_a_template() -> None:
    """A journey can never reach a step that has nothing to say; and no template is left over."""
    assert sorted({step.template for plan in SENT_BY.values() for step in plan.steps}) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_template_passes_the_lint(templates: Path, name: str) -> None:
    """What no library would report: dropped text, unknown components, uncounted links, variables without default."""
    assert problems(templates, name) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_a_message_of_its_template(name: str) -> None:
    """A sample shows its own template, as the journey would send it."""
    material = sample(name)
    step = next(s for s in SENT_BY[material.journey].steps if s.template == name)

    assert (material.template, material.step) == (name, step.name)
    assert material.transactional == step.transactional
    assert material.discount_code == step.discount_code
    assert set(json.loads((TEMPLATES / name / "sample.json").read_text("utf-8"))) <= set(Material.model_fields)


@pytest.mark.parametrize("name", NAMES)
def test_a_message_is_sensible(renderer: TemplateRenderer, filled: Any, name: str) -> None:
    """Every variable has a default (requirements/3 property 29)."""
    looks_sensible(renderer.render(filled(name)))


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(NAMES), missing=st.sets(st.sampled_from(MAY_BE_MISSING)))
def test_a_message_is_sensible_whatever_is_missing(renderer: TemplateRenderer, name: str, missing: set[str]) -> None:
    """Any combination of variables may be missing, not just all of them."""
    fields = {key: value for key, value in sample(name).model_dump().items() if key not in missing}

    looks_sensible(renderer.render(Material.model_validate(fields)))


@pytest.mark.parametrize("name", NAMES)
def test_marketing_can_be_unsubscribed_from_and_a_receipt_cannot(
    renderer: TemplateRenderer, signer: Signer, filled: Any, name: str
) -> None:
    """Every marketing message has a visible unsubscribe link in both parts (requirements/3 property 32)."""
    material = filled(name)
    rendered = renderer.render(material)
    token = signer.token(material.message_id, Purpose.UNSUBSCRIBE)

    present = [f"https://mail.example/unsubscribe?token={token}" in part for part in (rendered.html, rendered.text)]
    assert present == [name not in TRANSACTIONAL] * 2
    assert ("/preferences?token=" in rendered.html) == (name not in TRANSACTIONAL)


@pytest.mark.parametrize("name", NAMES)
def test_a_message_counts_its_opening(renderer: TemplateRenderer, signer: Signer, filled: Any, name: str) -> None:
    """The open pixel is one invisible picture with an empty alternative text."""
    material = filled(name)
    token = signer.token(material.message_id, Purpose.OPEN)

    pixel = f'<img src="https://mail.example/track/email-open?token={token}" width="1" height="1" alt=""'
    assert renderer.render(material).html.count(pixel) == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_link_to_the_shop_is_counted(renderer: TemplateRenderer, filled: Any, name: str) -> None:
    """Only tracked links, unsubscribe and preferences; each tracked position is known, and carries `ref`."""
    material = filled(name)
    rendered = renderer.render(material)
    page = Page(rendered.html)

    assert all(link.startswith("https://mail.example/") for link in page.links)
    assert set(TRACKING.findall(rendered.text)) <= set(TRACKING.findall(rendered.html))
    assert len({link for link in page.links if TRACKING.match(link)}) == len(rendered.urls)
    assert all(f"ref=jn_{material.message_id.hex}" in url for url in rendered.urls)


@pytest.mark.parametrize("name", NAMES)
def test_a_message_fetches_nothing_but_its_pictures(renderer: TemplateRenderer, name: str) -> None:
    """No font, style sheet or script of a third party learns who opened the mail."""
    html = renderer.render(sample(name)).html

    assert "<script" not in html
    assert "<link" not in html
    assert "@import" not in html
    assert "url(" not in html
    assert {"hearth.example", "mail.example"} >= {url.split("/")[2] for url in Page(html).pictures}


@pytest.mark.parametrize("name", NAMES)
def test_a_message_can_be_read_by_everyone(renderer: TemplateRenderer, name: str) -> None:
    """A language, a title, alternative texts, layout tables marked as such, and colours for dark mode."""
    page = Page(renderer.render(sample(name)).html)

    assert page.language == "en"
    assert page.without_alt == []
    assert page.data_tables == 0
    assert "light dark" in page.color_schemes


class Page(HTMLParser):
    """What the tests want to know of an HTML message."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.language: str | None = None
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.without_alt: list[str] = []
        self.color_schemes: list[str] = []
        self.data_tables = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        match tag:
            case "html":
                self.language = named.get("lang")
            case "a":
                self.links.append(named.get("href", ""))
            case "img":
                self.pictures.append(named["src"])
                if "alt" not in named:
                    self.without_alt.append(named["src"])
            case "table":
                self.data_tables += named.get("role") != "presentation"
            case "meta" if named.get("name") == "color-scheme":
                self.color_schemes.append(named["content"])
