"""The product as its customer sees it: Ringline's HTTP API, and one look into its database."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import sqlalchemy as sa

from bench.instance import Instance
from ringline.numbers.tables import numbers
from ringline.routing import KamailioRpc, RoutingService
from ringline.routing.models import ProviderFields, RouteFields, Source
from ringline.storage import Database

PROMPT_NUMBER = "+15551234567"
HELD_NUMBER = "+15552222222"
SOURCE_NUMBER = "+15559876543"
MENU_SECONDS = 4.0
"""The longest that a call of the menu lasts: two short prompts, of whichever engine speaks."""
FAR_PREFIX = "+1999"
"""Numbers that begin so go to the bench's own answering side."""
FAR_PARTY = {"type": "tel", "target": f"{FAR_PREFIX}0000001"}
FAR_ADDRESS = "127.0.0.1"
FAR_PORT = 28210
OWN_NUMBER = "+899100000001"
"""A number that exists only inside."""
EXTENSION = "test11"
PHONE_ADDRESS = "127.0.0.1"
CALLER_ADDRESS = "127.0.0.3"
"""Where the callers behind Kamailio ring from: the address of a provider."""
FILL_SECONDS = 300.0
"""How long one statement may take: a million calls are stored in one."""


class ApiFailed(Exception):
    """The API refused something that the bench needs."""


class Api:
    """Speaks to the bench's instance."""

    def __init__(self, instance: Instance) -> None:
        self._url = instance["RINGLINE_API_URL"]
        self._headers = {"Authorization": f"Bearer {instance['RINGLINE_ACCESSKEY']}"}
        self._database = Database(
            instance["RINGLINE_DATABASE_URL"], pool_size=2, statement_timeout=FILL_SECONDS
        )
        self._kamailio = KamailioRpc(
            instance["RINGLINE_KAMAILIO_RPC_URL"], instance["RINGLINE_KAMAILIO_SECRET"]
        )
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=15), connector=aiohttp.TCPConnector(limit=64)
        )

    async def close(self) -> None:
        await self._session.close()
        await self._kamailio.close()
        await self._database.close()

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request; its decoded answer. Raises ``ApiFailed``."""
        async with self._session.request(
            method, self._url + path, json=body, headers=self._headers
        ) as response:
            if response.status != 200:
                raise ApiFailed(f"{method} {path}: {response.status} {(await response.text())[:300]}")
            return await response.json()

    async def ready(self, seconds: float = 60.0) -> None:
        """Wait until every part of the product says that it is ready."""
        async with asyncio.timeout(seconds):
            while True:
                # of a controller that starts nothing answers at first
                with contextlib.suppress(aiohttp.ClientError):
                    async with self._session.get(self._url + "/readyz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.05)

    async def provision(self, prompt_url: str, *, held_ms: int) -> UUID:
        """The numbers, flows, providers and routes of the bench; the id of the callers' provider."""
        await self.answer_with(PROMPT_NUMBER, prompt_actions(prompt_url))
        await self.answer_with(
            HELD_NUMBER,
            [{"type": "answer"}, {"type": "sleep", "option": {"duration": held_ms}}, {"type": "hangup"}],
        )
        routing = RoutingService(self._database, self._kamailio)
        callers = await routing.create_provider(
            ProviderFields(
                name="bench callers", hostname=CALLER_ADDRESS, sources=(Source.parse(CALLER_ADDRESS),)
            )
        )
        far = await routing.create_provider(
            ProviderFields(name="bench far side", hostname=FAR_ADDRESS, port=FAR_PORT)
        )
        await routing.create_route(RouteFields(provider_id=far.id, name="bench", target=FAR_PREFIX))
        return callers.id

    async def own_number(self, number: str, actions: list[dict[str, Any]]) -> None:
        """A number that exists only inside, with its flow. Written past the API, which sells none."""
        async with self._database.begin() as connection:
            await connection.execute(
                sa.insert(numbers).from_select(
                    ["id", "customer_id", "number", "type", "status", "tm_create"],
                    sa.select(
                        sa.literal(uuid4()),
                        numbers.c.customer_id,
                        sa.literal(number),
                        sa.literal("virtual"),
                        sa.literal("active"),
                        sa.func.now(),
                    ).where(numbers.c.number == PROMPT_NUMBER),
                )
            )
        await self.answer_with(number, actions)

    async def answer_with(self, number: str, actions: list[dict[str, Any]]) -> None:
        flow = await self.ask("POST", "/v1.0/flows", {"name": f"bench {number}", "actions": actions})
        listed = await self.ask("GET", "/v1.0/numbers")
        number_id = next(row["id"] for row in listed["result"] if row["number"] == number)
        await self.ask("PUT", f"/v1.0/numbers/{number_id}/flow_ids", {"call_flow_id": flow["id"]})

    async def drained(self, seconds: float = 15.0) -> bool:
        """Wait until every call has its final record in the database."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while await self.count("status <> 'hangup'"):
            if loop.time() > deadline:
                return False
            await asyncio.sleep(0.2)
        return True

    async def execute(self, statement: sa.TextClause, values: dict[str, Any]) -> None:
        """Change the database behind the API's back."""
        async with self._database.begin() as connection:
            await connection.execute(statement, values)

    async def count(self, where: str) -> int:
        """How many call records there are with this property."""
        async with self._database.connect() as connection:
            found = await connection.execute(sa.text(f"SELECT count(*) FROM calls WHERE {where}"))
            return int(found.scalar_one())


MENU: list[dict[str, Any]] = [
    {"type": "answer"},
    {"type": "talk", "option": {"text": "Press one."}},
    {"type": "digits_receive", "option": {"duration": 3000, "length": 1}},
    {
        "type": "branch",
        "option": {
            "default_target_id": "00000000-0000-4000-8000-0000000000b0",
            "target_ids": {"1": "00000000-0000-4000-8000-0000000000b1"},
        },
    },
    {"type": "hangup", "id": "00000000-0000-4000-8000-0000000000b0", "option": {"reason": "busy"}},
    {"type": "talk", "id": "00000000-0000-4000-8000-0000000000b1", "option": {"text": "Goodbye."}},
    {"type": "hangup"},
]
"""Six of its actions run for a caller who presses 1."""
MENU_ACTIONS = 6
PROMPT_ACTIONS = 3
CONNECT: list[dict[str, Any]] = [
    {
        "type": "connect",
        "option": {"source": {"type": "tel", "target": SOURCE_NUMBER}, "destinations": [FAR_PARTY]},
    },
    {"type": "hangup"},
]


def prompt_actions(prompt_url: str) -> list[dict[str, Any]]:
    """The flow that is compared with the dialplan: answer, half a second of prompt, hang up."""
    return [
        {"type": "answer"},
        {"type": "play", "option": {"stream_urls": [prompt_url]}},
        {"type": "hangup"},
    ]
