"""Recording a conference: what is said in its bridge (``recordings.service`` does it)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol
from uuid import UUID

from ringline.calls.call import ZERO
from ringline.calls.recording import RecordingWanted
from ringline.conferences import store
from ringline.conferences.records import Conference
from ringline.conferences.rooms import Rooms
from ringline.errors import FailedPrecondition
from ringline.recordings.models import Recording
from ringline.storage import Database, WriteBehind


class Recorder(Protocol):
    """Who records (``recordings.service.RecordingService``)."""

    async def start_bridge(
        self,
        *,
        customer_id: UUID,
        bridge_id: str,
        reference_id: UUID,
        wanted: RecordingWanted,
        changed: Callable[[Recording], None],
    ) -> Recording: ...

    async def stop_and_wait(self, reference_id: UUID) -> Recording: ...

    def active(self, reference_id: UUID) -> Recording | None: ...

    def watch(self, reference_id: UUID, changed: Callable[[Recording], None]) -> None: ...


class ConferenceRecordings:
    """One recording of a conference at a time; it ends with the last participant at the latest."""

    def __init__(self, database: Database, rooms: Rooms, recorder: Recorder) -> None:
        self._database = database
        self._rooms = rooms
        self._recorder = recorder
        self._behind = WriteBehind(
            database, store.RECORDINGS, Conference.recordings_row, name="conference-recordings"
        )

    async def start(self) -> None:
        """Take over what another life of the controller left; the recordings themselves are found already."""
        await self._behind.start()
        async with self._database.connect() as connection:
            rows = await store.recorded(connection)
        for row in rows:
            conference = self._rooms.conference(row.customer_id, row.id) or Conference.of_row(row)
            recording = self._recorder.active(conference.id)
            if recording is not None and recording.id == conference.recording_id:
                self._recorder.watch(conference.id, partial(self._changed, conference))
            else:
                self._note(conference, conference.recording_id, active=False)

    async def close(self) -> None:
        await self._behind.close()

    async def begin(self, conference: Conference, wanted: RecordingWanted) -> None:
        """Record what is said from now on. Raises ``FailedPrecondition`` where nobody is there to be recorded, and
        whatever ``Recorder.start_bridge`` raises."""
        known = self._recorder.active(conference.id)
        if wanted.resumed and known is not None and known.id == wanted.id:
            return  # an earlier request with the same key has begun it
        if self._rooms.inside(conference) == 0:
            raise FailedPrecondition(
                f"Nobody is in the conference {conference.id}; it can be recorded once somebody has joined.",
                reason="CONFERENCE_EMPTY",
            )
        await self._recorder.start_bridge(
            customer_id=conference.customer_id,
            bridge_id=conference.bridge,
            reference_id=conference.id,
            wanted=wanted,
            changed=partial(self._changed, conference),
        )

    async def end(self, conference: Conference) -> None:
        """End the recording that runs. Raises ``FailedPrecondition`` (``RECORDING_NOT_ACTIVE``)."""
        await self._recorder.stop_and_wait(conference.id)

    async def written(self) -> None:
        """Return when the table has what memory has, or after a second."""
        await self._behind.written()

    def _changed(self, conference: Conference, recording: Recording) -> None:
        self._note(conference, recording.id, active=recording.active)

    def _note(self, conference: Conference, recording_id: UUID, *, active: bool) -> None:
        if recording_id == ZERO:
            return
        conference.recorded(recording_id, active=active)
        live = self._rooms.conference(conference.customer_id, conference.id)
        if live is not None and live is not conference:
            # everybody left and others came while it was recorded
            live.recorded(recording_id, active=active)
        self._behind.touch(conference)
