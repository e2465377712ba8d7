"""What Kamailio reads of phones and trunks, and what the controller hears of their registrations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.extensions import ExtensionDirectory, RegistrationDirectory
from ringline.extensions.store import extensions, trunks
from ringline.storage import Database, migrate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Installation:
    """A database with one customer."""

    database: Database
    customer: UUID

    async def execute(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        async with self.database.begin() as connection:
            result = await connection.execute(sa.text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    async def extension(self, name: str, domain: str = "one.sip.test") -> UUID:
        extension_id = uuid4()
        async with self.database.begin() as connection:
            await connection.execute(
                extensions.insert().values(
                    id=extension_id,
                    customer_id=self.customer,
                    extension=name,
                    username=name,
                    domain_name=domain,
                    ha1="0" * 32,
                    tm_create=NOW,
                )
            )
        return extension_id

    async def trunk(self, name: str, **values: Any) -> UUID:
        trunk_id = uuid4()
        async with self.database.begin() as connection:
            await connection.execute(
                trunks.insert().values(
                    id=trunk_id,
                    customer_id=self.customer,
                    domain_name=name,
                    realm=f"{name}.trunk.sip.test",
                    tm_create=NOW,
                    **values,
                )
            )
        return trunk_id

    async def contact(self, name: str, ruid: str, flags: int = 16, expires: str = "1 hour") -> None:
        await self.execute(
            "INSERT INTO kamailio.location (ruid, username, domain, contact, cflags, expires)"
            " VALUES (:ruid, :name, 'one.sip.test', 'sip:x@192.0.2.1', :flags,"
            " (now() AT TIME ZONE 'utc') + CAST(CAST(:expires AS text) AS interval))",
            ruid=ruid,
            name=name,
            flags=flags,
            expires=expires,
        )


@pytest.fixture
async def installation(empty_database_url: str) -> AsyncIterator[Installation]:
    await migrate.upgrade(empty_database_url)
    database = Database(empty_database_url)
    made = Installation(database, uuid4())
    await made.execute(
        "INSERT INTO customers (id, name, domain_label, status, tm_create)"
        " VALUES (:id, 'one', 'one', 'active', now())",
        id=made.customer,
    )
    yield made
    await database.close()


async def test_a_secret_keeps_its_realm_and_who_is_gone_has_none(installation: Installation) -> None:
    first = await installation.extension("alice")
    second = await installation.extension("bob")
    rows = await installation.execute("SELECT * FROM kamailio.subscriber")
    assert {(row["username"], row["domain"], row["kind"], row["account_id"]) for row in rows} == {
        ("alice", "one.sip.test", "extension", str(first)),
        ("bob", "one.sip.test", "extension", str(second)),
    }

    await installation.execute("UPDATE customers SET domain_label = 'new', digest_realm = 'one.sip.test'")
    await installation.execute("UPDATE extensions SET domain_name = 'new.sip.test'")
    await installation.execute("UPDATE extensions SET tm_delete = now() WHERE id = :id", id=second)
    (row,) = await installation.execute("SELECT * FROM kamailio.subscriber")
    assert (row["domain"], row["aor_domain"]) == ("one.sip.test", "new.sip.test")
    (realm,) = await installation.execute("SELECT key_name, key_value FROM kamailio.digest_realms")
    assert realm == {"key_name": "new.sip.test", "key_value": "one.sip.test"}

    await installation.execute("UPDATE customers SET status = 'suspended'")
    assert await installation.execute("SELECT * FROM kamailio.subscriber") == []


async def test_a_trunk_is_known_by_what_its_customer_chose(installation: Installation) -> None:
    both = await installation.trunk(
        "both",
        auth_types=["ip", "basic"],
        allowed_ips=["192.0.2.1", "192.0.2.2"],
        username="both",
        ha1="1" * 32,
    )
    await installation.trunk(
        "password", auth_types=["basic"], username="p", ha1="2" * 32, allowed_ips=["192.0.2.3"]
    )
    await installation.trunk(
        "address", auth_types=["ip"], username="a", ha1="3" * 32, allowed_ips=["192.0.2.4"]
    )
    subscribers = await installation.execute("SELECT username, domain, kind FROM kamailio.subscriber")
    assert {(row["username"], row["domain"]) for row in subscribers} == {
        ("both", "both.trunk.sip.test"),
        ("p", "password.trunk.sip.test"),
    }
    addresses = await installation.execute("SELECT key_name, key_value FROM kamailio.trunk_addresses")
    known = {row["key_name"]: row["key_value"] for row in addresses}
    assert set(known) == {
        "192.0.2.1|both.trunk.sip.test",
        "192.0.2.2|both.trunk.sip.test",
        "192.0.2.4|address.trunk.sip.test",
    }
    assert known["192.0.2.1|both.trunk.sip.test"] == f"{both},{installation.customer}"


async def test_kamailio_gets_types_that_it_can_read(installation: Installation) -> None:
    """``text`` would arrive as a blob, ``bigint`` as no int at all (db_postgres)."""
    rows = await installation.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'kamailio'"
    )
    wrong = [row for row in rows if row["data_type"] in ("text", "bigint", "uuid", "jsonb", "numeric")]
    assert len(rows) > 50
    assert wrong == []


async def test_contacts_come_and_go_in_memory(installation: Installation) -> None:
    alice = await installation.extension("alice")
    bob = await installation.extension("bob")
    await installation.contact("alice", "r1")
    await installation.contact("bob", "old", expires="-1 minute")
    directory = ExtensionDirectory(installation.database)
    registrations = RegistrationDirectory(installation.database, directory)
    await directory.start()
    await registrations.start()
    try:
        assert registrations.kinds(alice) == {"kamailio"}
        assert registrations.kinds(bob) == frozenset()
        assert registrations.kinds(uuid4()) == frozenset()

        await installation.contact("alice", "r2", flags=32)
        await installation.contact("bob", "r3", flags=32)
        await _until(lambda: registrations.kinds(alice) == {"kamailio", "webrtc"})
        await _until(lambda: registrations.kinds(bob) == {"webrtc"})
        assert len(registrations) == 3

        # a refresh says nothing, another kind does
        await installation.execute("UPDATE kamailio.location SET expires = expires + interval '1 hour'")
        await installation.execute("UPDATE kamailio.location SET cflags = 16 WHERE ruid = 'r3'")
        await installation.execute("DELETE FROM kamailio.location WHERE ruid = 'r1'")
        await _until(lambda: registrations.kinds(alice) == {"webrtc"})
        await _until(lambda: registrations.kinds(bob) == {"kamailio"})
        await installation.execute("DELETE FROM kamailio.location")
        await _until(lambda: len(registrations) == 0)
        assert registrations.kinds(alice) == frozenset()
    finally:
        await registrations.close()
        await directory.close()


async def test_what_is_said_while_all_are_read_is_not_lost(installation: Installation) -> None:
    alice = await installation.extension("alice")
    directory = ExtensionDirectory(installation.database)
    await directory.start()
    registrations = RegistrationDirectory(installation.database, directory)
    await registrations.start()
    try:
        for number in range(20):
            reading = asyncio.create_task(registrations.reload())
            await installation.contact("alice", f"n{number}")
            await reading
        await _until(lambda: len(registrations) == 20)
        assert registrations.kinds(alice) == {"kamailio"}
    finally:
        await registrations.close()
        await directory.close()


async def _until(holds: Any, within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.02)
