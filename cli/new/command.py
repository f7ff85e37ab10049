"""`journeys new`: write a journey, its plan, its templates and its test, and register it."""

from typing import Annotated

import typer

from cli.checkout import checkout
from cli.new.choice import exits, fact_named
from cli.new.journey import edited_files, must_be_new, new_files
from cli.new.naming import Name
from cli.new.writing import formatted, write


def new(
    name: Annotated[str, typer.Argument(help="Lower case, with hyphens: first-visit.")],
    entered_by: Annotated[str, typer.Option(help="The fact that begins it.", metavar="FACT")] = "SignedUp",
    ends_by: Annotated[
        list[str] | None,
        typer.Option(help="A fact that ends it, beside a purchase; may be given several times.", metavar="FACT"),
    ] = None,
) -> None:
    """Write a journey that passes `make check` and its own test, in the checkout of the current directory."""
    checked = Name.checked(name)
    root = checkout()
    entry = fact_named(entered_by, "--entered-by")
    ends = exits(entry, [fact_named(fact, "--ends-by") for fact in ends_by or ()])
    added = new_files(checked, entry, ends)
    must_be_new(root, checked, added)
    files = {**added, **edited_files(root, checked, entry)}
    write(root, {file: formatted(root, file, text) for file, text in files.items()})
    for file in files:
        typer.echo(f"{'wrote  ' if file in added else 'changed'} {file}")
    typer.echo(
        f"\nNext: pytest tests/workflows/test_{checked.snake}.py\n"
        f"      say in workflows/{checked.snake}.py and domain/plans/{checked.snake}.py what you mean,\n"
        f"      and in templates/{checked.kebab}/ what the messages say\n"
        f"      journeys lint\n"
        f"      journeys history record {checked.kebab}",
        err=True,
    )
