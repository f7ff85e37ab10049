"""What is sent at once is executed in order, in one transaction, and waited for once."""

from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Text, bindparam, cast, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.postgres.at_once import COMMIT, as_store_at_once, asked_at_once, begun, unbegun
from adapters.postgres.tables import customers
from adapters.postgres.tenancy import act_as, as_store
from tests.adapters.postgres.conftest import START
from tests.conftest import Shop

ADA, WHO = UUID(int=1), {"customer_id": UUID(int=1), "created_at": START}
CREATED = insert(customers)
COUNTED = select(customers.c.customer_id)
NO_ADA = """
    create function no_ada() returns trigger language plpgsql as
    $$ begin if new.first_name = 'Ada' then raise integrity_constraint_violation; end if; return null; end $$
"""
WHEN_IT_COMMITS = """
    create constraint trigger no_ada after insert on customers deferrable initially deferred
    for each row execute function no_ada()
"""


@pytest.fixture
async def deferred(engine: AsyncEngine, store: Shop) -> AsyncIterator[None]:
    """A rule that is looked at when a transaction commits, and not before: no customer is called Ada."""
    async with engine.begin() as connection:
        await connection.execute(text("reset role"))
        await connection.execute(text(NO_ADA))
        await connection.execute(text(WHEN_IT_COMMITS))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("reset role"))
        await connection.execute(text("drop function no_ada cascade"))


async def there(engine: AsyncEngine, store_id: str) -> list[UUID]:
    """The customers that are there."""
    async with as_store(engine, store_id) as connection:
        return list((await connection.execute(COUNTED)).scalars())


async def test_each_sees_what_those_before_it_did(engine: AsyncEngine, store: Shop) -> None:
    """They are answered in the order in which they were asked."""
    async with unbegun(engine).begin() as connection:
        *_, before, created, after = await asked_at_once(
            connection, *begun("mugs"), (COUNTED, None), (CREATED, WHO | {"store_id": "mugs"}), (COUNTED, None)
        )

    assert (before, created, [row.customer_id for row in after]) == ([], (), [ADA])
    assert await there(engine, "mugs") == [ADA]


async def test_the_constants_of_a_statement_are_sent_with_its_parameters(engine: AsyncEngine, store: Shop) -> None:
    """A statement that is built of objects keeps some of its values by itself."""
    statement = select(cast("bound", Text).label("constant"), bindparam("told", type_=Text).label("told"))
    async with unbegun(engine).begin() as connection:
        (((row,)),) = await asked_at_once(connection, (statement, {"told": "50 %"}))

    assert (row.constant, row.told) == ("bound", "50 %")


async def test_a_transaction_that_was_begun_at_once_ends_with_its_block(engine: AsyncEngine, store: Shop) -> None:
    """SQLAlchemy commits it, or undoes it, as if it had begun it."""

    async def fail() -> None:
        async with unbegun(engine).begin() as connection:
            await asked_at_once(connection, *begun("mugs"), (CREATED, WHO | {"store_id": "mugs"}))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await there(engine, "mugs") == []


async def test_a_commit_may_be_asked_for_with_the_last_statement(engine: AsyncEngine, store: Shop) -> None:
    """Whatever goes wrong in the block afterwards, it holds."""

    async def fail() -> None:
        async with unbegun(engine).begin() as connection:
            await asked_at_once(connection, *begun("mugs"), (CREATED, WHO | {"store_id": "mugs"}), COMMIT)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await there(engine, "mugs") == [ADA]


async def test_what_is_asked_at_once_sees_one_store(engine: AsyncEngine, store: Shop) -> None:
    """G7: and may not write into another."""
    async with unbegun(engine).connect() as connection:
        with pytest.raises(ProgrammingError, match="row-level security"):
            await asked_at_once(connection, *begun("mugs"), (CREATED, WHO | {"store_id": "other"}))

    assert await there(engine, "other") == []


@pytest.mark.usefixtures("deferred")
@pytest.mark.parametrize(("name", "stays"), [("Grace", [ADA]), ("Ada", [])])
async def test_what_is_sent_as_a_whole_is_one_transaction(engine: AsyncEngine, name: str, stays: list[UUID]) -> None:
    """Nothing begins it: if the commit itself fails, nothing stays, and the connection is not used again."""
    error = None
    try:
        async with as_store_at_once(unbegun(engine), "mugs") as driver:
            await driver.execute(
                "insert into customers (store_id, customer_id, first_name, created_at) values ('mugs', %s, %s, %s)",
                (ADA, name, START),
            )
    except DBAPIError as problem:
        error = problem

    assert await there(engine, "mugs") == stays
    assert (error is None) == bool(stays)


async def test_of_what_is_sent_as_a_whole_nothing_stays_if_the_last_of_it_fails(
    engine: AsyncEngine, store: Shop
) -> None:
    """The first insert went through when the second did not."""
    created = "insert into customers (store_id, customer_id, created_at) values ('mugs', %s, %s)"

    async def twice() -> None:
        async with as_store_at_once(unbegun(engine), "mugs") as driver:
            for _ in range(2):
                await driver.execute(created, (ADA, START))

    with pytest.raises(IntegrityError):
        await twice()
    assert await there(engine, "mugs") == []


async def test_in_the_midst_of_a_transaction_anything_may_be_asked_at_once(engine: AsyncEngine, store: Shop) -> None:
    """Whoever began it commits it, or does not."""
    async with engine.connect() as connection:
        await act_as(connection, "mugs")
        _, seen = await asked_at_once(connection, (CREATED, WHO | {"store_id": "mugs"}), (COUNTED, None))

    assert len(seen) == 1
    assert await there(engine, "mugs") == []


async def test_nothing_is_sent_where_nobody_would_commit_it(engine: AsyncEngine, store: Shop) -> None:
    """A connection of another engine begins a transaction by itself, and its answers look as if all were done."""
    async with engine.connect() as connection:
        with pytest.raises(psycopg.InterfaceError, match="unbegun"):
            await asked_at_once(connection, (COUNTED, None))
