"""The plain-text part, read off the HTML when a template does not bring its own."""

import re

from html2text import HTML2Text

_HIDDEN = re.compile(r'<div style="display:none.*?</div>', re.DOTALL)
_UNREAD = re.compile(r"<head>.*?</head>|<!--.*?-->", re.DOTALL)
"""Half of what MJML writes: styles, and tables for Outlook in comments. The parser would go through it for nothing."""
_DRESSED = re.compile(r'<(?!(?:a|abbr|img|ol)\b)([a-z][a-z0-9]*)(?:\s+[\w:-]+="[^"<>]*")+\s*(/?)>')
"""A tag of which only the name matters to a reader: nearly all of its attributes say what it looks like."""
_LINK = re.compile(r"\[(?P<label>[^\[\]]*)\]\((?P<url>https?://[^)\s]+)\)")
_MARKDOWN = re.compile(r"^#+ |\\(?=[-.+])", re.MULTILINE)


def plaintext(html: str) -> str:
    """Return the text of an HTML message for people, not for a Markdown reader: links as `label <url>`."""
    reader = HTML2Text(bodywidth=0)
    reader.ignore_images = True
    reader.ignore_emphasis = True
    reader.ignore_tables = True
    reader.unicode_snob = True
    # The preheader is hidden in HTML; in text it would only repeat the first lines.
    text = _LINK.sub(_written_out, reader.handle(_DRESSED.sub(r"<\1\2>", _shown(html))))
    return tidy(_MARKDOWN.sub("", text))


def _shown(html: str) -> str:
    return _HIDDEN.sub("", _UNREAD.sub("", html), count=1)


def tidy(text: str) -> str:
    """Strip every line, and leave at most one blank line between two others."""
    lines = "\n".join(line.strip() for line in text.replace("\xa0", " ").splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"


def _written_out(link: re.Match[str]) -> str:
    # A linked picture has no label in text; the product's name beside it carries the same link.
    return f"{link['label']} <{link['url']}>" if link["label"].strip() else ""
