"""What happens is told: every step of a call, in order, once, whatever dies meanwhile."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.stack.containers import Containers
from tests.stack.product import HANGUP, Json, Product, eventually, number, sleep, talk

pytestmark = pytest.mark.timeout(300)


async def _of(product: Product, resource_id: str) -> list[Json]:
    """The events of a resource, oldest first; their sequence has no gap."""
    page = await product.api.get("/v1.0/events", resource_id=resource_id, page_size="1000")
    events: list[Json] = sorted(page["result"], key=lambda event: int(event["sequence"]))
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1)), events
    assert len({event["id"] for event in events}) == len(events)
    return events


async def _told(product: Product, resource_id: str, last: str, within: float = 30.0) -> list[Json]:
    """The events of a resource, once the last of them is of this type."""

    async def there() -> list[Json]:
        events = await _of(product, resource_id)
        assert events, "nothing was told"
        assert events[-1]["type"] == last, [event["type"] for event in events]
        return events

    found: list[Json] = await eventually(there, f"{last} was told", within=within)
    return found


def _steps(events: list[Json]) -> list[str]:
    """What happened, without changes that are no steps."""
    return [event["type"] for event in events if event["type"] != "call_updated"]


def _without_place(call: Json) -> Json:
    """A call's place among those that wait changes with theirs, and is no part of its events."""
    return {name: value for name, value in call.items() if name != "queue_position"}


async def test_a_calls_life_is_told_in_order_as_get_showed_it(product: Product) -> None:
    call = await product.place(number(), talk("Hello."), HANGUP)
    record = await product.ended(call)
    events = await _told(product, call["id"], "call_hangup")
    assert _steps(events) == [
        f"call_{step}" for step in ("created", "dialing", "ringing", "progressing", "terminating", "hangup")
    ]
    assert events[0]["data"] == _without_place(call)
    assert events[-1]["data"] == _without_place(record)
    assert {event["resource"] for event in events} == {"call"}

    async def flow_ended() -> list[Json]:
        told = await _of(product, call["activeflow_id"])
        return told if told[-1]["data"]["status"] == "ended" else []

    flow = await eventually(flow_ended, "the end of the flow was told", within=30)
    assert flow[-1]["type"] == "activeflow_updated"
    assert [event["data"]["status"] for event in flow] == ["", "running", "ended"]
    assert flow[-1]["data"] == await product.api.get(f"/v1.0/activeflows/{call['activeflow_id']}")
    # from one event on
    page = await product.api.get("/v1.0/events", resource_id=call["id"], after=events[2]["id"])
    assert page["result"] == events[3:]
    assert await product.api.get(f"/v1.0/events/{events[0]['id']}") == events[0]
    await product.api.delete(f"/v1.0/calls/{call['id']}")
    await _told(product, call["id"], "call_deleted")


async def test_what_the_api_changes_is_told_and_what_it_refuses_is_not(product: Product) -> None:
    queue = await product.api.post("/v1.0/queues", {"name": "told"})
    status, _ = await product.api.call("PUT", f"/v1.0/queues/{queue['id']}", {"name": 7})
    assert status == 400
    changed = await product.api.put(f"/v1.0/queues/{queue['id']}", {"name": "told again"})
    deleted = await product.api.delete(f"/v1.0/queues/{queue['id']}")
    events = await _told(product, queue["id"], "queue_deleted")
    assert [event["data"] for event in events] == [queue, changed, deleted]


async def test_lists_of_events(product: Product) -> None:
    queue = await product.api.post("/v1.0/queues", {"name": "listed"})
    await product.api.delete(f"/v1.0/queues/{queue['id']}")
    await _told(product, queue["id"], "queue_deleted")
    one = {"resource_id": queue["id"], "type": "queue_deleted"}
    assert [event["type"] for event in (await product.api.get("/v1.0/events", **one))["result"]] == [
        "queue_deleted"
    ]
    first = await product.api.get("/v1.0/events", resource="queue", resource_id=queue["id"], page_size="1")
    second = await product.api.get(
        "/v1.0/events", resource_id=queue["id"], page_size="1", page_token=first["next_page_token"]
    )
    types = [page["result"][0]["type"] for page in (first, second)]
    assert types == ["queue_deleted", "queue_created"]
    for path, query, reason in (
        ("/v1.0/events", {"after": str(UUID(int=7))}, "EVENT_NOT_FOUND"),
        (f"/v1.0/events/{UUID(int=7)}", {}, "EVENT_NOT_FOUND"),
    ):
        status, answer = await product.api.call("GET", path, **query)
        assert (status, answer["error"]["reason"]) == (404, reason)
    last = second["result"][0]["id"]
    status, _ = await product.api.call("GET", "/v1.0/events", after=last, page_token="2026-01-01T00:00:00Z")
    assert status == 400


async def test_what_postgresql_missed_is_told_by_who_takes_over_after_a_kill(
    product: Product, containers: Containers
) -> None:
    ending, lasting = [await product.place(number(), sleep(120), HANGUP) for _ in range(2)]
    for call in (ending, lasting):
        await product.reached(call, "progressing")
    await _told(product, lasting["id"], "call_progressing")
    began = (await containers.state("controller"))["State"]["StartedAt"]
    await containers.stop("postgres")
    try:
        # nobody but Redis hears of this
        await product.hang_up(ending)
        await product.reached(ending, "hangup")
        await containers.signal("controller", "KILL")
    finally:
        await containers.start("postgres")
    await containers.healthy("postgres")

    async def again() -> bool:
        assert (await containers.state("controller"))["State"]["StartedAt"] != began
        _, report = await product.api.call("GET", "/readyz")
        assert report["parts"]["calls"]["ok"], report
        return True

    await eventually(again, "the controller took its calls over", within=90, every=0.3)
    # these are being written while it is killed again
    fresh = [await product.place(number(), sleep(120), HANGUP) for _ in range(3)]
    began = (await containers.state("controller"))["State"]["StartedAt"]
    await containers.signal("controller", "KILL")
    await eventually(again, "the controller took its calls over", within=90, every=0.3)
    for call in (lasting, *fresh):
        await product.reached(call, "progressing", "hangup", within=60)
        await product.hang_up(call)
    for call in (ending, lasting, *fresh):
        record = await product.ended(call, within=60)
        events = await _told(product, call["id"], "call_hangup", within=60)
        steps = _steps(events)
        assert steps[:2] == ["call_created", "call_dialing"]
        assert len(set(steps)) == len(steps), steps
        for step in ("progressing", "ringing"):
            assert (f"call_{step}" in steps) == (record[f"tm_{step}"] is not None)
        ours = record["hangup_by"] == "local" and record["hangup_reason"] != "failed"
        assert ("call_terminating" in steps) == ours
        assert events[-1]["data"] == _without_place(record)
