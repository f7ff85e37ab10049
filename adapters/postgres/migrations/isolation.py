"""What migrations say about tenants: every table of ours is isolated in the migration that makes it.

This text is part of all migrations that use it; change what it does by a new migration only.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op
from sqlalchemy.exc import ProgrammingError

from adapters.postgres.tenancy import ACROSS, APP, STORE
from domain.errors import ConfigurationError

_ROLES = (APP, ACROSS)
_FORBIDDEN = "42501"
_AS = "with inherit false, set true"
"""To be taken, not had: who inherited a role would see what it sees without having said so."""


def isolate(table: str) -> None:
    """Let the application see of a table what is one store's: `store_id` decides, and binds the table's owner too.

    The partitions of a table need nothing: they are reached through it, by its policy, and nobody is granted more.
    """
    # Equal, and nothing cleverer: the planner then compares the setting once with a query's own store_id.
    mine = f"store_id = current_setting('{STORE}', true)"
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    op.execute(f"create policy own_store on {table} to {APP} using ({mine}) with check ({mine})")
    op.execute(f"grant select, insert, update, delete on {table} to {APP}")


def read_across(table: str, *columns: str) -> None:
    """Let the rows of all stores be read where there is no store yet (`tenancy.across_stores`).

    Args:
        table: An isolated one.
        columns: Only those; all if none is named.
    """
    some = f" ({', '.join(columns)})" if columns else ""
    op.execute(f"create policy across_stores on {table} for select to {ACROSS} using (true)")
    op.execute(f"grant select{some} on {table} to {ACROSS}")


@contextmanager
def every_row(table: str) -> Iterator[None]:
    """Let the block change the rows of all stores; without it a migration that reads them is refused."""
    op.execute(f"alter table {table} no force row level security")
    yield
    op.execute(f"alter table {table} force row level security")


def make_roles() -> None:
    """Make the roles of `adapters.postgres.tenancy`, or use those that somebody has made.

    Raises:
        ConfigurationError: The user may not make them, may not take them, or they would see everything.
    """
    bind, preparer = op.get_bind(), op.get_bind().dialect.identifier_preparer
    user = preparer.quote(str(bind.exec_driver_sql("select current_user").scalar()))
    try:
        for role in _ROLES:
            # Roles are the server's, not the database's: another database of ours may have made them, even just now.
            op.execute(f"""
                do $$ begin
                    if not exists (select from pg_roles where rolname = '{role}') then
                        create role {role} nologin;
                    end if;
                exception when duplicate_object or unique_violation then null;
                end $$
            """)
            if not _may_take(role):
                op.execute(f"grant {role} to {user} {_AS}")
    except ProgrammingError as problem:
        if getattr(problem.orig, "sqlstate", None) != _FORBIDDEN:
            raise
        make = "; ".join(f"create role {role} nologin" for role in _ROLES)
        raise ConfigurationError(
            f"the user of DATABASE_URL may not make roles. Have somebody who may do so: {make}; "
            f"grant {', '.join(_ROLES)} to {user} {_AS}; and migrate again"
        ) from problem
    unbound = "select string_agg(rolname, ', ') from pg_roles where rolname = any(%s) and (rolsuper or rolbypassrls)"
    if found := bind.exec_driver_sql(unbound, ([*_ROLES],)).scalar():
        raise ConfigurationError(f"no policy binds {found}: alter role … nosuperuser nobypassrls")
    schema = preparer.quote(str(bind.exec_driver_sql("select current_schema()").scalar()))
    op.execute(f"grant usage on schema {schema} to {', '.join(_ROLES)}")


def _may_take(role: str) -> bool:
    """Try: what a membership allows differs between versions of Postgres."""
    try:
        with op.get_bind().begin_nested():
            op.execute(f"set local role {role}")
            op.execute("set local role none")
    except ProgrammingError as problem:
        if getattr(problem.orig, "sqlstate", None) != _FORBIDDEN:
            raise
        return False
    return True
