"""Conferences and conferencecalls as the API takes and shows them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import AfterValidator, Field

from ringline.calls.call import ZERO
from ringline.conferences.records import Conference, Conferencecall
from ringline.events.telling import Telling
from ringline.flows.check import FlowActions
from ringline.http import PageQuery, RequestModel, ResponseModel, Timestamp

MAX_DATA_BYTES = 16 * 1024
LONGEST_TIMEOUT = 30 * 24 * 3600

Beep = Literal["", "join", "leave", "both"]
Type = Literal["conference", "connect"]


def _small(value: dict[str, Any]) -> dict[str, Any]:
    size = len(orjson.dumps(value))
    if size > MAX_DATA_BYTES:
        raise ValueError(f"must have at most {MAX_DATA_BYTES} bytes as JSON, not {size}")
    return value


Name = Annotated[str, Field(max_length=255)]
Detail = Annotated[str, Field(max_length=1024)]
Data = Annotated[
    dict[str, Any],
    AfterValidator(_small),
    Field(description=f"Anything of yours, up to {MAX_DATA_BYTES // 1024} KB of JSON; it is only kept."),
]
Timeout = Annotated[
    int,
    Field(
        ge=0,
        le=LONGEST_TIMEOUT,
        description="Seconds after its creation at which the conference ends by itself, whoever is in it; 0: never.",
    ),
]
PreFlow = Annotated[
    UUID,
    Field(
        description="A stored flow that each participant goes through before joining; it wins over"
        " `pre_actions`. The zero UUID means none."
    ),
]
PostFlow = Annotated[
    UUID,
    Field(
        description="A stored flow that each participant goes through after leaving, before its own goes on; it"
        " wins over `post_actions`. The zero UUID means none."
    ),
]
PreActions = Annotated[
    FlowActions,
    Field(description="What each participant goes through before joining."),
]
PostActions = Annotated[
    FlowActions,
    Field(description="What each participant goes through after leaving."),
]
WantedBeep = Annotated[
    Beep, Field(description="When those in it hear a beep: somebody joins, somebody leaves, or `both`.")
]
AloneMusic = Annotated[bool, Field(description="Whether who is alone in it hears music.")]


class CreateConference(RequestModel):
    """A conference to make. Calls join it by the action `conference_join`."""

    type: Type = Field(
        default="conference",
        description="`conference` lasts until it is deleted or its time is over; `connect` ends, and lets go of"
        " who is left, when of at least two participants one is left.",
    )
    name: Name = ""
    detail: Detail = ""
    data: Data = Field(default_factory=dict)
    timeout: Timeout = 0
    pre_flow_id: PreFlow = ZERO
    post_flow_id: PostFlow = ZERO
    pre_actions: PreActions = Field(default_factory=list)
    post_actions: PostActions = Field(default_factory=list)
    beep: WantedBeep = ""
    alone_music: AloneMusic = False


class UpdateConference(RequestModel):
    """What to change; what is left out stays. Who is in the conference stays in it."""

    name: Name | None = None
    detail: Detail | None = None
    data: Data | None = None
    timeout: Timeout | None = None
    pre_flow_id: PreFlow | None = None
    post_flow_id: PostFlow | None = None
    pre_actions: PreActions | None = None
    post_actions: PostActions | None = None
    beep: WantedBeep | None = None
    alone_music: AloneMusic | None = None


class ConferenceQuery(PageQuery):
    """Which conferences to list."""

    type: Literal["", "conference", "connect"] = ""
    status: Literal["", "starting", "progressing", "terminating", "terminated"] = ""


class ConferencecallQuery(PageQuery):
    """Which conferencecalls to list."""

    conference_id: UUID | None = Field(None, description="Those in this conference, now or earlier.")
    reference_id: UUID | None = Field(None, description="Those of this call.")
    status: Literal["", "joining", "progressing", "terminating", "terminated"] = ""


class ConferenceView(ResponseModel):
    """A room in which calls hear each other. The zero UUID stands for "none", `null` for a time that has not come."""

    id: UUID
    customer_id: UUID
    type: str
    status: str = Field(
        description="`progressing`: calls may join. `terminating`: it has ended and calls are leaving. `terminated`."
    )
    name: str
    detail: str
    data: dict[str, Any]
    timeout: int
    pre_flow_id: UUID
    post_flow_id: UUID
    pre_actions: list[dict[str, Any]]
    post_actions: list[dict[str, Any]]
    beep: str
    alone_music: bool
    conferencecall_ids: list[UUID] = Field(description="Who is in it or on the way, in the order of coming.")
    recording_id: UUID = Field(description="The recording that runs.")
    recording_ids: list[UUID]
    tm_end: Timestamp = Field(description="When it was terminated.")
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class ConferencecallView(ResponseModel):
    """A call's stay in a conference."""

    id: UUID
    customer_id: UUID
    activeflow_id: UUID
    conference_id: UUID
    reference_type: str = Field(description="`call`.")
    reference_id: UUID = Field(description="The call's id.")
    status: str = Field(
        description="`joining` (its pre-flow included), `progressing`: it hears and is heard, `terminating`,"
        " `terminated`."
    )
    tm_progressing: Timestamp = Field(description="When it was in.")
    tm_terminated: Timestamp = Field(description="When it was out again, or given up.")
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


def view(conference: Conference, members: list[Conferencecall]) -> ConferenceView:
    """The answer for a conference and those in it."""
    shown = {name: getattr(conference, name) for name in ConferenceView.model_fields if name in _FIELDS}
    return ConferenceView(**shown, conferencecall_ids=[member.id for member in members])


_FIELDS = frozenset(Conference.__dataclass_fields__)


def call_view(conferencecall: Conferencecall) -> ConferencecallView:
    """The answer for a conferencecall."""
    return ConferencecallView.model_validate(conferencecall)


def call_telling() -> Telling[Conferencecall]:
    """What is announced of conferencecalls."""
    types = {"progressing": "joined", "terminated": "leaved"}
    return Telling("conferencecall", call_view, _steps, types=types, final=("terminated",), updates=False)


def _steps(record: Conferencecall) -> Iterator[tuple[str, datetime | None]]:
    yield "created", record.tm_create
    yield "progressing", record.tm_progressing
    yield "terminated", record.tm_terminated
