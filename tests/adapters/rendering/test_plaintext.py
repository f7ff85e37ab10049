"""What is read off the HTML of a message: all that its reader sees, however it is dressed."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.rendering.plaintext import plaintext
from adapters.rendering.renderer import TemplateRenderer
from domain.message import Material

AS_WRITTEN = """\
Hearth & Table <LINK>

Your cart is waiting

Hello Ada,

You left a few things at Hearth & Table. We've kept your cart, so you can carry on where you stopped.

Mug <LINK>
2 × £14.50

Towel <LINK>
1 × £9.00

Back to your cart <LINK>

Did something go wrong at checkout, or do you have a question first? Reply to this e-mail and we'll help.

You receive this e-mail because you left something in your cart at Hearth & Table and agreed to be reminded.

Unsubscribe <LINK> · Choose what we write about <LINK>

Hearth & Table, 12 Mill Lane, Leeds
"""  # noqa: RUF001


def test_a_message_reads_like_a_letter(renderer: TemplateRenderer, material: Material) -> None:
    """Paragraphs, and links behind what they are about; no trace of the tables that it is laid out with."""
    assert re.sub(r"<https://mail\.example/[^>]+>", "<LINK>", renderer.render(material).text) == AS_WRITTEN


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<a href="https://x.test/?a=1&amp;b=2">Mug</a> or bowl', "Mug <https://x.test/?a=1&b=2> or bowl"),
        ('<a href="mailto:a@x.test">Write to us</a>', "Write to us <mailto:a@x.test>"),
        ('<a href="https://x.test/">https://x.test/</a>', "https://x.test/"),
        ('<a href="https://x.test/"><img src="m.png" alt="A mug"></a> Mug', "Mug"),
        ('<a href="#terms">Terms</a>, <a href="">nothing</a>', "Terms, nothing"),
        ('<div style="display:none;max-height:0">Preheader</div>Body<style>p {}</style><!-- note -->', "Body"),
        ("<p>1. One\\Two *x* # [y](z)</p><p># 4 - 5</p>", "1. One\\Two *x* # [y](z)\n\n# 4 - 5"),
        ("Hello<br>Ada<h1>Cart</h1><ul><li>Mug<li>Bowl</ul>", "Hello\nAda\n\nCart\n\n* Mug\n* Bowl"),
        ('<ol start="3"><li>Mug<li>Bowl</ol>', "3. Mug\n4. Bowl"),
        ("<table><tr><th>Mug<td>£9<tr><th>Bowl<td>£12</table>", "Mug   £9\nBowl  £12"),
        ("Mug&nbsp;&amp;&nbsp;Bowl", "Mug & Bowl"),
        ('<table role="presentation"><tr><td>Mug</td><td>£9</td></tr></table>', "Mug\n\n£9"),
    ],
)
def test_a_text_is_for_people_and_not_for_a_program(html: str, text: str) -> None:
    """What people write in a mail is left as it is, and nothing but links is put between."""
    assert plaintext(html) == text + "\n"


TAGS = ("div", "p", "h1", "b", "span", "center", "pre", "blockquote", 'a href="#x"', 'div style="display:block"')
WORDS = st.text("abc*_#\\[]().>~`é日\N{NO-BREAK SPACE}\n ", min_size=1, max_size=8)


def element(tag: str, inner: list[str]) -> str:
    return f"<{tag}>{''.join(inner)}</{tag.partition(' ')[0]}>"


def laid_out(cells: list[str]) -> str:
    row = "".join(f'<td style="padding:0">{cell}</td>' for cell in cells)
    return f'<table role="presentation"><tbody><tr>{row}</tr></tbody></table>'


PIECES = st.recursive(
    WORDS,
    lambda inside: (
        st.builds(element, st.sampled_from(TAGS), st.lists(inside, max_size=4))
        | st.builds(laid_out, st.lists(inside, max_size=4))
    ),
)


@settings(max_examples=300)
@given(html=PIECES)
def test_all_that_a_reader_sees_is_read_in_its_order(html: str) -> None:
    """However it is dressed and laid out, no character is lost, and none is added."""
    assert "".join(plaintext(html).split()) == "".join(re.sub(r"<[^>]+>", "", html).split())


BROKEN = st.sampled_from(
    [
        "<a href=x:>",
        "</a>",
        '<table role="presentation">',
        "<tr>",
        "<td>",
        "</table>",
        "<!--",
        "<style>",
        "x",
        "&#0;",
        "\0",
    ]
)


@settings(max_examples=300)
@given(html=st.text() | st.lists(BROKEN).map("".join))
def test_any_markup_is_read(html: str) -> None:
    """Templates are written by anyone: what is broken is read as a browser would read it."""
    assert plaintext(html).endswith("\n")
