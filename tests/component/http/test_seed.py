"""The first customer, made once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from ringline import seed
from ringline.customers.passwords import verify_password
from ringline.customers.tables import accesskeys, agents
from ringline.customers.tokens import accesskey_hash, new_accesskey
from ringline.http import utc_now
from ringline.numbers.tables import numbers
from ringline.settings import Settings
from ringline.storage import Database, migrate


def _settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "admin_password": SecretStr("first password"),
        "accesskey": SecretStr("vb_first"),
        "extension_password": SecretStr("x"),
        **changes,
    }
    return Settings(**values)


async def test_it_can_be_run_by_anyone_at_any_time(empty_database_url: str) -> None:
    await migrate.upgrade(empty_database_url)
    database = Database(empty_database_url)
    try:
        ids = await asyncio.gather(*(seed.seed(database, _settings()) for _ in range(3)))
        assert len(set(ids)) == 1
        await _operator_changes(database, ids[0])
        changed = _settings(admin_password=SecretStr("new password"), accesskey=SecretStr(new_accesskey()))
        assert await seed.seed(database, changed) == ids[0]
        await _check_kept_and_taken_over(database, changed)
    finally:
        await database.close()


async def _operator_changes(database: Database, customer_id: UUID) -> None:
    async with database.begin() as connection:
        await connection.execute(
            update(numbers).where(numbers.c.number == "+15552222222").values(tm_delete=utc_now())
        )
        await connection.execute(
            update(numbers).where(numbers.c.number == "+15551234567").values(name="mine")
        )


async def _check_kept_and_taken_over(database: Database, settings: Settings) -> None:
    async with database.connect() as connection:
        rows = (await connection.execute(select(numbers.c.number, numbers.c.name, numbers.c.tm_delete))).all()
        assert len(rows) == 3
        assert {row.number for row in rows if row.tm_delete is not None} == {"+15552222222"}
        assert {row.name for row in rows} == {"mine", ""}
        agent = (await connection.execute(select(agents))).one()
        assert await verify_password(agent.password_hash, "new password")
        assert not await verify_password(agent.password_hash, "first password")
        live = (await connection.execute(select(accesskeys).where(accesskeys.c.tm_delete.is_(None)))).all()
        assert [bytes(row.token_hash) for row in live] == [
            accesskey_hash(settings.accesskey.get_secret_value())
        ]


async def test_it_names_the_setting_that_is_missing(database: Database) -> None:
    with pytest.raises(seed.Incomplete, match="RINGLINE_ACCESSKEY"):
        await seed.seed(database, _settings(accesskey=SecretStr("")))
