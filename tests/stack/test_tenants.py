"""No route shows, changes or even confirms what is another customer's.

Every operation of the OpenAPI description is tried with another customer's ids: in the path, in filters, in the
body. What is foreign must be answered exactly like what does not exist. ``CASES`` says of each operation how foreign
ids get into it; an operation, a filter or a field of a body that is not in it makes a test fail, and the message
says what to add.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from tests.stack import tenants
from tests.stack.conftest import Api
from tests.stack.product import HANGUP, Json, Product
from tests.stack.tenants import Tenant

pytestmark = pytest.mark.timeout(300)

PARAMETERS = {
    "accesskey_id": "accesskey",
    "activeflow_id": "activeflow",
    "agent_id": "agent",
    "billing_account_id": "billing_account",
    "billing_id": "billing",
    "call_id": "call",
    "conference_id": "conference",
    "conferencecall_id": "conferencecall",
    "event_id": "event",
    "extension_id": "extension",
    "flow_id": "flow",
    "groupcall_id": "groupcall",
    "message_id": "message",
    "number_id": "number",
    "port_id": "number_port",
    "queue_id": "queue",
    "queuecall_id": "queuecall",
    "recording_id": "recording",
    "reference_id": "queued_call",
    "registration_id": "registration",
    "tag_id": "tag",
    "transfer_id": "transfer",
    "trunk_id": "trunk",
    "webhook_id": "webhook",
    "webhook_delivery_id": "webhook_delivery",
}
"""The kind of thing (``Tenant.world``) that a parameter of a path names."""

WORDS = {"index": "0", "address": "192.0.2.1", "rate_id": "5e4a0680-804e-11ec-8477-2fea5968d85b"}
"""Parameters of paths that name nobody's things."""


@dataclass(frozen=True)
class Case:
    """How an operation is tried.

    ``bodies`` are valid ones; ``<kind>`` stands for the id of such a thing, and each is tried foreign and unknown in
    turn. ``query`` are filters in the same manner: what they find of others is an empty page. ``needs`` is who may do
    it: ``own`` is an administrator, or the agent whom it is about. ``free`` are fields of the body that hold ids and
    name nothing of another customer's, and why. ``data`` is a body that is not JSON.
    """

    bodies: tuple[Json, ...] = ()
    query: Mapping[str, str] | None = None
    needs: str = "customer"
    free: Mapping[str, str] | None = None
    data: tuple[str, bytes] | None = None


READ = Case()
ADMIN = Case(needs="admin")
PROJECT = Case(needs="project")

_LEG = {"type": "tel", "target": "<number_text>"}
_OTHER = {**_LEG, "target": "+899000000001"}
_ORDER = {"source": _LEG, "destinations": [_OTHER]}
# only a number of one's own may be shown to the telephone network
_OUTSIDE = {
    "source": {**_LEG, "target": "<normal_text>"},
    "destinations": [{**_LEG, "target": "+12025550143"}],
    "actions": [HANGUP],
}
_TO_AGENT = {"destinations": [{"type": "agent", "target": "<agent>"}], "actions": [HANGUP]}


def _fetch(field: str) -> Json:
    """A body with actions of which one runs a stored flow."""
    return {field: [{"type": "fetch_flow", "option": {"flow_id": "<flow>"}}]}


_WITHIN = "flows that are in the body, which stand for stored ones"
_ORDERS = (
    {**_ORDER, "flow_id": "<flow>"},
    {"destinations": [_OTHER], **_fetch("actions")},
    _OUTSIDE,
    _TO_AGENT,
)
_CONFERENCES = (
    {"pre_flow_id": "<flow>"},
    {"post_flow_id": "<flow>"},
    _fetch("pre_actions"),
    _fetch("post_actions"),
)
_QUEUES = ({"tag_ids": ["<tag>"]}, {"wait_flow_id": "<flow>"}, _fetch("wait_actions"))

CASES: dict[str, Case] = {
    "POST /auth/login": READ,
    "POST /auth/logout": READ,
    "POST /auth/signup": READ,
    "POST /auth/email-verify": READ,
    "POST /auth/password-forgot": READ,
    "POST /auth/password-reset": READ,
    "POST /auth/unregister": ADMIN,
    "DELETE /auth/unregister": ADMIN,
    "GET /v1.0/accesskeys": READ,
    "POST /v1.0/accesskeys": ADMIN,
    "GET /v1.0/accesskeys/{accesskey_id}": READ,
    "PUT /v1.0/accesskeys/{accesskey_id}": Case(({"name": "x"},), needs="admin"),
    "DELETE /v1.0/accesskeys/{accesskey_id}": ADMIN,
    "GET /v1.0/agents": READ,
    "POST /v1.0/agents": Case(
        (
            {
                "username": "unused@tenants.test",
                "password": "correct horse 7",
                "tag_ids": ["<tag>"],
                "addresses": [],
            },
        ),
        needs="admin",
    ),
    "GET /v1.0/agents/{agent_id}": READ,
    "PUT /v1.0/agents/{agent_id}": Case(({"name": "x"},), needs="admin"),
    "DELETE /v1.0/agents/{agent_id}": ADMIN,
    "PUT /v1.0/agents/{agent_id}/addresses": Case(({"addresses": []},), needs="own"),
    "PUT /v1.0/agents/{agent_id}/password": Case(({"password": "correct horse 8"},), needs="own"),
    "PUT /v1.0/agents/{agent_id}/status": Case(({"status": "away"},), needs="own"),
    "PUT /v1.0/agents/{agent_id}/tag_ids": Case(({"tag_ids": ["<tag>"]},), needs="admin"),
    "PUT /v1.0/agents/{agent_id}/permission": Case(({"permission": 16},), needs="admin"),
    "GET /v1.0/tags": READ,
    "POST /v1.0/tags": ADMIN,
    "GET /v1.0/tags/{tag_id}": READ,
    "PUT /v1.0/tags/{tag_id}": Case(({"name": "x"},), needs="admin"),
    "DELETE /v1.0/tags/{tag_id}": ADMIN,
    "GET /v1.0/customer": READ,
    "PUT /v1.0/customer": Case(({"default_outgoing_source_number_id": "<normal>"},), needs="admin"),
    "GET /v1.0/outbound_config": READ,
    "PUT /v1.0/outbound_config": Case(({"default_outgoing_source_number_id": "<normal>"},), needs="admin"),
    "GET /v1.0/extensions": READ,
    "POST /v1.0/extensions": ADMIN,
    "GET /v1.0/extensions/{extension_id}": READ,
    "PUT /v1.0/extensions/{extension_id}": Case(({"name": "x"},), needs="admin"),
    "DELETE /v1.0/extensions/{extension_id}": ADMIN,
    "GET /v1.0/extensions/{extension_id}/registrations": READ,
    "DELETE /v1.0/extensions/{extension_id}/registrations/{registration_id}": ADMIN,
    "GET /v1.0/trunks": ADMIN,
    "POST /v1.0/trunks": ADMIN,
    "GET /v1.0/trunks/{trunk_id}": ADMIN,
    "PUT /v1.0/trunks/{trunk_id}": Case(({"name": "x"},), needs="admin"),
    "DELETE /v1.0/trunks/{trunk_id}": ADMIN,
    "POST /v1.0/calls": Case(_ORDERS),
    "GET /v1.0/calls": READ,
    "GET /v1.0/calls/{call_id}": READ,
    "DELETE /v1.0/calls/{call_id}": READ,
    "POST /v1.0/calls/{call_id}/hangup": READ,
    "GET /v1.0/calls/{call_id}/sip": READ,
    "POST /v1.0/calls/{call_id}/hold": READ,
    "DELETE /v1.0/calls/{call_id}/hold": READ,
    "POST /v1.0/calls/{call_id}/moh": READ,
    "DELETE /v1.0/calls/{call_id}/moh": READ,
    "POST /v1.0/calls/{call_id}/silence": READ,
    "DELETE /v1.0/calls/{call_id}/silence": READ,
    "POST /v1.0/calls/{call_id}/mute": Case(({"direction": "both"},)),
    "DELETE /v1.0/calls/{call_id}/mute": Case(({"direction": "both"},)),
    "POST /v1.0/calls/{call_id}/talk": Case(({"text": "hello"},)),
    "POST /v1.0/calls/{call_id}/recording_start": Case(({"on_end_flow_id": "<flow>"},)),
    "POST /v1.0/calls/{call_id}/recording-start": Case(({"on_end_flow_id": "<flow>"},)),
    "POST /v1.0/calls/{call_id}/recording_stop": READ,
    "POST /v1.0/calls/{call_id}/recording-stop": READ,
    "GET /v1.0/recordings": Case(query={"reference_id": "<call>", "activeflow_id": "<activeflow>"}),
    "GET /v1.0/recordings/{recording_id}": READ,
    "DELETE /v1.0/recordings/{recording_id}": READ,
    "GET /v1.0/recordingfiles/{recording_id}": READ,
    "POST /v1.0/conferences": Case(_CONFERENCES),
    "GET /v1.0/conferences": READ,
    "GET /v1.0/conferences/{conference_id}": READ,
    "PUT /v1.0/conferences/{conference_id}": Case(_CONFERENCES),
    "DELETE /v1.0/conferences/{conference_id}": READ,
    "POST /v1.0/conferences/{conference_id}/recording_start": Case(({"on_end_flow_id": "<flow>"},)),
    "POST /v1.0/conferences/{conference_id}/recording-start": Case(({"on_end_flow_id": "<flow>"},)),
    "POST /v1.0/conferences/{conference_id}/recording_stop": READ,
    "POST /v1.0/conferences/{conference_id}/recording-stop": READ,
    "GET /v1.0/conferencecalls": Case(query={"conference_id": "<conference>", "reference_id": "<call>"}),
    "GET /v1.0/conferencecalls/{conferencecall_id}": READ,
    "DELETE /v1.0/conferencecalls/{conferencecall_id}": READ,
    "POST /v1.0/flows": Case(({"actions": [HANGUP], "on_complete_flow_id": "<flow>"}, _fetch("actions"))),
    "GET /v1.0/flows": READ,
    "GET /v1.0/flows/{flow_id}": READ,
    "PUT /v1.0/flows/{flow_id}": Case(({"on_complete_flow_id": "<flow>"}, _fetch("actions"))),
    "DELETE /v1.0/flows/{flow_id}": READ,
    "POST /v1.0/flows/simulations": Case((_fetch("actions"),), free={"flows": _WITHIN}),
    "POST /v1.0/flows/{flow_id}/simulations": Case(({},), free={"flows": _WITHIN}),
    "GET /v1.0/activeflows": Case(query={"reference_id": "<call>", "flow_id": "<flow>"}),
    "GET /v1.0/activeflows/{activeflow_id}": READ,
    "DELETE /v1.0/activeflows/{activeflow_id}": READ,
    "POST /v1.0/activeflows/{activeflow_id}/stop": READ,
    "POST /v1.0/groupcalls": Case(_ORDERS),
    "GET /v1.0/groupcalls": READ,
    "GET /v1.0/groupcalls/{groupcall_id}": READ,
    "DELETE /v1.0/groupcalls/{groupcall_id}": READ,
    "POST /v1.0/groupcalls/{groupcall_id}/hangup": READ,
    "POST /v1.0/transfers": Case(
        ({"type": "blind", "transferer_call_id": "<call>", "transferee_addresses": [_OTHER]},)
    ),
    "GET /v1.0/transfers": READ,
    "GET /v1.0/transfers/{transfer_id}": READ,
    "POST /v1.0/transfers/{transfer_id}/cancel": READ,
    "POST /v1.0/transfers/{transfer_id}/complete": READ,
    "GET /v1.0/available_numbers": Case(query={"type": "virtual"}),
    "GET /v1.0/number_availables": Case(query={"type": "virtual"}),
    "GET /v1.0/numbers": Case(query={"number": "<number_text>"}),
    "POST /v1.0/numbers": Case(
        (
            {"number": "+899000000002", "call_flow_id": "<flow>"},
            {"number": "+899000000002", "message_flow_id": "<flow>"},
        ),
        needs="admin",
    ),
    "GET /v1.0/numbers/{number_id}": READ,
    "PUT /v1.0/numbers/{number_id}": Case(
        ({"call_flow_id": "<flow>"}, {"message_flow_id": "<flow>"}), needs="admin"
    ),
    "DELETE /v1.0/numbers/{number_id}": ADMIN,
    "PUT /v1.0/numbers/{number_id}/flow_ids": Case(
        ({"call_flow_id": "<flow>"}, {"message_flow_id": "<flow>"}), needs="admin"
    ),
    "POST /v1.0/numbers/{number_id}/suspend": ADMIN,
    "POST /v1.0/numbers/{number_id}/reactivate": ADMIN,
    "POST /v1.0/numbers/renew": ADMIN,
    "POST /v1.0/messages": Case(
        ({"source": "<number_text>", "destinations": ["+15005550006"], "text": "x"},)
    ),
    "GET /v1.0/messages": Case(query={"source": "<number_text>", "destination": "<handset_text>"}),
    "GET /v1.0/messages/{message_id}": READ,
    "DELETE /v1.0/messages/{message_id}": READ,
    "GET /v1.0/messages/{message_id}/media/{index}": READ,
    "GET /v1.0/message_optouts": Case(query={"number": "<number_text>", "handset": "<handset_text>"}),
    "GET /v1.0/number_ports": READ,
    "POST /v1.0/number_ports": Case(
        (
            {"numbers": ["+12025550143"], "draft": True, "call_flow_id": "<flow>"},
            {"numbers": ["+12025550143"], "draft": True, "message_flow_id": "<flow>"},
        ),
        needs="admin",
    ),
    "GET /v1.0/number_ports/{port_id}": READ,
    "PUT /v1.0/number_ports/{port_id}": Case(
        ({"call_flow_id": "<flow>"}, {"message_flow_id": "<flow>"}), needs="admin"
    ),
    "DELETE /v1.0/number_ports/{port_id}": ADMIN,
    "POST /v1.0/number_ports/{port_id}/documents": Case(
        needs="admin",
        query={"kind": "letter", "name": "letter.pdf"},
        data=("application/pdf", b"%PDF-1.4\n%%EOF\n"),
    ),
    "POST /v1.0/number_ports/{port_id}/submit": ADMIN,
    "POST /hooks/telnyx": READ,
    "POST /hooks/twilio": READ,
    "POST /hooks/sandbox": READ,
    "GET /v1.0/billing_accounts": Case(query={"customer_id": "<customer>"}),
    "GET /v1.0/billing-accounts": Case(query={"customer_id": "<customer>"}),
    "POST /v1.0/billing_accounts": PROJECT,
    "PUT /v1.0/billing_accounts/{billing_account_id}": Case(({"name": "x"},), needs="admin"),
    "PUT /v1.0/billing-accounts/{billing_account_id}": Case(({"name": "x"},), needs="admin"),
    "PUT /v1.0/billing_accounts/{billing_account_id}/payment_info": Case(
        ({"payment_type": "prepaid", "payment_method": ""},), needs="admin"
    ),
    "POST /v1.0/billing_accounts/{billing_account_id}/balance_add_force": PROJECT,
    "POST /v1.0/billing_accounts/{billing_account_id}/balance_subtract_force": PROJECT,
    "PUT /v1.0/billing_account": Case(({"name": "x"},), needs="admin"),
    "PUT /v1.0/customer/billing_account_id": Case(
        ({"billing_account_id": "<billing_account>"},), needs="admin"
    ),
    "GET /v1.0/billings": Case(
        query={
            "customer_id": "<customer>",
            "account_id": "<billing_account>",
            "reference_id": "<billing_account>",
        }
    ),
    "GET /v1.0/billings/{billing_id}": READ,
    "POST /v1.0/billings/{billing_id}/refund": PROJECT,
    "POST /hooks/payments": READ,
    "GET /v1.0/rates": READ,
    "POST /v1.0/rates": PROJECT,
    "GET /v1.0/rates/export": READ,
    "POST /v1.0/rates/import": PROJECT,
    "GET /v1.0/rates/{rate_id}": READ,
    "PUT /v1.0/rates/{rate_id}": PROJECT,
    "DELETE /v1.0/rates/{rate_id}": PROJECT,
    "GET /v1.0/billing_accounts/{billing_account_id}": READ,
    "GET /v1.0/billing-accounts/{billing_account_id}": READ,
    "GET /v1.0/billing_account": READ,
    "GET /v1.0/queues": READ,
    "POST /v1.0/queues": Case(_QUEUES, needs="admin"),
    "GET /v1.0/queues/{queue_id}": READ,
    "PUT /v1.0/queues/{queue_id}": Case(_QUEUES, needs="admin"),
    "DELETE /v1.0/queues/{queue_id}": ADMIN,
    "PUT /v1.0/queues/{queue_id}/tag_ids": Case(({"tag_ids": ["<tag>"]},), needs="admin"),
    "PUT /v1.0/queues/{queue_id}/routing_method": Case(({"routing_method": "random"},), needs="admin"),
    "GET /v1.0/queuecalls": Case(query={"queue_id": "<queue>", "reference_id": "<queued_call>"}),
    "GET /v1.0/queuecalls/{queuecall_id}": READ,
    "DELETE /v1.0/queuecalls/{queuecall_id}": ADMIN,
    "POST /v1.0/queuecalls/{queuecall_id}/kick": READ,
    "POST /v1.0/queuecalls/reference_id/{reference_id}/kick": READ,
    "GET /v1.0/events": Case(query={"resource_id": "<call>", "after": "<event>"}),
    "GET /v1.0/events/{event_id}": READ,
    "GET /v1.0/ws": READ,
    "GET /v1.0/cdrs": Case(query={"activeflow_id": "<activeflow>", "groupcall_id": "<groupcall>"}),
    "GET /v1.0/cdrs/export": Case(query={"activeflow_id": "<activeflow>", "groupcall_id": "<groupcall>"}),
    "GET /v1.0/cdrs/{call_id}": READ,
    "GET /v1.0/webhooks": READ,
    "POST /v1.0/webhooks": ADMIN,
    "GET /v1.0/webhooks/{webhook_id}": READ,
    "PUT /v1.0/webhooks/{webhook_id}": Case(({"name": "x"},), needs="admin"),
    "DELETE /v1.0/webhooks/{webhook_id}": ADMIN,
    "POST /v1.0/webhooks/{webhook_id}/rotate_secret": Case(({},), needs="admin"),
    "POST /v1.0/webhooks/{webhook_id}/recover": Case(({"since": "2026-01-01T00:00:00Z"},), needs="admin"),
    "POST /v1.0/webhooks/{webhook_id}/test": ADMIN,
    "GET /v1.0/webhook_deliveries": Case(query={"webhook_id": "<webhook>", "resource_id": "<call>"}),
    "GET /v1.0/webhook_deliveries/{webhook_delivery_id}": READ,
    "POST /v1.0/webhook_deliveries/{webhook_delivery_id}/redeliver": ADMIN,
    "GET /v1.0/audit_events": Case(
        query={
            "customer_id": "<customer>",
            "resource_id": "<queue>",
            "agent_id": "<agent>",
            "accesskey_id": "<accesskey>",
        },
        needs="admin",
    ),
    # the installation's, not a customer's
    "GET /v1.0/customers": PROJECT,
    "POST /v1.0/customers": PROJECT,
    "GET /v1.0/limits": READ,
    "GET /v1.0/customers/{customer_id}/limits": PROJECT,
    "PUT /v1.0/customers/{customer_id}/limits": PROJECT,
    "GET /v1.0/customers/{customer_id}": PROJECT,
    "PUT /v1.0/customers/{customer_id}": PROJECT,
    "DELETE /v1.0/customers/{customer_id}": PROJECT,
    "POST /v1.0/customers/{customer_id}/freeze": PROJECT,
    "POST /v1.0/customers/{customer_id}/recover": PROJECT,
    "GET /v1.0/providers": PROJECT,
    "POST /v1.0/providers": PROJECT,
    "GET /v1.0/providers/{provider_id}": PROJECT,
    "PUT /v1.0/providers/{provider_id}": PROJECT,
    "DELETE /v1.0/providers/{provider_id}": PROJECT,
    "GET /v1.0/bans": PROJECT,
    "POST /v1.0/bans": PROJECT,
    "DELETE /v1.0/bans/{address}": PROJECT,
    "GET /v1.0/routes": PROJECT,
    "POST /v1.0/routes": PROJECT,
    "GET /v1.0/routes/{route_id}": PROJECT,
    "PUT /v1.0/routes/{route_id}": PROJECT,
    "DELETE /v1.0/routes/{route_id}": PROJECT,
}

_PLACE = re.compile(r"<(\w+)>")
_OF_THEMSELVES = (
    *("balance_credit", "balance_token", "held_credit", "held_token"),
    *("tm_update", "tm_last_use"),
)
"""Fields that change while nobody asks: calls that last are paid for, and keys are used."""


@dataclass(frozen=True)
class Operation:
    """An operation as the description has it."""

    name: str
    method: str
    path: str
    said: Mapping[str, Any]
    schemas: Mapping[str, Any]

    @property
    def open(self) -> bool:
        return not self.said["security"]

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    def kind(self, parameter: str) -> str:
        """What a parameter of the path names."""
        # the record of a call is there when the call has ended
        return "cdr" if self.path == "/v1.0/cdrs/{call_id}" else PARAMETERS[parameter]

    def filters(self) -> set[str]:
        """Parameters of the query that hold an id."""
        return {
            one["name"]
            for one in self.said["parameters"]
            if one["in"] == "query" and ("uuid" in json.dumps(one["schema"]) or one["name"].endswith("_id"))
        }

    def fields(self) -> set[str]:
        """Fields of the body that hold ids, or have some in them."""
        content = self.said.get("requestBody", {}).get("content", {})
        schema = self._resolved(content.get("application/json", {}).get("schema", {}))
        return {
            name for name, field in schema.get("properties", {}).items() if self._has_ids(field, frozenset())
        }

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    def _has_ids(self, schema: Any, seen: frozenset[str]) -> bool:
        if isinstance(schema, list):
            return any(self._has_ids(one, seen) for one in schema)
        if not isinstance(schema, Mapping):
            return False
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return name not in seen and self._has_ids(self.schemas[name], seen | {name})
        return schema.get("format") == "uuid" or any(
            key not in ("description", "example", "examples") and self._has_ids(part, seen)
            for key, part in schema.items()
        )


@pytest.fixture(scope="module")
async def operations(api: Api) -> dict[str, Operation]:
    document = await api.get("/openapi.json", accesskey="")
    schemas = document["components"]["schemas"]
    found = {}
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            name = f"{method.upper()} {path}"
            found[name] = Operation(name, method.upper(), path, said, schemas)
    return found


@pytest.fixture(scope="module", autouse=True)
async def unbound(product: Product) -> float:
    """How many statements of requests had forgotten their customer before this module."""
    return (await product.metrics())["ringline_unbound_statements_total"]


@pytest.fixture(scope="module")
async def pair(product: Product) -> AsyncIterator[tuple[Tenant, Tenant]]:
    """Two customers with one of everything: whose things are tried, and who tries."""
    made = [await tenants.new_tenant(product) for _ in range(2)]
    try:
        for tenant in made:
            await tenants.furnish(product, tenant)
        yield made[0], made[1]
    finally:
        for tenant in made:
            await tenants.clear(product, tenant)


def test_every_operation_is_tried(operations: dict[str, Operation]) -> None:
    missing = sorted(operations.keys() - CASES.keys())
    assert not missing, (
        "These operations are not in CASES (tests/stack/test_tenants.py). For each say how another customer's ids get"
        f" into it (path parameters are in PARAMETERS, everything else in a Case): {missing}"
    )
    gone = sorted(CASES.keys() - operations.keys())
    assert not gone, f"These operations do not exist any more; take them out of CASES: {gone}"


def test_every_place_of_an_id_is_tried(operations: dict[str, Operation]) -> None:
    faults = []
    for name, case in CASES.items():
        operation = operations[name]
        if case.needs == "project" or operation.open:
            continue
        unknown = [one for one in operation.parameters if one not in PARAMETERS.keys() | WORDS.keys()]
        if unknown:
            faults.append(f"{name}: which kind of thing are {unknown}? Add them to PARAMETERS (or WORDS)")
        if missing := operation.filters() - (case.query or {}).keys():
            faults.append(
                f"{name}: filters {sorted(missing)} take ids; add query={{...: '<kind>'}} to its Case"
            )
        tried = {field for body in case.bodies for field in body if _PLACE.search(json.dumps(body[field]))}
        if missing := operation.fields() - tried - (case.free or {}).keys():
            faults.append(
                f"{name}: fields {sorted(missing)} of the body hold ids; add a body with '<kind>' there to its Case"
            )
    assert not faults, "\n".join(faults)


def test_the_description_says_who_may(operations: dict[str, Operation]) -> None:
    said = {name: one.said["x-permission"] for name, one in operations.items() if not one.open}
    expected = {name: case.needs.replace("own", "customer") for name, case in CASES.items()}
    assert said == {name: needs for name, needs in expected.items() if name in said}


class Trier:
    """Somebody who tries the ids of another."""

    def __init__(self, api: Api, owner: Tenant, stranger: Tenant) -> None:
        self._api = api
        self.owner = owner
        self.stranger = stranger
        self.faults: list[str] = []

    async def ask(
        self, operation: Operation, path: str, body: Json | None, query: Mapping[str, str], token: str = ""
    ) -> tuple[int, str]:
        """The answer without what differs from request to request; whatever is in it is looked through."""
        credential = {"accesskey": "", "token": token} if token else {"accesskey": self.stranger.accesskey}
        data = CASES[operation.name].data
        status, answer = await self._api.call(operation.method, path, body, data=data, **credential, **query)
        if isinstance(answer, dict) and "error" in answer:
            answer["error"].pop("request_id")
        text = json.dumps(answer, sort_keys=True)
        sent = json.dumps([path, body, query])
        for kind, value in {**self.owner.world, "name": self.owner.name}.items():
            if value in text and value not in sent:
                self.faults.append(f"{operation.name} told a stranger of the {kind} {value}: {text[:500]}")
        return status, text

    async def alike(
        self,
        operation: Operation,
        where: str,
        foreign: tuple[str, Json | None, Mapping[str, str]],
        unknown: tuple[str, Json | None, Mapping[str, str]],
        values: tuple[str, str],
    ) -> int:
        """Ask with what is foreign and with what does not exist; the status of both."""
        one, other = await self.ask(operation, *foreign), await self.ask(operation, *unknown)
        told = (one[0], one[1].replace(values[0], "ID")), (other[0], other[1].replace(values[1], "ID"))
        if told[0] != told[1]:
            self.faults.append(f"{operation.name}, {where}: foreign {told[0]}, unknown {told[1]}")
        return one[0]


def _unknown(kind: str) -> str:
    return f"+899{uuid4().int % 10**9:09d}" if kind.endswith("_text") else str(uuid4())


def _filled(template: Any, world: Mapping[str, str]) -> Any:
    """A body or query with each ``<kind>`` replaced."""
    text = _PLACE.sub(lambda match: world[match[1]], json.dumps(template))
    return json.loads(text)


def _constant(case: Case) -> dict[str, str]:
    """Parameters of the query without which nothing is answered."""
    return {name: value for name, value in (case.query or {}).items() if not _PLACE.match(value)}


def _path(operation: Operation, world: Mapping[str, str]) -> str:
    values = {name: WORDS.get(name) or world[operation.kind(name)] for name in operation.parameters}
    return operation.path.format(**values)


def _tried(operations: Mapping[str, Operation]) -> Iterator[tuple[Operation, Case]]:
    """What can be tried: an operation that is missing in the table has a test that says so."""
    for name, operation in operations.items():
        case = CASES.get(name)
        if case is None or operation.open or case.needs == "project":
            continue
        if all(one in PARAMETERS.keys() | WORDS.keys() for one in operation.parameters):
            yield operation, case


async def test_what_is_foreign_is_answered_like_what_does_not_exist(
    api: Api, operations: dict[str, Operation], pair: tuple[Tenant, Tenant]
) -> None:
    owner, stranger = pair
    trier = Trier(api, owner, stranger)
    before = await _seen(operations, owner)
    proofs: list[tuple[Operation, str, str, Json, int]] = []
    for operation, case in _tried(operations):
        own = stranger.world
        body = _filled(case.bodies[0], own) if case.bodies else None
        query = _constant(case)
        ids = [name for name in operation.parameters if name in PARAMETERS]
        for name in ids:
            kind = operation.kind(name)
            theirs, nobodys = owner.world[kind], _unknown(kind)
            foreign = _path(operation, {**own, kind: theirs})
            unknown = _path(operation, {**own, kind: nobodys})
            status = await trier.alike(
                operation, name, (foreign, body, query), (unknown, body, query), (theirs, nobodys)
            )
            if status != 404:
                trier.faults.append(f"{operation.name}: {name} of another customer is {status}, not 404")
        path = _path(operation, own)
        for template in case.bodies:
            for kind in dict.fromkeys(_PLACE.findall(json.dumps(template))):
                if kind == "number_text" and template.get("destinations") == [_OTHER]:
                    # between numbers of the installation a foreign source is anonymous, as any other text is
                    continue
                theirs, nobodys = owner.world[kind], _unknown(kind)
                foreign_body = _filled(template, {**own, kind: theirs})
                unknown_body = _filled(template, {**own, kind: nobodys})
                status = await trier.alike(
                    operation, kind, (path, foreign_body, {}), (path, unknown_body, {}), (theirs, nobodys)
                )
                # simulations name what is not there in their trace; nobody's number can be called
                simulated = operation.path.endswith("/simulations")
                if not simulated:
                    proofs.append((operation, kind, path, _filled(template, own), status))
                if status not in (400, 404) and not simulated:
                    trier.faults.append(f"{operation.name}: <{kind}> of another customer is {status}")
        if operation.method == "GET" and case.query:
            for name, place in case.query.items():
                if not _PLACE.match(place):
                    continue
                kind = place.strip("<>")
                theirs, nobodys = owner.world[kind], _unknown(kind)
                status = await trier.alike(
                    operation,
                    name,
                    (path, None, {name: theirs}),
                    (path, None, {name: nobodys}),
                    (theirs, nobodys),
                )
                if status not in (200, 404):
                    trier.faults.append(f"{operation.name}: a filter by a foreign {name} is {status}")
        if operation.method == "GET" and not operation.parameters and "200" in operation.said["responses"]:
            status, answer = await trier.ask(operation, path, None, {**_constant(case), "page_size": "1000"})
            if status != 200:
                trier.faults.append(f"{operation.name}: {status} {answer[:300]}")
    for operation, kind, path, body, refused in proofs:
        # last: what is set here would change what the others are answered
        status, answer = await trier.ask(operation, path, body, {})
        if status == refused:
            trier.faults.append(
                f"{operation.name}: {body} is {status} too with a {kind} of one's own: the Case proves nothing:"
                f" {answer[:300]}"
            )
    after = await _seen(operations, owner)
    changed = {path: (before[path], after[path]) for path in before if before[path] != after[path]}
    assert not trier.faults, "\n".join(trier.faults)
    assert not changed, f"A stranger's requests changed these: {changed}"


async def _seen(operations: Mapping[str, Operation], owner: Tenant) -> dict[str, Any]:
    """Each thing of the owner, as its GET shows it: they exist, so 404 for a stranger means something."""
    found = {}
    for operation, _ in _tried(operations):
        if operation.method != "GET" or operation.path.endswith("/media/{index}"):
            continue
        if not any(name in PARAMETERS for name in operation.parameters):
            continue
        path = _path(operation, owner.world)
        if "/recordingfiles/" in path:
            continue
        status, answer = await owner.api.call("GET", path)
        assert status == 200, f"the owner's own {path}: {status} {answer}"
        if path.endswith("/sip") or "/webhook" in path:
            # these change by themselves
            continue
        if isinstance(answer, dict):
            answer = {name: value for name, value in answer.items() if name not in _OF_THEMSELVES}
        found[path] = answer
    return found


async def test_an_idempotency_key_is_each_customers_own(api: Api, pair: tuple[Tenant, Tenant]) -> None:
    owner, stranger = pair
    key, body = str(uuid4()), {"name": "idempotent"}
    status, theirs = await owner.api.call("POST", "/v1.0/tags", body, key=key)
    assert status == 200
    status, own = await stranger.api.call("POST", "/v1.0/tags", body, key=key)
    assert (status, own["customer_id"]) == (200, str(stranger.id))
    assert own["id"] != theirs["id"]


async def test_nothing_is_answered_without_a_credential(
    env: Mapping[str, str], operations: dict[str, Operation]
) -> None:
    faults = []
    credentials: tuple[dict[str, str], ...] = ({}, {"accesskey": "vb_" + "x" * 40}, {"token": "a.b.c"})
    for operation in operations.values():
        if operation.open:
            continue
        path = re.sub(r"\{\w+\}", str(uuid4()), operation.path)
        # from an address of its own: who tries many wrong ones from one is not listened to any more
        address = (
            f"127.{secrets.randbelow(200) + 2}.{secrets.randbelow(250) + 2}.{secrets.randbelow(250) + 2}"
        )
        connector = aiohttp.TCPConnector(local_addr=(address, 0))
        async with aiohttp.ClientSession(env["RINGLINE_API_URL"], connector=connector) as session:
            for credential in credentials:
                async with session.request(operation.method, path, params=credential) as response:
                    answer = await response.json()
                    if response.status != 401 or answer["error"]["status"] != "UNAUTHENTICATED":
                        faults.append(f"{operation.name} with {credential}: {response.status} {answer}")
    assert not faults, "\n".join(faults)


async def test_who_has_no_right_is_told_so_before_anything_else(
    api: Api, operations: dict[str, Operation], pair: tuple[Tenant, Tenant]
) -> None:
    """A plain agent may not administrate; not even a customer's administrator may touch the installation's."""
    owner, _ = pair
    faults = []
    for name, operation in operations.items():
        case = CASES.get(name)
        if case is None or case.needs == "customer" or operation.open:
            continue
        path = re.sub(r"\{\w+\}", str(uuid4()), operation.path)
        body = None
        if case.needs == "own":
            path, body = _path(operation, owner.world), case.bodies[0]
        tokens = [owner.agent_token]
        if case.needs == "project":
            tokens.append(owner.admin_token)
            status, answer = await api.call(operation.method, path, accesskey=owner.accesskey)
            if status != 403:
                faults.append(f"{name} with an access key: {status} {answer}")
        for token in tokens:
            status, answer = await api.call(operation.method, path, body, accesskey="", token=token)
            if status != 403 or answer["error"]["status"] != "PERMISSION_DENIED":
                faults.append(f"{name}: {status} {answer}")
    assert not faults, "\n".join(faults)


async def test_a_flow_that_names_foreign_things_ends_where_it_names_them(
    api: Api, pair: tuple[Tenant, Tenant]
) -> None:
    """Queues and conferences may be made later, so nothing is refused when a flow is stored; it is when it runs."""
    owner, stranger = pair
    order = _filled(_ORDER, stranger.world)
    order["destinations"] = [{"type": "tel", "target": stranger.world["second_number_text"]}]
    for kind in ("queue", "conference"):
        before = await owner.api.get(f"/v1.0/{kind}s/{owner.world[kind]}")
        ends = []
        for named in (owner.world[kind], str(uuid4())):
            action = {"type": f"{kind}_join", "option": {f"{kind}_id": named}}
            status, answer = await stranger.api.call("POST", "/v1.0/calls", {**order, "actions": [action]})
            if status == 200:
                record = await stranger.api.wait_call(answer[0]["id"], "hangup", within=30)
                answer = [record["hangup_by"], record["hangup_reason"], record["failures"]]
                for failure in answer[2]:
                    del failure["tm"], failure["action_id"]
            else:
                del answer["error"]["request_id"]
            ends.append((status, json.dumps(answer).replace(named, "ID")))
        assert ends[0] == ends[1]
        assert owner.name not in ends[0][1]
        assert await owner.api.get(f"/v1.0/{kind}s/{owner.world[kind]}") == before


async def test_no_statement_has_forgotten_whose_rows_it_is_about(product: Product, unbound: float) -> None:
    """Of all that this module has asked, which is every operation (``storage.tenancy``; the log names statements)."""
    assert (await product.metrics())["ringline_unbound_statements_total"] == unbound
