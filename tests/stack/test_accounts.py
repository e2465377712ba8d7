"""Accounts made by the API are in force at the edge: phones register and call with them, and stop when they must."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.customers.tables import accesskeys, customers
from ringline.customers.tokens import accesskey_hash, accesskey_prefix, new_accesskey
from ringline.http import utc_now
from tests.stack.conftest import Api
from tests.stack.product import Product, eventually, number
from tests.stack.registering import Account, Line
from tests.stack.sip import SDP, Message, Phone, dialog

PASSWORD = "correct horse 7"
AT_ONCE = 10.0
"""Seconds, on a machine with other work to do."""


@pytest.fixture
async def tenant(api: Api, product: Product, env: Mapping[str, str]) -> AsyncIterator[Api]:
    """The API of a customer of the test's own."""
    customer_id, key_id, token, now = uuid4(), uuid4(), new_accesskey(), utc_now()
    async with product.database.begin() as connection:
        await connection.execute(
            customers.insert().values(
                id=customer_id, name="accounts", domain_label=f"t{secrets.token_hex(6)}", tm_create=now
            )
        )
        await connection.execute(
            accesskeys.insert().values(
                id=key_id,
                customer_id=customer_id,
                token_hash=accesskey_hash(token),
                token_prefix=accesskey_prefix(token),
                tm_create=now,
            )
        )
    theirs = api.of(token)
    await eventually(lambda: theirs.get("/v1.0/customer"), "the customer's access key")
    yield theirs
    for row in (await theirs.get("/v1.0/extensions"))["result"]:
        await theirs.delete(f"/v1.0/extensions/{row['id']}")
    async with product.database.begin() as connection:
        await connection.execute(
            sa.update(customers).values(tm_delete=now).where(customers.c.id == customer_id)
        )


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    """A telephone at an address of its own: what is held against it is held against nobody else."""
    phone = await Phone.open(host=f"127.0.{secrets.randbelow(100) + 100}.{secrets.randbelow(250) + 2}")
    yield phone
    phone.close()


def _line(phone: Phone, env: Mapping[str, str], row: Mapping[str, Any], password: str = PASSWORD) -> Line:
    account = Account(
        UUID(row["id"]), UUID(row["customer_id"]), row["username"], row["domain_name"], password
    )
    return Line(phone, account, int(env["RINGLINE_KAMAILIO_PORT"]))


async def _status(line: Line) -> int:
    return (await line.register()).status


async def test_a_phone_registers_is_seen_and_is_sent_away(
    tenant: Api, env: Mapping[str, str], phone: Phone
) -> None:
    row = await tenant.post("/v1.0/extensions", {"extension": "anna", "password": PASSWORD})
    path = f"/v1.0/extensions/{row['id']}"
    line = _line(phone, env, row)
    assert await _status(line) == 200

    found = (await tenant.get(f"{path}/registrations"))["result"]
    assert len(found) == 1
    seen = found[0]
    host, port = phone.address
    assert (seen["transport"], seen["source_address"]) == ("udp", f"{host}:{port}")
    assert seen["contact"] == f"sip:anna@{host}:{port}"
    assert (await tenant.get(path))["registered"] == 1

    await tenant.delete(f"{path}/registrations/{seen['id']}")
    assert (await tenant.get(f"{path}/registrations"))["result"] == []
    # Kamailio's memory agrees: the phone is not listed when it asks for its bindings
    listed = await _query(line)
    assert (listed.status, listed.all("contact")) == (200, [])
    assert await _status(line) == 200
    assert (await tenant.get(path))["registered"] == 1


async def _query(line: Line) -> Message:
    """A REGISTER without Contact (RFC 3261, section 10.2.3)."""

    async def ask() -> Message:
        text = line.register_text(expires=None, authorization=line.authorization())
        return await line.send_register(text.replace(f"Contact: {line.contact}\r\n", ""))

    answer = await ask()
    if answer.status == 401:
        line.credentials.challenged(answer)
        answer = await ask()
    return answer


async def test_a_new_password_is_in_force_at_once(tenant: Api, env: Mapping[str, str], phone: Phone) -> None:
    row = await tenant.post("/v1.0/extensions", {"extension": "anna", "password": PASSWORD})
    path = f"/v1.0/extensions/{row['id']}"
    old = _line(phone, env, row)
    assert await _status(old) == 200
    changed = await tenant.put(path, {"password": "another horse 8"})
    began = time.monotonic()
    assert changed["registered"] == 0
    assert await _status(_line(phone, env, row, "another horse 8")) == 200
    assert await _status(_line(phone, env, row)) in (401, 403)
    assert time.monotonic() - began < AT_ONCE
    assert (await tenant.get(path))["registered"] == 1


async def test_a_deleted_extension_is_nobody(tenant: Api, env: Mapping[str, str], phone: Phone) -> None:
    row = await tenant.post("/v1.0/extensions", {"extension": "anna", "password": PASSWORD})
    other = await tenant.post("/v1.0/extensions", {"extension": "berta", "password": PASSWORD})
    line = _line(phone, env, row)
    assert await _status(line) == 200
    await tenant.delete(f"/v1.0/extensions/{row['id']}")
    begun = await line.invite("*43")
    assert (await phone.final(begun.call_id)).status in (403, 407)
    assert await _status(_line(phone, env, row)) in (401, 403)
    assert await _status(_line(phone, env, other)) == 200


async def test_the_realm_moves_and_the_password_stays(
    tenant: Api, env: Mapping[str, str], phone: Phone
) -> None:
    row = await tenant.post("/v1.0/extensions", {"extension": "anna", "password": PASSWORD})
    assert await _status(_line(phone, env, row)) == 200
    label = f"u{secrets.token_hex(6)}"
    assert (await tenant.put("/v1.0/customer", {"domain_label": label}))["domain_label"] == label
    moved = await tenant.get(f"/v1.0/extensions/{row['id']}")
    assert moved["domain_name"] == f"{label}.{env['RINGLINE_SIP_DOMAIN']}"
    assert moved["registered"] == 0
    assert await _status(_line(phone, env, moved)) == 200
    assert (await tenant.get(f"/v1.0/extensions/{row['id']}"))["registered"] == 1
    # under the old name there is nobody any more, and nobody is what strangers get
    with pytest.raises(TimeoutError):
        await (old := _line(phone, env, row)).send_register(old.register_text(), within=0.5)
    made = await tenant.post("/v1.0/extensions", {"extension": "berta", "password": PASSWORD})
    assert await _status(_line(phone, env, made)) == 200


async def test_trunks_place_calls_by_digest_and_by_address(
    api: Api, product: Product, env: Mapping[str, str], phone: Phone
) -> None:
    port = int(env["RINGLINE_KAMAILIO_PORT"])
    digest, address = await asyncio.gather(
        api.post("/v1.0/trunks", _trunk(auth_types=["basic"], username="pbx", password=PASSWORD)),
        api.post("/v1.0/trunks", _trunk(auth_types=["ip"], allowed_ips=[phone.address[0]])),
    )
    try:
        account = Account(UUID(digest["id"]), UUID(digest["customer_id"]), "pbx", digest["realm"], PASSWORD)
        by_digest = await Line(phone, account, port).invite(number())
        by_address = dialog(phone, f"sip:{number()}@{address['realm']}")
        phone.send(by_address.text("INVITE", body=SDP), port)
        for begun in (by_digest, by_address):
            answer = await phone.final(begun.call_id, within=20)
            assert answer.status == 200, answer.raw
            begun.accept(answer)
            cseq = begun.cseq
            begun.next()
            begun.cseq = cseq
            phone.send(begun.text("ACK"), port)
            begun.next()
            phone.send(begun.text("BYE"), port)
            assert (await phone.final(begun.call_id, "BYE", within=10)).status == 200

        # another address, and a name that is nobody's: silence
        other = await Phone.open(host="127.0.99.1")
        stranger = dialog(other, f"sip:{number()}@{address['realm']}")
        other.send(stranger.text("INVITE", body=SDP), port)
        await api.put(f"/v1.0/trunks/{address['id']}", {"allowed_ips": ["127.0.99.2"]})
        moved = dialog(phone, f"sip:{number()}@{address['realm']}")
        phone.send(moved.text("INVITE", body=SDP), port)
        with pytest.raises(TimeoutError):
            await asyncio.gather(
                phone.final(moved.call_id, within=1.0), other.final(stranger.call_id, within=1.0)
            )
        assert not other.received
        other.close()
    finally:
        for row in (digest, address):
            await api.delete(f"/v1.0/trunks/{row['id']}")


def _trunk(**fields: Any) -> dict[str, Any]:
    return {"domain_name": f"t{secrets.token_hex(6)}", **fields}


@pytest.mark.timeout(300)
async def test_the_command_line(tenant: Api, product: Product, env: Mapping[str, str], phone: Phone) -> None:
    name = f"cli{secrets.token_hex(4)}"
    made = await _ringline("extension", "add", name, "--name", "Desk", env=env)
    assert made.splitlines()[1].split() == ["username", name]
    password = made.splitlines()[2].split()[1]
    row = (await product.api.get("/v1.0/extensions", extension=name))["result"][0]
    assert await _status(_line(phone, env, row, password)) == 200
    listed = await _ringline("extension", "list", env=env)
    assert [line.split() for line in listed.splitlines() if line.startswith(name)] == [
        [name, row["domain_name"], "1", "-", "Desk"]
    ]
    shown = await _ringline("extension", "registrations", name, env=env)
    assert f"{phone.address[0]}:{phone.address[1]}" in shown
    again = (await _ringline("extension", "password", name, env=env)).split()[1]
    assert again != password
    assert (await product.api.get(f"/v1.0/extensions/{row['id']}"))["registered"] == 0
    assert await _status(_line(phone, env, row, again)) == 200
    await _ringline("extension", "delete", name, env=env)
    assert (await product.api.get("/v1.0/extensions", extension=name))["result"] == []


async def _ringline(*arguments: str, env: Mapping[str, str]) -> str:
    """The output of a command in the controller's container; its complaint where it fails."""
    process = await asyncio.create_subprocess_exec(
        *("docker", "exec", f"{env['RINGLINE_PROJECT']}-controller-1", "ringline", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()
