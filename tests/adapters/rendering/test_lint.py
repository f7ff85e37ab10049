"""The lint finds what it is there to find."""

import shutil
from pathlib import Path

import pytest

from adapters.rendering.lint import markup_problems, problems


@pytest.fixture
def copied(templates: Path, tmp_path: Path) -> Path:
    """A copy of one good template and the layout, to break."""
    for name in ("cart-reminder", "_layout"):
        shutil.copytree(templates / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("mj-text", "mj-txt", "<mj-txt> is not an MJML component"),
        ("<mj-column>", "<mj-column>lost", "stray text between components is dropped: 'lost"),
        ("<mj-column>", '<mj-column><a href="https://x.example">', "does not pass through `link`"),
        ("<mj-text>", '<mj-text><a href="{{ checkout_url }}">x</a>', "does not pass through `link`"),
        ("first_name", "frist_name", "there is no variable frist_name"),
        ("{% if first_name %}", "{% if true %}", "first_name"),
        ("</mj-section>", "", "cart-reminder"),
    ],
)
def test_a_mistake_is_reported(copied: Path, old: str, new: str, complaint: str) -> None:
    """Each of these renders without a warning, or breaks for some customers only."""
    body = copied / "cart-reminder" / "body.mjml"
    body.write_text(body.read_text().replace(old, new))

    assert any(complaint in problem for problem in problems(copied, "cart-reminder"))


@pytest.mark.parametrize("file", ["subject.liquid", "body.mjml", "sample.json"])
def test_a_missing_file_is_reported(copied: Path, file: str) -> None:
    """A template is complete or it is broken."""
    (copied / "cart-reminder" / file).unlink()

    assert problems(copied, "cart-reminder") == [f"cart-reminder: {file} is missing"]


def test_a_sample_that_is_no_material_is_reported(copied: Path) -> None:
    """A sample is what the template would really be given."""
    (copied / "cart-reminder" / "sample.json").write_text('{"first_name": "Ada"}')

    assert "sample.json" in problems(copied, "cart-reminder")[0]


def test_html_inside_text_is_left_alone() -> None:
    """Only what stands between components is MJML's business."""
    content = "<mj-text><p>a<br>b &amp; c</p><table><tr><td>x</td></tr></table></mj-text>"

    assert (
        markup_problems(f"<mjml><mj-body><mj-section><mj-column>{content}</mj-column></mj-section></mj-body></mjml>")
        == []
    )
