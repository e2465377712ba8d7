"""The routes of calls."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import Field, field_validator, model_validator

from ringline.calls.limits import LimitReached
from ringline.calls.models import CallView, view
from ringline.calls.ordering import MAX_CALLS
from ringline.calls.service import CallService, Record, unhurried
from ringline.calls.waiting import Recipe
from ringline.errors import InvalidArgument, NotFound, PaymentRequired
from ringline.flows import check, variables
from ringline.flows.check import FlowActions, LanguageCheck, Rules, UrlCheck
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.own_webhook import FlowWebhookMethod, FlowWebhookUri, flow_webhook
from ringline.flows.service import FlowService
from ringline.http import Page, PageQuery, Request, RequestModel, Resource, Route
from ringline.sip.address import Address

_CALLS = Resource("/v1.0/calls", "call_id", CallView, NotFound, "calls")

MAX_COPIED_BYTES = 8 * 1024 * 1024
ZERO = UUID(int=0)


class CreateCall(RequestModel):
    """A call to place: to whom, from which number, and what is to happen on it."""

    source: Address = Field(
        default=Address(type="tel"),
        description="Who calls. For a telephone destination an active normal number of yours; else your default"
        " outgoing number is used, and without one the request is refused.",
    )
    destinations: list[Address] = Field(
        min_length=1,
        max_length=MAX_CALLS,
        description="Whom to call: `tel` (E.164), `sip` (`user@host`), `extension` (also `endpoint`), `agent`;"
        f" at most {MAX_CALLS}. Each gets a call of its own; the phones of an agent or extension ring as a groupcall,"
        " and all of its calls are in the answer.",
    )
    actions: FlowActions = Field(default=[], description="What happens once the call is answered.")
    flow_id: UUID = Field(default=ZERO, description="A stored flow to run; it wins over `actions`.")
    anonymous: Annotated[str, Field(max_length=16)] = Field(
        default="auto",
        description="`yes` hides the number from the other side (telephone destinations), `no` shows it, `auto`"
        " inherits from an incoming call and is `no` without one.",
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
    def _something_to_do(self) -> CreateCall:
        if not self.actions and self.flow_id == ZERO:
            raise ValueError("needs `actions` or a `flow_id`")
        return self


class CallQuery(PageQuery):
    """Which calls to list."""

    status: Literal["", "dialing", "ringing", "progressing", "terminating", "canceling", "hangup"] = ""
    direction: Literal["", "incoming", "outgoing"] = ""
    hangup_reason: Literal[
        "", "normal", "failed", "busy", "cancel", "timeout", "noanswer", "dialout", "amd"
    ] = ""


def routes(
    calls: CallService,
    flows: FlowService,
    definitions: FlowDefinitions,
    check_language: LanguageCheck,
    check_url: UrlCheck | None = None,
) -> list[Route]:
    """``check_language`` knows which languages can be spoken, ``check_url`` what may be fetched."""

    async def create(request: Request[CreateCall, None]) -> list[CallView]:
        body = request.body
        customer_id = request.principal.customer_id
        kept = variables.check(body.variables)
        webhook = flow_webhook(body.webhook_uri, body.webhook_method, check_url)
        if body.flow_id != ZERO:
            actions, flow_id = await definitions.actions(customer_id, body.flow_id), body.flow_id
        else:
            check.refuse(await check.missing_flows(body.actions, partial(definitions.exists, customer_id)))
            actions, flow_id = check.canonical(body.actions), ZERO
        size = len(orjson.dumps(actions))
        if len(body.destinations) * size > MAX_COPIED_BYTES:
            raise InvalidArgument(
                f"destinations: {len(body.destinations)} copies of these actions are too much for one request;"
                " store them as a flow (POST /v1.0/flows) or place fewer calls at once"
            )
        made = await calls.create(
            customer_id,
            source=body.source,
            destinations=body.destinations,
            anonymous=body.anonymous,  # type: ignore[arg-type]  # checked by the model
            seed=request.idempotency_seed,
            prepare=lambda: flows.prepare(customer_id, flow_id, actions, kept, webhook),
            recipe=Recipe(flow_id, actions, kept, webhook, size),
        )
        return [shown(call) async for call in unhurried(made)]

    def shown(record: Record, action: dict[str, Any] | None = None) -> CallView:
        return view(record, action, calls.position(record))

    async def get(request: Request[None, None]) -> CallView:
        record, action = await calls.get(request.principal.customer_id, request.path["call_id"])
        return shown(record, action)

    async def listing(request: Request[None, CallQuery]) -> Page[CallView]:
        query = request.query
        filters = {
            name: value
            for name in ("status", "direction", "hangup_reason")
            if (value := getattr(query, name))
        }
        return await calls.page(request.principal.customer_id, query, filters, shown)

    async def hang_up(request: Request[None, None]) -> CallView:
        record, action = await calls.hang_up(request.principal.customer_id, request.path["call_id"])
        return shown(record, action)

    async def delete(request: Request[None, None]) -> CallView:
        record = await calls.delete(request.principal.customer_id, request.path["call_id"])
        return view(record)

    return [
        _CALLS.create(
            create,
            "Place calls",
            CreateCall,
            description="Calls every destination and runs the actions on each call when it is answered. The answer"
            " comes at once, with the calls in state `dialing`. An `Idempotency-Key` header makes repeating safe.\n\n"
            "More calls than your limits let be placed now (`calls_per_second`, `max_calls`) are accepted and wait:"
            " they are placed in their order, at your pace; meanwhile `tm_dialing` is `null` and `queue_position`"
            " says how many are placed before, that one included. Only where more than `waiting_calls` would wait the"
            " request is refused with 429 `LIMIT_REACHED`, as a whole. A call that waits can be hung up. When its"
            " turn comes it is judged again (its source, its destination); where it cannot be placed then it ends as"
            " `failed` with a sentence in `hangup_detail`. Destinations that ring as groupcalls do not wait: with no"
            " room for them the request is refused. `GET /v1.0/limits` shows limits and use.",
            context=Rules(check_language, check_url),
            body_examples={"talk": _EXAMPLE},
            response=list[CallView],
            errors=(NotFound, PaymentRequired, LimitReached),
        ),
        _CALLS.list(listing, "List calls", CallQuery),
        _CALLS.get(get, "Get a call"),
        _CALLS.act(
            "POST",
            "hangup",
            hang_up,
            "Hang up a call",
            description="Asking again, or for a call that has ended, changes nothing and is no error.",
        ),
        _CALLS.delete(
            delete,
            "Delete a call",
            description="Hangs the call up where it lasts, and takes its record out of lists.",
        ),
    ]


_EXAMPLE = {
    "source": {"type": "tel", "target": "+15551234567"},
    "destinations": [{"type": "tel", "target": "+15559876543"}],
    "actions": [{"type": "talk", "option": {"text": "Hello. This is a test call.", "language": "en-US"}}],
}
