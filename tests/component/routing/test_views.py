"""What Kamailio reads: its views, in a real PostgreSQL, as its own role sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError

from ringline.routing import DEFAULT_CUSTOMER_ID, ProviderFields, RouteFields, Source, seed, store
from ringline.routing.seed import SANDBOX_PROVIDER_ID, SANDBOX_ROUTE_ID
from ringline.settings import Settings
from ringline.storage import Database, migrate

PASSWORD = "kamailio-password-0123456789"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def routing(empty_database_url: str) -> AsyncIterator[Database]:
    await migrate.upgrade(empty_database_url)
    database = Database(empty_database_url)
    yield database
    await database.close()


async def provider(database: Database, name: str, **fields: object) -> UUID:
    provider_id = uuid4()
    values = {"name": name, "hostname": f"{name}.example.org", **fields}
    async with database.begin() as connection:
        await store.insert_provider(connection, provider_id, ProviderFields(**values), NOW)  # type: ignore[arg-type]
    return provider_id


async def route(
    database: Database, target: str, providers: Iterable[UUID], customer: UUID = DEFAULT_CUSTOMER_ID
) -> None:
    for priority, provider_id in enumerate(providers):
        fields = RouteFields(provider_id=provider_id, target=target, priority=priority, customer_id=customer)
        async with database.begin() as connection:
            await store.insert_route(connection, uuid4(), fields, NOW)


async def rules(database: Database, customer: UUID = DEFAULT_CUSTOMER_ID) -> dict[str, list[str]]:
    """The names of the providers per prefix, in the order drouting tries them."""
    async with database.connect() as connection:
        group = await connection.scalar(
            sa.select(store.routing_groups.c.key).where(store.routing_groups.c.customer_id == customer)
        )
        names = {str(row.key): row.name for row in await connection.execute(sa.select(store.providers))}
        found = await connection.execute(
            sa.text("SELECT prefix, gwlist FROM kamailio.dr_rules WHERE groupid = :group"),
            {"group": str(group)},
        )
        return {row.prefix: [names[key] for key in row.gwlist.split(",")] for row in found}


async def test_a_customers_routes_come_first_and_longer_targets_before_shorter(routing: Database) -> None:
    a, b, c, d = [await provider(routing, name) for name in "abcd"]
    customer = uuid4()
    await route(routing, "all", [a, b])
    await route(routing, "+82", [c])
    assert await rules(routing) == {"": ["a", "b"], "+82": ["c", "a", "b"]}

    await route(routing, "+821", [d], customer)
    await route(routing, "all", [b], customer)
    assert await rules(routing, customer) == {
        "": ["b", "a"],
        "+82": ["b", "c", "a"],
        "+821": ["d", "b", "c", "a"],
    }
    # Nobody else notices.
    assert await rules(routing) == {"": ["a", "b"], "+82": ["c", "a", "b"]}


async def test_a_provider_is_tried_once_at_its_best_place(routing: Database) -> None:
    a, b = [await provider(routing, name) for name in "ab"]
    await route(routing, "+1", [a, b, a])
    await route(routing, "all", [b, a])
    assert await rules(routing) == {"+1": ["a", "b"], "": ["b", "a"]}


async def test_what_is_deleted_is_not_routed(routing: Database) -> None:
    a, b = [await provider(routing, name) for name in "ab"]
    await route(routing, "all", [a, b])
    async with routing.begin() as connection:
        await store.delete_provider(connection, a, NOW)
    assert await rules(routing) == {"": ["b"]}
    async with routing.begin() as connection:
        for each in await store.select_routes(connection):
            await store.delete_route(connection, each.id, NOW)
    assert await rules(routing) == {}


async def test_gateways_are_written_as_drouting_reads_them(routing: Database) -> None:
    made = [
        await provider(routing, "plain"),
        await provider(routing, "dns", port=0, transport="tcp", tech_prefix="9#", tech_postfix="*1"),
        await provider(routing, "six", hostname="2001:db8::7", port=5070),
    ]
    async with routing.connect() as connection:
        rows = (await connection.execute(sa.text("SELECT * FROM kamailio.dr_gateways ORDER BY gwid"))).all()
    assert [(row.address, row.pri_prefix) for row in rows] == [
        ("plain.example.org:5060", ""),
        ("dns.example.org;transport=tcp", "9#"),
        ("[2001:db8::7]:5070", ""),
    ]
    assert [row.attrs for row in rows] == [
        f"provider={made[0]}",
        f"provider={made[1]};postfix=*1",
        f"provider={made[2]}",
    ]


async def test_no_column_has_a_type_that_kamailio_takes_for_a_blob(routing: Database) -> None:
    async with routing.connect() as connection:
        found = await connection.execute(
            sa.text(
                "SELECT table_name, data_type FROM information_schema.columns WHERE table_schema = 'kamailio'"
            )
        )
        rows = found.all()
    assert {row.data_type for row in rows if row.table_name != "location"} == {"character varying", "integer"}
    # Kamailio writes this one itself, in types of its own choice: DATETIME and DOUBLE.
    own = {"timestamp without time zone", "real", "character varying", "integer"}
    assert {row.data_type for row in rows if row.table_name == "location"} <= own


async def test_kamailio_sees_its_views_and_nothing_else(routing: Database, empty_database_url: str) -> None:
    async with routing.begin() as connection:
        await seed(connection, Settings(kamailio_db_password=SecretStr(PASSWORD), carrier_sip_port=5999))
    url = sa.make_url(empty_database_url)
    login = await asyncpg.connect(
        host=url.host, port=url.port, database=url.database, user="kamailio", password=PASSWORD
    )
    try:
        (address,) = await login.fetch("SELECT ip_addr, mask, port, grp, tag FROM address")
        assert tuple(address) == ("127.0.0.1", 32, 5999, 1, str(SANDBOX_PROVIDER_ID))
        assert [row["gwlist"] for row in await login.fetch("SELECT gwlist FROM dr_rules")] == ["1"]
        for forbidden in (
            "SELECT * FROM public.providers",
            "SELECT * FROM public.customers",
            "DELETE FROM dr_gateways",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await login.fetch(forbidden)
    finally:
        await login.close()


async def test_the_seed_is_sown_once_and_follows_the_carriers_address(routing: Database) -> None:
    async def sow(port: int) -> None:
        async with routing.begin() as connection:
            await seed(connection, Settings(carrier_sip_port=port))

    await sow(5090)
    await sow(5091)
    async with routing.begin() as connection:
        (sandbox,) = await store.select_providers(connection)
        assert (sandbox.name, sandbox.port, sandbox.sources) == (
            "sandbox",
            5091,
            (Source.parse("127.0.0.1:5091"),),
        )
        assert len(await store.select_routes(connection)) == 1
        # What an administrator took away stays away.
        await store.delete_route(connection, SANDBOX_ROUTE_ID, NOW)
        await store.delete_provider(connection, SANDBOX_PROVIDER_ID, NOW)
    await sow(5092)
    async with routing.connect() as connection:
        assert await store.select_providers(connection) == []
        assert await store.select_routes(connection) == []


async def test_two_providers_cannot_send_from_the_same_address(routing: Database) -> None:
    await provider(routing, "a", sources=(Source.parse("203.0.113.7:5060"),))
    await provider(routing, "b", sources=(Source.parse("203.0.113.7:5070"),))
    with pytest.raises(IntegrityError):
        await provider(routing, "c", sources=(Source.parse("203.0.113.7:5060"),))


async def test_what_else_kamailio_knows_of_a_provider_and_its_secrets_apart(routing: Database) -> None:
    plain = await provider(routing, "plain", health_check=False)
    full = await provider(
        routing,
        "full",
        transport="tls",
        tech_prefix="9#",
        tech_headers={"X-B": "2", "X-A": "1;x"},
        codecs="PCMA,opus",
        username="alice",
        password="s3cret",
        registration=True,
        registration_expires=60,
    )
    gone = await provider(routing, "gone", username="bob", password="x", registration=True)

    async def table(name: str) -> dict[str, str]:
        async with routing.connect() as connection:
            found = await connection.execute(sa.text(f"SELECT key_name, key_value FROM kamailio.{name}"))
            return {row.key_name: row.key_value for row in found}

    async with routing.begin() as connection:
        await store.delete_provider(connection, gone, NOW)
    assert await table("provider_settings") == {
        f"{plain}::address": "plain.example.org:5060",
        f"{full}::address": "full.example.org:5060;transport=tls",
        f"{full}::prefix": "9#",
        f"{full}::headers": "X-A: 1;x\r\nX-B: 2\r\n",
        f"{full}::codecs": "PCMA,opus",
        f"{full}::contact": full.hex,
        f"{full}::health": "1",
        "checked": str(full),
    }
    assert await table("provider_secrets") == {f"{full}::username": "alice", f"{full}::password": "s3cret"}
    async with routing.connect() as connection:
        (row,) = await store.select_registrations(connection)
    assert (row["l_uuid"], row["r_username"], row["r_domain"]) == (full.hex, "alice", "full.example.org")
    assert (row["auth_proxy"], row["expires"]) == ("sip:full.example.org:5060;transport=tls", 60)
