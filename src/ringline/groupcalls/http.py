"""The routes of groupcalls."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal
from uuid import UUID

import orjson
from pydantic import Field, field_validator, model_validator

from ringline.calls.call import ZERO
from ringline.calls.destinations import RingMethod
from ringline.calls.ordering import MAX_LEGS
from ringline.errors import InvalidArgument, NotFound, PaymentRequired
from ringline.flows import check, variables
from ringline.flows.check import FlowActions, LanguageCheck, Rules, UrlCheck
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.own_webhook import FlowWebhookMethod, FlowWebhookUri, flow_webhook
from ringline.flows.service import FlowService
from ringline.groupcalls.groupcall import AnswerMethod
from ringline.groupcalls.models import GroupcallView, view
from ringline.groupcalls.service import GroupcallService
from ringline.http import Page, PageQuery, Request, RequestModel, Resource, Route
from ringline.sip.address import Address

_GROUPCALLS = Resource("/v1.0/groupcalls", "groupcall_id", GroupcallView, NotFound, "groupcalls")

MAX_COPIED_BYTES = 8 * 1024 * 1024


class CreateGroupcall(RequestModel):
    """Phones to ring, and what happens on the call of the first that answers."""

    source: Address = Field(
        default=Address(type="tel"),
        description="Who calls. Towards a telephone an active normal number of yours; else your default outgoing"
        " number is used, and without one the request is refused.",
    )
    destinations: list[Address] = Field(
        min_length=1,
        max_length=MAX_LEGS,
        description="Whom to ring: `tel`, `sip`, `extension` (also `endpoint`, for example `test11@test`), `agent`.",
    )
    actions: FlowActions = Field(default=[], description="What the one who answers gets to hear.")
    flow_id: UUID = Field(default=ZERO, description="A stored flow to run; it wins over `actions`.")
    ring_method: Literal["", "ring_all", "linear"] = Field(
        default="",
        description="`ring_all` (also empty): all ring at once. `linear`: one after another, the next one when the"
        " one before is busy, declines, fails or does not answer in time.",
    )
    answer_method: Literal["", "hangup_others"] = Field(
        default="",
        description="`hangup_others`: the first to answer has the call, the others stop ringing (answered elsewhere)."
        " Empty means the same.",
    )
    anonymous: Annotated[str, Field(max_length=16)] = Field(
        default="auto",
        description="`yes` hides the number from telephones, `no` shows it, `auto` is `no` here.",
    )
    variables: dict[str, str] = Field(
        default={}, description="Texts for `${name}` in options: 100 names, 32 KB each, 64 KB in all."
    )
    webhook_uri: FlowWebhookUri = ""
    webhook_method: FlowWebhookMethod = "POST"

    @field_validator("anonymous")
    @classmethod
    def _known_anonymity(cls, value: str) -> str:
        if value not in ("yes", "no", "auto", ""):
            raise ValueError("must be `yes`, `no` or `auto`")
        return value or "auto"

    @model_validator(mode="after")
    def _something_to_do(self) -> CreateGroupcall:
        if not self.actions and self.flow_id == ZERO:
            raise ValueError("needs `actions` or a `flow_id`")
        return self


class GroupcallQuery(PageQuery):
    """Which groupcalls to list."""

    status: Literal["", "progressing", "hangingup", "hangup"] = ""


def routes(
    groupcalls: GroupcallService,
    flows: FlowService,
    definitions: FlowDefinitions,
    check_language: LanguageCheck,
    check_url: UrlCheck | None = None,
) -> list[Route]:
    """``check_language`` knows which languages can be spoken, ``check_url`` what may be fetched."""

    async def create(request: Request[CreateGroupcall, None]) -> GroupcallView:
        body = request.body
        customer_id = request.principal.customer_id
        kept = variables.check(body.variables)
        webhook = flow_webhook(body.webhook_uri, body.webhook_method, check_url)
        if body.flow_id != ZERO:
            actions, flow_id = await definitions.actions(customer_id, body.flow_id), body.flow_id
        else:
            check.refuse(await check.missing_flows(body.actions, partial(definitions.exists, customer_id)))
            actions, flow_id = check.canonical(body.actions), ZERO
        if len(body.destinations) * len(orjson.dumps(actions)) > MAX_COPIED_BYTES:
            raise InvalidArgument(
                f"destinations: {len(body.destinations)} copies of these actions are too much for one request;"
                " store them as a flow (POST /v1.0/flows) or ring fewer phones at once"
            )
        made = await groupcalls.create(
            customer_id,
            source=body.source,
            destinations=body.destinations,
            ring_method=RingMethod(body.ring_method),
            answer_method=AnswerMethod(body.answer_method),
            anonymous=body.anonymous,  # type: ignore[arg-type]  # checked by the model
            prepare=lambda: flows.prepare(customer_id, flow_id, actions, kept, webhook),
            seed=request.idempotency_seed,
        )
        return view(made)

    async def get(request: Request[None, None]) -> GroupcallView:
        return view(await groupcalls.get(request.principal.customer_id, request.path["groupcall_id"]))

    async def listing(request: Request[None, GroupcallQuery]) -> Page[GroupcallView]:
        query = request.query
        filters: dict[str, str] = {"status": query.status} if query.status else {}
        return await groupcalls.page(request.principal.customer_id, query, filters, view)

    async def hang_up(request: Request[None, None]) -> GroupcallView:
        return view(await groupcalls.hang_up(request.principal.customer_id, request.path["groupcall_id"]))

    async def delete(request: Request[None, None]) -> GroupcallView:
        return view(await groupcalls.delete(request.principal.customer_id, request.path["groupcall_id"]))

    return [
        _GROUPCALLS.create(
            create,
            "Ring several phones for one call",
            CreateGroupcall,
            description="The first to answer has the call: the flow runs for them alone, and the others are told"
            " that it was answered elsewhere. An agent rings as a groupcall within this one. The answer comes at"
            " once, with the calls in state `dialing`. An `Idempotency-Key` header makes repeating safe.",
            context=Rules(check_language, check_url),
            body_examples={"two phones": _EXAMPLE},
            errors=(NotFound, PaymentRequired),
        ),
        _GROUPCALLS.list(
            listing,
            "List groupcalls",
            GroupcallQuery,
            description="Newest first; those of flows and those within others are among them.",
        ),
        _GROUPCALLS.get(get, "Get a groupcall"),
        _GROUPCALLS.act(
            "POST",
            "hangup",
            hang_up,
            "Hang up a groupcall",
            description="Ends all its calls, a conversation too. Asking again, or for one that has ended, changes"
            " nothing and is no error.",
        ),
        _GROUPCALLS.delete(
            delete,
            "Delete a groupcall",
            description="Hangs it up where it lasts, and takes its record out of lists; its calls keep theirs.",
        ),
    ]


_EXAMPLE = {
    "source": {"type": "tel", "target": "+15552222222"},
    "destinations": [
        {"type": "endpoint", "target": "test11@test"},
        {"type": "endpoint", "target": "test12@test"},
    ],
    "actions": [{"type": "talk", "option": {"text": "Hello. This is a test call.", "language": "en-US"}}],
}
