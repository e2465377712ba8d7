"""Conferences over HTTP on a real database: made, listed, changed, ended, recorded; stays listed and kicked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from tests.unit.calls.desk import Desk

from ringline.calls.bridges import Bridges
from ringline.calls.call import ZERO, Call
from ringline.calls.leg import Left
from ringline.calls.membership import Gatherings
from ringline.calls.recording import RecordingWanted
from ringline.clock import SystemClock
from ringline.conferences import store
from ringline.conferences.announcements import Announcements
from ringline.conferences.http import routes
from ringline.conferences.rooms import Rooms
from ringline.conferences.service import ConferenceService
from ringline.errors import FailedPrecondition, NotFound
from ringline.http import DatabaseIdempotency, Readiness, Server, create_app, utc_now
from ringline.media import Prompt
from ringline.recordings.models import Recording
from ringline.recordings.models import Status as RecordingStatus

from .conftest import Api

PATH = "/v1.0/conferences"
ZERO_TEXT = str(ZERO)


class Flows:
    def __init__(self) -> None:
        self.known: dict[UUID, list[dict[str, Any]]] = {}

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[dict[str, Any]]:
        if flow_id not in self.known:
            raise NotFound(f"flow_id: there is no flow {flow_id}", reason="FLOW_NOT_FOUND")
        return self.known[flow_id]


@dataclass
class Recorder:
    """Records what it is told, and says so as the real one does."""

    running: dict[UUID, tuple[Recording, Any]] = field(default_factory=dict)
    watched: list[UUID] = field(default_factory=list)

    async def start_bridge(self, *, customer_id: UUID, bridge_id: str, reference_id: UUID, **how: Any) -> Any:
        wanted: RecordingWanted = how["wanted"]
        if reference_id in self.running:
            raise FailedPrecondition("It is being recorded.", reason="RECORDING_ALREADY_ACTIVE")
        recording = Recording(
            wanted.id, customer_id, "confbridge", reference_id, f"bridge:{bridge_id}", utc_now(), 3600
        )
        self.running[reference_id] = recording, how["changed"]
        how["changed"](recording)
        return recording

    async def stop_and_wait(self, reference_id: UUID) -> Any:
        if reference_id not in self.running:
            raise FailedPrecondition("It is not being recorded.", reason="RECORDING_NOT_ACTIVE")
        recording, changed = self.running.pop(reference_id)
        recording.status = RecordingStatus.STOPPING
        changed(recording)
        return recording

    def active(self, reference_id: UUID) -> Any:
        return self.running.get(reference_id, (None, None))[0]

    def watch(self, reference_id: UUID, changed: Any) -> None:
        self.watched.append(reference_id)


class Sounds:
    async def beep(self) -> Prompt:
        return Prompt("/beep", 200)


class House(Desk):
    """Everything behind the routes but Asterisk and the recorder."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self.api = api
        self.flows, self.recorder = Flows(), Recorder()
        self.service = self._service()
        self.url = ""
        self.key = ""
        self.customer_id = ZERO

    def _service(self) -> ConferenceService:
        gatherings = Gatherings(self.client, Bridges())  # type: ignore[arg-type]
        self.rooms = Rooms(
            self.api.database,
            self.client,  # type: ignore[arg-type]
            gatherings,
            Announcements(self.client, Sounds()),  # type: ignore[arg-type]
            SystemClock(),
        )
        self.board.gatherings = gatherings
        self.board.watchers = [gatherings.call_ended, self.rooms.call_ended]
        return ConferenceService(self.api.database, self.rooms, self.recorder, self.flows, SystemClock())

    async def call_api(self, method: str, path: str, json: Any = None, **more: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {more.pop('key', self.key)}", **more.pop("headers", {})}
        async with self.api.session.request(
            method, self.url + path, json=json, headers=headers, params=more
        ) as response:
            return response.status, await response.json()

    async def good(self, method: str, path: str, json: Any = None, **more: Any) -> Any:
        status, answer = await self.call_api(method, path, json, **more)
        assert status == 200, answer
        return answer

    def party(self) -> Call:
        call = self.answered()
        call.customer_id = self.customer_id
        return call

    async def join(self, call: Call, conference: dict[str, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(self.service.join(self.leg(call), UUID(conference["id"])))
        async with asyncio.timeout(60):
            while not any(
                stay.reference_id == call.id and stay.tm_progressing
                for stay in self.rooms.members(
                    await self.service.get(self.customer_id, UUID(conference["id"]))
                )
            ):
                await asyncio.sleep(0.01)
        return task


@pytest.fixture
async def house(api: Api) -> AsyncIterator[House]:
    house = House(api)
    house.customer_id, house.key = await api.another_customer()
    await house.service.start()
    app = create_app(
        routes(house.service, str),
        settings=api.settings,
        authenticator=api.authentication,
        readiness=Readiness(),
        idempotency=DatabaseIdempotency(api.database),
    )
    server = Server(app, "127.0.0.1", 0)
    await server.start()
    house.url = f"http://127.0.0.1:{server.port}"
    yield house
    await server.close()
    await house.service.close()
    house.board.close()


async def test_made_read_changed_and_ended(house: House) -> None:
    flow_id = uuid4()
    house.flows.known[flow_id] = []
    body = {
        "type": "conference",
        "name": "weekly",
        "data": {"room": 7},
        "timeout": 600,
        "pre_flow_id": str(flow_id),
        "post_actions": [{"type": "talk", "option": {"text": "bye"}}],
    }
    made = await house.good("POST", PATH, body)
    assert (made["status"], made["name"], made["data"], made["timeout"]) == (
        "progressing",
        "weekly",
        {"room": 7},
        600,
    )
    assert (made["pre_flow_id"], made["post_flow_id"], made["pre_actions"]) == (str(flow_id), ZERO_TEXT, [])
    assert made["post_actions"][0]["type"] == "talk"
    assert (made["conferencecall_ids"], made["recording_id"], made["tm_end"]) == ([], ZERO_TEXT, None)
    one = f"{PATH}/{made['id']}"
    assert await house.good("GET", one) == made
    changed = await house.good(
        "PUT", one, {"name": "daily", "timeout": 0, "beep": "both", "post_actions": []}
    )
    assert (changed["name"], changed["timeout"], changed["beep"]) == ("daily", 0, "both")
    assert (changed["data"], changed["post_actions"]) == ({"room": 7}, [])
    _, stranger = await house.api.another_customer()
    for method in ("GET", "DELETE"):
        status, answer = await house.call_api(method, one, key=stranger)
        assert (status, answer["error"]["reason"]) == (404, "CONFERENCE_NOT_FOUND")
    status, _ = await house.call_api("PUT", one, {"name": "mine"}, key=stranger)
    assert status == 404
    ended = await house.good("DELETE", one)
    assert (ended["status"], ended["tm_delete"] is not None) == ("terminated", True)
    assert (await house.call_api("GET", one))[0] == 404
    assert (await house.call_api("DELETE", one))[0] == 404


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"type": "queue"}, "type"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": "60"}, "timeout"),
        ({"name": "x" * 256}, "name"),
        ({"data": {"text": "x" * 20000}}, "data"),
        ({"data": []}, "data"),
        ({"beep": "always"}, "beep"),
        ({"members": 3}, "members"),
        ({"pre_flow_id": "seven"}, "pre_flow_id"),
        ({"pre_actions": [{"type": "tlak"}]}, "pre_actions[0].type"),
        (
            {"post_actions": [{"type": "sleep", "option": {"duration": -5}}]},
            "post_actions[0].option.duration",
        ),
        (
            {"post_actions": [{"type": "fetch_flow", "option": {"flow_id": str(uuid4())}}]},
            "post_actions[0].option.flow_id",
        ),
    ],
)
async def test_what_is_wrong_is_named(house: House, body: dict[str, Any], place: str) -> None:
    status, answer = await house.call_api("POST", PATH, body)
    assert status == 400, answer
    assert place in [fault["field"] for fault in answer["error"]["details"]]


async def test_flows_that_are_not_there(house: House) -> None:
    status, answer = await house.call_api("POST", PATH, {"post_flow_id": str(uuid4())})
    assert (status, answer["error"]["reason"]) == (404, "FLOW_NOT_FOUND")
    made = await house.good("POST", PATH, {})
    status, answer = await house.call_api("PUT", f"{PATH}/{made['id']}", {"pre_flow_id": str(uuid4())})
    assert (status, answer["error"]["reason"]) == (404, "FLOW_NOT_FOUND")


async def test_one_key_one_conference(house: House) -> None:
    headers = {"Idempotency-Key": f"conference-{uuid4()}"}
    first = await house.good("POST", PATH, {"name": "once"}, headers=headers)
    again = await house.good("POST", PATH, {"name": "once"}, headers=headers)
    assert first == again
    page = await house.good("GET", PATH)
    assert [one["id"] for one in page["result"]] == [first["id"]]
    # the answer was lost, what it did was not
    fields = {"name": "once", "timeout": 0, "type": "conference"}
    seed = uuid4()
    made = await house.service.create(house.customer_id, fields, seed)
    assert (await house.service.create(house.customer_id, fields, seed)).id == made.id


async def test_stays_are_listed_and_kicked(house: House) -> None:
    here, there = await house.good("POST", PATH, {}), await house.good("POST", PATH, {"type": "connect"})
    calls = [house.party() for _ in range(3)]
    tasks = [await house.join(call, where) for call, where in zip(calls, (here, here, there), strict=True)]
    page = await house.good("GET", "/v1.0/conferencecalls", conference_id=here["id"])
    assert {stay["reference_id"] for stay in page["result"]} == {str(call.id) for call in calls[:2]}
    assert {stay["status"] for stay in page["result"]} == {"progressing"}
    shown = await house.good("GET", f"{PATH}/{here['id']}")
    assert set(shown["conferencecall_ids"]) == {stay["id"] for stay in page["result"]}
    (stay,) = (await house.good("GET", "/v1.0/conferencecalls", reference_id=str(calls[0].id)))["result"]
    one = f"/v1.0/conferencecalls/{stay['id']}"
    _, stranger = await house.api.another_customer()
    for method in ("GET", "DELETE"):
        status, answer = await house.call_api(method, one, key=stranger)
        assert (status, answer["error"]["reason"]) == (404, "CONFERENCECALL_NOT_FOUND")
    assert (await house.good("GET", "/v1.0/conferencecalls", key=stranger))["result"] == []
    kicked = await house.good("DELETE", one)
    assert kicked["status"] in ("terminating", "terminated")
    assert await tasks[0] is Left.KICKED
    again = await house.good("DELETE", one)
    assert (again["status"], again["tm_terminated"] is not None) == ("terminated", True)
    assert await house.good("GET", one) == again
    page = await house.good("GET", "/v1.0/conferencecalls", status="progressing")
    assert {stay["reference_id"] for stay in page["result"]} == {str(call.id) for call in calls[1:]}
    page = await house.good("GET", "/v1.0/conferencecalls", page_size="2")
    following = await house.good("GET", "/v1.0/conferencecalls", page_token=page["next_page_token"])
    assert [len(page["result"]), len(following["result"])] == [2, 1]
    ended = await house.good("DELETE", f"{PATH}/{here['id']}")
    assert ended["status"] == "terminating"
    assert await tasks[1] is Left.DISSOLVED
    house.destroyed(calls[2], 16)
    await asyncio.gather(tasks[2], return_exceptions=True)
    page = await house.good("GET", "/v1.0/conferencecalls")
    assert {stay["status"] for stay in page["result"]} == {"terminated"}
    # written once the last has left, which nobody waits for
    wanted = sa.select(store.conferences.c.status).where(store.conferences.c.id == UUID(here["id"]))
    status = "terminating"
    async with asyncio.timeout(60):
        while status == "terminating":
            async with house.api.database.connect() as connection:
                status = (await connection.execute(wanted)).scalar_one()
    assert status == "terminated"


async def test_its_time_is_over(house: House) -> None:
    soon, later = (
        await house.good("POST", PATH, {"timeout": 1}),
        await house.good("POST", PATH, {"timeout": 3600}),
    )
    call = house.party()
    task = await house.join(call, soon)
    async with asyncio.timeout(60):
        assert await task is Left.DISSOLVED
    shown = await house.good("GET", f"{PATH}/{soon['id']}")
    assert (shown["status"], shown["tm_end"] is not None) == ("terminated", True)
    assert (await house.good("GET", f"{PATH}/{later['id']}"))["status"] == "progressing"
    status, answer = await house.call_api("PUT", f"{PATH}/{soon['id']}", {"name": "late"})
    assert (status, answer["error"]["reason"]) == (409, "CONFERENCE_TERMINATED")
    # a deadline that moves into the past ends it at once
    async with house.api.database.begin() as connection:
        await connection.execute(
            sa.update(store.conferences)
            .where(store.conferences.c.id == UUID(later["id"]))
            .values(tm_create=utc_now() - timedelta(hours=2))
        )
    await house.good("PUT", f"{PATH}/{later['id']}", {"timeout": 60})
    async with asyncio.timeout(60):
        while (await house.good("GET", f"{PATH}/{later['id']}"))["status"] != "terminated":
            await asyncio.sleep(0.05)
    page = await house.good("GET", PATH, status="terminated")
    assert {one["id"] for one in page["result"]} == {soon["id"], later["id"]}


async def test_recording(house: House) -> None:
    conference = await house.good("POST", PATH, {})
    start, stop = (f"{PATH}/{conference['id']}/recording_{what}" for what in ("start", "stop"))
    status, answer = await house.call_api("POST", start, {})
    assert (status, answer["error"]["reason"]) == (409, "CONFERENCE_EMPTY")
    status, answer = await house.call_api("POST", stop)
    assert (status, answer["error"]["reason"]) == (409, "RECORDING_NOT_ACTIVE")
    call = house.party()
    task = await house.join(call, conference)
    headers = {"Idempotency-Key": f"record-{uuid4()}"}
    recorded = await house.good("POST", start, {"format": "mp3"}, headers=headers)
    assert recorded["recording_ids"] == [recorded["recording_id"]]
    assert recorded["recording_id"] != ZERO_TEXT
    assert await house.good("POST", start, {"format": "mp3"}, headers=headers) == recorded
    status, answer = await house.call_api("POST", start)
    assert (status, answer["error"]["reason"]) == (409, "RECORDING_ALREADY_ACTIVE")
    stopped = await house.good("POST", stop)
    assert (stopped["recording_id"], stopped["recording_ids"]) == (ZERO_TEXT, recorded["recording_ids"])
    again = await house.good("POST", start)
    assert len(again["recording_ids"]) == 2
    # the last one leaves, and the recording ends a little after that
    house.destroyed(call, 16)
    await asyncio.gather(task, return_exceptions=True)
    await house.recorder.stop_and_wait(UUID(conference["id"]))
    shown = await house.good("GET", f"{PATH}/{conference['id']}")
    assert (shown["recording_id"], len(shown["recording_ids"])) == (ZERO_TEXT, 2)
    _, stranger = await house.api.another_customer()
    for path in (start, stop):
        assert (await house.call_api("POST", path, key=stranger))[0] == 404


async def test_what_another_life_left_in_the_tables(house: House) -> None:
    conference = await house.good("POST", PATH, {})
    over = await house.good("POST", PATH, {})
    call = house.party()
    task = await house.join(call, conference)
    await house.good("POST", f"{PATH}/{conference['id']}/recording_start")
    await house.service.close()  # what follows is not written any more
    async with house.api.database.begin() as connection:
        await connection.execute(
            sa.update(store.conferences)
            .where(store.conferences.c.id == UUID(over["id"]))
            .values(status="terminating", recording_id=uuid4())
        )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    (stay,) = house.rooms.members(await house.service.get(house.customer_id, UUID(conference["id"])))
    second = house._service()
    await house.rooms.restore()
    await second.start()
    try:
        known = await second.get(house.customer_id, UUID(conference["id"]))
        assert [member.id for member in second.members(known)] == [stay.id]
        assert house.recorder.watched == [known.id]
        assert (await second.get(house.customer_id, UUID(over["id"]))).status == "terminated"
        assert (await second.get(house.customer_id, UUID(over["id"]))).recording_id == ZERO
        back = asyncio.create_task(second.join(house.leg(call), known.id, stay.id, resumed=True))
        await asyncio.sleep(0.1)
        await second.kick(house.customer_id, stay.id)
        assert await back is Left.KICKED
        assert (await second.call(house.customer_id, stay.id)).status == "terminated"
        # and a stay that is over is not begun again
        assert await second.join(house.leg(call), known.id, stay.id, resumed=True) is Left.DISSOLVED
    finally:
        await second.close()
