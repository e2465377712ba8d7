"""The SIP messages of real calls: all of them, on both sides of Kamailio, without anything secret."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import pytest
import sqlalchemy as sa

from ringline.customers.tables import accesskeys, customers
from ringline.customers.tokens import accesskey_hash, accesskey_prefix, new_accesskey
from ringline.http import utc_now
from ringline.traces.store import sip_traces
from tests.stack.containers import Containers
from tests.stack.product import ANSWER, HANGUP, Json, Product, eventually, number, sleep
from tests.stack.registering import Account, Line, StreamPhone
from tests.stack.test_connect import connect, ring_in
from tests.stack.test_recovery import kill

CALLER = "+15553330077"
SECRETS = (rb"X-Ringline-", rb'response="(?!redacted)', rb";sig=(?!x+[>;])", rb"inline:(?!x)")

WHOLE = [
    *(
        "in caller INVITE",
        "out callee INVITE",
        "in callee 180",
        "out caller 180",
        "in callee 200",
        "out caller 200",
    ),
    *(
        "in caller ACK",
        "out callee ACK",
        "in caller BYE",
        "out callee BYE",
        "in callee 200",
        "out caller 200",
    ),
]


async def fetched(
    product: Product, call: Json, *, accept: str = "", **query: str
) -> tuple[int, bytes, Mapping[str, str]]:
    url = f"{product.env['RINGLINE_API_URL']}/v1.0/calls/{call['id']}/sip"
    params = {"accesskey": product.env["RINGLINE_ACCESSKEY"], **query}
    headers = {"Accept": accept} if accept else {}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
        session.get(url, params=params, headers=headers) as response,
    ):
        return response.status, await response.read(), response.headers


async def trace(product: Product, call: Json, until: str = "BYE", *, legs: int = 1) -> Json:
    """The trace once each leg's last request was answered on both sides."""

    async def whole() -> Json | None:
        status, body, _ = await fetched(product, call)
        assert status == 200, body
        found: Json = json.loads(body)
        answers = [one for one in found["messages"] if one["method"] == until and one["status"] == 200]
        return found if len(answers) >= 2 * legs else None

    shown: Json = await eventually(whole, "the whole trace", within=40)
    return shown


def steps(found: Json, call: Json) -> list[str]:
    return [
        f"{one['direction']} {one['side']} {one['status'] or one['method']}"
        for one in found["messages"]
        if one["call_id"] == call["id"]
    ]


def in_order(wanted: list[str], found: list[str]) -> bool:
    rest = iter(found)
    return all(step in rest for step in wanted)


async def dissected(product: Product, call: Json, path: Path, transport: str = "udp") -> list[str]:
    """What tshark makes of the capture file: a line for each packet."""
    status, body, headers = await fetched(product, call, format="pcap")
    assert status == 200
    assert headers["Content-Type"] == "application/vnd.tcpdump.pcap"
    assert headers["Content-Disposition"] == f'attachment; filename="{call["id"]}.pcap"'
    path.write_bytes(body)
    fields = [
        "frame.protocols",
        "sip.Method",
        "sip.Status-Code",
        "_ws.malformed",
        "ip.src",
        f"{transport}.dstport",
    ]
    checked = (f"{transport}.check_checksum:TRUE", "ip.check_checksum:TRUE")
    arguments = ["-T", "fields", *(part for name in checked for part in ("-o", name))]
    for field in [*fields, f"{transport}.checksum.status", "ip.checksum.status", "_ws.expert.severity"]:
        arguments += ["-e", field]
    process = await asyncio.create_subprocess_exec(
        "tshark", "-r", str(path), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    for pattern in SECRETS:
        assert not re.search(pattern, body), pattern
    return out.decode().splitlines()


def all_sip(lines: list[str]) -> None:
    for line in lines:
        protocols, method, status, malformed, _, port, udp, ip, _ = line.split("\t")
        assert "sip" in protocols.split(":"), line
        assert (method or status) and not malformed and port, line
        # 1 is good
        assert (udp, ip) == ("1", "1"), line


async def test_a_call_to_a_carrier(product: Product, tmp_path: Path) -> None:
    call = await product.place(number(), sleep(60), HANGUP)
    await product.reached(call, "progressing")

    async def there() -> bool:
        status, body, _ = await fetched(product, call, accept="text/plain")
        return status == 200 and b"INVITE (SDP)" in body

    await eventually(there, "it is there while the call lasts")
    await product.hang_up(call)
    await product.ended(call)
    found = await trace(product, call)
    assert in_order(WHOLE, steps(found, call)), "\n".join(steps(found, call))
    assert {one["transport"] for one in found["messages"]} == {"udp"}
    times = [one["time_us"] for one in found["messages"]]
    assert times == sorted(times)
    assert found["legs"][0]["dropped"] == 0
    text = json.dumps(found).encode()
    for pattern in SECRETS:
        assert not re.search(pattern, text), pattern
    _, ladder, headers = await fetched(product, call, format="ladder")
    assert headers["Content-Type"].startswith("text/plain")
    columns = next(line for line in ladder.decode().splitlines() if "Kamailio" in line).split()
    assert columns == ["Kamailio", "Asterisk", "carrier"]
    lines = await dissected(product, call, tmp_path / "call.pcap")
    assert len(lines) == len(found["messages"]) >= 12
    all_sip(lines)
    status, body, _ = await fetched(product, call, format="xml")
    assert status == 400 and b"format" in body


async def test_a_caller_who_is_connected_and_wants_to_be_nobody(product: Product, tmp_path: Path) -> None:
    called = number()
    flow = await product.store_flow(ANSWER, connect(called), HANGUP)
    own = await product.store_number(flow)
    try:
        events = await ring_in(product, own, seconds=2.0, anonymous=True)
        assert events
        call = await product.incoming(own)
        await product.ended(call)
        found = await trace(product, call, legs=2)
        assert len(found["legs"]) == 2
        leg = {"id": found["legs"][1]["call_id"]}
        assert in_order(
            ["in caller INVITE", "out callee INVITE", "in callee 200", "out caller 200", "in caller ACK"],
            steps(found, call),
        ), steps(found, call)
        assert in_order(["in caller INVITE", "out callee INVITE", "in callee 200"], steps(found, leg))
        first = next(one for one in found["messages"] if one["call_id"] == call["id"])
        assert "P-Asserted-Identity: <sip:anonymous@anonymous.invalid>" in first["text"]
        assert "Privacy: id" in first["text"]
        mine = [one["text"] for one in found["messages"] if one["call_id"] == call["id"]]
        assert not any("5553330001" in text for text in mine)
        lines = await dissected(product, call, tmp_path / "two.pcap")
        all_sip(lines)
        alone = json.loads((await fetched(product, call, legs="own"))[1])
        assert len(alone["legs"]) == 1
    finally:
        await product.drop_numbers(own)


async def test_a_phone_over_tcp_is_seen_as_one(product: Product, tmp_path: Path) -> None:
    extension = (await product.api.get("/v1.0/extensions", extension="test11"))["result"][0]
    port, password = int(product.env["RINGLINE_KAMAILIO_PORT"]), product.env["RINGLINE_EXTENSION_PASSWORD"]
    account = Account(
        UUID(extension["id"]), UUID(extension["customer_id"]), "test11", extension["domain_name"], password
    )
    phone = await StreamPhone.connect(port)
    try:
        begun = await Line(phone, account, port).invite("*43")
        answer = await phone.final(begun.call_id, within=10)
        assert answer.status == 200
        begun.accept(answer)
        phone.send(begun.text("ACK"), port)
        begun.next()
        phone.send(begun.text("BYE"), port)
        assert (await phone.final(begun.call_id, "BYE")).status == 200
    finally:
        phone.close()

    async def recorded() -> Json | None:
        for one in (await product.api.get("/v1.0/calls", page_size="10"))["result"]:
            body = (await fetched(product, one))[1]
            if begun.call_id.encode() in body:
                return one
        return None

    call = await eventually(recorded, "the call's record")
    found = await trace(product, call)
    over = [one["transport"] for one in found["messages"]]
    assert {"tcp", "udp"} == set(over)
    segments = [
        line for line in await dissected(product, call, tmp_path / "tcp.pcap", "tcp") if ":tcp:" in line
    ]
    assert len(segments) == over.count("tcp")
    all_sip(segments)


@pytest.fixture
async def stranger(product: Product) -> AsyncIterator[str]:
    """The access key of another customer."""
    token, now, customer = new_accesskey(), utc_now(), uuid4()
    async with product.database.begin() as connection:
        await connection.execute(
            sa.insert(customers).values(
                id=customer, name="stranger", domain_label=f"c{customer.hex}", status="active", tm_create=now
            )
        )
        await connection.execute(
            sa.insert(accesskeys).values(
                id=uuid4(),
                customer_id=customer,
                name="stranger",
                token_hash=accesskey_hash(token),
                token_prefix=accesskey_prefix(token),
                tm_create=now,
            )
        )
    yield token
    async with product.database.begin() as connection:
        await connection.execute(sa.delete(accesskeys).where(accesskeys.c.customer_id == customer))
        await connection.execute(sa.delete(customers).where(customers.c.id == customer))


async def test_nobody_sees_the_trace_of_another_and_it_outlives_the_controller(
    product: Product, containers: Containers, stranger: str
) -> None:
    call = await product.place(number(), sleep(0.3), HANGUP)
    await product.ended(call)
    before = await trace(product, call)

    async def known() -> bool:
        status, _ = await product.api.call("GET", "/v1.0/customer", accesskey=stranger)
        return status == 200

    await eventually(known, "the other customer's key is known")
    for _ in range(2):
        status, answer = await product.api.call("GET", f"/v1.0/calls/{call['id']}/sip", accesskey=stranger)
        unknown = await product.api.call("GET", f"/v1.0/calls/{uuid4()}/sip")
        assert status == unknown[0] == 404
        assert answer["error"]["reason"] == unknown[1]["error"]["reason"] == "CALL_NOT_FOUND"
    assert (await product.api.call("GET", f"/v1.0/calls/{call['id']}/sip", accesskey=""))[0] == 401

    async def stored() -> bool:
        async with product.database.connect() as connection:
            kept = await connection.execute(
                sa.select(sip_traces.c.id).where(sip_traces.c.id == UUID(call["id"]))
            )
        return kept.first() is not None

    await eventually(stored, "it is written", within=40)
    # what was sent again after the first look is in it, too
    kept = await trace(product, call)
    assert kept["messages"][: len(before["messages"])] == before["messages"]
    await kill(product, containers)
    assert await trace(product, call) == kept
