"""Customers as the installation's administrator sees them: made, changed, frozen, recovered, deleted for good."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

from ringline import cli, log, schema, settings
from ringline.belongings import HISTORY, Belongs, belongings
from ringline.clock import SystemClock
from ringline.customers.removal import Part, Removal, each, marked
from ringline.customers.tables import accesskeys, agents, customers
from ringline.http import utc_now
from ringline.numbers.tables import numbers

from .conftest import ADMIN_PASSWORD, Api
from .test_signup import link, login, mailbox, post


@pytest.fixture
async def operator(api: Api) -> str:
    return await login(api, "admin", ADMIN_PASSWORD)


async def make(api: Api, operator: str, **more: Any) -> dict[str, Any]:
    body = {"name": "Ada Ltd", "email": f"{uuid4().hex}@example.com", **more}
    status, made = await api.call("POST", "/v1.0/customers", key=operator, json=body)
    assert status == 200, made
    found: dict[str, Any] = made
    return found


async def row_of(api: Api, customer_id: str) -> sa.Row[Any]:
    async with api.database.connect() as connection:
        found = await connection.execute(sa.select(customers).where(customers.c.id == UUID(customer_id)))
        return found.one()


async def test_a_customer_is_made_and_its_admin_chooses_a_password(api: Api, operator: str) -> None:
    label = f"acme{uuid4().hex[:10]}"
    with mailbox() as letters:
        made = await make(
            api, operator, domain_label=label, country="de", identity_verification_status="verified"
        )
    assert (made["status"], made["domain_label"], made["country"]) == ("active", label, "de")
    assert (made["identity_verification_status"], made["email_verified"]) == ("verified", False)
    key = made["accesskey"]["token"]
    _, own = await api.call("GET", "/v1.0/customer", key=key)
    assert own["id"] == made["id"]
    (letter,) = letters
    assert letter["to"] == made["email"]
    status, _ = await post(api, "/auth/password-reset", token=link(letter), password="correct horse")
    assert status == 200
    token = await login(api, made["username"], "correct horse")
    _, agent = await api.call("GET", f"/v1.0/agents/{made['agent_id']}", key=token)
    assert agent["permission"] == 32
    for field, value in (("email", made["email"].upper()), ("domain_label", label)):
        body = {"name": "B", "email": f"{uuid4().hex}@example.com", field: value}
        status, refused = await api.call("POST", "/v1.0/customers", key=operator, json=body)
        assert (status, field in refused["error"]["message"]) == (409, True)


async def test_they_are_listed_and_changed(api: Api, operator: str) -> None:
    name = uuid4().hex
    first, second = (
        await make(api, operator, name=f"One {name}"),
        await make(api, operator, name=f"Two {name}"),
    )

    async def found(**query: Any) -> list[str]:
        _, page = await api.call("GET", "/v1.0/customers", key=operator, params=query)
        return [row["id"] for row in page["result"]]

    assert await found(name=name.upper()) == [second["id"], first["id"]]
    assert await found(name=name, page_size=1) == [second["id"]]
    assert await found(email=first["email"].upper()) == [first["id"]]
    assert await found(domain_label=second["domain_label"]) == [second["id"]]
    assert await found(name="%") == []
    assert await found(name=name, status="frozen") == []
    one = f"/v1.0/customers/{first['id']}"
    body = {"detail": "pays", "identity_verification_status": "verified", "email_verified": True}
    status, changed = await api.call("PUT", one, key=operator, json=body)
    assert status == 200
    assert (changed["detail"], changed["name"]) == ("pays", f"One {name}")
    assert (changed["identity_verification_status"], changed["email_verified"]) == ("verified", True)
    status, refused = await api.call("PUT", one, key=operator, json={"domain_label": second["domain_label"]})
    assert status == 409, refused
    assert (await api.call("GET", f"/v1.0/customers/{uuid4()}", key=operator))[0] == 404


async def test_nobody_else_sees_them(api: Api, operator: str) -> None:
    made = await make(api, operator)
    one = f"/v1.0/customers/{made['id']}"
    for method, path in (
        ("GET", "/v1.0/customers"),
        ("POST", "/v1.0/customers"),
        ("GET", one),
        ("PUT", one),
        ("DELETE", one),
        ("POST", f"{one}/freeze"),
        ("POST", f"{one}/recover"),
    ):
        for key in (made["accesskey"]["token"], ""):
            status, refused = await api.call(method, path, key=key, json={})
            assert (status, refused["error"]["reason"]) == (403, "PERMISSION_DENIED")


async def test_what_the_administrator_freezes_only_he_recovers(api: Api, operator: str) -> None:
    made = await make(api, operator)
    one, key = f"/v1.0/customers/{made['id']}", made["accesskey"]["token"]
    assert (await api.call("POST", f"{one}/recover", key=operator))[0] == 409
    status, frozen = await api.call("POST", f"{one}/freeze", key=operator)
    assert (status, frozen["status"]) == (200, "frozen")
    assert (await api.call("POST", f"{one}/freeze", key=operator))[0] == 409
    for method, path in (("GET", "/v1.0/customer"), ("DELETE", "/auth/unregister")):
        status, refused = await api.call(method, path, key=key)
        assert (status, refused["error"]["reason"]) == (403, "ACCOUNT_FROZEN")
        details = refused["error"]["details"][0]
        assert details["recovery_endpoint"] == f"POST {one}/recover"
        assert details["deletion_effective_at"] == frozen["tm_deletion_scheduled"]
    status, recovered = await api.call("POST", f"{one}/recover", key=operator)
    assert (status, recovered["status"]) == (200, "active")
    assert (await api.call("GET", "/v1.0/customer", key=key))[0] == 200
    # one that froze itself can be frozen by the administrator, too, and then not come back by itself
    await api.call("POST", "/auth/unregister", key=key, json={"confirmation_phrase": "DELETE"})
    assert (await api.call("POST", f"{one}/freeze", key=operator))[0] == 200
    assert (await api.call("DELETE", "/auth/unregister", key=key))[0] == 403


async def test_a_deleted_customer_is_gone_with_what_it_had(api: Api, operator: str) -> None:
    made = await make(api, operator, phone_number="+15551230000", detail="Ada herself")
    customer_id, key = UUID(made["id"]), made["accesskey"]["token"]
    number_id = uuid4()
    async with api.database.begin() as connection:
        await connection.execute(
            sa.insert(numbers).values(
                id=number_id,
                customer_id=customer_id,
                number=f"+899{uuid4().int % 10**9:09d}",
                name="Ada at home",
                type="virtual",
                status="active",
                tm_create=utc_now(),
            )
        )
    status, gone = await api.call("DELETE", f"/v1.0/customers/{made['id']}", key=operator)
    assert (status, gone["status"], gone["tm_delete"] is not None) == (200, "deleted", True)
    status, refused = await api.call("GET", "/v1.0/customer", key=key)
    assert (status, refused["error"]["reason"]) == (401, "INVALID_CREDENTIALS")
    assert (await api.call("DELETE", f"/v1.0/customers/{made['id']}", key=operator))[0] == 404
    async with asyncio.timeout(60):
        while (row := await row_of(api, made["id"])).tm_removed is None:
            await asyncio.sleep(0.05)
    assert (row.name, row.email, row.phone_number, row.detail) == ("", "", "", "")
    async with api.database.connect() as connection:
        for table in (accesskeys, agents, numbers):
            mine = sa.select(table).where(table.c.customer_id == customer_id)
            (left,) = (await connection.execute(mine)).all()
            assert left.tm_delete is not None
            assert "Ada" not in str(left)
            assert made["email"] not in str(left)
    assert api.numbers.by_id(number_id) is None
    _, page = await api.call(
        "GET", "/v1.0/audit_events", key=operator, params={"customer_id": made["id"], "resource": "customer"}
    )
    assert [row["action"] for row in page["result"]] == ["delete", "create"]
    assert made["email"] not in str(page)
    _, page = await api.call("GET", "/v1.0/customers", key=operator, params={"status": "deleted"})
    assert made["id"] in [row["id"] for row in page["result"]]


class Killed(BaseException):
    """The process is gone."""


async def test_whoever_is_killed_in_between_leaves_the_rest_to_the_next(api: Api, operator: str) -> None:
    await api.people.removal.close()
    try:
        made = await make(api, operator)
        await api.call("DELETE", f"/v1.0/customers/{made['id']}", key=operator)
        customer_id = UUID(made["id"])

        async def dies(_: UUID) -> None:
            raise Killed

        first = Removal(api.database, api.customers, api.people.trail, SystemClock())
        first.parts = [marked(api.database, accesskeys), Part("killer", dies)]
        with pytest.raises(Killed):
            await first.turn()
        assert (await row_of(api, made["id"])).tm_removed is None

        failed: list[UUID] = []

        async def fails(gone: UUID) -> None:
            if gone == customer_id and not failed:
                failed.append(gone)
                raise OSError("the vendor is away")

        second = Removal(api.database, api.customers, api.people.trail, SystemClock())
        second.parts = [marked(api.database, accesskeys), Part("vendor", fails), marked(api.database, agents)]
        assert await second.turn() is False
        row = await row_of(api, made["id"])
        assert row.tm_removed is None, "a part that fails is done again"
        assert row.email != ""
        async with api.database.connect() as connection:
            agent = sa.select(agents.c.tm_delete).where(agents.c.customer_id == customer_id)
            assert (await connection.scalar(agent)) is not None, "and keeps no other from being done"
        assert await second.turn() is True
        assert (await row_of(api, made["id"])).tm_removed is not None
        assert failed == [customer_id]
    finally:
        await api.people.removal.start()


async def test_two_processes_do_not_take_down_one_customer_at_once(api: Api, operator: str) -> None:
    await api.people.removal.close()
    try:
        made = await make(api, operator)
        await api.call("DELETE", f"/v1.0/customers/{made['id']}", key=operator)
        at_once: list[int] = []
        present = 0

        async def slow(gone: UUID) -> None:
            nonlocal present
            if str(gone) != made["id"]:
                return
            present += 1
            at_once.append(present)
            await asyncio.sleep(0.3)
            present -= 1

        removals = []
        for _ in range(3):
            removal = Removal(api.database, api.customers, api.people.trail, SystemClock())
            removal.parts = [Part("slow", slow)]
            removals.append(removal)
        await asyncio.gather(*(removal.turn() for removal in removals))
        assert at_once == [1]
    finally:
        await api.people.removal.start()


async def test_calls_of_deleted_customers_are_ended(api: Api, operator: str) -> None:
    made, other = await make(api, operator), await make(api, operator)

    class Call:
        def __init__(self, customer: dict[str, Any]) -> None:
            self.customer_id = UUID(customer["id"])

    calls = [Call(made), Call(other)]
    ended: list[Any] = []
    api.people.end_calls(lambda: calls, ended.append)
    await api.call("POST", f"/v1.0/customers/{made['id']}/freeze", key=operator)
    assert ended == [], "calls of a frozen customer go on to their end"
    await api.call("DELETE", f"/v1.0/customers/{made['id']}", key=operator)
    calls[:] = calls[1:] if ended else calls
    assert ended != []
    assert {call.customer_id for call in ended} == {UUID(made["id"])}


async def test_a_foreign_part_is_asked_for_each_row_and_may_be_late(api: Api) -> None:
    customer_id, _ = await api.another_customer()
    asked: list[UUID] = []

    async def gone(owner: UUID, row_id: UUID) -> None:
        assert owner == customer_id
        asked.append(row_id)

    await each(api.database, agents, gone).remove(customer_id)
    assert len(asked) == 1


def test_every_table_of_customers_is_taken_down_or_is_history(api: Api) -> None:
    """A new table is in here: either a deleted customer's rows are marked, or ``HISTORY`` says why they stay."""

    async def nothing(_customer_id: UUID, _row_id: UUID) -> None:
        return None

    names = {part.name for part in belongings(api.database, Belongs(*[nothing] * 8))}
    for table in schema.load().sorted_tables:
        if "customer_id" in table.c and table.name not in HISTORY:
            assert table.name in names or f"{table.name} words" in names, table.name


async def test_on_the_command_line(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "configure", lambda *_: None)
    environment = {"RINGLINE_API_URL": api.url, "RINGLINE_ADMIN_PASSWORD": ADMIN_PASSWORD}

    # the server's log lines are on the same standard output
    async def run(*arguments: str, key: str = "", said: str = "") -> Result:
        settings.load.cache_clear()
        given = {**environment, "RINGLINE_ACCESSKEY": key}
        return await asyncio.to_thread(CliRunner().invoke, cli.app, arguments, env=given, input=said)

    try:
        email = f"{uuid4().hex}@example.com"
        made = await run("customer", "add", "Ada Ltd", email, "--country", "us", "--verified")
        assert made.exit_code == 0, made.output
        found = re.search(r"access key  (vb_\w+)\n", made.stdout)
        assert found is not None
        key = found[1]
        _, own = await api.call("GET", "/v1.0/customer", key=key)
        assert (own["country"], own["identity_verification_status"]) == ("us", "verified")
        assert email in (await run("customer", "list", "--name", "Ada Ltd")).stdout
        assert f"{own['id']}  frozen  deleted on 20" in (await run("customer", "freeze", email)).stdout
        assert own["id"] in (await run("customer", "list", "--status", "frozen")).stdout
        recovered = await run("customer", "recover", own["domain_label"])
        assert f"{own['id']}  active\n" in recovered.stdout
        assert email in (await run("agent", "list", key=key)).stdout
        changed = await run("agent", "password", email, key=key, said="a new password\na new password\n")
        assert f"{email} has a new password." in changed.stdout, changed.output
        assert await login(api, email, "a new password") != ""
        unknown = await run("agent", "password", "nobody", key=key, said="a new password\na new password\n")
        assert (unknown.exit_code, "There is no agent nobody" in unknown.stderr) == (1, True)
        refused = await run("customer", "delete", own["id"], said="n\n")
        assert refused.exit_code == 1
        assert f"{own['id']}  deleted\n" in (await run("customer", "delete", own["id"], "--yes")).stdout
        gone = await run("customer", "freeze", email)
        assert (gone.exit_code, "No customers have the email" in gone.stderr) == (1, True)
    finally:
        settings.load.cache_clear()
