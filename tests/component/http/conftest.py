"""The API of customers, numbers and billing, on a real database, behind a real socket."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, cast
from uuid import UUID, uuid4

import aiohttp
import pytest
from pydantic import SecretStr
from tests.component.conftest import new_database
from tests.component.numbers.fake import FakeVendor

from ringline import seed
from ringline.belongings import blanked
from ringline.billing import (
    BalanceDirectory,
    BillingService,
    Payments,
    RateBook,
    RateService,
    Topups,
    billing_routes,
    rate_routes,
    topup_routes,
)
from ringline.calls.limits import Caps, Limits
from ringline.calls.tally import Tally
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
    RevokedTokens,
    SigningKeyDirectory,
    TagService,
    Tokens,
    accesskey_routes,
    agent_routes,
    country_of,
    customer_routes,
    login_routes,
    tag_routes,
)
from ringline.customers.passwords import hash_password
from ringline.customers.removal import each, marked
from ringline.customers.tables import accesskeys, agents, customers
from ringline.customers.tokens import accesskey_hash, accesskey_prefix, new_accesskey
from ringline.extensions import ExtensionDirectory, TrunkDirectory
from ringline.extensions.edge import Edge as AccountEdge
from ringline.extensions.http import extension_routes
from ringline.extensions.relabel import Realms
from ringline.extensions.service import ExtensionService
from ringline.extensions.trunks import TrunkService, trunk_routes
from ringline.extensions.trunks.addresses import TrunkAddresses
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
from ringline.numbers import (
    NumberDirectory,
    NumberOrders,
    NumberRenewals,
    NumberService,
    NumberShop,
    number_routes,
    source_problem,
)
from ringline.numbers.tables import numbers as numbers_table
from ringline.outbound import OutboundDirectory, OutboundService, Whitelist, outbound_routes
from ringline.people import Directories, People
from ringline.queues.directory import QueueDirectory
from ringline.queues.http import queue_routes, queuecall_routes
from ringline.queues.joining import QueueJoining
from ringline.queues.service import QueuecallService, QueueService
from ringline.routing import KamailioRpc, KamailioUnavailable, RoutingService
from ringline.routing.bans import Bans
from ringline.routing.bans_http import ban_routes
from ringline.routing.health import ProviderHealth
from ringline.routing.http import provider_routes, route_routes
from ringline.settings import Settings
from ringline.storage import Database
from ringline.vendors.registry import Vendors
from ringline.webhooks.room import Webhooks

ADMIN_PASSWORD = "correct horse battery staple"
SECRET = "0123456789abcdef0123456789abcdef"
PAYMENT_SECRET = "whsec_c2VjcmV0IG9mIGEgcGF5bWVudCBwcm92aWRlcg=="


class Work(RequestModel):
    """A request of which it matters how often it is carried out."""

    text: str


class Done(ResponseModel):
    """The number of times it was carried out."""

    times: int
    text: str


class Edge(KamailioRpc):
    """A Kamailio of which it matters only whether it was told; ``away`` makes it unreachable."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9/rpc", "secret")
        self.reloads = 0
        self.away = False
        self.answers: dict[str, Any] = {}
        """What it answers to a method; nothing else is answered."""

    async def reload_routes(self) -> None:
        if self.away:
            raise KamailioUnavailable("Kamailio does not answer")
        self.reloads += 1

    async def call(self, method: str, *params: str | int) -> Any:
        if self.away:
            raise KamailioUnavailable("Kamailio does not answer")
        return self.answers.get(method)


class ToldKamailio:
    """Kamailio, which only remembers what it was told."""

    def __init__(self) -> None:
        self.reloads = 0
        self.calls: list[tuple[str, ...]] = []
        self.fail: list[Exception] = []

    async def call(self, method: str, *params: str | int) -> Any:
        if self.fail:
            raise self.fail.pop()
        self.calls.append((method, *map(str, params)))

    async def reload_accounts(self) -> None:
        if self.fail:
            raise self.fail.pop()
        self.reloads += 1


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
    edge: Edge
    extensions: ExtensionDirectory
    balances: BalanceDirectory
    vendor: FakeVendor
    kamailio: ToldKamailio = field(default_factory=ToldKamailio)
    presence: Presence = field(default_factory=Presence)
    asked_tags: dict[UUID, UUID] = field(default_factory=dict)
    """Tags that a queue asks for, with the queue."""
    flows: set[tuple[UUID, UUID]] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    seeds: dict[str, list[UUID | None]] = field(default_factory=dict)
    fail_next: list[Exception] = field(default_factory=list)
    before_failing: Callable[[], None] | None = None
    people: People = field(init=False)
    own: CustomerService = field(init=False)

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
async def database(postgres_url: str, migrated: str) -> AsyncIterator[Database]:
    """One for all these modules: what serves them is started once."""
    async with new_database(postgres_url, migrated) as url:
        database = Database(url, statement_timeout=60.0, connect_timeout=30.0)
        yield database
        await database.close()


@pytest.fixture(scope="session")
async def api(database: Database) -> AsyncIterator[Api]:
    async with open_api(database) as api:
        yield api


@asynccontextmanager
async def open_api(database: Database) -> AsyncIterator[Api]:
    """The API over a database that has its tables."""
    running = AsyncExitStack()
    settings = Settings(
        admin_password=SecretStr(ADMIN_PASSWORD),
        accesskey=SecretStr(new_accesskey()),
        jwt_secret=SecretStr(SECRET),
        extension_password=SecretStr("extension password"),
        signup_enabled=True,
    )
    customer_id = await seed.seed(database, settings)
    directories = (
        CustomerDirectory(database),
        AgentDirectory(database),
        AccesskeyDirectory(database),
        NumberDirectory(database),
        QueueDirectory(database),
        ExtensionDirectory(database),
        OutboundDirectory(database),
        TrunkDirectory(database),
        BalanceDirectory(database),
    )
    for directory in directories:
        await directory.start()
        running.push_async_callback(directory.close)
    (
        known_customers,
        known_agents,
        keys,
        numbers,
        queues,
        known_extensions,
        outbound,
        known_trunks,
        balances,
    ) = directories
    signing_keys, revoked_tokens = SigningKeyDirectory(database, SECRET), RevokedTokens(database)
    for mirror in (signing_keys, revoked_tokens):
        await mirror.start()
        running.push_async_callback(mirror.close)
    tokens = Tokens(signing_keys, revoked_tokens.by_id)
    authentication = Authentication(
        database, customers=known_customers, agents=known_agents, keys=keys, tokens=tokens
    )
    await authentication.start()
    running.push_async_callback(authentication.close)
    api = Api(
        url="",
        session=aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)),
        database=database,
        settings=settings,
        customer_id=customer_id,
        customers=known_customers,
        agents=known_agents,
        keys=keys,
        numbers=numbers,
        authentication=authentication,
        queues=queues,
        edge=Edge(),
        extensions=known_extensions,
        balances=balances,
        vendor=FakeVendor(),
    )
    routing = RoutingService(database, api.edge)
    account_edge = AccountEdge(api.kamailio, retry_delay=0.05, patience=1.0)
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
    running.push_async_callback(joining.close)

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

    own = CustomerService(
        database,
        known_customers,
        functools.partial(source_problem, numbers),
        Realms(account_edge, known_extensions, sip_domain=settings.sip_domain),
    )
    api.own = own
    orders = NumberOrders(database, Vendors([api.vendor]), numbers, SystemClock())
    await orders.start()
    running.push_async_callback(orders.close)
    renewals = NumberRenewals(database, numbers, known_customers, balances)
    number_service = NumberService(database, numbers, flow_exists, orders, renewals)
    shop = NumberShop(
        database, numbers, Vendors([api.vendor]), number_service, orders, known_customers, balances
    )
    api.people = People(settings, database, SystemClock(), Directories(known_customers, known_agents, keys))
    await api.people.start(
        [
            each(database, numbers_table, number_service.delete),
            marked(database, accesskeys),
            marked(database, agents),
            blanked(database, numbers_table, {"name": "", "detail": ""}),
        ]
    )
    running.push_async_callback(api.people.close)
    hooked = Webhooks(
        settings.model_copy(update={"fetch_allowed_networks": [ip_network("127.0.0.2/32")]}),
        database,
        SystemClock(),
    )
    routes = [
        *login_routes(LoginService(database, tokens, api.people.logins), revoked_tokens),
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
        *customer_routes(own),
        *api.people.routes(own),
        *outbound_routes(
            OutboundService(
                database,
                outbound,
                known_customers,
                own,
                Whitelist(outbound.of, lambda customer: country_of(customer, numbers)),
                Limits(Tally(), outbound.of, Caps(200, 50)),
            )
        ),
        *extension_routes(
            ExtensionService(
                database,
                known_extensions,
                account_edge,
                api.kamailio,
                sip_domain=settings.sip_domain,
                country=lambda customer_id: "de",
            )
        ),
        *trunk_routes(
            TrunkService(
                database,
                known_trunks,
                account_edge,
                TrunkAddresses([ip_network("10.1.2.0/24")], ["198.41.0.4"]),
                sip_domain=settings.sip_domain,
            )
        ),
        *number_routes(number_service, shop, renewals),
        *billing_routes(BillingService(database)),
        *hooked.routes(),
        *rate_routes(RateService(database, RateBook(database))),
        *topup_routes(Topups(database), Payments(Topups(database), [PAYMENT_SECRET])),
        *queue_routes(QueueService(database, queues, joining, flows), Rules()),
        *queuecall_routes(QueuecallService(database, joining)),
        *provider_routes(routing, ProviderHealth(api.edge)),
        *ban_routes(Bans(api.edge)),
        *route_routes(routing, lambda customer_id: known_customers.by_id(customer_id) is not None),
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
        auditor=api.people.trail,
    )
    server = Server(app, "127.0.0.1", 0)
    running.push_async_callback(hooked.close)
    await server.start()
    running.push_async_callback(server.close)
    running.push_async_callback(api.session.close)
    api.url = f"http://127.0.0.1:{server.port}"
    try:
        yield api
    finally:
        await running.aclose()
    await server.close()
    await api.people.close()
    await authentication.close()
    await signing_keys.close()
    await revoked_tokens.close()
    await orders.close()
    await joining.close()
    await account_edge.close()
    for directory in directories:
        await directory.close()
