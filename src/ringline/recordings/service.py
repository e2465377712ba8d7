"""What may happen to recordings: begun and ended, shown, deleted, and found again after a crash.

Those that last are in memory; their rows are written behind. The end of one is made in two steps: inside Asterisk's
event the call is told and a next recording may begin; then a task looks at the file, converts it and says ``ended``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from uuid import UUID, uuid4

import structlog

from ringline import ari
from ringline.calls.ari_leg import AriLeg
from ringline.calls.call import ZERO, Call
from ringline.calls.journal import Journal
from ringline.calls.leg import LegGone
from ringline.calls.recording import Recorded, RecordingWanted
from ringline.calls.recovery import Found
from ringline.calls.switchboard import Switchboard
from ringline.clock import Clock
from ringline.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from ringline.events.outbox import emit_rows
from ringline.http import Page, PageQuery, page_of, page_statement, utc_now
from ringline.media.worker import WorkerError
from ringline.recordings import metrics, models, store
from ringline.recordings.files import RecordingFiles
from ringline.recordings.models import Reason, Recording, Status
from ringline.recordings.tape import Tape
from ringline.storage import Database, tenancy
from ringline.storage.behind import WriteBehind

log = structlog.get_logger(__name__)

MAX_RECORDINGS = 1000
"""Of one call in its life: a loop around ``recording_start`` ends here."""
STOPPED_SECONDS = 2.0
CALL, CONFBRIDGE = "call", "confbridge"

Changed = Callable[[Recording], None]
FlowExists = Callable[[UUID, UUID], Awaitable[bool]]


class StartFlow(Protocol):
    """Who runs the flow that a recording's end starts (``FlowService.start_detached``)."""

    async def __call__(
        self,
        customer_id: UUID,
        flow_id: UUID,
        *,
        reference_type: str,
        reference_id: UUID,
        variables: dict[str, str],
    ) -> Any: ...


class RecordingService:
    """Every recording there is (``calls.switchboard.Recorder``)."""

    def __init__(
        self,
        database: Database,
        client: ari.Client,
        switchboard: Switchboard,
        journal: Journal,
        files: RecordingFiles,
        clock: Clock,
        *,
        application: str,
        max_seconds: int,
        flow_exists: FlowExists,
    ) -> None:
        """``max_seconds`` bounds every recording; ``flow_exists`` says whether a customer has a flow."""
        self._database = database
        self._client = client
        self._switchboard = switchboard
        self._journal = journal
        self.files = files
        self._clock = clock
        self._application = application
        self._max_seconds = max_seconds
        self._flow_exists = flow_exists
        self._behind: WriteBehind[Recording] = WriteBehind(
            database, store.UPSERT, Recording.row, name="recordings", telling=models.telling()
        )
        self._tapes: dict[UUID, Tape] = {}
        self._by_reference: dict[UUID, Tape] = {}
        self._lasting: dict[UUID, Recording] = {}
        self._changed: dict[UUID, Changed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: list[ari.Subscription] = []
        self.start_flow: StartFlow | None = None
        self.full = False
        """No room on the disk: nothing new is recorded (``recordings.upkeep``)."""

    # life

    async def start(self) -> None:
        """Listen, and load what another life of the controller left. Call it before Asterisk is connected."""
        await self.files.start()
        await self._behind.start()
        handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "RecordingFinished": self._on_finished,
            "RecordingFailed": self._on_failed,
            "ChannelDtmfReceived": self._on_key,
            "BridgeDestroyed": self._on_bridge_destroyed,
            "ChannelLeftBridge": self._on_left_bridge,
            "ChannelTalkingStarted": lambda event: self._on_talking(event, begun=True),
            "ChannelTalkingFinished": lambda event: self._on_talking(event, begun=False),
        }
        self._subscriptions = [self._client.on_event(name, handler) for name, handler in handlers.items()]
        self._subscriptions.append(self._client.on_state(self._on_state))
        self._switchboard.watchers.append(self._call_ended)
        await self._load()

    async def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        for tape in list(self._tapes.values()):
            tape.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=3.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._behind.close()
        await self.files.close()

    # beginning and ending

    async def start_leg(self, leg: AriLeg, wanted: RecordingWanted) -> Recorded:
        """A flow records its call (``calls.switchboard.Recorder``)."""
        try:
            recording = await self.start_call(leg.call, wanted)
        except FailedPrecondition:
            if leg.gone or leg.leaving or leg.call.ending:
                raise LegGone from None
            raise
        return recording.recorded()

    async def stop_leg(self, leg: AriLeg) -> None:
        self.stop_reference(leg.call.id)

    async def start_call(self, call: Call, wanted: RecordingWanted) -> Recording:
        """Record a live call, both directions. Returns when Asterisk records.

        Raises ``FailedPrecondition`` (``RECORDING_ALREADY_ACTIVE``, ``CALL_ALREADY_HANGUP``), ``NotFound`` for an
        unknown flow, ``Unavailable`` where Asterisk does not record or the disk is full.
        """
        target = f"channel:{call.channel_id}"
        if wanted.resumed and (known := await self._begun_before(call, wanted, target)) is not None:
            return known
        await self._check(call.customer_id, wanted)
        if call.ending:
            raise FailedPrecondition(f"The call {call.id} has ended.", reason="CALL_ALREADY_HANGUP")
        if len(call.recording_ids) >= MAX_RECORDINGS:
            raise ResourceExhausted(f"A call can be recorded {MAX_RECORDINGS} times at most.")
        recording = self._new(call.customer_id, CALL, call.id, target, wanted)
        return await self._begin(recording, self._call_changed)

    async def start_bridge(
        self,
        *,
        customer_id: UUID,
        bridge_id: str,
        reference_id: UUID,
        wanted: RecordingWanted,
        changed: Changed,
    ) -> Recording:
        """Record all that is said in a bridge, for a conference of that id.

        ``changed`` is called synchronously when the recording begins (it is ``active`` then) and when it ends. Raises
        like ``start_call``, and ``InvalidArgument`` for an end that a bridge cannot have.
        """
        if wanted.end_of_silence or wanted.end_of_key != "none":
            raise InvalidArgument(
                "end_of_silence and end_of_key: the recording of a conference ends after `duration`, or when it is"
                " stopped"
            )
        await self._check(customer_id, wanted)
        target = f"bridge:{bridge_id}"
        recording = self._new(customer_id, CONFBRIDGE, reference_id, target, wanted)
        return await self._begin(recording, changed)

    def watch(self, reference_id: UUID, changed: Changed) -> None:
        """Hear of the end of a recording that was found again after a restart."""
        self._changed[reference_id] = changed

    def active(self, reference_id: UUID) -> Recording | None:
        """What is being recorded of a call or a conference now."""
        tape = self._by_reference.get(reference_id)
        return None if tape is None else tape.recording

    def stop_reference(self, reference_id: UUID) -> Recording:
        """End what is being recorded. Raises ``FailedPrecondition`` (``RECORDING_NOT_ACTIVE``)."""
        tape = self._by_reference.get(reference_id)
        if tape is None:
            raise FailedPrecondition("It is not being recorded.", reason="RECORDING_NOT_ACTIVE")
        tape.stop(Reason.STOP)
        return tape.recording

    async def stop_and_wait(self, reference_id: UUID) -> Recording:
        """The same, returning when Asterisk has ended it, or after a moment."""
        recording = self.stop_reference(reference_id)
        tape = self._tapes.get(recording.id)
        if tape is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOPPED_SECONDS):
                    await tape.ended.wait()
        return recording

    async def written(self) -> None:
        """Return when the table has what memory has, or after a second."""
        await self._behind.written()

    # looking

    async def get(self, customer_id: UUID, recording_id: UUID) -> Recording:
        """A recording of the customer. Raises ``NotFound``."""
        found = self._lasting.get(recording_id)
        if found is None:
            async with self._database.connect() as connection:
                row = await store.get(connection, customer_id, recording_id)
            found = None if row is None else Recording.from_row(row)
        if found is None or found.customer_id != customer_id or found.tm_delete is not None:
            raise NotFound(f"There is no recording {recording_id}.", reason="RECORDING_NOT_FOUND")
        return found

    async def page(
        self,
        customer_id: UUID,
        query: PageQuery,
        filters: Mapping[str, Any],
        build: Callable[[Recording], Any],
    ) -> Page[Any]:
        """A page of the customer's recordings, newest first; those that last as they stand now."""
        statement = page_statement(store.listing(customer_id, filters), store.recordings, query)
        async with self._database.connect() as connection:
            rows = (await connection.execute(statement)).all()
        page = page_of(rows, query, lambda row: self._lasting.get(row.id) or Recording.from_row(row))
        # one may have moved on, or have been deleted, since its row was written
        wanted = {**filters, "tm_delete": None}
        kept = [
            build(recording)
            for recording in page.result
            if all(getattr(recording, name) == value for name, value in wanted.items())
        ]
        return page.model_copy(update={"result": kept})

    async def delete(self, customer_id: UUID, recording_id: UUID) -> Recording:
        """Delete a recording and its file; one that lasts is ended first. Raises ``NotFound``."""
        recording = await self.get(customer_id, recording_id)
        recording.tm_delete = recording.tm_update = self._clock.now()
        if recording.id in self._lasting:
            # the file goes when nobody writes to it any more
            self._behind.touch(recording)
            tape = self._tapes.get(recording.id)
            if tape is not None:
                tape.stop(Reason.STOP)
            await self._behind.written()
            return recording
        with tenancy.across():
            await self.forget([recording.id])
        return recording

    async def forget(self, recording_ids: list[UUID]) -> None:
        """Delete finished recordings: first their records, then their files."""
        async with self._database.begin() as connection:
            gone = await store.mark_deleted(connection, recording_ids, utc_now())
            telling = models.telling()
            await emit_rows(
                connection, [event for row in gone for event in telling.all(Recording.from_row(row))]
            )
        for recording_id in recording_ids:
            await self._remove_files(recording_id)

    def lasting(self) -> set[UUID]:
        """Ids of recordings whose files are still being made."""
        return set(self._lasting)

    def owns(self, recording_id: UUID) -> bool:
        """Whether it is being made here."""
        return recording_id in self._lasting

    async def check_all(self) -> None:
        """Ask Asterisk for every recording that should go on: events may have been missed."""
        for tape in list(self._tapes.values()):
            await tape.check()

    # what tapes tell (``recordings.tape.Owner``)

    def tape_running(self, tape: Tape) -> None:
        self._touch(tape.recording)
        metrics.active.set(len(self._tapes))

    def tape_over(self, tape: Tape, reason: Reason, detail: str = "") -> None:
        recording = tape.recording
        self._tapes.pop(recording.id, None)
        if self._by_reference.get(recording.reference_id) is tape:
            del self._by_reference[recording.reference_id]
        recording.status = Status.STOPPING
        recording.reason, recording.detail = reason, detail
        recording.tm_end = self._clock.now()
        self._touch(recording)
        metrics.active.set(len(self._tapes))
        metrics.ended.labels(reason.value).inc()
        log.info(
            "recording_over",
            recording_id=recording.name,
            reference_id=str(recording.reference_id),
            customer_id=str(recording.customer_id),
            reason=reason.value,
            detail=detail,
        )
        self._tell(recording)
        self._spawn(self._conclude(recording, in_the_gap=tape.unheard), f"recording-end {recording.name}")

    # steps

    async def _check(self, customer_id: UUID, wanted: RecordingWanted) -> None:
        if self.full:
            raise Unavailable(
                "Nothing can be recorded now: the disk is full. Delete recordings, or tell the operator.",
                reason="RECORDING_STORAGE_FULL",
            )
        if not self._client.connected:
            raise Unavailable("Nothing can be recorded now: the media server is not connected.")
        flow_id = wanted.on_end_flow_id
        if flow_id != ZERO and not await self._flow_exists(customer_id, flow_id):
            raise NotFound(f"on_end_flow_id: there is no flow {flow_id}", reason="FLOW_NOT_FOUND")

    def _new(
        self, customer_id: UUID, kind: str, reference_id: UUID, target: str, wanted: RecordingWanted
    ) -> Recording:
        if reference_id in self._by_reference:
            raise FailedPrecondition(
                "It is being recorded already; stop that recording first.", reason="RECORDING_ALREADY_ACTIVE"
            )
        return Recording(
            id=wanted.id if wanted.id != ZERO else uuid4(),
            customer_id=customer_id,
            reference_type=kind,
            reference_id=reference_id,
            target=target,
            tm_create=utc_now(),
            max_seconds=min(wanted.duration or self._max_seconds, self._max_seconds),
            activeflow_id=wanted.activeflow_id,
            format=wanted.format,
            end_of_silence=wanted.end_of_silence,
            end_of_key=wanted.end_of_key,
            on_end_flow_id=wanted.on_end_flow_id,
        )

    async def _begin(self, recording: Recording, changed: Changed) -> Recording:
        tape = self._insert(recording, changed)
        self._touch(recording)
        self._tell(recording)
        await tape.start()
        return recording

    def _insert(self, recording: Recording, changed: Changed) -> Tape:
        tape = Tape(
            self._client,
            recording,
            self,
            self._clock,
            application=self._application,
            auxiliary=self._switchboard.auxiliary,
        )
        self._tapes[recording.id] = self._by_reference[recording.reference_id] = tape
        self._lasting[recording.id] = recording
        self._changed[recording.reference_id] = changed
        return tape

    def _tell(self, recording: Recording) -> None:
        changed = self._changed.get(recording.reference_id)
        if changed is not None:
            changed(recording)
        if not recording.active and recording.reference_id not in self._by_reference:
            self._changed.pop(recording.reference_id, None)

    def _call_changed(self, recording: Recording) -> None:
        call = self._switchboard.live(recording.reference_id)
        if call is None:
            return
        if recording.active:
            call.recording_id = recording.id
            if recording.id not in call.recording_ids:
                call.recording_ids.append(recording.id)
        elif call.recording_id == recording.id:
            call.recording_id = ZERO
        self._journal.touch(call)

    def _touch(self, recording: Recording) -> None:
        recording.tm_update = self._clock.now()
        self._behind.touch(recording)

    async def _conclude(self, recording: Recording, *, in_the_gap: bool = False) -> None:
        """Asterisk writes to the file no more: see what there is, convert it, and make the final record.

        ``in_the_gap``: it ended while there was no controller; its last write says when.
        """
        try:
            await self._finish_file(recording, in_the_gap=in_the_gap)
        except OSError as error:
            log.error("recording_file_failed", recording_id=recording.name, error=str(error))
            recording.reason = Reason.FAILED
            recording.detail = f"The file cannot be read: {error.strerror or error}"
        recording.status = Status.ENDED
        if recording.tm_delete is not None:
            await self._remove_files(recording.id)
        self._touch(recording)
        await self._behind.written()
        self._lasting.pop(recording.id, None)
        await self._start_flow(recording)

    async def _finish_file(self, recording: Recording, *, in_the_gap: bool) -> None:
        facts = await self.files.inspect(recording.id)
        if facts is None:
            if recording.format != "wav" and await self.files.exists(recording.id, recording.format):
                return  # converted in another life
            if recording.reason is not Reason.FAILED:
                recording.reason = Reason.FAILED
                recording.detail = "Asterisk has left no file."
            recording.format = "wav"
            return
        recording.size, recording.duration_ms = facts.size, facts.duration_ms
        if in_the_gap:
            recording.tm_end = facts.modified
            if recording.reason in {Reason.HANGUP, Reason.DURATION} and recording.tm_start is not None:
                seconds = (facts.modified - recording.tm_start).total_seconds()
                recording.reason = Reason.DURATION if seconds >= recording.max_seconds else Reason.HANGUP
        if recording.tm_start is None:
            recording.tm_start = recording.tm_end
        if recording.format == "wav" or recording.tm_delete is not None:
            return
        try:
            recording.size = await self.files.convert(recording.id, recording.format)
        except WorkerError as error:
            log.error("recording_not_converted", recording_id=recording.name, error=str(error))
            recording.detail = f"It could not be converted to {recording.format} and was kept as wav."
            recording.format = "wav"

    async def _start_flow(self, recording: Recording) -> None:
        if recording.on_end_flow_id == ZERO or recording.tm_start is None or self.start_flow is None:
            return
        try:
            await self.start_flow(
                recording.customer_id,
                recording.on_end_flow_id,
                reference_type="recording",
                reference_id=recording.id,
                variables=recording.recorded().variables,
            )
        except Exception as error:  # noqa: BLE001 - said; the recording has ended all the same
            log.warning(
                "recording_flow_not_started",
                recording_id=recording.name,
                flow_id=str(recording.on_end_flow_id),
                error=repr(error),
            )

    async def _remove_files(self, recording_id: UUID) -> None:
        try:
            await self.files.remove(recording_id)
        except OSError as error:
            # the record is gone; what is left over is swept later
            log.error("recording_file_not_deleted", recording_id=str(recording_id), error=str(error))

    def _spawn(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("recording_task_failed", task=task.get_name(), exc_info=error)

    # events

    def _on_finished(self, event: dict[str, Any]) -> None:
        tape = self._tape_named(event)
        if tape is not None:
            tape.finished()

    def _on_failed(self, event: dict[str, Any]) -> None:
        tape = self._tape_named(event)
        if tape is not None:
            tape.failed(str(event["recording"].get("cause") or ""))

    def _tape_named(self, event: dict[str, Any]) -> Tape | None:
        if not self._tapes:
            return None
        try:
            return self._tapes.get(UUID(event["recording"]["name"]))
        except ValueError:
            return None

    def _on_key(self, event: dict[str, Any]) -> None:
        if not self._tapes:
            return
        channel = event["channel"]["id"]
        for tape in list(self._tapes.values()):
            if tape.recording.end_of_key != "none" and tape.subject == channel:
                tape.key_pressed(event["digit"])

    def _on_bridge_destroyed(self, event: dict[str, Any]) -> None:
        """Asterisk says of a bridge that is gone not even that its recording has ended."""
        bridge = event["bridge"]["id"]
        for tape in list(self._tapes.values()):
            if tape.subject == bridge:
                tape.subject_gone()

    def _on_left_bridge(self, event: dict[str, Any]) -> None:
        channel = event["channel"]["id"]
        for tape in list(self._tapes.values()):
            if tape.subject == channel:
                tape.left_bridge()

    def _on_talking(self, event: dict[str, Any], *, begun: bool) -> None:
        snoop = event["channel"]["id"]
        for tape in list(self._tapes.values()):
            if tape.snoop == snoop:
                tape.talking(begun=begun)

    def _call_ended(self, call: Call) -> None:
        if call.recording_id != ZERO:
            call.recording_id = ZERO
            self._journal.touch(call)
        tape = self._by_reference.get(call.id)
        if tape is not None:
            tape.subject_gone()

    def _on_state(self, state: ari.State, _detail: str) -> None:
        if state is ari.State.GAP and self._tapes:
            self._spawn(self.check_all(), "recordings-check")

    # other lives

    async def _begun_before(self, call: Call, wanted: RecordingWanted, target: str) -> Recording | None:
        """The recording of an action that is run again, where it had come to be."""
        known = self._lasting.get(wanted.id)
        if known is not None:
            return known
        async with self._database.connect() as connection:
            row = await store.get(connection, call.customer_id, wanted.id)
        if row is not None:
            return Recording.from_row(row)
        # its row may not have been written any more
        try:
            await self._client.request("GET", f"recordings/live/{wanted.id}", key=str(call.id))
        except ari.AriError:
            return None
        recording = self._new(call.customer_id, CALL, call.id, target, wanted)
        recording.status, recording.tm_start = Status.RECORDING, self._clock.now()
        tape = self._insert(recording, self._call_changed)
        tape.adopt()
        self._tell(recording)
        return recording

    async def restore(self, found: Found) -> None:
        """Calls are there again (``calls.recovery.Part``): see which recordings go on, and which have ended."""
        await self.check_all()
        for call in self._switchboard.calls():
            if call.recording_id != ZERO and call.id not in self._by_reference:
                call.recording_id = ZERO
                self._journal.touch(call)

    async def _load(self) -> None:
        async with self._database.connect() as connection:
            rows = await store.unfinished(connection)
        for row in rows:
            recording = Recording.from_row(row)
            if recording.status is Status.STOPPING:
                self._lasting[recording.id] = recording
                self._spawn(self._conclude(recording, in_the_gap=True), f"recording-end {recording.name}")
                continue
            # what was only about to begin may have begun
            recording.status = Status.RECORDING
            changed = self._call_changed if recording.reference_type == CALL else _nobody
            self._insert(recording, changed).restored = True
        if rows:
            log.info("recordings_found", recordings=len(rows))


def _nobody(_recording: Recording) -> None:
    """Whose conference this is will say so (``RecordingService.watch``)."""
