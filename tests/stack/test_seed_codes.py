"""Every answer of the troubleshooting sections of the seed pages, provoked with ``curl`` as a reader would."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.stack import tenants
from tests.stack.product import (
    ANSWER,
    DEFAULT_SOURCE,
    HANGUP,
    SOURCE,
    Json,
    Product,
    eventually,
    number,
    talk,
)
from tests.stack.tenants import Tenant

pytestmark = pytest.mark.timeout(180)

FOREIGN = "d4b7b5a8-0b2d-4f0e-9c1f-3f6a2c8f7e11"


async def curl(
    product: Product, method: str, path: str, body: Any = None, *, credential: str
) -> tuple[int, Any]:
    """Status and decoded answer; ``credential`` is a query such as ``accesskey=...``."""
    url = f"{product.env['RINGLINE_API_URL']}{path}{'&' if '?' in path else '?'}{credential}"
    command = ["curl", "-k", "-s", "--max-time", "60", "--location", "--request", method, url]
    command += ["-w", "\n%{http_code}"]
    if body is not None:
        command += ["--header", "Content-Type: application/json", "--data", json.dumps(body)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    text, _, status = output.decode().rpartition("\n")
    return int(status), json.loads(text)


def _call(source: str, destination: str, **fields: Any) -> Json:
    return {
        "source": {"type": "tel", "target": source},
        "destinations": [{"type": "tel", "target": destination}],
        "actions": [ANSWER, HANGUP],
        **fields,
    }


@pytest.fixture(scope="module")
async def poor(product: Product) -> AsyncIterator[Tenant]:
    """A customer whose balance is empty."""
    tenant = await tenants.new_tenant(product, credit=0, plan="free")
    yield tenant
    await tenants.clear(product, tenant)


@pytest.fixture(scope="module")
def key(product: Product) -> str:
    return f"accesskey={product.env['RINGLINE_ACCESSKEY']}"


@pytest.mark.parametrize(
    ("source", "destination", "field"),
    [
        ("+1-555-123-4567", "+15559870007", "source"),
        ("+15551234567 ", "+15559870007", "source"),
        ("15551234567", "+15559870007", "source"),
        (SOURCE, "+1 555 987 0007", "destinations[0].target"),
        (SOURCE, "5559870007", "destinations[0].target"),
        (SOURCE, "(555) 987-0007", "destinations[0].target"),
    ],
)
@pytest.mark.parametrize("path", ["/v1.0/calls", "/v1.0/groupcalls"])
async def test_a_number_that_is_not_e164_is_400(
    product: Product, key: str, path: str, source: str, destination: str, field: str
) -> None:
    status, answer = await curl(product, "POST", path, _call(source, destination), credential=key)
    assert status == 400, answer
    assert (answer["error"]["status"], field in str(answer)) == ("INVALID_ARGUMENT", True)


async def test_a_source_of_somebody_else_is_400_without_a_default_number(
    product: Product, poor: Tenant
) -> None:
    credential = f"accesskey={poor.accesskey}"
    for source in (SOURCE, "+899100000001", number()):
        status, answer = await curl(
            product, "POST", "/v1.0/calls", _call(source, "+15559870007"), credential=credential
        )
        assert status == 400, answer
        assert "source" in str(answer["error"]["details"])


async def test_no_credential_and_a_wrong_one_are_401(product: Product) -> None:
    for credential in ("", "token=wrong", f"accesskey=vb_{secrets.token_hex(16)}"):
        status, answer = await curl(product, "GET", "/v1.0/calls", credential=credential)
        assert (status, answer["error"]["status"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1.0/calls", _call("", "+15559870007")),
        ("/v1.0/groupcalls", _call("", "+15559870007")),
        ("/v1.0/messages", {"destinations": [{"type": "tel", "target": "+15559870007"}], "text": "hello"}),
        ("/v1.0/numbers", {"number": "+16062067563"}),
    ],
)
async def test_an_empty_balance_is_402_and_says_what_is_needed(
    product: Product, poor: Tenant, path: str, body: Json
) -> None:
    own = await tenants.new_normal_number(product, poor)
    if "numbers" not in path:
        body = {**body, "source": {"type": "tel", "target": own}}
    credential = f"accesskey={poor.accesskey}"

    async def refused() -> bool:
        status, answer = await curl(product, "POST", path, body, credential=credential)
        assert (status, answer["error"]["status"]) == (402, "PAYMENT_REQUIRED"), answer
        return True

    # until the number is known to whoever judges sources, it is nobody's
    await eventually(refused, "it cannot be paid")
    # the page's next step
    status, page = await curl(product, "GET", "/v1.0/billing-accounts", credential=credential)
    assert (status, page["result"][0]["balance_credit"]) == (200, 0)


async def test_what_is_not_permitted_is_403(product: Product, poor: Tenant) -> None:
    await tenants.add_people(product, poor)
    agent = f"token={poor.agent_token}"
    status, answer = await curl(
        product, "POST", "/v1.0/numbers", {"number": "+899123123123"}, credential=agent
    )
    assert (status, answer["error"]["status"]) == (403, "PERMISSION_DENIED"), answer


async def test_an_unknown_flow_and_a_foreign_one_are_404(product: Product, key: str, poor: Tenant) -> None:
    foreign = await poor.api.post("/v1.0/flows", {"name": "theirs", "actions": [ANSWER]})
    for flow_id in (FOREIGN, foreign["id"]):
        body = _call(SOURCE, "+15559870007", flow_id=flow_id)
        del body["actions"]
        for path in ("/v1.0/calls", "/v1.0/groupcalls"):
            status, answer = await curl(product, "POST", path, body, credential=key)
            assert (status, answer["error"]["reason"]) == (404, "FLOW_NOT_FOUND"), answer
        configured = {"call_flow_id": flow_id}
        (own,) = (await product.api.get("/v1.0/numbers", number=DEFAULT_SOURCE))["result"]
        path = f"/v1.0/numbers/{own['id']}"
        status, answer = await curl(product, "PUT", path, configured, credential=key)
        assert status in (400, 404), answer


async def test_unknown_things_and_foreign_ones_are_404(product: Product, key: str) -> None:
    for path in ("/v1.0/calls/", "/v1.0/groupcalls/", "/v1.0/numbers/", "/v1.0/flows/"):
        status, answer = await curl(product, "GET", path + FOREIGN, credential=key)
        assert (status, answer["error"]["status"]) == (404, "NOT_FOUND")


async def test_a_number_that_somebody_has_cannot_be_bought(product: Product, poor: Tenant) -> None:
    """Page: "Number not available: number may have been provisioned by another customer"."""
    status, answer = await curl(
        product, "POST", "/v1.0/numbers", {"number": SOURCE}, credential=f"accesskey={poor.accesskey}"
    )
    assert status in (402, 404, 409), answer
    assert SOURCE not in str((await poor.api.get("/v1.0/numbers"))["result"])


async def test_a_call_that_ends_at_once_says_why(product: Product, key: str) -> None:
    """Page: "Call immediately hangs up: check the call's hangup_reason via GET /calls/{id}"."""
    status, calls = await curl(
        product, "POST", "/v1.0/calls", _call(SOURCE, number("0004"), actions=[talk("hello")]), credential=key
    )
    assert status == 200, calls
    await product.ended(calls[0])
    status, call = await curl(product, "GET", f"/v1.0/calls/{calls[0]['id']}", credential=key)
    assert (status, call["status"], call["hangup_reason"]) == (200, "hangup", "failed")
