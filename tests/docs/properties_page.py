"""Write docs/properties.md from the tags in the tests: `python -m tests.docs.properties_page`."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "properties.md"
CASES = 100
"""How many cases a property test draws at least."""
_TAG = re.compile(r"Feature: marketing-automation, Property (\d+): ")

TITLES = {
    1: "Contact creation includes required fields",
    2: "Contact updates sync within time limit",
    3: "Newsletter subscription adds to segment",
    4: "Unsubscribe stops all communications",
    5: "Failed sync retries with backoff",
    6: "Product view events tracked",
    7: "Cart events tracked",
    8: "Purchase events tracked",
    9: "Cart abandonment detected",
    10: "Segment membership updates",
    11: "Suppression list respected",
    12: "Flow enrollment on trigger",
    13: "Duplicate enrollment prevented",
    14: "Flow exit on condition",
    15: "Welcome flow enrollment",
    16: "Welcome flow exit on purchase",
    17: "Cart recovery enrollment timing",
    18: "Cart recovery exit on purchase",
    19: "Post-purchase enrollment",
    20: "Win-back enrollment timing",
    21: "SMS opt-in validation",
    22: "SMS opt-out link included",
    23: "SMS opt-out immediate",
    24: "Push permission required",
    25: "Push token removal on revoke",
    26: "Campaign metrics calculated correctly",
    27: "A/B test random assignment",
    28: "A/B test winner selection",
    29: "Personalization fallback",
    30: "Consent timestamp recorded",
    31: "Unsubscribe processed timely",
    32: "Unsubscribe link in emails",
    33: "Back-in-stock notification timing",
    34: "Waitlist removal on purchase",
}
WAITING = {
    2: "waits for the sync with other platforms",
    3: "waits for segments",
    5: "waits for the sync with other platforms",
    10: "waits for segments",
    21: "waits for SMS",
    22: "waits for SMS",
    23: "waits for SMS",
    24: "waits for push",
    25: "waits for push",
    26: "waits for campaigns",
    27: "waits for A/B tests",
    28: "waits for A/B tests",
}

LIMITS = {
    4: "The gate's half. That an unsubscribe silences the address is tested by `tests/api_pages/test_unsubscribe.py`.",
    6: "What is recorded, as for 7 and 8. How soon is no rule: an event is applied when the router comes to it.",
    20: "That an order begins a run which waits for 90 days. The wait itself: `tests/workflows/test_win_back.py`.",
    33: "Lists of up to 21 customers for each unit in stock. A longer one is told in more waves, on purpose.",
}
"""What a tagged test does not show of its property."""


def tagged() -> dict[int, list[tuple[Path, str]]]:
    """The tests of each property.

    Raises:
        ValueError: One draws too few cases.
    """
    found: dict[int, list[tuple[Path, str]]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "Property" not in source or not _TAG.search(source):
            continue
        tree = ast.parse(source)
        drawing_enough = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign) and _enough(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for test in _tests(tree):
            numbers = [int(number) for number in _TAG.findall(ast.get_docstring(test) or "")]
            decorators = test.decorator_list
            enough = any(_enough(d) or (isinstance(d, ast.Name) and d.id in drawing_enough) for d in decorators)
            if numbers and not enough:
                raise ValueError(f"{test.name} draws fewer than {CASES} cases")
            for number in numbers:
                found[number].append((path, test.name))
    return found


def page() -> str:
    """The page."""
    found = tagged()
    rows = []
    for number, title in TITLES.items():
        tests = [f"[{name}](../{path.relative_to(ROOT).as_posix()})" for path, name in found.get(number, [])]
        rows.append(f"| {number} | {title} | {', '.join(tests) or WAITING[number]} |")
    return "\n".join([
        "# Correctness properties",
        "",
        "The properties of the design of marketing automation, and where each is tested. A test is tagged in its",
        f"docstring, `Feature: marketing-automation, Property N: …`, and draws at least {CASES} cases. Written by",
        "`python -m tests.docs.properties_page`; a test fails while this page is not what that writes.",
        "",
        "| | property | tested by |",
        "|---|---|---|",
        *rows,
        "",
        "What these tests leave out:",
        "",
        *(f"- **{number}**: {limit}" for number, limit in LIMITS.items()),
        "",
    ])  # fmt: skip


def _tests(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def _enough(call: ast.expr) -> bool:
    """Tell whether this is `settings(max_examples=N)` with an N that is large enough."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "settings":
        return False
    drawn = [k.value.value for k in call.keywords if k.arg == "max_examples" and isinstance(k.value, ast.Constant)]
    return any(isinstance(number, int) and number >= CASES for number in drawn)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
