"""Names: what a journey's one name becomes in files, classes and sentences."""

import builtins
import keyword
import re
from dataclasses import dataclass

from domain import facts
from domain.errors import InvalidInput

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 38
"""A step is called like its journey and a number, and its name may have 40 characters."""
_IN_USE = {*vars(builtins), *vars(facts), "ClassVar", "Entry", "Journey", "Outcome", "PinnedPlan", "Snapshot"}
"""What the file of a journey calls by a name already."""


@dataclass(frozen=True)
class Name:
    """A journey's name, such as `first-visit`."""

    kebab: str

    @classmethod
    def checked(cls, text: str) -> "Name":
        """Check a name.

        Raises:
            InvalidInput: It cannot be the name of a journey.
        """
        if not _NAME.fullmatch(text) or len(text) > _LONGEST:
            raise InvalidInput(
                "name", f"must be up to {_LONGEST} of a-z, 0-9 and single hyphens, and begin with a letter: first-visit"
            )
        name = cls(text)
        if keyword.iskeyword(name.snake) or _IN_USE & {name.snake, name.camel, f"{name.camel}Plan"}:
            raise InvalidInput("name", f"{text!r} means something else in the code; say more: {text}-reminder")
        return name

    @property
    def snake(self) -> str:
        """As modules are called."""
        return self.kebab.replace("-", "_")

    @property
    def camel(self) -> str:
        """As classes are called."""
        return "".join(part.capitalize() for part in self.kebab.split("-"))

    @property
    def title(self) -> str:
        """As people call it."""
        return self.kebab.replace("-", " ").capitalize()
