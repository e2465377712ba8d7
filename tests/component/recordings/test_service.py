"""Recordings against a real database and real files; only Asterisk is played."""

from __future__ import annotations

import asyncio
import os
import struct
import time
import wave
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import soundfile
from tests.unit.calls.fakes import FakeJournal
from tests.unit.recordings.studio import Studio

from ringline.calls.call import ZERO, Call
from ringline.calls.recording import RecordingWanted
from ringline.calls.recovery import Found
from ringline.calls.states import Direction
from ringline.calls.states import Status as CallStatus
from ringline.clock import SystemClock
from ringline.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from ringline.http import PageQuery, utc_now
from ringline.recordings.files import RecordingFiles
from ringline.recordings.models import Reason, Recording, Status, view
from ringline.recordings.service import RecordingService
from ringline.recordings.store import recordings
from ringline.recordings.upkeep import RecordingUpkeep
from ringline.sip.address import Address
from ringline.storage import Database

SECONDS = 2.0


class Board:
    """Live calls, and who hears of their end."""

    def __init__(self, studio: Studio) -> None:
        self.auxiliary = studio.auxiliary
        self.watchers: list[Callable[[Call], None]] = []
        self.known: dict[UUID, Call] = {}

    def live(self, call_id: UUID) -> Call | None:
        return self.known.get(call_id)

    def calls(self) -> list[Call]:
        return list(self.known.values())


class House:
    """A recording service with an Asterisk that is played, and what its files would be."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.customer_id = uuid4()
        self.flow_id = uuid4()
        self.flows = {(self.customer_id, self.flow_id)}
        self.started: list[dict[str, Any]] = []
        self.studio = Studio()
        self.studio.on_state = lambda handler: SimpleNamespace(close=lambda: None)  # type: ignore[attr-defined]
        self.board = Board(self.studio)
        self.journal = FakeJournal()
        self.service = self.life()
        self.sound = True

    def life(self) -> RecordingService:
        """A service, as a controller has one for its life."""
        service = RecordingService(
            self.database,
            self.studio,  # type: ignore[arg-type]
            self.board,  # type: ignore[arg-type]
            self.journal,  # type: ignore[arg-type]
            RecordingFiles(self.folder),
            SystemClock(),
            application="ringline",
            max_seconds=3600,
            flow_exists=self._flow_exists,
        )
        service.start_flow = self._start_flow

        def finished(name: str) -> None:
            if self.sound:
                self.write(UUID(name))
            self.studio.emit("RecordingFinished", recording={"name": name, "state": "done"})

        self.studio.finished = finished
        return service

    async def _flow_exists(self, customer_id: UUID, flow_id: UUID) -> bool:
        return (customer_id, flow_id) in self.flows

    async def _start_flow(self, customer_id: UUID, flow_id: UUID, **what: Any) -> None:
        self.started.append({"customer_id": customer_id, "flow_id": flow_id, **what})

    def call(self) -> Call:
        address = Address(type="tel", target="+15559876543")
        call = Call(
            uuid4(),
            self.customer_id,
            Direction.OUTGOING,
            address,
            address,
            "call-1",
            CallStatus.PROGRESSING,
            utc_now(),
        )
        self.board.known[call.id] = call
        return call

    def write(self, recording_id: UUID, seconds: float = SECONDS) -> Path:
        path = self.folder / f"{recording_id}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            tone = np.sin(2 * np.pi * 700 * np.arange(int(seconds * 8000)) / 8000) * 8000
            file.writeframes(tone.astype("<i2").tobytes())
        return path

    async def ended(self, recording: Recording) -> Recording:
        async with asyncio.timeout(60):
            while True:
                row = await self.service.get(self.customer_id, recording.id)
                if row.status is Status.ENDED and recording.id not in self.service.lasting():
                    return row
                await asyncio.sleep(0.05)


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    house = House(database, tmp_path)
    # what other tests left is another life's
    await _forget_others(house)
    await house.service.start()
    yield house
    await house.service.close()


def wanted(**fields: Any) -> RecordingWanted:
    return RecordingWanted(**{"id": uuid4(), **fields})


async def test_a_call_is_recorded_and_its_file_is_there(house: House) -> None:
    call = house.call()
    recording = await house.service.start_call(call, wanted(on_end_flow_id=house.flow_id))
    assert (call.recording_id, call.recording_ids) == (recording.id, [recording.id])
    assert recording.status is Status.RECORDING
    with pytest.raises(FailedPrecondition, match="already") as refused:
        await house.service.start_call(call, wanted())
    assert refused.value.reason == "RECORDING_ALREADY_ACTIVE"
    await house.service.stop_and_wait(call.id)
    assert call.recording_id == ZERO
    with pytest.raises(FailedPrecondition) as refused:
        house.service.stop_reference(call.id)
    assert refused.value.reason == "RECORDING_NOT_ACTIVE"
    shown = view(await house.ended(recording))
    assert (shown.status, shown.reason, shown.duration_ms) == ("ended", "stop", 2000)
    assert shown.filenames == [f"{recording.id}.wav"]
    assert shown.size == 32044
    (started,) = house.started
    assert (started["flow_id"], started["reference_type"]) == (house.flow_id, "recording")
    assert started["variables"]["voipbin.recording.id"] == str(recording.id)
    again = await house.service.start_call(call, wanted())
    assert call.recording_ids == [recording.id, again.id]


@pytest.mark.parametrize("kind", ["mp3", "ogg"])
async def test_it_is_converted(house: House, kind: Any) -> None:
    call = house.call()
    recording = await house.service.start_call(call, wanted(format=kind))
    await house.service.stop_and_wait(call.id)
    row = await house.ended(recording)
    path = house.folder / f"{recording.id}.{kind}"
    assert row.format == kind
    assert row.size == path.stat().st_size
    assert soundfile.info(path).samplerate == 8000
    assert soundfile.info(path).duration == pytest.approx(SECONDS, abs=0.2)
    assert [found.name for found in house.folder.iterdir()] == [path.name]


async def test_what_cannot_be_converted_is_kept_as_it_is(house: House) -> None:
    call = house.call()
    recording = await house.service.start_call(call, wanted(format="mp3"))
    house.sound = False
    (house.folder / f"{recording.id}.wav").write_bytes(b"RIFF" + bytes(60))
    await house.service.stop_and_wait(call.id)
    row = await house.ended(recording)
    assert (row.format, row.reason) == ("wav", Reason.STOP)
    assert "kept as wav" in row.detail


async def test_without_a_file_it_has_failed(house: House) -> None:
    call = house.call()
    recording = await house.service.start_call(call, wanted(on_end_flow_id=house.flow_id))
    house.sound = False
    await house.service.stop_and_wait(call.id)
    row = await house.ended(recording)
    assert (row.reason, view(row).filenames) == (Reason.FAILED, [])
    assert "no file" in row.detail


async def test_a_header_whose_writer_died_is_put_right(house: House) -> None:
    recording_id = uuid4()
    path = house.write(recording_id)
    with path.open("r+b") as file:
        file.seek(40)
        file.write(struct.pack("<I", 0))
    facts = await house.service.files.inspect(recording_id)
    assert facts is not None
    assert facts.duration_ms == 2000
    assert soundfile.info(path).duration == SECONDS


async def test_who_may_see_and_delete_it(house: House) -> None:
    call = house.call()
    recording = await house.service.start_call(call, wanted())
    for look in (house.service.get, house.service.delete):
        with pytest.raises(NotFound):
            await look(uuid4(), recording.id)
    await house.service.stop_and_wait(call.id)
    await house.ended(recording)
    stranger = await house.service.page(uuid4(), PageQuery(), {}, view)
    assert stranger.result == []
    page = await house.service.page(house.customer_id, PageQuery(), {"reference_id": call.id}, view)
    assert [shown.id for shown in page.result] == [recording.id]
    page = await house.service.page(house.customer_id, PageQuery(), {"status": Status.RECORDING}, view)
    assert page.result == []
    with pytest.raises(NotFound):
        await house.service.delete(uuid4(), recording.id)
    await house.service.delete(house.customer_id, recording.id)
    assert list(house.folder.iterdir()) == []
    with pytest.raises(NotFound):
        await house.service.get(house.customer_id, recording.id)


async def test_one_that_lasts_is_ended_when_it_is_deleted(house: House) -> None:
    call = house.call()
    recording = await house.service.start_call(call, wanted())
    await house.service.delete(house.customer_id, recording.id)
    async with asyncio.timeout(60):
        while house.service.lasting():
            await asyncio.sleep(0.05)
    assert list(house.folder.iterdir()) == []
    assert call.recording_id == ZERO


async def test_what_is_refused(house: House) -> None:
    call = house.call()
    with pytest.raises(NotFound) as unknown:
        await house.service.start_call(call, wanted(on_end_flow_id=uuid4()))
    assert unknown.value.reason == "FLOW_NOT_FOUND"
    house.service.full = True
    with pytest.raises(Unavailable) as full:
        await house.service.start_call(call, wanted())
    assert full.value.reason == "RECORDING_STORAGE_FULL"
    house.service.full = False
    call.status = CallStatus.HANGUP
    with pytest.raises(FailedPrecondition):
        await house.service.start_call(call, wanted())
    with pytest.raises(InvalidArgument, match="end_of_silence"):
        await house.service.start_bridge(
            customer_id=house.customer_id,
            bridge_id="conference-1",
            reference_id=uuid4(),
            wanted=wanted(end_of_silence=3),
            changed=lambda recording: None,
        )
    assert call.recording_ids == []
    assert house.studio.channels == set()


async def test_a_bridge_tells_its_owner(house: House) -> None:
    told: list[tuple[bool, Reason]] = []
    reference = uuid4()
    recording = await house.service.start_bridge(
        customer_id=house.customer_id,
        bridge_id="conference-1",
        reference_id=reference,
        wanted=wanted(),
        changed=lambda one: told.append((one.active, one.reason)),
    )
    assert house.service.active(reference) is recording
    await house.service.stop_and_wait(reference)
    assert house.service.active(reference) is None
    assert told == [(True, Reason.NONE), (False, Reason.STOP)]
    # nobody says that the recording of a bridge has ended when the bridge goes
    lost = await house.service.start_bridge(
        customer_id=house.customer_id,
        bridge_id="conference-1",
        reference_id=reference,
        wanted=wanted(),
        changed=lambda one: told.append((one.active, one.reason)),
    )
    house.write(lost.id)
    house.studio.live.clear()
    house.studio.emit("BridgeDestroyed", bridge={"id": "conference-1"})
    assert (await house.ended(lost)).reason is Reason.HANGUP
    assert (await house.ended(recording)).reference_type == "confbridge"


async def test_the_call_ends(house: House) -> None:
    call = house.call()
    recording = await house.service.start_call(call, wanted())
    house.studio.hang_up(recording.name)
    for watcher in house.board.watchers:
        watcher(call)
    row = await house.ended(recording)
    assert (row.reason, call.recording_id) == (Reason.HANGUP, ZERO)


async def test_another_life_finds_what_goes_on_and_what_has_ended(house: House) -> None:
    lasting, over, deleted = house.call(), house.call(), house.call()
    going = await house.service.start_call(lasting, wanted())
    gone = await house.service.start_call(over, wanted(duration=3))
    dropped = await house.service.start_call(deleted, wanted())
    await house.service.written()
    await house.service.close()
    house.board.watchers.clear()
    house.board.auxiliary.clear()
    # the second ended in the gap, five seconds ago; the third was deleted and is still being recorded
    gone_at = time.time() + 5
    os.utime(house.write(gone.id), (gone_at, gone_at))
    house.studio.live.pop(gone.name)
    house.service = house.life()
    await house.service.start()
    over.recording_id = gone.id
    await house.service.restore(Found())
    assert (lasting.recording_id, over.recording_id) == (going.id, ZERO)
    row = await house.ended(gone)
    assert row.reason is Reason.DURATION
    assert row.tm_end is not None
    assert abs(row.tm_end.timestamp() - gone_at) < 0.01
    again = await house.service.start_call(lasting, RecordingWanted(id=going.id, resumed=True))
    assert (again.id, again.status) == (going.id, Status.RECORDING)
    assert len(house.studio.live) == 2
    for call, recording in ((lasting, going), (deleted, dropped)):
        await house.service.stop_and_wait(call.id)
        assert (await house.ended(recording)).reason is Reason.STOP


async def test_an_action_that_is_run_again_takes_what_it_began_though_no_row_says_so(house: House) -> None:
    call, recording_id = house.call(), uuid4()
    house.studio.live[str(recording_id)] = f"snoop-{recording_id}"
    recording = await house.service.start_call(call, RecordingWanted(id=recording_id, resumed=True))
    assert (recording.id, recording.status) == (recording_id, Status.RECORDING)
    assert not [uri for uri in house.studio.requests("POST") if uri.endswith("/record")]
    await house.service.stop_and_wait(call.id)
    assert call.recording_id == ZERO


async def test_what_is_too_old_or_too_much_goes(house: House) -> None:
    made = []
    for age in (3, 2, 1, 0):
        call = house.call()
        recording = await house.service.start_call(call, wanted())
        await house.service.stop_and_wait(call.id)
        await house.ended(recording)
        await _age(house, recording.id, timedelta(days=age, hours=1))
        made.append(recording)
    stray, fresh = house.write(uuid4()), house.write(uuid4())
    old = time.time() - 2 * 86_400
    os.utime(stray, (old, old))
    upkeep = RecordingUpkeep(house.database, house.service, keep_days=2.5, keep_bytes=0, free_bytes=0)
    await upkeep.sweep()
    left = {path.stem for path in house.folder.iterdir()}
    assert left == {*(recording.name for recording in made[1:]), fresh.stem}
    await _forget_others(house)
    bounded = RecordingUpkeep(house.database, house.service, keep_days=0, keep_bytes=2 * 32044, free_bytes=0)
    await bounded.sweep()
    left = {path.stem for path in house.folder.iterdir()}
    assert left == {*(recording.name for recording in made[2:]), fresh.stem}
    with pytest.raises(NotFound):
        await house.service.get(house.customer_id, made[1].id)
    full = RecordingUpkeep(house.database, house.service, keep_days=0, keep_bytes=0, free_bytes=2**62)
    await full.look()
    assert house.service.full
    await bounded.look()
    assert not house.service.full


async def _age(house: House, recording_id: UUID, by: timedelta) -> None:
    async with house.database.begin() as connection:
        await connection.execute(
            recordings.update().where(recordings.c.id == recording_id).values(tm_end=datetime.now(UTC) - by)
        )


async def _forget_others(house: House) -> None:
    """Other tests share the table: only this customer's recordings shall count."""
    async with house.database.begin() as connection:
        await connection.execute(recordings.delete().where(recordings.c.customer_id != house.customer_id))
