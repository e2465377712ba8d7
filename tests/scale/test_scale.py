"""Processes are killed while calls last: no call and no event is lost, and whoever is left can be asked all."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from uuid import UUID

import aiohttp
import pytest
import sqlalchemy as sa

from ringline.billing.tables import billing_holds
from tests.stack.conftest import Api, AsteriskView
from tests.stack.containers import Containers
from tests.stack.product import Json, Product, digits, eventually, number, order, sleep
from tests.stack.wrapper import ringline

pytestmark = pytest.mark.timeout(400)

CALLS = int(os.environ.get("RINGLINE_SCALE_CALLS", "40"))
TAKEN_OVER_SECONDS = 5.0
SLOW = 4.0
"""What a machine that does other things besides may take longer."""
BUSY = 2.0
"""The same for what the processes do by themselves: until the calls are another controller's (3 s are usual: a lease
runs out after two, and is looked at four times a second)."""


@dataclass
class Installation:
    """Two APIs, and the two Asterisks as they themselves see it."""

    apis: list[Api]
    asterisks: list[AsteriskView]
    containers: Containers
    product: Product
    calls: list[Json] = field(default_factory=list)

    async def place(self, count: int, *actions: Json) -> list[Json]:
        """Calls by both APIs in turn, and until they are up."""
        made = [
            (await self.apis[index % 2].post("/v1.0/calls", order(number(), *actions)))[0]
            for index in range(count)
        ]
        for index, call in enumerate(made):
            # asked of the one that did not place it
            await self.apis[(index + 1) % 2].wait_call(call["id"], "progressing", within=40)
        self.calls += made
        return made

    async def channels(self) -> list[set[str]]:
        """The ids of all channels, by Asterisk."""
        return [{one["id"] for one in await view.list("channels")} for view in self.asterisks]

    async def all_up(self) -> None:
        """Every call has its channel."""
        there = set.union(*await self.channels())
        missing = [call["id"] for call in self.calls if f"call-{call['id']}" not in there]
        assert not missing, f"{len(missing)} of {len(self.calls)} calls lost their channel"

    async def all_shown(self, api: Api) -> bool:
        """Every call can be asked for, and is up."""
        answers = await asyncio.gather(*(api.call("GET", f"/v1.0/calls/{call['id']}") for call in self.calls))
        wrong = [
            (status, answer)
            for status, answer in answers
            if status != 200 or answer["status"] != "progressing"
        ]
        assert not wrong, f"{len(wrong)} of {len(answers)}: {wrong[0]}"
        return True

    async def units(self) -> dict[str, str]:
        """Which controller drives which Asterisk, as the controllers say themselves."""
        found: dict[str, str] = {}
        for name in ("controller1", "controller2"):
            try:
                status, report = await self.port(name).call("GET", "/readyz")
            except aiohttp.ClientError:
                continue
            detail: str = report["parts"]["asterisks"]["detail"]
            assert status == 200, report
            if detail.startswith("drives "):
                found |= dict.fromkeys(detail.removeprefix("drives ").split(", "), name)
        return found

    async def units_of(self, name: str) -> set[str]:
        return {unit for unit, holder in (await self.units()).items() if holder == name}

    async def standing_by(self, name: str) -> bool:
        status, report = await self.port(name).call("GET", "/readyz")
        return status == 200 and report["parts"]["asterisks"]["detail"] == "stands by"

    def port(self, service: str) -> Api:
        port = self.product.env[f"RINGLINE_{service.upper()}_PORT"]
        return Api(self.apis[0]._session, f"http://127.0.0.1:{port}", "")

    async def kill(self, service: str) -> None:
        """SIGKILL to its process; the engine starts another one."""
        await self.containers.signal(service, "KILL")

    async def ended(self, service: str) -> float:
        """When its last process ended, in seconds since 1970."""
        moment: str = (await self.containers.state(service))["State"]["FinishedAt"]
        return datetime.fromisoformat(moment).timestamp()


@pytest.fixture
async def installation(
    env: Mapping[str, str], api: Api, ari: AsteriskView, product: Product, containers: Containers
) -> AsyncIterator[Installation]:
    other = Api(api._session, f"http://127.0.0.1:{env['RINGLINE_API2_PORT']}", env["RINGLINE_ACCESSKEY"])
    second = AsteriskView(ari._session, f"http://127.0.0.1:{env['RINGLINE_ARI2_PORT']}")
    installation = Installation([api, other], [ari, second], containers, product)

    async def ready() -> bool:
        for one in installation.apis:
            status, report = await one.call("GET", "/readyz")
            assert status == 200, report
            assert "nobody drives" not in report["parts"]["controllers"]["detail"], report
        return len(await installation.units()) == 2

    await eventually(ready, "both APIs and both controllers are ready", within=60)
    yield installation
    for name in ("controller1", "controller2"):
        await containers.start(name)
    for call in installation.calls:
        await api.call("POST", f"/v1.0/calls/{call['id']}/hangup")
    for view in installation.asterisks:
        await view.wait_idle(within=20)


async def hung_up(installation: Installation, api: Api) -> None:
    """Everything ends by the API as it should, and it is told of everything."""
    for call in installation.calls:
        assert (await api.call("POST", f"/v1.0/calls/{call['id']}/hangup"))[0] == 200
    for call in installation.calls:
        record = await api.wait_call(call["id"], "hangup", within=20)
        assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal"), record
    for view in installation.asterisks:
        await view.wait_idle(within=20)

    async def told() -> bool:
        for call in installation.calls:
            page = await api.get("/v1.0/events", resource_id=call["id"])
            events = sorted(page["result"], key=lambda event: event["sequence"])
            assert [event["sequence"] for event in events] == list(range(1, len(events) + 1)), call["id"]
            types = [event["type"] for event in events]
            assert types.count("call_hangup") == 1, types
            assert types[0] == "call_created", types
        return True

    await eventually(told, "what happened to each call was told once and in order", within=30)
    await paid(installation, api)


async def paid(installation: Installation, api: Api) -> None:
    """Each call was charged once, for the time that it lasted by its record, nothing is promised to it any more, and
    the sums of all accounts are right.
    """

    async def charged() -> bool:
        for call in installation.calls:
            record = await api.get(f"/v1.0/calls/{call['id']}")
            rows = (await api.get("/v1.0/billings", reference_id=call["id"]))["result"]
            assert len(rows) == 1, f"{call['id']} was charged {len(rows)} times"
            (row,) = rows
            lasted = ceil((moment(record["tm_hangup"]) - moment(record["tm_progressing"])).total_seconds())
            minutes = ceil(lasted / 60)
            # times of records are whole seconds, those that are charged are not
            assert abs(row["usage_duration"] - lasted) <= 1, (row, record)
            assert row["billable_units"] in {minutes, ceil((lasted - 1) / 60), ceil((lasted + 1) / 60)}, row
            assert row["amount_credit"] == -row["billable_units"] * row["rate_credit_per_unit"] < 0, row
        return True

    async def released() -> bool:
        ids = [UUID(call["id"]) for call in installation.calls]
        async with installation.product.database.connect() as connection:
            held = await connection.execute(
                sa.select(billing_holds.c.reference_id).where(billing_holds.c.reference_id.in_(ids))
            )
            assert held.all() == []
        return True

    await eventually(charged, "every call was charged once", within=40, every=0.5)
    await eventually(released, "no money is held for a call that has ended", within=20, every=0.5)
    async with installation.product.database.connect() as connection:
        wrong = await connection.execute(
            sa.text(
                "SELECT accounts.id FROM billing_accounts AS accounts WHERE balance_credit <> (SELECT"
                " coalesce(sum(amount_credit), 0) FROM billings WHERE account_id = accounts.id) OR held_credit <>"
                " (SELECT coalesce(sum(amount_credit), 0) FROM billing_holds WHERE account_id = accounts.id)"
            )
        )
        assert wrong.all() == []


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_calls_are_spread_and_reached_from_everywhere(installation: Installation) -> None:
    one, two = installation.apis
    await installation.place(6, sleep(60))
    there = await installation.channels()
    ours = {f"call-{call['id']}" for call in installation.calls}
    assert all(ours & channels for channels in there), "all calls went to one Asterisk"
    # what lives in one controller's memory is found from both APIs
    for api in (one, two):
        assert await installation.all_shown(api)
        for call in installation.calls:
            run = await api.get(f"/v1.0/activeflows/{call['activeflow_id']}")
            assert run["status"] == "running", run
    status, answer = await two.call("GET", "/v1.0/calls/00000000-0000-4000-8000-000000000001")
    assert (status, answer["error"]["reason"]) == (404, "CALL_NOT_FOUND")
    # done once, whichever API hears of it
    body = order(number(), sleep(60))
    key = secrets.token_hex(8)
    first, again = [(await api.call("POST", "/v1.0/calls", body, key=key)) for api in (one, two)]
    assert first[0] == again[0] == 200
    assert first[1][0]["id"] == again[1][0]["id"]
    installation.calls.append(first[1][0])
    await one.wait_call(first[1][0]["id"], "progressing", within=20)
    await hung_up(installation, two)


async def test_the_doctor_looks_at_all_asterisks_and_who_drives_them(installation: Installation) -> None:
    code, said = await ringline("doctor")
    assert code == 0, said
    for part in ("asterisk", "ari application", "asterisk manager", "controllers"):
        (line,) = re.findall(rf"^ok +{part}  +(.*)$", said, re.MULTILINE)
        assert "asterisk: " in line, said
        assert "asterisk2: " in line, said
    assert "driven by controller1-" in said, said
    assert "driven by controller2-" in said, said


async def test_calls_at_once_are_limited_over_all_controllers(
    installation: Installation, env: Mapping[str, str]
) -> None:
    one, two = installation.apis
    login = {"username": env["RINGLINE_ADMIN_USERNAME"], "password": env["RINGLINE_ADMIN_PASSWORD"]}
    token = (await one.post("/auth/login", login, accesskey=""))["token"]

    async def allow(max_calls: int) -> None:
        status, answer = await two.call(
            "PUT", "/v1.0/outbound_config", {"max_calls": max_calls}, accesskey="", token=token
        )
        assert status == 200, answer

    async def used(lasting: int, waiting: int) -> bool:
        for api in (one, two):
            shown = {limit["name"]: limit for limit in (await api.get("/v1.0/limits"))["result"]}
            assert (shown["calls_at_once"]["limit"], shown["calls_at_once"]["used"]) == (6, lasting), api
            assert shown["waiting_calls"]["used"] == waiting
        return True

    async def left(together: int) -> int:
        """How many last, once so many last or wait."""
        shown = {limit["name"]: limit["used"] for limit in (await two.get("/v1.0/limits"))["result"]}
        lasting = int(shown["calls_at_once"])
        return lasting if lasting >= 6 and lasting + shown["waiting_calls"] == together else 0

    await allow(6)
    try:
        # every process knows within a second
        await asyncio.sleep(3)
        first = (await installation.place(6, sleep(90)))[0]
        ours = {f"call-{call['id']}" for call in installation.calls}
        assert all(ours & there for there in await installation.channels()), "all went to one Asterisk"
        await eventually(lambda: used(6, 0), "both APIs show both controllers' calls", within=20)
        for api in (one, two, one, two):
            installation.calls += await api.post("/v1.0/calls", order(number(), sleep(90)))
        await eventually(lambda: used(6, 4), "there is room on neither controller", within=20)
        assert (await one.call("POST", f"/v1.0/calls/{first['id']}/hangup"))[0] == 200
        # both controllers may have one whose turn it is, and see the room before they hear of each other
        await eventually(lambda: left(9), "one of those that waited was placed", within=20)
        await asyncio.sleep(2)
        # one that waits is its controller's, too, whichever API hears that it is not wanted any more
        waits = [call for call in installation.calls[-4:] if await _waits(one, call)]
        assert len(waits) == 9 - await left(9)
        assert len(waits) >= 2
        assert (await two.call("POST", f"/v1.0/calls/{waits[0]['id']}/hangup"))[0] == 200
        await one.wait_call(waits[0]["id"], "hangup", within=20)
        await eventually(lambda: left(8), "it waits no more", within=20)
    finally:
        for call in reversed(installation.calls):
            await one.call("POST", f"/v1.0/calls/{call['id']}/hangup")
        await allow(0)
    await eventually(lambda: _nothing_lasts(two), "no call counts any more", within=20)


async def _waits(api: Api, call: Json) -> bool:
    found = await api.get(f"/v1.0/calls/{call['id']}")
    return found["status"] == "dialing" and found["queue_position"] > 0


async def _nothing_lasts(api: Api) -> bool:
    shown = {limit["name"]: limit for limit in (await api.get("/v1.0/limits"))["result"]}
    return shown["calls_at_once"]["used"] == shown["waiting_calls"]["used"] == 0


async def test_any_process_may_be_killed(installation: Installation, product: Product) -> None:
    one, two = installation.apis
    waiting = await installation.place(CALLS // 2, sleep(24), digits("42"), sleep(60))
    talking = await installation.place(CALLS - CALLS // 2, sleep(90))
    assert len(waiting) + len(talking) == CALLS
    await installation.all_up()

    # an API: the other one knows everything, and the dead one comes back
    await installation.kill("api1")
    assert await installation.all_shown(two)
    await installation.all_up()

    # a worker: texts are handed over by the other one
    await installation.kill("worker1")
    sent = await two.post(
        "/v1.0/messages",
        {
            "source": {"type": "tel", "target": "+15551234567"},
            "destinations": [{"type": "tel", "target": "+12025551234"}],
            "text": "Still here",
        },
    )

    async def delivered() -> bool:
        shown = await two.get(f"/v1.0/messages/{sent['id']}")
        assert shown["targets"][0]["status"] in {"sent", "delivered"}, shown
        return True

    await eventually(delivered, "the text was sent", within=30)

    # a controller: the other one takes its Asterisk over, and its calls go on
    drives = await installation.units()
    dead = drives["asterisk"]
    left = "controller2" if dead == "controller1" else "controller1"
    killed = time.monotonic()
    await installation.containers.kill(dead)

    async def taken_over() -> bool:
        return (await installation.units_of(left)) == {"asterisk", "asterisk2"}

    await eventually(taken_over, "one controller drives both", within=TAKEN_OVER_SECONDS * SLOW, every=0.05)
    owned = time.time() - await installation.ended(dead)
    await eventually(
        lambda: installation.all_shown(two),
        "the calls are known again",
        within=TAKEN_OVER_SECONDS * SLOW,
        every=0.05,
    )
    shown = time.monotonic() - killed
    print(
        f"calls of a killed controller were another's after {owned:.2f} s, and all shown after {shown:.2f} s"
    )
    assert owned < TAKEN_OVER_SECONDS * BUSY
    await installation.all_up()

    # flows go on: each presses its keys once, whoever runs it now
    for call in waiting:
        await two.wait_call(call["id"], "progressing")
    await eventually(lambda: _alive(one), "the killed API is back", within=60)
    await asyncio.sleep(max(0.0, 24 - (time.monotonic() - killed)))

    # and the one that drives both: whoever came back takes both over
    await installation.containers.start(dead)
    await eventually(lambda: installation.standing_by(dead), "the dead one came back", within=60)
    await installation.containers.kill(left)
    await eventually(
        lambda: installation.all_shown(one),
        "the calls are known again",
        within=TAKEN_OVER_SECONDS * SLOW,
        every=0.05,
    )
    await installation.all_up()
    await installation.containers.start(left)
    await asyncio.sleep(3)
    await hung_up(installation, one)
    for call in waiting:
        line = await product.line(call["destination"]["target"])
        assert line["dtmf"] == "42", line


async def _alive(api: Api) -> bool:
    try:
        status, _ = await api.call("GET", "/healthz")
    except aiohttp.ClientError:
        return False
    return status == 200
