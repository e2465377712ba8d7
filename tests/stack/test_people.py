"""Accounts of people on the running stack: a sign-up with its mails; a customer that is frozen, comes back, goes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.customers.tables import customers
from ringline.numbers.tables import numbers
from tests.stack.conftest import Api
from tests.stack.edge import free_port
from tests.stack.product import CHECKOUT, Product, eventually, sleep
from tests.stack.tenants import login

PASSWORD = "correct horse battery"
ANSWERED = "progressing"


class Process:
    """An API process of the test's own, where strangers may sign up; its mail is in its log."""

    def __init__(self, process: asyncio.subprocess.Process, api: Api) -> None:
        self._process = process
        self.api = api
        self.lines: list[dict[str, Any]] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"event": line.decode(errors="replace")})

    def ready(self) -> bool:
        assert self._process.returncode is None, self.lines[-10:]
        return any(line["event"] == "api_started" for line in self.lines)

    def link(self, to: str, page: str) -> str:
        """The token of the last mail to somebody that leads to ``page``; empty where there is none yet."""
        texts = [line["text"] for line in self.lines if line["event"] == "mail" and line["to"] == to]
        found = [match for text in texts if (match := re.search(page + r"\?token=([0-9a-f]{64})\n", text))]
        return found[-1][1] if found else ""

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(30):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader


@asynccontextmanager
async def open_process(env: Mapping[str, str], api: Api) -> AsyncIterator[Process]:
    port = free_port()
    own = {
        "RINGLINE_SIGNUP_ENABLED": "true",
        "RINGLINE_API_HOST": "127.0.0.1",
        "RINGLINE_API_PORT": str(port),
        "RINGLINE_LOG_FORMAT": "json",
        "PYTHONPATH": str(CHECKOUT / "src"),
        # what is written here is written nowhere else
        "RINGLINE_MEDIA_DIR": str(CHECKOUT / env.get("RINGLINE_VAR_DIR", "var/test") / "people-media"),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from ringline import serving; serving.serve('api')"),
        env={**{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}, **env, **own},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    started = Process(process, Api(api._session, f"http://127.0.0.1:{port}", ""))
    try:
        await eventually(started.ready, "an API process", within=90.0)
        yield started
    finally:
        await started.close()


@pytest.mark.timeout(300)
async def test_strangers_sign_up_where_it_is_switched_on(api: Api, product: Product) -> None:
    email = f"{uuid4().hex}@example.com"
    body = {"email": email, "accepted_tos": True, "name": "Ada Ltd"}
    status, refused = await api.call("POST", "/auth/signup", body, accesskey="")
    assert (status, refused["error"]["reason"]) == (403, "SIGNUP_DISABLED")
    async with open_process(product.env, api) as open_api:
        made = await open_api.api.post("/auth/signup", body)
        assert made["customer"]["status"] == "initial"
        # what one process makes is known to all of them
        own = api.of(made["accesskey"]["token"])
        assert (await eventually(lambda: own.get("/v1.0/customer"), "the new key", within=30.0))[
            "email"
        ] == email
        token = await eventually(lambda: open_api.link(email, "/auth/email-verify"), "the mail", within=30.0)
        verified = await api.post("/auth/email-verify", {"token": token}, accesskey="")
        assert verified["customer"]["status"] == "active"
        reset = {"token": verified["password_token"], "password": "a first password"}
        assert await api.post("/auth/password-reset", reset, accesskey="") == {}
        former = await login(product, email, "a first password")
        assert await open_api.api.post("/auth/password-forgot", {"username": email}) == {}
        assert await open_api.api.post("/auth/password-forgot", {"username": uuid4().hex}) == {}
        token = await eventually(
            lambda: open_api.link(email, "/auth/password-reset"), "the mail", within=30.0
        )
    await api.post("/auth/password-reset", {"token": token, "password": PASSWORD}, accesskey="")
    status, refused = await api.call("GET", "/v1.0/agents", accesskey="", token=former)
    assert (status, refused["error"]["reason"]) == (401, "INVALID_CREDENTIALS")
    present = await login(product, email, PASSWORD)
    leave = {"password": PASSWORD, "immediate": True}
    status, gone = await api.call("POST", "/auth/unregister", leave, accesskey="", token=present)
    assert (status, gone["status"]) == (200, "deleted")
    await removed(product, made["customer"]["id"])


async def removed(product: Product, customer_id: str) -> None:
    """Until all that belonged to the customer is taken down."""

    async def look() -> Any:
        statement = sa.select(customers).where(customers.c.id == UUID(customer_id))
        async with product.database.connect() as connection:
            return (await connection.execute(statement)).one().tm_removed

    await eventually(look, "the customer's removal", within=90.0)


@pytest.mark.timeout(300)
async def test_a_customer_is_frozen_recovered_and_deleted_while_it_talks(api: Api, product: Product) -> None:
    operator = await login(
        product, product.env["RINGLINE_ADMIN_USERNAME"], product.env["RINGLINE_ADMIN_PASSWORD"]
    )

    async def operate(method: str, path: str, body: Any = None) -> Any:
        status, answer = await api.call(method, path, body, accesskey="", token=operator)
        assert status == 200, answer
        return answer

    made = await operate(
        "POST", "/v1.0/customers", {"name": "Ada Ltd", "email": f"{uuid4().hex}@example.com"}
    )
    one, own = f"/v1.0/customers/{made['id']}", api.of(made["accesskey"]["token"])
    flow = await own.post("/v1.0/flows", {"name": "x", "actions": [{"type": "answer"}, sleep(120)]})
    mine = f"+899{uuid4().int % 10**9:09d}"
    bought = await own.post("/v1.0/numbers", {"number": mine, "call_flow_id": flow["id"]})
    order = {
        "source": {"type": "tel", "target": mine},
        "destinations": [{"type": "tel", "target": mine}],
        "actions": [sleep(120)],
    }
    (call,) = await own.post("/v1.0/calls", order)
    await own.wait_call(call["id"], ANSWERED, within=60.0)

    async def channels() -> set[str]:
        ids = {f"call-{row['id']}" for row in calls}
        return {channel["id"] for channel in await product.asterisk.list("channels")} & ids

    calls = (await own.get("/v1.0/calls"))["result"]
    lasting = await channels()
    assert f"call-{call['id']}" in lasting

    frozen = await operate("POST", f"{one}/freeze")
    for method, path, body in (
        ("GET", "/v1.0/calls", None),
        ("POST", "/v1.0/calls", order),
        ("DELETE", "/auth/unregister", None),
    ):
        status, refused = await own.call(method, path, body)
        assert (status, refused["error"]["reason"]) == (403, "ACCOUNT_FROZEN"), path
        assert refused["error"]["details"][0]["deletion_effective_at"] == frozen["tm_deletion_scheduled"]
    assert await channels() == lasting, "what lasts goes on"
    await operate("POST", f"{one}/recover")
    assert (await own.get(f"/v1.0/calls/{call['id']}"))["status"] == ANSWERED

    await operate("DELETE", one)
    status, refused = await own.call("GET", "/v1.0/calls")
    assert (status, refused["error"]["reason"]) == (401, "INVALID_CREDENTIALS")

    async def over() -> bool:
        return not await channels()

    await eventually(over, "the end of the calls", within=60.0)
    await removed(product, made["id"])
    async with product.database.connect() as connection:
        statement = sa.select(numbers.c.status).where(numbers.c.id == UUID(bought["id"]))
        assert await connection.scalar(statement) == "deleted"
    trail = await operate("GET", f"/v1.0/audit_events?customer_id={made['id']}&resource=customer")
    assert [row["action"] for row in trail["result"]] == ["delete", "update", "update", "create"]
    assert made["email"] not in json.dumps(trail)
    again = await operate("GET", one)
    assert (again["status"], again["email"]) == ("deleted", "")
