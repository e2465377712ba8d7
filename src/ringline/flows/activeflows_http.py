"""The routes of flows in execution."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from ringline.errors import NotFound
from ringline.flows.activeflows import Activeflows
from ringline.flows.snapshot import MAX_HISTORY
from ringline.http import Page, PageQuery, Request, Resource, ResponseModel, Route, Timestamp


class ExecutedAction(ResponseModel):
    """An action that ran."""

    id: UUID
    type: str
    tm_execute: Timestamp = Field(description="When it began.")
    duration: int = Field(description="How long it took, in milliseconds.")
    result: str = Field(
        description="`ok`; `failed`; `gone`: the call ended meanwhile; `skipped`: it needs a call and there is none."
    )
    reason: str = Field(description="Why it failed, for programs.")
    message: str = Field(description="Why it failed, for people.")


class ActiveflowView(ResponseModel):
    """A flow in execution, or one that has ended."""

    id: UUID
    customer_id: UUID
    flow_id: UUID = Field(
        description="The flow of which this is a copy; the zero UUID: actions given inline."
    )
    status: str = Field(description="Empty until it begins, then `running`, at last `ended`.")
    reason: str = Field(
        description="Why it ended: `complete` (after its last action), `hangup` (the call ended), `stopped` (by a"
        " request), or the code of what stopped it, such as `LOOP_LIMIT`, `TARGET_NOT_FOUND` or `FETCH_FAILED`."
    )
    message: str = Field(description="The reason as a sentence, where there is more to say.")
    reference_type: str = Field(description="What it runs for: `call`, `activeflow`, `recording`, ...")
    reference_id: UUID
    reference_activeflow_id: UUID = Field(description="The activeflow on whose completion this one runs.")
    on_complete_flow_id: UUID = Field(description="The flow that runs when this one has ended.")
    current_action: dict[str, Any] | None = Field(description="The action that it is at, while it runs.")
    forward_action_id: UUID = Field(
        description="The action that the current one names as its next; the zero UUID: the one that follows it."
    )
    executed_actions: list[ExecutedAction] = Field(
        description=f"What ran, oldest first; the last {MAX_HISTORY} of it."
    )
    webhook_uri: str
    webhook_method: str
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class ActiveflowQuery(PageQuery):
    """Which activeflows to list."""

    status: Literal["", "running", "ended"] = ""
    reference_type: str = Field(default="", max_length=64)
    reference_id: UUID | None = Field(default=None, description="Those of this call (or recording, ...).")
    flow_id: UUID | None = Field(default=None, description="Copies of this flow.")


_ACTIVEFLOWS = Resource("/v1.0/activeflows", "activeflow_id", ActiveflowView, NotFound, "activeflows")


def activeflow_routes(activeflows: Activeflows) -> list[Route]:
    """Looking at flows in execution, and stopping them."""

    async def listing(request: Request[None, ActiveflowQuery]) -> Page[ActiveflowView]:
        query = request.query
        filters = {
            name: value
            for name in ("status", "reference_type", "reference_id", "flow_id")
            if (value := getattr(query, name))
        }
        return await activeflows.page(request.customer_id, query, filters, ActiveflowView.model_validate)

    async def get(request: Request[None, None]) -> ActiveflowView:
        found = await activeflows.get(request.customer_id, request.path["activeflow_id"])
        return ActiveflowView.model_validate(found)

    async def stop(request: Request[None, None]) -> ActiveflowView:
        found = await activeflows.stop(request.customer_id, request.path["activeflow_id"])
        return ActiveflowView.model_validate(found)

    async def delete(request: Request[None, None]) -> ActiveflowView:
        found = await activeflows.delete(request.customer_id, request.path["activeflow_id"])
        return ActiveflowView.model_validate(found)

    return [
        _ACTIVEFLOWS.list(
            listing,
            "List activeflows",
            ActiveflowQuery,
            description="Flows in execution and those that have ended, newest first.",
        ),
        _ACTIVEFLOWS.get(get, "Get an activeflow"),
        _ACTIVEFLOWS.act(
            "POST",
            "stop",
            stop,
            "Stop an activeflow",
            description="Ends the flow and hangs up its call. Asking again, or for one that has ended, changes"
            " nothing and is no error.",
        ),
        _ACTIVEFLOWS.delete(
            delete, "Delete an activeflow", description="Stops it where it runs, and takes it out of lists."
        ),
    ]
