"""Reading a file of customers: CSV with a header, or one JSON object a line; plain or gzipped."""

import contextlib
import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple

from domain.errors import InvalidInput

_GZIP_MAGIC = b"\x1f\x8b"
_LONGEST_HEADER = 1 << 20
LONGEST_LINE = 32 * 1024
"""Of JSON, in characters: what a row stands for is one event, and the API takes none that is longer."""
_LINE_ENDS = ("\n", "\r")


class Row(NamedTuple):
    """One row, not understood yet: the cells of a CSV, or a line of JSON.

    Attributes:
        line: Where it begins in the file, counted from 1.
        content: Of a line that is too long, so much that it shows.
    """

    line: int
    content: Sequence[str] | str


class CustomerFile:
    """A file of customers.

    Attributes:
        header: The names of the columns; None if each line is a JSON object of its own.

    Raises:
        InvalidInput: It cannot be read, or has no header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.size = path.stat().st_size
            with self._opened() as (text, _):
                first = text.readline(_LONGEST_HEADER)
        except (OSError, UnicodeError, EOFError, zlib.error) as problem:
            raise InvalidInput(str(path), f"cannot be read: {problem}") from problem
        self.header = None if first.lstrip().startswith("{") else self._columns(first)

    def fingerprint(self) -> str:
        """Name the content, so that an interrupted import goes on only with the same file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def rows(self, after: int = 0) -> Iterator[tuple[Row, int]]:
        """Read the rows behind a line, each with how many bytes of the file have been read.

        Raises:
            InvalidInput: The file ends in the middle of something, or is no text.
        """
        try:
            with self._opened() as (text, raw):
                rows = self._json(text) if self.header is None else self._csv(text)
                yield from ((row, raw.tell()) for row in rows if row.line > after)
        except (OSError, UnicodeError, EOFError, zlib.error, csv.Error) as problem:
            raise InvalidInput(str(self.path), f"cannot be read: {problem}") from problem

    def _columns(self, first: str) -> list[str]:
        names = next(csv.reader([first]), [])
        if not [name for name in names if name.strip()]:
            raise InvalidInput(str(self.path), "must begin with the names of its columns, or hold JSON objects")
        return [name.strip() for name in names]

    def _csv(self, text: io.TextIOBase) -> Iterator[Row]:
        reader = csv.reader(text, strict=True)
        line = 1 if next(reader, None) is None else reader.line_num + 1
        for cells in reader:
            if cells:
                yield Row(line, cells)
            line = reader.line_num + 1  # a quoted cell may run over several lines

    def _json(self, text: io.TextIOBase) -> Iterator[Row]:
        for line in count(1):
            content = rest = text.readline(LONGEST_LINE + 1)
            if not content:
                return
            while len(rest) > LONGEST_LINE and not rest.endswith(_LINE_ENDS):  # what has no end fills no memory
                rest = text.readline(LONGEST_LINE + 1)
            if not content.isspace():
                yield Row(line, content.rstrip("\r\n"))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[io.TextIOBase, BinaryIO]]:
        with self.path.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            plain = gzip.GzipFile(fileobj=raw) if packed else raw
            yield io.TextIOWrapper(plain, encoding="utf-8-sig", newline=""), raw
