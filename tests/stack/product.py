"""The running test instance as its users see it: placing calls, following them, counting what is left."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime
from inspect import isawaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import aiohttp
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from ringline.http import utc_now
from ringline.numbers.tables import numbers
from ringline.storage import Database

if TYPE_CHECKING:
    from tests.stack.conftest import Api, AsteriskView

CHECKOUT = Path(__file__).parents[2]
SOURCE = "+15551234567"
DEFAULT_SOURCE = "+15552222222"

Json = dict[str, Any]


async def eventually(check: Callable[[], Any], what: str, *, within: float = 20.0, every: float = 0.1) -> Any:
    """The first true result of ``check`` (a coroutine's where it makes one), which may raise until it is time."""
    deadline = time.monotonic() + within
    while True:
        fault: object
        # asked before: where the whole machine stood still, it is looked at once more
        late = time.monotonic() > deadline
        try:
            result = check()
            if isawaitable(result):
                result = await result
            if result:
                return result
            fault = result
        except (AssertionError, OSError, aiohttp.ClientError, TimeoutError, LookupError, ValueError) as error:
            fault = error
        if late:
            raise AssertionError(f"{what}: not within {within:g} s; at last: {fault!r}")
        await asyncio.sleep(every)


# actions


def talk(text: str, **option: Any) -> Json:
    return {"type": "talk", "option": {"text": text, "language": "en-US", **option}}


def play(*urls: str) -> Json:
    return {"type": "play", "option": {"stream_urls": list(urls)}}


def sleep(seconds: float) -> Json:
    return {"type": "sleep", "option": {"duration": int(seconds * 1000)}}


def digits(keys: str, *, duration: int = 100, interval: int = 100) -> Json:
    return {"type": "digits_send", "option": {"digits": keys, "duration": duration, "interval": interval}}


BEEP: Json = {"type": "beep"}
ANSWER: Json = {"type": "answer"}
HANGUP: Json = {"type": "hangup"}


_ELSEWHERE = frozenset(
    (242, 246, 264, 268, 284, 345, 441, 473, 649, 658, 664, 721, 758, 767, 784, 809, 829, 849, 868, 869, 876)
)
"""Area codes of +1 that are not in the USA: a customer may not call there without being allowed to."""
_AREAS = tuple(area for area in range(200, 1000) if area not in _ELSEWHERE | {202, 555, 900})
"""Those of which tests make numbers; 900 costs more, and of 202 and 555 tests have numbers of their own."""
_BEGAN = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
_NUMBER = re.compile(rb'"number": "[^"]*"')
_given: set[str] = set()


def number(ending: str = "1234") -> str:
    """A number that no other test dials; its last four digits say how the carrier behaves."""
    while True:
        made = f"+1{secrets.choice(_AREAS)}{secrets.randbelow(800) + 200}{ending}"
        if made not in _given:
            _given.add(made)
            return made


def consecutive(count: int, ending: str = "1234") -> list[str]:
    """The same of so many (at most 800), one after the other: their order is seen in them."""
    while True:
        area = secrets.choice(_AREAS)
        made = [f"+1{area}{200 + index}{ending}" for index in range(count)]
        if _given.isdisjoint(made):
            _given.update(made)
            return made


class Product:
    """``api`` with words for calls."""

    def __init__(self, env: Mapping[str, str], api: Api, asterisk: AsteriskView) -> None:
        self.env = env
        self.api = api
        self.asterisk = asterisk
        self.database = Database(env["RINGLINE_DATABASE_URL"], pool_size=2)
        self.var = CHECKOUT / env.get("RINGLINE_VAR_DIR", "var/test")

    async def close(self) -> None:
        await self.database.close()

    # outgoing calls

    async def place(self, to: str, *actions: Json, **fields: Any) -> Json:
        """One call, as the API answers it."""
        calls = await self.api.post("/v1.0/calls", order(to, *actions, **fields))
        assert len(calls) == 1, calls
        call: Json = calls[0]
        return call

    async def show(self, call: Json) -> Json:
        shown: Json = await self.api.get(f"/v1.0/calls/{call['id']}")
        return shown

    async def hang_up(self, call: Json) -> Json:
        shown: Json = await self.api.post(f"/v1.0/calls/{call['id']}/hangup")
        return shown

    async def reached(self, call: Json, *statuses: str, within: float = 30.0) -> Json:
        return await self.api.wait_call(call["id"], *statuses, within=within)

    async def ended(self, call: Json, within: float = 30.0) -> Json:
        return await self.reached(call, "hangup", within=within)

    # incoming calls

    async def customer_id(self) -> UUID:
        return UUID((await self.api.get("/v1.0/customer"))["id"])

    async def store_flow(self, *actions: Json) -> str:
        """The id of a new flow."""
        flow = await self.api.post("/v1.0/flows", {"name": "stack test", "actions": list(actions)})
        return str(flow["id"])

    async def store_number(self, flow_id: str | None, *, status: str = "active") -> str:
        """A number of the first customer that runs a flow when it is called; written past the API, since buying
        numbers is not part of it yet."""
        own = number()
        row = {
            "id": uuid4(),
            "customer_id": await self.customer_id(),
            "number": own,
            "type": "normal",
            "call_flow_id": UUID(flow_id) if flow_id else None,
            "status": status,
            "name": "stack test",
            "tm_create": utc_now(),
        }
        async with self.database.begin() as connection:
            await connection.execute(sa.insert(numbers).values(**row))
        return own

    async def drop_numbers(self, *own: str) -> None:
        async with self.database.begin() as connection:
            await connection.execute(sa.delete(numbers).where(numbers.c.number.in_(own)))

    async def dial_in(
        self, caller: str, to: str, *, seconds: float = 30.0, anonymous: bool = False, press: str = ""
    ) -> list[Json]:
        """Have the carrier call a number as a caller of the telephone network. What happened, step by step."""
        body = {"from": caller, "to": to, "seconds": seconds, "anonymous": anonymous, "press": press}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds + 70)) as session,
            session.post(f"{self.env['RINGLINE_CARRIER_CONTROL_URL']}/dial", json=body) as response,
        ):
            text = await response.text()
            assert response.status == 200, text
            return [json.loads(line) for line in text.splitlines()]

    async def incoming(self, to: str, within: float = 30.0, *, known: Container[str] = ()) -> Json:
        """The record of the call that came in on ``to``: none of ``known``, for a list is a moment behind."""

        async def find() -> Json | None:
            page = await self.api.get("/v1.0/calls", direction="incoming", page_size="200")
            mine = (call for call in page["result"] if call["destination"]["target"] == to)
            return next((call for call in mine if call["id"] not in known), None)

        found: Json = await eventually(find, f"an incoming call to {to}", within=within)
        return found

    # looking

    async def metrics(self) -> dict[str, float]:
        """Samples by ``name`` or ``name{label=value,...}``, asked over a connection of its own."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.get(f"{self.env['RINGLINE_API_URL']}/metrics") as response,
        ):
            text = await response.text()
            assert response.status == 200, text
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    def lines(self, *to: str) -> list[Json]:
        """What the carrier wrote of calls to these numbers since these tests began (the last line may be still in the
        writing): those before them may have dialled it, too."""
        path = self.var / "carrier" / "calls.jsonl"
        if not path.exists():
            return []
        wanted = {b'"number": "%s"' % number.encode() for number in to}
        lines = (line for line in path.read_bytes().split(b"\n")[:-1] if _NUMBER.findall(line)[0] in wanted)
        return [line for line in map(json.loads, lines) if line["tm_start"] >= _BEGAN]

    async def line(self, to: str, within: float = 30.0) -> Json:
        """The line of the one call to this number."""
        lines: list[Json] = await eventually(
            lambda: self.lines(to), f"the carrier's line of the call to {to}", within=within
        )
        assert len(lines) == 1, lines
        found: Json = lines[0]
        return found

    def recording(self, line: Json) -> Path:
        """The file of a carrier's line."""
        assert line["recording"], line
        return CHECKOUT / str(line["recording"])

    def prompts(self) -> set[Path]:
        """Every speech that was rendered and is still there (8 kHz mu-law)."""
        return set((self.var / "media" / "speech").glob("??/*.ulaw"))


def order(to: str, *actions: Json, **fields: Any) -> Json:
    """The body of a POST /v1.0/calls."""
    return {
        "source": {"type": "tel", "target": SOURCE},
        "destinations": [{"type": "tel", "target": to}],
        "actions": list(actions),
        **fields,
    }
