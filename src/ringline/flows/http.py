"""The routes of flows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import Field

from ringline.calls.call import ZERO
from ringline.errors import NotFound
from ringline.flows import check
from ringline.flows.actions import Action
from ringline.flows.check import FlowActions, LanguageCheck, Rules, UrlCheck
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.detached import MAX_COMPLETIONS
from ringline.http import Page, PageQuery, Request, RequestModel, Resource, ResponseModel, Route, Timestamp

MAX_WARNINGS = 50


class CreateFlow(RequestModel):
    """A flow to keep."""

    name: str = Field(default="", max_length=255)
    detail: str = Field(default="", max_length=1024)
    actions: FlowActions = Field(description="What happens, in order.")
    on_complete_flow_id: UUID = Field(
        default=ZERO,
        description="A flow to run, without a call, when one that runs this flow has ended. Chains of such flows"
        f" end after {MAX_COMPLETIONS}.",
    )


class UpdateFlow(RequestModel):
    """What to change; what is left out stays."""

    name: str | None = Field(default=None, max_length=255)
    detail: str | None = Field(default=None, max_length=1024)
    actions: FlowActions | None = None
    on_complete_flow_id: UUID | None = Field(
        default=None, description="A flow to run when one that runs this flow has ended; the zero UUID: none."
    )


class FlowWarning(ResponseModel):
    """Something odd that is not wrong."""

    field: str = Field(description="Where it is, such as `actions[3]`.")
    message: str


class FlowView(ResponseModel):
    """A flow. It is copied when a call starts it: later changes do not touch calls in progress."""

    id: UUID
    customer_id: UUID
    type: str
    name: str
    detail: str
    actions: list[dict[str, Any]]
    on_complete_flow_id: UUID
    warnings: list[FlowWarning] = Field(
        description="What is odd without being wrong: actions that can never be reached, a `branch` on digits that"
        " nobody receives, variables of the system that do not exist."
    )
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


def view(row: Any) -> FlowView:
    """The answer for a row of the table."""
    return FlowView.model_validate(row._mapping)


_FLOWS = Resource("/v1.0/flows", "flow_id", FlowView, NotFound, "flows")


def routes(
    flows: FlowDefinitions, check_language: LanguageCheck, check_url: UrlCheck | None = None
) -> list[Route]:
    """``check_language`` knows which languages can be spoken, ``check_url`` what may be fetched."""

    rules = Rules(check_language, check_url)

    async def written(customer_id: UUID, actions: Sequence[Action]) -> dict[str, Any]:
        """The columns of a flow's actions. Raises ``InvalidArgument`` for a stored flow that is not there."""
        check.refuse(await check.missing_flows(actions, partial(flows.exists, customer_id)))
        odd = [finding.as_json() for finding in check.odd(actions)[:MAX_WARNINGS]]
        return {"actions": check.canonical(actions), "warnings": odd}

    async def create(request: Request[CreateFlow, None]) -> FlowView:
        body = request.body
        written_actions = await written(request.customer_id, body.actions)
        await flows.check_completion(request.customer_id, body.on_complete_flow_id)
        fields = {
            "name": body.name,
            "detail": body.detail,
            "on_complete_flow_id": body.on_complete_flow_id,
            **written_actions,
        }
        return view(await flows.create(request.principal.customer_id, fields))

    async def listing(request: Request[None, PageQuery]) -> Page[FlowView]:
        return await flows.list(request.principal.customer_id, request.query, view)

    async def get(request: Request[None, None]) -> FlowView:
        return view(await flows.get(request.principal.customer_id, request.path["flow_id"]))

    async def update(request: Request[UpdateFlow, None]) -> FlowView:
        body = request.body
        changes: dict[str, Any] = {
            name: value
            for name in ("name", "detail", "on_complete_flow_id")
            if (value := getattr(body, name)) is not None
        }
        if body.on_complete_flow_id is not None:
            await flows.check_completion(
                request.customer_id, body.on_complete_flow_id, of=request.path["flow_id"]
            )
        if body.actions is not None:
            changes |= await written(request.customer_id, body.actions)
        return view(await flows.update(request.principal.customer_id, request.path["flow_id"], changes))

    async def delete(request: Request[None, None]) -> FlowView:
        return view(await flows.delete(request.principal.customer_id, request.path["flow_id"]))

    return [
        _FLOWS.create(create, "Create a flow", CreateFlow, context=rules, errors=(NotFound,)),
        _FLOWS.list(listing, "List flows"),
        _FLOWS.get(get, "Get a flow"),
        _FLOWS.update(update, "Change a flow", UpdateFlow, context=rules),
        _FLOWS.delete(delete, "Delete a flow"),
    ]
