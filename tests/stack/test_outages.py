"""Parts that stand still, die or restart during calls: the controller stays up and tells the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.stack.containers import Containers
from tests.stack.product import Json, Product, digits, eventually, number, order, sleep

pytestmark = pytest.mark.timeout(300)
BACK_SECONDS = 10.0


@pytest.fixture(autouse=True)
async def whole(product: Product, containers: Containers) -> AsyncIterator[None]:
    """Before and after: all parts are well; meanwhile the controller has not been restarted."""
    await _ready(product, within=60)
    life = await containers.life("controller")
    yield
    await _ready(product, within=60)
    assert await containers.life("controller") == life, "the controller did not stay up"


async def _ready(product: Product, within: float = BACK_SECONDS) -> None:
    async def check() -> bool:
        status, report = await product.api.call("GET", "/readyz")
        assert status == 200, report
        return True

    await eventually(check, "every part is ready", within=within)


async def _not_ready(product: Product, part: str, within: float = 20.0) -> Json:
    """Until ``/readyz`` says that this part, and no other, is down. Its words."""

    async def check() -> Json | None:
        status, report = await product.api.call("GET", "/readyz")
        down = [name for name, one in report["parts"].items() if not one["ok"]]
        assert (status, down) == (503, [part]), report
        return report["parts"][part]  # type: ignore[no-any-return]  # JSON

    told: Json = await eventually(check, f"/readyz says that {part} is down", within=within)
    assert told["detail"], told
    assert (await product.api.call("GET", "/healthz"))[0] == 200
    return told


async def _works(product: Product, since: float, within: float = BACK_SECONDS) -> Json:
    """A new call that is placed soon after ``since`` goes through, its digits arrive and its record is final."""
    begun = since

    async def call() -> Json:
        nonlocal begun
        begun, to = time.monotonic(), number("0008")
        status, answer = await product.api.call("POST", "/v1.0/calls", order(to, digits("42")))
        assert status == 200, answer
        record = await product.ended(answer[0], within=8)
        assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal"), record
        line = await product.line(to, within=20)
        assert line["dtmf"] == "42"
        return record

    record: Json = await eventually(
        call, "a new call works", within=max(0.0, since + within + 10 - time.monotonic())
    )
    assert begun - since < within + 3
    return record


async def _talking(product: Product, count: int = 3) -> list[Json]:
    """Calls that are up and stay so."""
    calls = await asyncio.gather(*(product.place(number("0008"), sleep(90)) for _ in range(count)))
    return list(await asyncio.gather(*(product.reached(call, "progressing") for call in calls)))


async def test_asterisk_stands_still_and_goes_on(product: Product, containers: Containers) -> None:
    calls = await _talking(product)
    ringing = await product.place(number("0002"), sleep(90))
    await product.reached(ringing, "ringing")
    async with containers.stopped("asterisk"):
        stood_still = time.monotonic()
        # taken before anybody can know
        (blind,) = await product.api.post("/v1.0/calls", order(number("0008"), sleep(90)))

        async def noticed() -> bool:
            return (await product.metrics())["ringline_ari_connected"] == 0

        await eventually(noticed, "the silence of Asterisk is noticed", within=12)
        assert time.monotonic() - stood_still < 12
        await _not_ready(product, "ari")
        # it is said at once, not after a timeout, and nothing is left behind of it
        began = time.monotonic()
        status, answer = await product.api.call(
            "POST", "/v1.0/calls", order(refused := number("0008"), sleep(1))
        )
        assert (status, answer["error"]["status"]) == (503, "UNAVAILABLE")
        assert time.monotonic() - began < 4
        page = await product.api.get("/v1.0/calls", page_size="10")
        assert refused not in [call["destination"]["target"] for call in page["result"]]
        # what is asked of it meanwhile is done when it is back
        asked = await product.hang_up(calls[0])
        assert asked["status"] == "terminating"
    back = time.monotonic()
    await _works(product, back)
    record = await product.ended(calls[0], within=30)
    assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal")
    for call in calls[1:]:
        assert (await product.show(call))["status"] == "progressing"
        assert (await _hung_up(product, call))["hangup_reason"] == "normal"
    assert (await _hung_up(product, ringing))["hangup_reason"] == "cancel"
    # Asterisk may or may not have read of it before the connection was given up
    record = await _hung_up(product, blind)
    assert record["hangup_reason"] in {"normal", "cancel", "failed"}, record
    assert record["hangup_reason"] != "failed" or record["hangup_detail"]
    await product.asterisk.wait_idle(within=30)


async def test_asterisk_is_killed_and_comes_back_by_itself(product: Product, containers: Containers) -> None:
    calls = await _talking(product)
    ringing = await product.place(number("0002"), sleep(90))
    await product.reached(ringing, "ringing")
    started, _ = await containers.life("asterisk")
    await containers.signal("asterisk", "KILL")
    await _not_ready(product, "ari")

    async def booted() -> bool:
        assert (await containers.life("asterisk"))[0] != started
        return await product.asterisk.list("channels") is not None

    await eventually(booted, "Asterisk was started again", within=60)
    back = time.monotonic()
    await _works(product, back)
    for call in (*calls, ringing):
        record = await product.ended(call, within=30)
        assert (record["hangup_reason"], record["hangup_by"]) == ("failed", "local"), record
        assert "media server" in record["hangup_detail"]
        assert record["tm_hangup"] is not None
        assert (record["tm_progressing"] is None) == (call is ringing)
    await product.asterisk.wait_idle(within=30)


async def test_redis_restarts_during_calls(product: Product, containers: Containers) -> None:
    calls = await _talking(product)
    await containers.stop("redis")
    await _not_ready(product, "redis")
    # calls are carried by memory and PostgreSQL: they begin and end without it
    await _works(product, time.monotonic())
    record = await _hung_up(product, calls[0])
    assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal")
    await containers.start("redis")
    await _ready(product)
    await _works(product, time.monotonic())
    for call in calls[1:]:
        record = await _hung_up(product, call)
        assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal")
    await product.asterisk.wait_idle(within=30)


async def test_postgresql_restarts_during_calls(product: Product, containers: Containers) -> None:
    calls = await _talking(product)
    leaving = await product.place(number("0007"), sleep(90))
    await containers.stop("postgres")
    await _not_ready(product, "database")
    began = time.monotonic()
    status, answer = await product.api.call("POST", "/v1.0/calls", order(number("0008"), sleep(1)))
    assert (status, answer["error"]["status"]) == (503, "UNAVAILABLE"), answer
    assert time.monotonic() - began < 10
    # a live call is answered from memory, and can be ended
    assert (await product.show(calls[0]))["status"] == "progressing"
    record = await _hung_up(product, calls[0])
    assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal")
    await containers.start("postgres")
    await _ready(product, within=30)
    await _works(product, time.monotonic())
    # what happened while it was away has been written
    assert await product.show(calls[0]) == record
    record = await product.ended(leaving)
    assert (record["hangup_by"], record["hangup_reason"]) == ("remote", "normal")

    async def written() -> bool:
        page = await product.api.get("/v1.0/calls", status="hangup", page_size="50")
        return {calls[0]["id"], leaving["id"]} <= {call["id"] for call in page["result"]}

    await eventually(written, "both records are stored", within=30)
    for call in calls[1:]:
        record = await _hung_up(product, call)
        assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal")
    await product.asterisk.wait_idle(within=30)


async def _hung_up(product: Product, call: Json) -> Json:
    await product.hang_up(call)
    return await product.ended(call, within=30)


async def test_kamailio_stands_still(product: Product, containers: Containers) -> None:
    """The edge is away: calls that are up go on, new ones fail by our timers and say so, and it heals."""
    (call,) = await _talking(product, 1)
    async with containers.frozen("kamailio"):
        await _not_ready(product, "kamailio")
        assert (await product.show(call))["status"] == "progressing"
    await _ready(product)
    await _works(product, time.monotonic())
    record = await _hung_up(product, call)
    assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal")
    await product.asterisk.wait_idle(within=30)
