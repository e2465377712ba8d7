"""A Kamailio of its own for the tests of the edge.

It has the product's configuration and views; Asterisk and the providers are played by ``sip.Phone``. Its database is
a new one on the test instance's server, so nothing here touches the instance.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from pydantic import SecretStr

from ringline.routing import (
    DEFAULT_CUSTOMER_ID,
    KamailioRpc,
    Provider,
    ProviderFields,
    RouteFields,
    RoutingService,
    Source,
    seed,
)
from ringline.routing.seed import SANDBOX_ROUTE_ID
from ringline.settings import Settings
from ringline.storage import Database
from ringline.storage.migrate import upgrade
from tests.stack.sip import CRLF, SDP, Behaviour, Dialog, Message, Phone, dialog

CHECKOUT = Path(__file__).parents[2]


@dataclass
class Edge:
    """A running Kamailio, an Asterisk that the test plays, and what is needed to route between them."""

    port: int
    domain: str
    asterisk: Phone
    rpc: KamailioRpc
    routing: RoutingService
    database: Database
    container: str
    ports: Mapping[str, int]
    phones: list[Phone] = field(default_factory=list)

    async def phone(self, behaviour: Behaviour | None = None, port: int = 0) -> Phone:
        phone = await Phone.open(port, behaviour)
        self.phones.append(phone)
        return phone

    async def provider(self, behaviour: Behaviour | None, **fields: object) -> tuple[Phone, Provider]:
        """A provider played by a telephone of the test, known to the edge, without a route."""
        phone = await self.phone(behaviour)
        port = phone.address[1]
        values = {
            "name": f"test {port}",
            "hostname": "127.0.0.1",
            "port": port,
            "sources": (Source.parse(f"127.0.0.1:{port}"),),
            # what is asserted of calls is not disturbed by OPTIONS, and a silent provider stays where it is
            "health_check": False,
        }
        return phone, await self.routing.create_provider(ProviderFields(**{**values, **fields}))  # type: ignore[arg-type]

    async def route(self, *providers: Provider, target: str, customer_id: UUID = DEFAULT_CUSTOMER_ID) -> None:
        """Routes to these providers in this order."""
        for priority, provider in enumerate(providers):
            await self.routing.create_route(
                RouteFields(
                    provider_id=provider.id, target=target, priority=priority, customer_id=customer_id
                )
            )

    def call(
        self,
        number: str,
        *extra: str,
        caller: Phone | None = None,
        from_: str = "",
        customer: str = "",
        uri: str = "",
        body: str = SDP,
    ) -> Dialog:
        """Send an INVITE as Asterisk would (or as ``caller``), and return the dialog it begins.

        ``uri``: what is called, where it is no number of the domain.
        """
        phone = caller or self.asterisk
        begun = dialog(phone, uri or f"sip:{number}@{self.domain}", **({"from_": from_} if from_ else {}))
        ours = (f"X-Ringline-Customer: {customer}", "X-Ringline-Call: 77") if customer else ()
        # As Asterisk's outbound_proxy writes it, and as a provider may try.
        begun.routes = (f"<sip:127.0.0.1:{self.port};lr>",)
        phone.send(begun.text("INVITE", *ours, *extra, body=body), self.port)
        begun.routes = ()
        return begun

    def acknowledge(self, begun: Dialog, answer: Message) -> None:
        """ACK a final answer: in the transaction where it refuses, end to end where it accepts."""
        if answer.status >= 300:
            refused = Dialog(**{**begun.__dict__, "to": answer.one("to")})
            begun.phone.send(refused.text("ACK"), self.port)
            return
        begun.accept(answer)
        cseq = begun.cseq
        begun.next()
        begun.cseq = cseq
        begun.phone.send(begun.text("ACK"), self.port)

    async def counters(self) -> dict[str, int]:
        return await self.rpc.statistics()


async def start(env: Mapping[str, str], *, port: int = 0, mounts: tuple[str, ...] = (), **more: str) -> Edge:
    """Start it, with ``more`` in its environment and ``mounts`` (Docker's ``--volume``), wait until it answers.

    ``port``: of SIP; one that is free where it is 0.
    """
    name = f"ringline_edge_{secrets.token_hex(4)}"
    url = sa.make_url(env["RINGLINE_DATABASE_URL"])
    await _administer(env, f'CREATE DATABASE "{name}"')
    own = url.set(database=name).render_as_string(hide_password=False)
    await upgrade(own)
    password = env["RINGLINE_KAMAILIO_DB_PASSWORD"]
    database = Database(own, pool_size=2)
    async with database.begin() as connection:
        await seed(connection, Settings(kamailio_db_password=SecretStr(password), carrier_sip_port=9))
    asterisk = await Phone.open()
    secret = secrets.token_hex(16)
    free, *others = _free_ports(4)
    port = port or free
    ports = dict(zip(("tls", "ws", "wss"), others, strict=True))
    settings = {
        "RINGLINE_KAMAILIO_PORT": str(port),
        "RINGLINE_KAMAILIO_TLS_PORT": str(ports["tls"]),
        "RINGLINE_KAMAILIO_WS_PORT": str(ports["ws"]),
        "RINGLINE_KAMAILIO_WSS_PORT": str(ports["wss"]),
        "RINGLINE_KAMAILIO_SECRET": secret,
        "RINGLINE_KAMAILIO_DB_PASSWORD": password,
        "RINGLINE_ASTERISK_SIP_PORT": str(asterisk.address[1]),
        "RINGLINE_POSTGRES_PORT": str(url.port),
        "RINGLINE_POSTGRES_DB": name,
        "RINGLINE_SIP_DOMAIN": "edge.test",
        **more,
    }
    await _docker(
        [
            *("run", "--detach", "--name", name, "--network", "host"),
            *("--read-only", "--cap-drop", "ALL", "--user", "10001:10001"),
            *("--tmpfs", "/tmp:mode=1777", "--tmpfs", "/run/kamailio:uid=10001,gid=10001"),
            *(part for key, value in settings.items() for part in ("--env", f"{key}={value}")),
            *("--volume", f"{CHECKOUT}/kamailio-config:/etc/ringline-kamailio:ro"),
            *("--volume", f"{CHECKOUT}/docker/kamailio-entrypoint.sh:/entrypoint.sh:ro"),
            *(part for mount in mounts for part in ("--volume", mount)),
            *("--entrypoint", "/entrypoint.sh"),
            f"ringline/kamailio:{env.get('RINGLINE_IMAGE_TAG', 'dev')}",
        ]
    )
    rpc = KamailioRpc(f"http://127.0.0.1:{port}/rpc", secret)
    edge = Edge(port, "edge.test", asterisk, rpc, RoutingService(database, rpc), database, name, ports)
    # The image's own health check says when it is up.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        check = await asyncio.create_subprocess_exec(
            CHECKOUT / "docker/kamailio-health",
            env={"RINGLINE_KAMAILIO_PORT": str(port), "PATH": "/usr/bin:/bin"},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        if await check.wait() == 0:
            # Each test brings its own providers.
            await edge.routing.delete_route(SANDBOX_ROUTE_ID)
            return edge
        await asyncio.sleep(0.2)
    logs = await _docker(["logs", "--tail", "30", name])
    await stop(edge, env)
    raise AssertionError(f"Kamailio did not start:\n{logs}")


async def stop(edge: Edge, env: Mapping[str, str]) -> None:
    """Take it all away again."""
    for phone in (*edge.phones, edge.asterisk):
        phone.close()
    await edge.rpc.close()
    await edge.database.close()
    await _docker(["rm", "--force", edge.container])
    await _administer(env, f'DROP DATABASE "{edge.container}" WITH (FORCE)')


def free_port() -> int:
    """A port that is free for UDP and TCP at this moment.

    Beyond those that the system hands out by itself, so that no connection takes it before it is used.
    """
    while True:
        place = ("127.0.0.1", 61_000 + secrets.randbelow(4_500))
        with socket.socket(type=socket.SOCK_STREAM) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(place)
                udp.bind(place)
            except OSError:
                continue
            return place[1]


def _free_ports(count: int) -> list[int]:
    """So many, all different."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def asterisk_headers(number: str = "+15551234567", *, anonymous: bool = False) -> tuple[str, ...]:
    """The identity headers of an Asterisk leg."""
    asserted = f'P-Asserted-Identity: "Joe" <sip:{number}@127.0.0.1>'
    return (asserted, "Privacy: id") if anonymous else (asserted,)


async def _administer(env: Mapping[str, str], statement: str) -> None:
    database = Database(env["RINGLINE_DATABASE_URL"], pool_size=1)
    try:
        async with database.connect() as connection:
            await connection.exec_driver_sql(statement)
    finally:
        await database.close()


async def _docker(arguments: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode and arguments[0] == "run":
        raise AssertionError(output.decode())
    return output.decode()


__all__ = ["CRLF", "Edge", "asterisk_headers", "start", "stop"]
