"""Customers of a test's own on the running stack, each with one of everything that customers have."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import sqlalchemy as sa

from ringline.billing import accounts
from ringline.customers.tables import accesskeys, customers
from ringline.customers.tokens import accesskey_hash, accesskey_prefix, new_accesskey
from ringline.http import Permission, utc_now
from ringline.messages.store import messages, optouts, targets
from ringline.numbers.tables import numbers
from ringline.transfers.store import transfers
from tests.stack.conftest import Api
from tests.stack.product import ANSWER, HANGUP, Json, Product, eventually, number, sleep
from tests.stack.registering import Account, Line
from tests.stack.sip import Phone

PASSWORD = "correct horse 7"
CREDIT = 100_000_000
LONG = 600.0


@dataclass
class Tenant:
    """A customer: its access key in ``api``, tokens of its people, and the ids of its things in ``world``."""

    id: UUID
    name: str
    accesskey: str
    api: Api
    admin_token: str = ""
    agent_token: str = ""
    world: dict[str, str] = field(default_factory=dict)
    phone: Phone | None = None


async def new_tenant(
    product: Product, *, credit: int = CREDIT, plan: str = "professional", **columns: Any
) -> Tenant:
    """A customer with a billing account and an access key that works already."""
    customer_id, account_id, token, now = uuid4(), uuid4(), new_accesskey(), utc_now()
    name = f"tenant{secrets.token_hex(6)}"
    async with product.database.begin() as connection:
        await connection.execute(
            customers.insert().values(
                id=customer_id,
                name=name,
                domain_label=name,
                billing_account_id=account_id,
                identity_verification_status="verified",
                tm_create=now,
                **columns,
            )
        )
        await accounts.create(
            connection,
            account_id=account_id,
            customer_id=customer_id,
            plan=plan,
            name=name,
            credit=credit,
        )
        await connection.execute(
            accesskeys.insert().values(
                id=uuid4(),
                customer_id=customer_id,
                token_hash=accesskey_hash(token),
                token_prefix=accesskey_prefix(token),
                tm_create=now,
            )
        )
    tenant = Tenant(customer_id, name, token, product.api.of(token))
    await eventually(lambda: tenant.api.get("/v1.0/customer"), "the customer's access key")
    tenant.world = {"customer": str(customer_id), "billing_account": str(account_id)}
    return tenant


async def new_normal_number(product: Product, tenant: Tenant) -> str:
    """A number of a carrier that the customer has; written past the API, for it may be bought with money only."""
    own = _normal()
    async with product.database.begin() as connection:
        await connection.execute(
            sa.insert(numbers).values(
                id=uuid4(),
                customer_id=tenant.id,
                number=own,
                type="normal",
                status="active",
                tm_create=utc_now(),
            )
        )

    async def known() -> bool:
        return bool((await tenant.api.get("/v1.0/numbers", number=own))["result"])

    await eventually(known, "the number is there")
    return own


async def login(product: Product, username: str, password: str) -> str:
    """The token of somebody who logs in."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{product.env['RINGLINE_API_URL']}/auth/login",
            json={"username": username, "password": password},
        ) as response,
    ):
        answer = await response.json()
        assert response.status == 200, answer
        return str(answer["token"])


async def add_people(product: Product, tenant: Tenant) -> None:
    """An administrator and an agent without any rights beyond the own work, both logged in."""
    for role, permission in (("admin", Permission.CUSTOMER_ADMIN), ("agent", Permission.CUSTOMER_AGENT)):
        username = f"{role}@{tenant.name}.test"
        body = {"username": username, "password": PASSWORD, "permission": int(permission)}
        person = await tenant.api.post("/v1.0/agents", body)
        tenant.world[f"{role}_agent"] = person["id"]

        async def token(username: str = username) -> str:
            return await login(product, username, PASSWORD)

        setattr(tenant, f"{role}_token", await eventually(token, f"{username} may log in"))


async def furnish(product: Product, tenant: Tenant) -> None:
    """One of everything. Calls last until ``clear``."""
    api, world = tenant.api, tenant.world
    await add_people(product, tenant)

    async def make(kind: str, path: str, body: Mapping[str, Any]) -> Json:
        row: Json = await api.post(path, body)
        world[kind] = str(row["id"])
        return row

    world["billing"] = (await api.get("/v1.0/billings"))["result"][0]["id"]
    await make("tag", "/v1.0/tags", {"name": tenant.name})
    await make(
        "agent",
        "/v1.0/agents",
        {"username": f"third@{tenant.name}.test", "password": PASSWORD, "tag_ids": [world["tag"]]},
    )
    await make("accesskey", "/v1.0/accesskeys", {"name": tenant.name})
    extension = await make("extension", "/v1.0/extensions", {"extension": "anna", "password": PASSWORD})
    await make(
        "trunk",
        "/v1.0/trunks",
        {"domain_name": tenant.name, "auth_types": ["basic"], "username": "trunk", "password": PASSWORD},
    )
    flow = {"name": tenant.name, "actions": [ANSWER, sleep(LONG)]}
    await make("flow", "/v1.0/flows", flow)
    conference = await make("conference", "/v1.0/conferences", {"type": "conference", "name": tenant.name})
    queue = await make(
        "queue",
        "/v1.0/queues",
        {"name": tenant.name, "tag_ids": [world["tag"]], "wait_actions": [sleep(LONG)]},
    )
    for kind in ("number", "second_number"):
        digits = f"+899{secrets.randbelow(10**9):09d}"
        row = await make(kind, "/v1.0/numbers", {"number": digits, "call_flow_id": world["flow"]})
        world[f"{kind}_text"] = row["number"]
        await _is(api, f"numbers/{row['id']}", "active")
    await make(
        "number_port", "/v1.0/number_ports", {"numbers": [_normal()], "name": tenant.name, "draft": True}
    )
    await make("webhook", "/v1.0/webhooks", {"uri": "https://hooks.example/", "name": tenant.name})
    await api.post(f"/v1.0/webhooks/{world['webhook']}/test")
    await _register(product, tenant, extension)
    await _store(product, tenant)

    source = {"type": "tel", "target": world["number_text"]}
    destination = {"type": "tel", "target": world["second_number_text"]}
    order = {"source": source, "destinations": [destination]}
    conferencing = {"type": "conference_join", "option": {"conference_id": conference["id"]}}
    queueing = {"type": "queue_join", "option": {"queue_id": queue["id"]}}
    for kind, action in (("call", conferencing), ("queued_call", queueing)):
        (call,) = await api.post("/v1.0/calls", {**order, "actions": [action]})
        world[kind] = call["id"]
    (ended,) = await api.post("/v1.0/calls", {**order, "actions": [HANGUP]})
    groupcall = await api.post("/v1.0/groupcalls", {**order, "actions": [sleep(LONG)]})
    world["groupcall"] = groupcall["id"]
    # what is still on its way would change by itself while strangers try to change it
    await api.wait_call(world["call"], "progressing", within=60)
    await _is(api, f"groupcalls/{world['groupcall']}", "progressing")
    for call_id in (await api.get(f"/v1.0/groupcalls/{world['groupcall']}"))["call_ids"]:
        await api.wait_call(call_id, "progressing", within=60)
    recording = await eventually(
        lambda: api.post(f"/v1.0/calls/{world['call']}/recording_start"), "a recording", within=60
    )
    world["recording"] = recording["recording_id"]
    await _is(api, f"recordings/{world['recording']}", "recording")
    world["activeflow"] = (await api.get(f"/v1.0/calls/{world['call']}"))["activeflow_id"]
    for kind, path in (
        ("conferencecall", "conferencecalls"),
        ("queuecall", "queuecalls"),
        ("event", "events"),
        ("webhook_delivery", "webhook_deliveries"),
    ):

        async def first(path: str = path) -> str:
            return str((await api.get(f"/v1.0/{path}"))["result"][0]["id"])

        world[kind] = await eventually(first, f"a {kind}", within=60)
    await _is(api, f"conferencecalls/{world['conferencecall']}", "progressing")
    await _is(api, f"queuecalls/{world['queuecall']}", "waiting")

    async def settled() -> bool:
        return (await api.get(f"/v1.0/cdrs/{ended['id']}"))["tm_settle"] is not None

    await eventually(settled, "the record of a call, paid", within=60)
    world["cdr"] = ended["id"]


async def _is(api: Api, path: str, status: str) -> None:
    async def look() -> bool:
        shown = (await api.get(f"/v1.0/{path}"))["status"]
        assert shown == status, shown
        return True

    await eventually(look, f"{path} is {status}", within=60)


async def _register(product: Product, tenant: Tenant, row: Json) -> None:
    tenant.phone = await Phone.open(host=f"127.0.{secrets.randbelow(100) + 100}.{secrets.randbelow(250) + 2}")
    account = Account(
        UUID(row["id"]), UUID(row["customer_id"]), row["username"], row["domain_name"], PASSWORD
    )
    line = Line(tenant.phone, account, int(product.env["RINGLINE_KAMAILIO_PORT"]))

    async def registered() -> bool:
        answer = await line.register()
        assert answer.status == 200, answer.raw
        return True

    # Kamailio learns of a new customer's realm a moment after the customer's extension is there
    await eventually(registered, "the telephone is registered", within=60)

    async def seen() -> str:
        page = await tenant.api.get(f"/v1.0/extensions/{row['id']}/registrations")
        return str(page["result"][0]["id"])

    tenant.world["registration"] = await eventually(seen, "the registration", within=30)


async def _store(product: Product, tenant: Tenant) -> None:
    """What takes more than a request to come about: a number of a carrier, a text, an opt-out, a transfer."""
    world, now = tenant.world, utc_now()
    ids = {kind: uuid4() for kind in ("normal", "message", "message_optout", "transfer")}
    world["normal_text"] = _normal()
    common = {"customer_id": tenant.id, "tm_create": now}
    handset = {"type": "tel", "target": _normal(), "target_name": "", "name": "", "detail": ""}
    source = {**handset, "target": world["number_text"]}
    async with product.database.begin() as connection:
        await connection.execute(
            sa.insert(numbers).values(
                id=ids["normal"], number=world["normal_text"], type="normal", status="active", **common
            )
        )
        message = {"type": "sms", "direction": "outbound", "status": "delivered", "source": source}
        await connection.execute(
            sa.insert(messages).values(
                id=ids["message"], source_number=source["target"], text=tenant.name, **message, **common
            )
        )
        await connection.execute(
            sa.insert(targets).values(
                id=uuid4(),
                message_id=ids["message"],
                position=0,
                source_number=source["target"],
                destination=handset,
                destination_number=handset["target"],
                status="delivered",
                **common,
            )
        )
        pair = {"number": source["target"], "handset": handset["target"]}
        await connection.execute(sa.insert(optouts).values(id=ids["message_optout"], **pair, **common))
        await connection.execute(
            sa.insert(transfers).values(
                id=ids["transfer"], type="blind", status="completed", transferee_addresses=[handset], **common
            )
        )
    world.update({kind: str(row_id) for kind, row_id in ids.items()})
    world["handset_text"] = handset["target"]


async def clear(product: Product, tenant: Tenant) -> None:
    """End what lasts and take the customer away."""
    for kind, path in (("groupcall", "groupcalls"), ("call", "calls"), ("queued_call", "calls")):
        if kind in tenant.world:
            await tenant.api.call("POST", f"/v1.0/{path}/{tenant.world[kind]}/hangup")
    for kind, path in (
        ("conference", "conferences"),
        ("queue", "queues"),
        ("number", "numbers"),
        ("second_number", "numbers"),
        ("extension", "extensions"),
        ("trunk", "trunks"),
        ("number_port", "number_ports"),
        ("webhook", "webhooks"),
    ):
        if kind in tenant.world:
            await tenant.api.call("DELETE", f"/v1.0/{path}/{tenant.world[kind]}")
    if tenant.phone is not None:
        tenant.phone.close()
    await _give_back(product, tenant)
    async with product.database.begin() as connection:
        await connection.execute(sa.delete(numbers).where(numbers.c.customer_id == tenant.id))
        await connection.execute(
            sa.update(customers).values(tm_delete=utc_now()).where(customers.c.id == tenant.id)
        )


async def _give_back(product: Product, tenant: Tenant) -> None:
    """The numbers that the customer bought are for sale again: others buy them by name."""
    status, answer = await tenant.api.call("GET", "/v1.0/numbers", page_size="1000")
    # of one that was frozen or deleted by its test nothing can be asked
    for row in answer["result"] if status == 200 else ():
        await tenant.api.call("DELETE", f"/v1.0/numbers/{row['id']}")

    async def released() -> bool:
        open_ = sa.text("SELECT count(*) FROM number_orders WHERE customer_id = :id AND tm_end IS NULL")
        async with product.database.connect() as connection:
            return int((await connection.execute(open_, {"id": tenant.id})).scalar_one()) == 0

    await eventually(released, "the vendor has the numbers back", within=60)


def _normal() -> str:
    return number(f"{secrets.randbelow(10**4):04d}")
