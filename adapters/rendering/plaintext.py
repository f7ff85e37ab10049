"""The plain-text part, read off the HTML when a template does not bring its own (docs/adr/0040-turbohtml.md)."""

import re

import turbohtml

_HIDDEN = 'div[style^="display:none"]'
"""The preheader: in text it would only repeat the first lines."""
_TABLE = 'table[role="presentation"]'
_LAYOUT = f"{_TABLE}, {_TABLE} > *, {_TABLE} > * > tr, {_TABLE} > * > tr > *"
_LINK = 'a[href*=":"]'
"""One that leads somewhere from outside of the page."""


def plaintext(html: str) -> str:
    """Return the text of an HTML message as people write it: links as `label <url>`."""
    page = turbohtml.parse(html)
    page.remove(_HIDDEN)
    for part in page.select(_LAYOUT):
        part.tag = "div"  # or else its cells would stand side by side in columns
    for link in page.select(_LINK):
        url, label = link.attr("href"), link.text.strip()
        # A linked picture has no label in text; the product's name beside it carries the same link.
        if label and label != url:
            link.append(turbohtml.Text(f" <{url}>"))
    return tidy(page.to_text())


def tidy(text: str) -> str:
    """Strip every line, and leave at most one blank line between two others."""
    lines = "\n".join(line.strip() for line in text.replace("\xa0", " ").splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"
