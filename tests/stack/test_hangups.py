"""Whoever hangs up, whenever: one final record, and nothing left in Asterisk or in the controller."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from ringline.calls.store import calls as calls_table
from tests.stack.audio import chirp, encode
from tests.stack.files import Files
from tests.stack.product import (
    ANSWER,
    BEEP,
    HANGUP,
    Json,
    Product,
    digits,
    eventually,
    number,
    order,
    play,
    sleep,
    talk,
)

ACTIONS = ["answer", "talk", "play", "beep", "sleep", "digits_send", "dtmf_send"]
CALLS = 500
AT_ONCE = 40
LONG_TALK = "This goes on for longer than anybody would listen. " * 10


@pytest.fixture(scope="module")
def flows(files: Files) -> dict[str, list[Json]]:
    """For each action a flow that stays in it for longer than the call lasts."""
    sound = files.add("long.wav", encode(chirp(300, 900, 15), "wav"))
    return {
        "answer": [ANSWER] * 200 + [sleep(30)],
        "talk": [talk(LONG_TALK)],
        "play": [play(sound)],
        "beep": [BEEP] * 60,
        "sleep": [sleep(30)],
        "digits_send": [digits("0123456789" * 10, duration=200, interval=100)],
        "dtmf_send": [
            {"type": "dtmf_send", "option": {"dtmfs": "9" * 100, "duration": 200, "interval": 100}}
        ],
    }


@pytest.fixture(scope="module", autouse=True)
async def rendered(product: Product) -> None:
    """The long speech is made before anybody waits for it."""
    call = await product.place(number("0008"), talk(LONG_TALK))

    async def speaking() -> bool:
        channels = await product.asterisk.list("channels")
        mine = [channel for channel in channels if channel["id"].endswith(call["id"])]
        record = await product.show(call)
        return bool(mine) and record["action"]["type"] == "talk" and record["status"] == "progressing"

    await eventually(speaking, "the speech", within=90)
    await product.hang_up(call)
    await product.ended(call)


async def _final(product: Product, record: Json, by: str, reason: str = "normal") -> None:
    """The record is final, right, and stays as it is."""
    assert (record["hangup_by"], record["hangup_reason"]) == (by, reason), record
    assert record["failures"] == [], record
    assert await product.hang_up(record) == record
    assert await product.hang_up(record) == record
    async with product.database.connect() as connection:
        row = await eventually(lambda: _row(connection, record["id"]), "the record is stored", within=30)
    assert (row.status, row.hangup_by, row.hangup_reason) == ("hangup", by, reason)


async def _row(connection: Any, call_id: str) -> Any:
    found = await connection.execute(sa.select(calls_table).where(calls_table.c.id == call_id))
    row = found.one()
    return row if row.status == "hangup" else None


async def test_the_other_side_hangs_up_during_every_action(
    product: Product, flows: dict[str, list[Json]]
) -> None:
    placed = await asyncio.gather(*(product.place(number("0007"), *flows[action]) for action in ACTIONS))
    for call in placed:
        await _final(product, await product.ended(call, within=25), "remote")
    await product.asterisk.wait_idle(within=30)


async def test_we_hang_up_during_every_action(product: Product, flows: dict[str, list[Json]]) -> None:
    placed = await asyncio.gather(*(product.place(number("0008"), *flows[action]) for action in ACTIONS))

    async def end(action: str, call: Json) -> Json:
        async def busy_with_it() -> bool:
            record = await product.show(call)
            wanted = "sleep" if action == "answer" else action
            return bool(record["status"] == "progressing" and record["action"]["type"] == wanted)

        await eventually(busy_with_it, f"the call is in {action}", within=25)
        await asyncio.sleep(random.uniform(0.0, 0.5))
        await asyncio.gather(product.hang_up(call), product.hang_up(call))
        return await product.ended(call, within=25)

    ended = await asyncio.gather(*(end(action, call) for action, call in zip(ACTIONS, placed, strict=True)))
    for record in ended:
        await _final(product, record, "local")
    await product.asterisk.wait_idle(within=30)


async def test_a_caller_hangs_up_during_every_action(product: Product, flows: dict[str, list[Json]]) -> None:
    own: list[str] = []
    try:
        for action in ACTIONS:
            flow_id = await product.store_flow(ANSWER, *flows[action])
            own += [await product.store_number(flow_id)]

        async def ring(to: str) -> None:
            async def taken() -> list[Json] | None:
                events = await product.dial_in(number(), to, seconds=1.5)
                # a number that was written a moment ago is not known everywhere yet
                return events if events[-1]["status"] != 404 else None

            events = await eventually(taken, f"{to} is in service", within=30)
            assert events[-1]["answered"], events[-1]
            assert events[-1]["by"] == "local", events[-1]

        await asyncio.gather(*(ring(to) for to in own))
        for to in own:
            record = await product.incoming(to)
            assert (record["direction"], record["destination"]["target"]) == ("incoming", to)
            await _final(product, await product.ended(record, within=25), "remote")
        await product.asterisk.wait_idle(within=30)
    finally:
        await product.drop_numbers(*own)


async def test_a_caller_gives_up_before_the_answer(product: Product) -> None:
    to = await product.store_number(await product.store_flow(sleep(30), ANSWER))
    try:
        url = f"{product.env['RINGLINE_CARRIER_CONTROL_URL']}/dial"
        body = {"from": number(), "to": to, "seconds": 5}

        async def ringing() -> Json | None:
            page = await product.api.get("/v1.0/calls", direction="incoming", status="ringing")
            return next((call for call in page["result"] if call["destination"]["target"] == to), None)

        async def ring() -> Json:
            async with aiohttp.ClientSession() as session, session.post(url, json=body):
                found: Json = await eventually(ringing, "the call rings", within=4)
                return found  # leaving closes the request, and the carrier sends CANCEL

        record = await eventually(ring, "the call rings", within=30)
        await _final(product, await product.ended(record, within=25), "remote")
        await product.asterisk.wait_idle(within=30)
    finally:
        await product.drop_numbers(to)


async def test_a_caller_is_refused_with_what_was_decided(product: Product) -> None:
    """What a caller hears who is not answered, and what is written down of it."""
    hang_up = {"type": "hangup", "option": {}}
    flows = {
        reason: await product.store_flow({**hang_up, "option": {"reason": reason}})
        for reason in ("busy", "noanswer", "failed", "normal")
    }
    waiting = await product.store_flow(sleep(30))
    own = {reason: await product.store_number(flow_id) for reason, flow_id in flows.items()}
    own["by us"] = await product.store_number(waiting)
    own["no flow"] = await product.store_number(None)
    own["not active"] = await product.store_number(waiting, status="suspended")
    expected = {
        **{"busy": 486, "noanswer": 480, "failed": 503, "normal": 603},
        **{"by us": 603, "no flow": 480, "not active": 480, "nobody's": 404},
    }
    own["nobody's"] = number()

    async def ring(to: str, status: int) -> Json:
        async def heard() -> Json | None:
            last = (await product.dial_in(number(), to, seconds=1))[-1]
            assert not last["answered"], last
            # a number that was written a moment ago is not known everywhere yet
            return last if last["status"] == status else None

        found: Json = await eventually(heard, f"{status} of {to}", within=30)
        return found

    async def end(to: str) -> Json:
        record = await product.incoming(to, within=30)
        assert record["status"] in {"ringing", "terminating", "hangup"}, record
        await asyncio.gather(product.hang_up(record), product.hang_up(record))
        return await product.ended(record, within=25)

    try:
        calls = [ring(own[name], status) for name, status in expected.items()]
        *_, ended = await asyncio.gather(*calls, end(own["by us"]))
        await _final(product, ended, "local")
        assert ended["tm_progressing"] is None
        for reason in ("busy", "noanswer", "failed", "normal"):
            record = await product.ended(await product.incoming(own[reason]))
            assert (record["hangup_by"], record["tm_progressing"]) == ("local", None), record
        await product.asterisk.wait_idle(within=30)
    finally:
        await product.drop_numbers(*own.values())


async def test_hanging_up_twice_at_every_state(product: Product) -> None:
    dialing, ringing, progressing, over = await asyncio.gather(
        product.place(number("0002"), sleep(30)),
        product.place(number("0002"), sleep(30)),
        product.place(number("0008"), sleep(30)),
        product.place(number("0001"), sleep(30)),
    )

    async def twice(call: Json, *statuses: str) -> Json:
        """Ask for the end side by side, and once more while it is ending."""
        both = await asyncio.gather(product.hang_up(call), product.hang_up(call))
        shown = [*both, await product.hang_up(call)]
        assert all(one["status"] in {*statuses, "hangup"} for one in shown), shown
        return await product.ended(call, within=25)

    canceled = await twice(dialing, "canceling")
    await _final(product, canceled, "local", "cancel")
    assert canceled["tm_progressing"] is None

    await product.reached(ringing, "ringing")
    canceled = await twice(ringing, "canceling")
    await _final(product, canceled, "local", "cancel")
    assert canceled["tm_ringing"] is not None

    await product.reached(progressing, "progressing")
    await _final(product, await twice(progressing, "terminating"), "local")

    record = await product.ended(over)
    await _final(product, record, "remote", "busy")
    await product.asterisk.wait_idle(within=30)


async def test_deleting_a_live_call_ends_it(product: Product) -> None:
    call = await product.place(to := number("0008"), sleep(30))
    await product.reached(call, "progressing")
    status, deleted = await product.api.call("DELETE", f"/v1.0/calls/{call['id']}")
    assert (status, deleted["id"]) == (200, call["id"])
    assert deleted["tm_delete"] is not None
    status, answer = await product.api.call("GET", f"/v1.0/calls/{call['id']}")
    assert (status, answer["error"]["reason"]) == (404, "CALL_NOT_FOUND")
    await product.asterisk.wait_idle(within=30)
    assert (await product.line(to))["tm_answer"] is not None
    async with product.database.connect() as connection:
        row = await eventually(lambda: _row(connection, call["id"]), "the record is stored", within=30)
    assert (row.hangup_by, row.hangup_reason) == ("local", "normal")


@pytest.mark.timeout(400)
async def test_five_hundred_calls_with_random_ends_leave_nothing_behind(
    product: Product, flows: dict[str, list[Json]]
) -> None:
    await product.asterisk.wait_idle(within=30)
    before = await _settled(product)
    dice = random.Random(20)
    gate = asyncio.Semaphore(AT_ONCE)
    url, key = product.env["RINGLINE_API_URL"], product.env["RINGLINE_ACCESSKEY"]
    # connections of its own, closed before anything is counted
    session = aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {key}"})

    async def one() -> str:
        ending = dice.choice(("0001", "0003", "0004", "0005", "0006", "0007", "0007", "0008", "0017", "1234"))
        action, patience = dice.choice(ACTIONS), dice.uniform(0.0, 3.0)
        ours, again = dice.random() < 0.8, dice.random() < 0.3
        tail = [] if ours else [HANGUP]
        actions = [*flows[action], *tail] if ours else [sleep(patience), *tail]
        async with gate:
            async with session.post("/v1.0/calls", json=order(number(ending), *actions)) as response:
                assert response.status == 200, await response.text()
                (call,) = await response.json()
            if ours:
                await asyncio.sleep(patience)
                for _ in range(2 if again else 1):
                    async with session.post(f"/v1.0/calls/{call['id']}/hangup") as response:
                        assert response.status == 200, await response.text()
            # a hang-up while a key is held waits for the keys of one request, a second at most
            async with asyncio.timeout(45):
                while True:
                    async with session.get(f"/v1.0/calls/{call['id']}") as response:
                        record = await response.json()
                    if record["status"] == "hangup":
                        return str(call["id"])
                    await asyncio.sleep(0.3)

    async with session:
        ids = await asyncio.gather(*(one() for _ in range(CALLS)))

    await product.asterisk.wait_idle(within=30)
    assert len(set(ids)) == CALLS
    async with product.database.connect() as connection:

        async def rows() -> list[Any] | None:
            query = sa.select(calls_table).where(calls_table.c.id.in_(ids), calls_table.c.status == "hangup")
            found = (await connection.execute(query)).all()
            return list(found) if len(found) == CALLS else None

        records = await eventually(rows, f"{CALLS} final records", within=30)
    assert all(row.hangup_reason and row.hangup_by and row.tm_hangup for row in records)
    reasons = Counter(row.hangup_reason for row in records)
    assert set(reasons) <= {"normal", "busy", "noanswer", "failed", "cancel"}, reasons
    odd = [row.id for row in records if row.hangup_detail]
    assert odd == [], "calls whose end was not reported by Asterisk"

    after = await _settled(product, at_most=before["ringline_tasks"])
    assert (
        _count(after, "ringline_calls_ended_total{") - _count(before, "ringline_calls_ended_total{") == CALLS
    )
    assert _count(after, "ringline_calls_live{") == 0
    assert after["ringline_calls_overdue"] == 0
    assert _count(after, "ringline_ari_events_dropped_total") == _count(
        before, "ringline_ari_events_dropped_total"
    )


def _count(samples: dict[str, float], prefix: str) -> float:
    return sum(value for name, value in samples.items() if name.startswith(prefix))


async def _settled(product: Product, *, at_most: float | None = None) -> dict[str, float]:
    """The metrics of a controller at rest: no live call, nothing to write, and no more tasks than ``at_most``."""

    async def look() -> dict[str, float] | None:
        samples = await product.metrics()
        busy = _count(samples, "ringline_calls_live{") or samples["ringline_journal_depth"]
        crowded = at_most is not None and samples["ringline_tasks"] > at_most
        assert not busy, f"{busy} calls or records are still in the works"
        assert not crowded, f"{samples['ringline_tasks']} tasks, {at_most} before"
        return samples

    found: dict[str, float] = await eventually(look, "the controller is at rest", within=60, every=0.5)
    return found
