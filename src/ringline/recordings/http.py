"""The routes of recordings."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID, uuid4, uuid5

from pydantic import Field

from ringline.calls.call import ZERO, Call
from ringline.calls.models import CallView
from ringline.calls.models import view as call_view
from ringline.calls.recording import EndKey, Format, RecordingWanted
from ringline.calls.service import CallService
from ringline.calls.states import Direction, Status
from ringline.errors import FailedPrecondition, NotFound
from ringline.http import FileReply, Page, PageQuery, Request, RequestModel, Resource, Route, UuidOrZero
from ringline.recordings.models import CONTENT_TYPES, RecordingView, view
from ringline.recordings.models import Status as RecordingStatus
from ringline.recordings.service import RecordingService

_RECORDINGS = Resource("/v1.0/recordings", "recording_id", RecordingView, NotFound, "recordings")

MAX_SECONDS = 86_400
MAX_SILENCE_SECONDS = 3600


class StartRecording(RequestModel):
    """How to record. The recording ends with the first of: a stop, the call, and the ends given here."""

    format: Format = Field(default="wav", description="`wav` (8 kHz, 16 bit, mono), `mp3` or `ogg`.")
    end_of_silence: int = Field(
        default=0,
        ge=0,
        le=MAX_SILENCE_SECONDS,
        description="End after so many seconds in which nobody spoke; 0: no such end.",
    )
    end_of_key: EndKey | Literal[""] = Field(
        default="none", description="End when the other side presses this key (`any`: whichever)."
    )
    duration: int = Field(
        default=0,
        ge=0,
        le=MAX_SECONDS,
        description="End after so many seconds; 0: the longest allowed, an hour.",
    )
    on_end_flow_id: UUID = Field(
        default=ZERO, description="A stored flow to run, without a call, when the recording has ended."
    )

    def wanted(self, seed: UUID | None) -> RecordingWanted:
        """``seed`` is that of an ``Idempotency-Key``."""
        return RecordingWanted(
            id=uuid4() if seed is None else uuid5(seed, "recording"),
            format=self.format,
            end_of_silence=self.end_of_silence,
            end_of_key=self.end_of_key or "none",
            duration=self.duration,
            on_end_flow_id=self.on_end_flow_id,
            resumed=seed is not None,
        )


class RecordingQuery(PageQuery):
    """Which recordings to list."""

    reference_id: UuidOrZero = Field(default=None, description="Those of one call or conference.")
    reference_type: Literal["", "call", "confbridge"] = ""
    activeflow_id: UuidOrZero = Field(default=None, description="Those that one flow in execution made.")
    status: Literal["", "initiating", "recording", "stopping", "ended"] = ""


def routes(recordings: RecordingService, calls: CallService) -> list[Route]:
    """Recordings, and recording a call."""

    async def start(request: Request[StartRecording, None]) -> CallView:
        call = await _live(calls, request)
        if call.status is not Status.PROGRESSING and call.direction is Direction.OUTGOING:
            raise FailedPrecondition(
                f"The call is `{call.status.value}`; it can be recorded once it is answered.",
                reason="CALL_STATE_INVALID",
            )
        await recordings.start_call(call, request.body.wanted(request.idempotency_seed))
        await recordings.written()
        return await _shown(calls, request)

    async def stop(request: Request[None, None]) -> CallView:
        call = await _live(calls, request)
        await recordings.stop_and_wait(call.id)
        return await _shown(calls, request)

    async def listing(request: Request[None, RecordingQuery]) -> Page[RecordingView]:
        query = request.query
        names = ("reference_id", "reference_type", "activeflow_id", "status")
        filters = {name: value for name in names if (value := getattr(query, name))}
        if "status" in filters:
            filters["status"] = RecordingStatus(filters["status"])
        return await recordings.page(request.customer_id, query, filters, view)

    async def get(request: Request[None, None]) -> RecordingView:
        return view(await recordings.get(request.customer_id, request.path["recording_id"]))

    async def delete(request: Request[None, None]) -> RecordingView:
        return view(await recordings.delete(request.customer_id, request.path["recording_id"]))

    async def download(request: Request[None, None]) -> FileReply:
        recording = await recordings.get(request.customer_id, request.path["recording_id"])
        if recording.status is not RecordingStatus.ENDED:
            raise FailedPrecondition(
                f"The recording is `{recording.status.value}`; its file is there once it is `ended`.",
                reason="RECORDING_NOT_ENDED",
            )
        if not await recordings.files.exists(recording.id, recording.format):
            raise NotFound(f"The recording {recording.id} has no file.", reason="RECORDING_FILE_NOT_FOUND")
        name = f"{recording.id}.{recording.format}"
        path = recordings.files.path(recording.id, recording.format)
        return FileReply(path, CONTENT_TYPES[recording.format], name)

    tags = ("recordings",)
    return [
        Route(
            method="POST",
            path="/v1.0/calls/{call_id}/recording_start",
            handler=start,
            summary="Record a call",
            description="Both directions, mixed, wherever the call goes. One recording at a time: a second start is"
            " 409 `RECORDING_ALREADY_ACTIVE`. Answers the call; its `recording_id` is the recording that has begun.",
            tags=("calls",),
            body=StartRecording,
            body_optional=True,
            response=CallView,
            errors=(NotFound, FailedPrecondition),
            aliases=("/v1.0/calls/{call_id}/recording-start",),
            idempotent=True,
            body_examples={"until #": {"format": "wav", "end_of_key": "#", "duration": 60}},
        ),
        Route(
            method="POST",
            path="/v1.0/calls/{call_id}/recording_stop",
            handler=stop,
            summary="End the recording of a call",
            description="409 `RECORDING_NOT_ACTIVE` where there is none.",
            tags=("calls",),
            response=CallView,
            errors=(NotFound, FailedPrecondition),
            aliases=("/v1.0/calls/{call_id}/recording-stop",),
        ),
        _RECORDINGS.list(listing, "List recordings", RecordingQuery),
        _RECORDINGS.get(get, "Get a recording"),
        _RECORDINGS.delete(
            delete, "Delete a recording", description="With its file. One that lasts is ended first."
        ),
        Route(
            method="GET",
            path="/v1.0/recordingfiles/{recording_id}",
            handler=download,
            summary="Download a recording",
            description="The sound, whole or in parts (`Range`); an `ETag` tells whether it is still the same.",
            tags=tags,
            response=bytes,
            errors=(NotFound, FailedPrecondition),
            produces=tuple(CONTENT_TYPES.values()),
        ),
    ]


async def _live(calls: CallService, request: Request[Any, None]) -> Call:
    """The live call that a request is about. Raises ``NotFound`` and ``FailedPrecondition``."""
    record, _ = await calls.get(request.customer_id, request.path["call_id"])
    if not isinstance(record, Call) or record.ending:
        raise FailedPrecondition(
            f"The call {request.path['call_id']} has ended.", reason="CALL_ALREADY_HANGUP"
        )
    return record


async def _shown(calls: CallService, request: Request[Any, None]) -> CallView:
    record, action = await calls.get(request.customer_id, request.path["call_id"])
    return call_view(record, action)
