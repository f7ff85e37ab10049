"""What is read off the HTML of a message: all that its reader sees, however it is dressed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.rendering.plaintext import plaintext

VALUES = st.sampled_from(["7", "https://x.test/", "a>b", "a<b", "a: b=c;", ""])
ATTRIBUTES = st.dictionaries(st.sampled_from(["style", "class", "width", "title", "start", "href"]), VALUES, max_size=3)
TAGS = st.sampled_from(["div", "p", "td", "a", "ol", "li", "h1", "abbr", "pre"])
WORDS = st.sampled_from(["word", "a = b", "a > b", "\n", " "])


def element(tag: str, attributes: dict[str, str], inner: list[str]) -> str:
    dress = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<{tag}{dress}>{''.join(inner)}</{tag}>"


PIECES = st.recursive(WORDS, lambda inside: st.builds(element, TAGS, ATTRIBUTES, st.lists(inside, max_size=4)))


@settings(max_examples=300)
@given(html=PIECES)
def test_how_a_tag_is_dressed_does_not_change_what_is_read(html: str) -> None:
    """Attributes in double quotes are taken off before the parser sees them; in single quotes they are not."""
    assert plaintext(html) == plaintext(html.replace('"', "'"))
