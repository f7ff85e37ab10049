"""All rules, in the order of their codes; docs/linting.md explains them."""

from cli.lint import messages, rules
from cli.lint.finding import Finding, Rule
from cli.lint.subject import House

RULES = (
    Rule(
        "J001", "an entry, exit or signal that no fact can ever cause",
        "nobody enters, or a run does not end when it should", rules.unheard_facts,
    ),
    Rule(
        "J002", "a message without a consent topic",
        "it goes to customers who agreed to something else", rules.topicless_messages,
    ),
    Rule(
        "J003", "a step that can never be reached",
        "a message that everybody believes is sent is not", rules.unreachable_steps,
    ),
    Rule(
        "J004", "a cart or browse journey that a purchase does not end",
        "customers are reminded of what they have bought", rules.shopping_without_purchase,
    ),
    Rule(
        "J005", "delays that exceed the journey's own expiry",
        "the last messages come after the run counts as over, when no exit reaches it", rules.delays_beyond_expiry,
    ),
    Rule(
        "J006", "two journeys that can write to one customer in the same minute, without a priority between them",
        "chance decides which message comes first, and the customer gets both", rules.equals_in_the_same_minute,
    ),
    Rule(
        "J007", "a template variable that no fact of the journey provides",
        "the message has a hole in it, every time", messages.unprovided_variables,
    ),
    Rule(
        "J008", "a template that is missing or broken",
        "the message fails, or is not what its author sees", messages.broken_templates,
    ),
)  # fmt: skip


def findings(house: House) -> list[Finding]:
    """Hold journeys, plans and templates against every rule."""
    return [finding for rule in RULES for finding in rule.findings(house)]
