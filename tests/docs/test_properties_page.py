"""docs/properties.md says where each correctness property is tested, and does not say more than that."""

from tests.docs.properties_page import PAGE, TITLES, WAITING, page, tagged


def test_the_page_is_what_the_tags_in_the_tests_say() -> None:
    """Written anew by `python -m tests.docs.properties_page`."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_each_property_is_tested_or_waits_for_something() -> None:
    """And not both: what is tested waits no longer."""
    assert set(tagged()) == set(TITLES) - set(WAITING)
