from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from adapters.rendering.renderer import TemplateRenderer
from domain.facts import Line
from domain.message import Material, Product, StoreCard
from domain.tokens import Signer

TEMPLATES = Path(__file__).parents[3] / "templates"

MATERIAL = Material(
    message_id=UUID("0190a5b2-6c1d-5e3f-8a47-5d9b1c2e3f40"),
    store=StoreCard(
        store_id="hearth",
        name="Hearth & Table",
        url="https://hearth.example",
        currency="GBP",
        sender_email="hello@hearth.example",
        sender_name="Hearth",
        address="12 Mill Lane, Leeds",
    ),
    email="ada@customers.example",
    first_name="Ada",
    last_name="Byron",
    locale="en-GB",
    journey="cart-recovery",
    step="reminder-1",
    template="cart-reminder",
    currency="GBP",
    checkout_url="https://hearth.example/cart?id=7#pay",
    lines=(
        Line(product_id="mug", quantity=2, name="Mug", price_minor=1450, url="https://hearth.example/mug"),
        Line(product_id="towel", quantity=1, name="Towel", price_minor=900, url="/towel"),
    ),
    total_minor=3800,
    product=Product(product_id="mug", name="Mug", url="https://hearth.example/mug", price_minor=1450),
)


@pytest.fixture(scope="session")
def templates() -> Path:
    return TEMPLATES


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer(["a secret for the tests"])


@pytest.fixture(scope="session")
def renderer(templates: Path, signer: Signer) -> TemplateRenderer:
    return TemplateRenderer(templates, signer, "https://mail.example/")


@pytest.fixture(scope="session")
def material() -> Material:
    return MATERIAL


@pytest.fixture
def written(tmp_path: Path, signer: Signer) -> Callable[..., TemplateRenderer]:
    """Write a template named `own`, and return a renderer that knows it."""

    def written(content: str = "", *, subject: str = "A subject", text: str | None = None) -> TemplateRenderer:
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        (folder / "subject.liquid").write_text(subject)
        body = f'{content} <a href="{{{{ unsubscribe_url | default: "" }}}}">Unsubscribe</a>'
        column = f"<mj-section><mj-column><mj-text>{body}</mj-text></mj-column></mj-section>"
        (folder / "body.mjml").write_text(f"<mjml><mj-body>{column}</mj-body></mjml>")
        if text is not None:
            (folder / "body.txt").write_text(text)
        return TemplateRenderer(tmp_path, signer, "https://mail.example")

    return written
