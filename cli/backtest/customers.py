"""Customers of a recording: identities that any call names together are one person's, whoever they turn out to be.

The router decides who is who; this only says whose calls must keep their order, so it may join too much but never
too little.
"""

from collections.abc import Sequence

_STRONGEST = "uae"
"""User ids, anonymous ids, e-mail addresses, as the recording's identities begin."""


class Customers:
    """Groups of identities (a disjoint-set forest)."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._parents: list[int] = []

    def of(self, identities: Sequence[str]) -> int:
        """Return a number of whoever has these identities, who are one from now on; `final` makes it comparable."""
        first = self._root(self._number(identities[0]))
        for identity in identities[1:]:
            other = self._root(self._number(identity))
            if other != first:
                first, other = min(first, other), max(first, other)
                self._parents[other] = first
        return first

    def final(self, number: int) -> int:
        """Return the one number of a customer, once everything was read; a negative number stands for nobody."""
        return number if number < 0 else self._root(number)

    def labels(self) -> dict[int, str]:
        """Return what each customer is called: by the first user id, else a browser's, and by an address at worst."""
        labels: dict[int, str] = {}
        for identity, number in self._numbers.items():
            known = labels.get(root := self._root(number))
            if known is None or _STRONGEST.index(identity[0]) < _STRONGEST.index(known[0]):
                labels[root] = identity
        return {root: label[2:] for root, label in labels.items()}

    def _number(self, identity: str) -> int:
        number = self._numbers.setdefault(identity, len(self._parents))
        if number == len(self._parents):
            self._parents.append(number)
        return number

    def _root(self, number: int) -> int:
        while (parent := self._parents[number]) != number:
            self._parents[number] = number = self._parents[parent]
        return number
