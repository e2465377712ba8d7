"""The routes of conferences and conferencecalls."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from ringline.billing.tiers import LimitReached
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
from ringline.http import Page, Request, Resource, Route
from ringline.recordings.http import StartRecording

_CONFERENCES = Resource("/v1.0/conferences", "conference_id", ConferenceView, NotFound, "conferences")
_STAYS = Resource("/v1.0/conferencecalls", "conferencecall_id", ConferencecallView, NotFound, "conferences")

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
        _CONFERENCES.create(
            create,
            "Create a conference",
            CreateConference,
            description="Calls join it with the action `conference_join`. It can be joined at once.",
            context=rules,
            errors=(NotFound, LimitReached),
        ),
        _CONFERENCES.list(listing, "List conferences", ConferenceQuery),
        _CONFERENCES.get(get, "Get a conference"),
        _CONFERENCES.update(
            update,
            "Change a conference",
            UpdateConference,
            description="What is left out stays. One that has ended cannot be changed.",
            context=rules,
            errors=(FailedPrecondition,),
        ),
        _CONFERENCES.delete(
            delete,
            "End a conference",
            description="Everybody leaves it and goes on with the rest of the flow; the conference is gone from"
            " sight. The answer is `terminating` while somebody is on the way out.",
        ),
        _CONFERENCES.act(
            "POST",
            "recording_start",
            record,
            "Record a conference",
            description="All that is said in it, until it is stopped, `duration` is over, or the last participant"
            " has left. One recording at a time; 409 `CONFERENCE_EMPTY` while nobody is there.",
            body_optional=True,
            aliases=(f"{_CONFERENCES.one}/recording-start",),
            body=StartRecording,
            idempotent=True,
            errors=(FailedPrecondition,),
        ),
        _CONFERENCES.act(
            "POST",
            "recording_stop",
            stop_recording,
            "End the recording of a conference",
            description="409 `RECORDING_NOT_ACTIVE` where there is none.",
            aliases=(f"{_CONFERENCES.one}/recording-stop",),
            errors=(FailedPrecondition,),
        ),
        _STAYS.list(
            calls,
            "List the calls in conferences",
            ConferencecallQuery,
            description="Newest first; those that have left included, unless `status` says otherwise.",
        ),
        _STAYS.get(get_call, "Get a call in a conference"),
        _STAYS.delete(
            kick,
            "Kick a call out of its conference",
            description="The call goes on with the rest of its flow. The record of its stay remains; kicking twice"
            " is no fault.",
        ),
    ]


def _filters(query: Any, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(query, name))}
