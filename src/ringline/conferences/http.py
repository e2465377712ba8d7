"""The routes of conferences and conferencecalls."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from ringline.conferences.models import (
    ConferencecallQuery,
    ConferencecallView,
    ConferenceQuery,
    ConferenceView,
    CreateConference,
    UpdateConference,
    call_view,
    view,
)
from ringline.conferences.records import Conference
from ringline.conferences.service import ConferenceService
from ringline.errors import FailedPrecondition, NotFound
from ringline.flows import check
from ringline.flows.check import LanguageCheck, Rules, UrlCheck
from ringline.http import Page, Request, Route
from ringline.recordings.http import StartRecording

_TAGS = ("conferences",)
_ONE = "/v1.0/conferences/{conference_id}"
_ONE_CALL = "/v1.0/conferencecalls/{conferencecall_id}"
_LISTS = ("pre_actions", "post_actions")


def routes(
    conferences: ConferenceService, check_language: LanguageCheck, check_url: UrlCheck | None = None
) -> list[Route]:
    """``check_language`` knows which languages can be spoken, ``check_url`` what may be fetched."""
    rules = Rules(check_language, check_url)

    def shown(conference: Conference) -> ConferenceView:
        return view(conference, conferences.members(conference))

    async def fields_of(customer_id: UUID, body: CreateConference | UpdateConference) -> dict[str, Any]:
        """What was given. Raises ``InvalidArgument`` for a list that names a stored flow which is not there."""
        fields = {
            name: value for name in type(body).model_fields if (value := getattr(body, name)) is not None
        }
        for name in _LISTS:
            if name in fields:
                exists = partial(conferences.has_flow, customer_id)
                check.refuse(await check.missing_flows(fields[name], exists, (name,)))
                fields[name] = check.canonical(fields[name])
        return fields

    async def create(request: Request[CreateConference, None]) -> ConferenceView:
        fields = await fields_of(request.customer_id, request.body)
        return shown(await conferences.create(request.customer_id, fields, request.idempotency_seed))

    async def listing(request: Request[None, ConferenceQuery]) -> Page[ConferenceView]:
        return await conferences.page(
            request.customer_id, request.query, _filters(request.query, "type", "status"), shown
        )

    async def get(request: Request[None, None]) -> ConferenceView:
        return shown(await conferences.get(request.customer_id, request.path["conference_id"]))

    async def update(request: Request[UpdateConference, None]) -> ConferenceView:
        fields = await fields_of(request.customer_id, request.body)
        return shown(await conferences.update(request.customer_id, request.path["conference_id"], fields))

    async def delete(request: Request[None, None]) -> ConferenceView:
        return shown(await conferences.delete(request.customer_id, request.path["conference_id"]))

    async def record(request: Request[StartRecording, None]) -> ConferenceView:
        wanted = request.body.wanted(request.idempotency_seed)
        return shown(await conferences.record(request.customer_id, request.path["conference_id"], wanted))

    async def stop_recording(request: Request[None, None]) -> ConferenceView:
        return shown(await conferences.stop_recording(request.customer_id, request.path["conference_id"]))

    async def calls(request: Request[None, ConferencecallQuery]) -> Page[ConferencecallView]:
        filters = _filters(request.query, "conference_id", "reference_id", "status")
        return await conferences.call_page(request.customer_id, request.query, filters, call_view)

    async def get_call(request: Request[None, None]) -> ConferencecallView:
        return call_view(await conferences.call(request.customer_id, request.path["conferencecall_id"]))

    async def kick(request: Request[None, None]) -> ConferencecallView:
        return call_view(await conferences.kick(request.customer_id, request.path["conferencecall_id"]))

    return [
        Route(
            method="POST",
            path="/v1.0/conferences",
            handler=create,
            summary="Create a conference",
            description="Calls join it with the action `conference_join`. It can be joined at once.",
            tags=_TAGS,
            body=CreateConference,
            context=rules,
            response=ConferenceView,
            errors=(NotFound,),
            idempotent=True,
        ),
        Route(
            method="GET",
            path="/v1.0/conferences",
            handler=listing,
            summary="List conferences",
            description="Newest first.",
            tags=_TAGS,
            query=ConferenceQuery,
            response=Page[ConferenceView],
        ),
        Route(
            method="GET",
            path=_ONE,
            handler=get,
            summary="Get a conference",
            tags=_TAGS,
            response=ConferenceView,
            errors=(NotFound,),
        ),
        Route(
            method="PUT",
            path=_ONE,
            handler=update,
            summary="Change a conference",
            description="What is left out stays. One that has ended cannot be changed.",
            tags=_TAGS,
            body=UpdateConference,
            context=rules,
            response=ConferenceView,
            errors=(NotFound, FailedPrecondition),
        ),
        Route(
            method="DELETE",
            path=_ONE,
            handler=delete,
            summary="End a conference",
            description="Everybody leaves it and goes on with the rest of the flow; the conference is gone from"
            " sight. The answer is `terminating` while somebody is on the way out.",
            tags=_TAGS,
            response=ConferenceView,
            errors=(NotFound,),
        ),
        Route(
            method="POST",
            path=f"{_ONE}/recording_start",
            handler=record,
            summary="Record a conference",
            description="All that is said in it, until it is stopped, `duration` is over, or the last participant"
            " has left. One recording at a time; 409 `CONFERENCE_EMPTY` while nobody is there.",
            tags=_TAGS,
            body=StartRecording,
            body_optional=True,
            response=ConferenceView,
            errors=(NotFound, FailedPrecondition),
            aliases=(f"{_ONE}/recording-start",),
            idempotent=True,
        ),
        Route(
            method="POST",
            path=f"{_ONE}/recording_stop",
            handler=stop_recording,
            summary="End the recording of a conference",
            description="409 `RECORDING_NOT_ACTIVE` where there is none.",
            tags=_TAGS,
            response=ConferenceView,
            errors=(NotFound, FailedPrecondition),
            aliases=(f"{_ONE}/recording-stop",),
        ),
        Route(
            method="GET",
            path="/v1.0/conferencecalls",
            handler=calls,
            summary="List the calls in conferences",
            description="Newest first; those that have left included, unless `status` says otherwise.",
            tags=_TAGS,
            query=ConferencecallQuery,
            response=Page[ConferencecallView],
        ),
        Route(
            method="GET",
            path=_ONE_CALL,
            handler=get_call,
            summary="Get a call in a conference",
            tags=_TAGS,
            response=ConferencecallView,
            errors=(NotFound,),
        ),
        Route(
            method="DELETE",
            path=_ONE_CALL,
            handler=kick,
            summary="Kick a call out of its conference",
            description="The call goes on with the rest of its flow. The record of its stay remains; kicking twice"
            " is no fault.",
            tags=_TAGS,
            response=ConferencecallView,
            errors=(NotFound,),
        ),
    ]


def _filters(query: Any, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(query, name))}
