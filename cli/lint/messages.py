"""The rules about what messages say: variables that a journey's facts provide, and templates that render."""

from collections.abc import Iterable, Iterator
from typing import Any

from liquid import BoundTemplate, RenderContext
from liquid.ast import Node
from liquid.builtin.expressions import Path as VariablePath
from liquid.expression import Expression

from adapters.rendering.environment import environment
from adapters.rendering.lint import problems
from cli.lint.finding import Place
from cli.lint.subject import House, Subject, shown
from domain.facts import ConsentPending, Fact
from domain.plans import Step

ALWAYS = frozenset({
    "store", "first_name", "last_name", "journey", "step", "transactional", "currency", "locale", "recommended",
    "subject", "pixel_url",
})  # fmt: skip
MARKETING = frozenset({"unsubscribe_url", "preferences_url"})
CODE = frozenset({"discount_code"})
CART = frozenset({"lines", "total", "checkout_url"})
ORDER = frozenset({"order_id", "lines", "total"})
PRODUCT = frozenset({"product"})
CONFIRMATION = frozenset({"confirm_url"})
"""What the material of a message about a product holds, and so on (adapters/postgres/material.py)."""


def unprovided_variables(house: House) -> Iterator[Place]:
    """J007."""
    env = environment(house.templates, escape=True)
    for subject in house.subjects:
        for step in subject.steps:
            provided = provided_by(subject, step)
            for file in sorted((house.templates / step.template).glob("[bst]*.*")):
                if file.suffix not in {".mjml", ".liquid"}:
                    continue
                used = unguarded(env.get_template(f"{step.template}/{file.name}"))
                for name in sorted(used - provided):
                    problem = f"message {step.name} uses {name}, which nothing provides in {subject.name}"
                    fix = f"Take {name} out of the template, or put an `if {name}` around it."
                    yield shown(file), subject.name, problem, fix


def broken_templates(house: House) -> Iterator[Place]:
    """J008."""
    seen: set[str] = set()
    for subject in house.subjects:
        for step in subject.steps:
            if step.template in seen:
                continue
            seen.add(step.template)
            folder = house.templates / step.template
            if not folder.is_dir():
                fix = f"Add the folder {shown(folder)}, or name one that is there."
                yield subject.plan_file, subject.name, f"message {step.name} has no template {step.template}", fix
                continue
            for problem in problems(house.templates, step.template):
                fix = "Change the file; `journeys lint` says when it is right."
                yield shown(folder), subject.name, problem.removeprefix(f"{step.template}: "), fix


def provided_by(subject: Subject, step: Step) -> frozenset[str]:
    """Return the variables that a message of a journey can have."""
    provided = ALWAYS | (frozenset() if step.transactional else MARKETING)
    if step.discount_code or step.discount_pool:
        provided |= CODE
    for fact in subject.journey.entered_by:
        provided |= _told_by(fact)
    return provided


def _told_by(fact: type[Fact]) -> frozenset[str]:
    if fact is ConsentPending:
        return CONFIRMATION
    order, product = (fact.model_fields.get(name) for name in ("order_id", "product_id"))
    told = (ORDER if order else frozenset()) | (PRODUCT if product else frozenset())
    without = not any(field is not None and field.is_required() for field in (order, product))
    return told | CART if without else told


def unguarded(template: BoundTemplate) -> set[str]:
    """Return the variables that a template uses where no `if` asks for them first."""
    context = RenderContext(template)
    return set(_used(template.nodes, context, frozenset()))


def _used(nodes: Iterable[Node], context: RenderContext, known: frozenset[str]) -> Iterator[str]:
    for node in nodes:
        asked = _asked(node)
        inside = known | {str(name) for name in (*node.block_scope(), *node.template_scope())} | asked
        for expression in node.expressions():
            yield from _variables(expression) - inside
        # Partials see only what they are given; the layout is every journey's.
        yield from _used(node.children(context, include_partials=False), context, inside)


def _asked(node: Node) -> frozenset[str]:
    """Return the variables that the condition of a node asks for."""
    condition: Any = getattr(node, "condition", None) or (
        getattr(node, "expression", None) if type(node).__name__ == "ConditionalBlockNode" else None
    )
    return frozenset(_variables(condition)) if isinstance(condition, Expression) else frozenset()


def _variables(expression: Expression) -> set[str]:
    found = {str(expression.path[0])} if isinstance(expression, VariablePath) else set()
    return found.union(*(_variables(child) for child in expression.children()))
