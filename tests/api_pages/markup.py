"""Read a page as a browser and a screen reader would."""

from html.parser import HTMLParser

_VOID = {"meta", "input", "link", "br", "img", "hr"}


class Markup(HTMLParser):
    """What stands on a page; parsing fails if the tags do not nest.

    Attributes:
        tags: Every element with its attributes, in order.
        texts: The text by element name, style sheets excluded.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute stands twice on <{tag}>"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def chosen(self, name: str) -> str:
        """Return the value that a list shows."""
        within, shown = "", []
        for tag, attributes in self.tags:
            within = attributes["name"] if tag == "select" else within
            if tag == "option" and within == name:
                shown.append(attributes)
        return next((one["value"] for one in shown if "selected" in one), shown[0]["value"])

    @property
    def fields(self) -> list[dict[str, str]]:
        """What a person can fill in."""
        inputs = [one for one in self.all("input") if one.get("type") != "hidden"]
        return inputs + self.all("select")

    @property
    def ticked(self) -> set[str]:
        """The names of the ticked boxes."""
        return {box["name"] for box in self.all("input") if "checked" in box}
