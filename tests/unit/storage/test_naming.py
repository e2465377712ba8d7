"""Where a statement says whose rows it is about."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg

from ringline.cdrs.models import CdrFilter
from ringline.cdrs.store import listing as cdr_listing
from ringline.cdrs.tables import cdrs
from ringline.customers.tables import customers
from ringline.numbers.tables import numbers
from ringline.storage import bulk
from ringline.storage.naming import naming

OWN, OTHER, ROW = uuid4(), uuid4(), uuid4()
TABLES = ("numbers", "customers", "calls", "cdrs")
_N, _C = numbers.c, customers.c
MINE, THE_ROW = _N.customer_id == OWN, _N.id == ROW
_OWN_ROW = {"id": ROW, "customer_id": OWN, "number": "+12025550100", "type": "normal"}


def sent(statement: Any) -> tuple[str, list[Any]]:
    """The text and the values that the driver gets."""
    compiled = statement.compile(dialect=asyncpg(), compile_kwargs={"render_postcompile": True})
    return str(compiled), [compiled.params[name] for name in compiled.positiontup]


def names(statement: Any, customer_id: UUID = OWN) -> bool:
    text, values = sent(statement)
    found = naming(text, TABLES)
    assert found is not None, text
    return found.names(customer_id, values)


def text(words: str, **values: Any) -> sa.TextClause:
    return sa.text(words).bindparams(**values)


@pytest.mark.parametrize(
    "statement",
    [
        sa.select(numbers).where(MINE, THE_ROW),
        sa.select(_N.number).where(THE_ROW).where(sa.literal(OWN, sa.Uuid) == _N.customer_id),
        sa.select(numbers).where(_N.customer_id.in_([OWN])),
        sa.select(numbers).where(_N.customer_id == sa.any_(sa.literal([OWN], sa.ARRAY(sa.Uuid)))),
        sa.select(numbers).where(_N.customer_id == sa.cast(sa.literal(str(OWN), sa.Text), sa.Uuid)),
        sa.select(sa.exists().where(MINE)),
        sa.select(sa.select(sa.func.count()).where(MINE).scalar_subquery()),
        sa.select(sa.select(numbers).where(MINE).subquery("page")),
        sa.select(sa.select(numbers).where(MINE).cte("page")),
        sa.select(numbers).join(customers, _C.id == _N.customer_id).where(_C.id == OWN),
        sa.update(numbers).where(MINE, THE_ROW).values(name="x").returning(numbers),
        sa.delete(numbers).where(THE_ROW, MINE),
        sa.insert(numbers).values(_OWN_ROW).returning(numbers),
        sa.insert(numbers).values([_OWN_ROW, {**_OWN_ROW, "id": uuid4()}]),
        postgresql.insert(numbers)
        .values(_OWN_ROW)
        .on_conflict_do_update(index_elements=["id"], set_={"name": "x"}),
        sa.select(customers).where(_C.id == OWN),
        sa.insert(customers).values(id=OWN, name="x"),
        text("SELECT email FROM customers WHERE id = :id", id=OWN),
        text("UPDATE customers SET name = 'id = x' WHERE id = CAST(:id AS uuid)", id=str(OWN)),
        text("SELECT 1 FROM numbers WHERE :own = customer_id", own=OWN),
        bulk.insert(numbers, ("id", "customer_id")).bindparams(rows0=f'[{{"customer_id": "{OWN}"}}]'),
    ],
    ids=str,
)
def test_what_says_whose_rows_it_is_about(statement: Any) -> None:
    assert names(statement)
    assert not names(statement, OTHER), "the same with another one's id"


@pytest.mark.parametrize(
    "statement",
    [
        sa.select(numbers).where(THE_ROW),
        # the customer's id is among the values, but says nothing of the rows
        sa.select(_N.customer_id, sa.literal(OWN, sa.Uuid)).where(THE_ROW),
        sa.select(MINE.label("mine")).where(THE_ROW),
        sa.select(numbers).where(_N.id == OWN),
        sa.select(numbers).where(_N.customer_id != OWN),
        sa.select(numbers).where(_N.customer_id.not_in([OWN])),
        sa.select(numbers).where(THE_ROW).order_by(MINE),
        sa.select(numbers, sa.exists().where(cdrs.c.customer_id == OWN).label("has")).where(THE_ROW),
        sa.update(numbers).where(THE_ROW).values(customer_id=OWN),
        sa.update(numbers)
        .where(THE_ROW)
        .values(
            detail=sa.select(sa.func.max(cdrs.c.source)).where(cdrs.c.customer_id == OWN).scalar_subquery()
        ),
        sa.delete(numbers).where(THE_ROW).returning(MINE),
        sa.insert(numbers).values({**_OWN_ROW, "id": OWN, "customer_id": OTHER}),
        text("SELECT 'customer_id = $1' FROM numbers WHERE name = :own", own=str(OWN)),
        text("SELECT name FROM numbers WHERE id = :id", id=OWN),
        text(
            "SELECT name FROM numbers WHERE id = :id AND EXISTS (SELECT FROM customers WHERE id = customer_id)",
            id=OWN,
        ),
        bulk.update(numbers, ("name",)).bindparams(rows0=f'[{{"id": "{ROW}", "name": "{OWN}"}}]'),
        bulk.insert(numbers, ("id", "customer_id")).bindparams(
            rows0=f'[{{"name": {{"customer_id": "{OWN}"}}}}]'
        ),
        bulk.insert(numbers, ("id", "customer_id")).bindparams(rows0="[]"),
        bulk.insert(numbers, ("id", "customer_id")).bindparams(rows0='"customer_id"'),
    ],
    ids=str,
)
def test_what_has_forgotten_whose_rows_it_is_about(statement: Any) -> None:
    assert not names(statement)


@pytest.mark.parametrize(
    "statement",
    [
        sa.select(numbers).where(_N.customer_id == OTHER),
        sa.select(numbers).where(sa.or_(MINE, _N.customer_id == OTHER)),
        sa.select(numbers).where(_N.customer_id.in_([OWN, OTHER])),
        sa.select(numbers).where(_N.customer_id == sa.any_(sa.literal([OWN, OTHER], sa.ARRAY(sa.Uuid)))),
        sa.select(numbers).where(_N.customer_id == sa.any_(sa.literal([], sa.ARRAY(sa.Uuid)))),
        sa.insert(numbers).values([_OWN_ROW, {**_OWN_ROW, "customer_id": OTHER}]),
        bulk.insert(numbers, ("id", "customer_id")).bindparams(
            rows0=f'[{{"customer_id": "{OWN}"}}, {{"customer_id": "{OTHER}"}}]'
        ),
        # of a row's own words nothing is believed
        bulk.insert(numbers, ("id", "customer_id", "name")).bindparams(
            rows0=f'[{{"customer_id": "{OTHER}", "name": "{OWN}"}}]'
        ),
    ],
    ids=str,
)
def test_another_ones_id_is_not_enough(statement: Any) -> None:
    assert not names(statement)


def test_the_lines_of_an_export_are_one_customers() -> None:
    part = cdr_listing(OWN, CdrFilter()).order_by(cdrs.c.tm_create).limit(10).cte("part")
    assert names(
        sa.select(sa.func.count(), sa.select(part.c.id).limit(1).scalar_subquery()).select_from(part)
    )


def test_many_rows_that_are_given_back_in_order() -> None:
    """As SQLAlchemy sends them (``insertmanyvalues``)."""
    words = (
        "INSERT INTO numbers (id, customer_id) SELECT p0::UUID, p1::UUID FROM (VALUES ($1::UUID, $2::UUID, 0), "
        "($3::UUID, $4::UUID, 1)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING numbers.id"
    )
    found = naming(words, TABLES)
    assert found is not None
    assert found.names(OWN, [ROW, OWN, uuid4(), OWN])
    assert not found.names(OWN, [OWN, OWN, OWN, OTHER])


@pytest.mark.parametrize(
    "words", ["SELECT 1", "SELECT 'numbers'", "DELETE FROM number_port_numbers WHERE port_id = $1"]
)
def test_what_no_customer_has_is_nobodys(words: str) -> None:
    assert naming(words, TABLES) is None
