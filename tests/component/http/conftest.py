"""The API of customers, numbers and billing, on a real database, behind a real socket."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

import aiohttp
import pytest
from pydantic import SecretStr

from ringline import seed
from ringline.billing import BillingService, billing_routes
from ringline.clock import SystemClock
from ringline.customers import (
    AccesskeyDirectory,
    AccesskeyService,
    AgentDirectory,
    AgentService,
    Authentication,
    CustomerDirectory,
    CustomerService,
    LoginService,
    Presence,
    TagService,
    Tokens,
    accesskey_routes,
    agent_routes,
    customer_routes,
    login_routes,
    tag_routes,
)
from ringline.customers.passwords import hash_password
from ringline.customers.tables import accesskeys, agents, customers
from ringline.customers.tokens import accesskey_hash, accesskey_prefix, new_accesskey
from ringline.flows.check import Rules
from ringline.http import (
    DatabaseIdempotency,
    Permission,
    Readiness,
    Request,
    RequestModel,
    ResponseModel,
    Route,
    Server,
    create_app,
    utc_now,
)
from ringline.numbers import NumberDirectory, NumberService, number_routes, source_problem
from ringline.queues.directory import QueueDirectory
from ringline.queues.http import queue_routes, queuecall_routes
from ringline.queues.joining import QueueJoining
from ringline.queues.service import QueuecallService, QueueService
from ringline.settings import Settings
from ringline.storage import Database

ADMIN_PASSWORD = "correct horse battery staple"
SECRET = "0123456789abcdef0123456789abcdef"


class Work(RequestModel):
    """A request of which it matters how often it is carried out."""

    text: str


class Done(ResponseModel):
    """The number of times it was carried out."""

    times: int
    text: str


@dataclass
class Api:
    """A client with the seeded customer's access key, and what stands behind the API."""

    url: str
    session: aiohttp.ClientSession
    database: Database
    settings: Settings
    customer_id: UUID
    customers: CustomerDirectory
    agents: AgentDirectory
    keys: AccesskeyDirectory
    numbers: NumberDirectory
    authentication: Authentication
    queues: QueueDirectory
    presence: Presence = field(default_factory=Presence)
    asked_tags: dict[UUID, UUID] = field(default_factory=dict)
    """Tags that a queue asks for, with the queue."""
    flows: set[tuple[UUID, UUID]] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    seeds: dict[str, list[UUID | None]] = field(default_factory=dict)
    fail_next: list[Exception] = field(default_factory=list)
    before_failing: Callable[[], None] | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        key: str | None = "",
        headers: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> tuple[int, Any]:
        """Status and decoded body. ``key`` is an access key: the seeded one by default, ``None`` for none."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key or self.settings.accesskey.get_secret_value()}"
        async with self.session.request(method, self.url + path, headers=sent, **kwargs) as response:
            return response.status, await response.json()

    async def another_customer(self, permission: int = Permission.CUSTOMER_ADMIN) -> tuple[UUID, str]:
        """A customer of the test's own and an access key of it."""
        customer_id, token, now = uuid4(), new_accesskey(), utc_now()
        async with self.database.begin() as connection:
            await connection.execute(
                customers.insert().values(id=customer_id, domain_label=uuid4().hex, tm_create=now)
            )
            key_id, agent_id = uuid4(), uuid4()
            await connection.execute(
                agents.insert().values(
                    id=agent_id,
                    customer_id=customer_id,
                    username=f"agent-{customer_id}",
                    password_hash=await hash_password(ADMIN_PASSWORD),
                    permission=permission,
                    tm_create=now,
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
        await self.customers.refresh(customer_id)
        await self.agents.refresh(agent_id)
        await self.keys.refresh(key_id)
        return customer_id, token


class Flows:
    """Stored flows that are there because the test says so."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def exists(self, customer_id: UUID, flow_id: UUID) -> bool:
        return (customer_id, flow_id) in self._api.flows

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[dict[str, Any]]:
        return []


@pytest.fixture(scope="session")
async def api(database: Database) -> AsyncIterator[Api]:
    async with open_api(database) as api:
        yield api


@asynccontextmanager
async def open_api(database: Database) -> AsyncIterator[Api]:
    """The API over a database that has its tables."""
    settings = Settings(
        admin_password=SecretStr(ADMIN_PASSWORD),
        accesskey=SecretStr(new_accesskey()),
        jwt_secret=SecretStr(SECRET),
        extension_password=SecretStr("extension password"),
    )
    customer_id = await seed.seed(database, settings)
    directories = (
        CustomerDirectory(database),
        AgentDirectory(database),
        AccesskeyDirectory(database),
        NumberDirectory(database),
        QueueDirectory(database),
    )
    for directory in directories:
        await directory.start()
    known_customers, known_agents, keys, numbers, queues = directories
    tokens = Tokens(SECRET)
    authentication = Authentication(
        database, customers=known_customers, agents=known_agents, keys=keys, tokens=tokens
    )
    await authentication.start()
    api = Api(
        url="",
        session=aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)),
        database=database,
        settings=settings,
        customer_id=customer_id,
        customers=known_customers,
        agents=known_agents,
        keys=keys,
        numbers=numbers,
        authentication=authentication,
        queues=queues,
    )
    flows = Flows(api)
    joining = QueueJoining(
        database,
        queues,
        known_agents,
        api.presence,
        flows,
        connections=cast("Any", None),
        ordering=cast("Any", None),
        switchboard=cast("Any", None),
        clock=SystemClock(),
        ringback=cast("Any", lambda leg: None),
    )
    await joining.start()

    async def flow_exists(customer_id: UUID, flow_id: UUID) -> bool:
        return (customer_id, flow_id) in api.flows

    async def work(request: Request[Work]) -> Done:
        api.seeds.setdefault(request.body.text, []).append(request.idempotency_seed)
        if api.fail_next:
            if api.before_failing is not None:
                api.before_failing()
            raise api.fail_next.pop()
        api.done.append(request.body.text)
        return Done(times=len(api.done), text=request.body.text)

    routes = [
        *login_routes(LoginService(database, tokens)),
        *accesskey_routes(AccesskeyService(database, keys)),
        *agent_routes(AgentService(database, known_agents, api.presence)),
        *tag_routes(
            TagService(
                database,
                known_agents,
                lambda customer_id, tag_id: (
                    [api.asked_tags[tag_id]]
                    if tag_id in api.asked_tags
                    else queues.asking(customer_id, tag_id)
                ),
            )
        ),
        *customer_routes(
            CustomerService(database, known_customers, functools.partial(source_problem, numbers))
        ),
        *number_routes(NumberService(database, numbers, flow_exists)),
        *billing_routes(BillingService(database)),
        *queue_routes(QueueService(database, queues, joining, flows), Rules()),
        *queuecall_routes(QueuecallService(database, joining)),
        Route(
            method="POST",
            path="/v1.0/work",
            handler=work,
            summary="Work",
            body=Work,
            response=Done,
            idempotent=True,
        ),
    ]
    readiness = Readiness()
    readiness.add("database", database.ping)
    app = create_app(
        routes,
        settings=settings,
        authenticator=authentication,
        readiness=readiness,
        idempotency=DatabaseIdempotency(database),
    )
    server = Server(app, "127.0.0.1", 0)
    await server.start()
    api.url = f"http://127.0.0.1:{server.port}"
    yield api
    await api.session.close()
    await server.close()
    await authentication.close()
    await joining.close()
    for directory in directories:
        await directory.close()
