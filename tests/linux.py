"""What the Linux can do that the tests run on."""

import os
import re
import sys

from adapters import large_pages


def _moves_into_large_pages() -> bool:
    release = re.match(r"(\d+)\.(\d+)", os.uname().release) if sys.platform == "linux" else None
    return release is not None and (int(release[1]), int(release[2])) >= (6, 1) and large_pages.size() > 0


MOVES_INTO_LARGE_PAGES = _moves_into_large_pages()
