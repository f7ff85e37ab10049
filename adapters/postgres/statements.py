"""Statements that are built once and executed with the values of the day.

SQLAlchemy compiles a statement once, but building one of objects, and finding out that it is one it knows, takes longer
than sending it (docs/performance.md). What a hot path says is therefore built
the first time it is said, by a function that is handed placeholders instead of values.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, wraps
from inspect import Parameter, signature
from typing import Any, ParamSpec, TypeVar, cast, get_args, get_origin
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    DateTime,
    Executable,
    Interval,
    Select,
    Subquery,
    Table,
    TableValuedAlias,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, Insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import TypeEngine

P = ParamSpec("P")
S = TypeVar("S", bound=Executable)

_TYPES: dict[Any, TypeEngine[Any]] = {
    str: Text(),
    UUID: Uuid(),
    datetime: DateTime(timezone=True),
    timedelta: Interval(),
    int: BigInteger(),
    bool: Boolean(),
}


def built_once(build: Callable[P, S]) -> Callable[P, tuple[S, dict[str, Any]]]:
    """Build a statement at the first call, of placeholders, and pair it with the arguments at each.

    The function must be straight: it may not look at its arguments, nor be different the next time. They are
    annotated with a type that a column can have, or a `list` of one: an array, so that any number is one statement.

    Returns:
        What `connection.execute(*statement(...))` takes.
    """
    parameters = signature(build).parameters

    @cache
    def built() -> S:
        placeholders: Any = {name: _placeholder(parameter) for name, parameter in parameters.items()}
        return cast("Callable[..., S]", build)(**placeholders)

    names = [_bound(name) for name in parameters]

    @wraps(build)
    def bind(*args: P.args, **kwargs: P.kwargs) -> tuple[S, dict[str, Any]]:
        values = dict(zip(names, args, strict=False))
        values.update((_bound(name), value) for name, value in kwargs.items())
        return built(), values

    return bind


def one_of(column: ColumnElement[Any], values: list[Any]) -> ColumnElement[bool]:
    """Say that a column has one of the values of an array: `in_` for a statement that is built once."""
    placeholder: Any = values
    return column == any_(placeholder)


def looked_up(one: Select[Any], each: TableValuedAlias) -> Subquery:
    """Look up one row for each of what an array holds, in its order, as if each had been asked for by itself.

    With `= any(…)` or a join Postgres may rather read the whole table: it was small when the plan was made, or has
    grown since it was analysed (docs/adr/0046-plans-from-the-start.md).

    Args:
        one: Finds the row, by values of `each`.
        each: The array, as a table.
    """
    found = one.limit(1).correlate(each).lateral("found")
    return select(found).select_from(each.join(found, true())).subquery("looked_up")


def any_of(query: Select[Any], *more: Any) -> ColumnElement[Any]:
    """Say that a column equals one of what a query of one column finds, which Postgres then looks up in an index.

    Args:
        query: Finds values.
        more: Further values.
    """
    several = ARRAY(query.selected_columns[0].type)
    found: ColumnElement[Any] = func.array(query.scalar_subquery(), type_=several)
    for value in more:
        found = func.array_append(found, value, type_=several)
    return any_(found)


@cache
def put(table: Table, key: tuple[str, ...], values: tuple[str, ...]) -> Insert:
    """Return the statement that inserts a row or updates the columns `values` of the one with its `key`.

    It is executed with the row as its parameters, which must have these columns and no other.
    """
    statement = upsert(table)
    changes = {name: statement.excluded[name] for name in values}
    return statement.on_conflict_do_update(index_elements=[table.c[name] for name in key], set_=changes)


def _placeholder(parameter: Parameter) -> BindParameter[Any]:
    kind = parameter.annotation
    if get_origin(kind) is list:
        (of,) = get_args(kind)
        return bindparam(_bound(parameter.name), type_=ARRAY(_TYPES[of]))
    return bindparam(_bound(parameter.name), type_=_TYPES[kind])


def _bound(name: str) -> str:
    """Name a placeholder; the names of columns are taken where a statement writes them."""
    return f"{name}_"
