"""The routes of queues and queuecalls."""

from __future__ import annotations

from typing import Any

from ringline.errors import NotFound
from ringline.flows.check import Rules
from ringline.http import Page, PageQuery, Request, Route, page_of
from ringline.queues.models import (
    QueueAnswer,
    QueuecallAnswer,
    QueuecallQuery,
    QueueChange,
    QueueCreate,
    QueueRoutingMethod,
    QueueTagIds,
)
from ringline.queues.service import QueuecallNotFound, QueuecallService, QueueNotFound, QueueService

_QUEUE = "/v1.0/queues/{queue_id}"
_CALL = "/v1.0/queuecalls/{queuecall_id}"


def queue_routes(service: QueueService, rules: Rules) -> list[Route]:
    """Queues; only admins change them. ``rules`` are those of what waiting callers hear."""

    def view(row: Any) -> QueueAnswer:
        return QueueAnswer.model_validate(service.shown(row))

    async def page(request: Request[None, PageQuery]) -> Page[QueueAnswer]:
        return page_of(await service.page(request.customer_id, request.query), request.query, view)

    async def get(request: Request) -> QueueAnswer:
        return view(await service.get(request.customer_id, request.path["queue_id"]))

    async def create(request: Request[QueueCreate]) -> QueueAnswer:
        return view(await service.create(request.customer_id, request.body))

    async def update(request: Request[QueueChange]) -> QueueAnswer:
        return view(await service.update(request.customer_id, request.path["queue_id"], request.body))

    async def tag_ids(request: Request[QueueTagIds]) -> QueueAnswer:
        wanted = QueueChange(tag_ids=request.body.tag_ids)
        return view(await service.update(request.customer_id, request.path["queue_id"], wanted))

    async def routing_method(request: Request[QueueRoutingMethod]) -> QueueAnswer:
        wanted = QueueChange(routing_method=request.body.routing_method)
        return view(await service.update(request.customer_id, request.path["queue_id"], wanted))

    async def delete(request: Request) -> QueueAnswer:
        return view(await service.delete(request.customer_id, request.path["queue_id"]))

    tags = ("queues",)
    return [
        Route(
            method="GET",
            path="/v1.0/queues",
            handler=page,
            summary="List queues",
            description="Newest first.",
            tags=tags,
            query=PageQuery,
            response=Page[QueueAnswer],
        ),
        Route(
            method="POST",
            path="/v1.0/queues",
            handler=create,
            summary="Make a queue",
            description="Callers join it by the flow action `queue_join`. Agents who are `available` and have all "
            "of its tags are rung for the caller who has waited longest. An unknown `wait_flow_id` is 404.",
            tags=tags,
            auth="admin",
            body=QueueCreate,
            context=rules,
            response=QueueAnswer,
            errors=(NotFound,),
            idempotent=True,
            body_examples={
                "music": {
                    "name": "sales",
                    "wait_actions": [
                        {"type": "talk", "option": {"text": "Please hold the line.", "language": "en-US"}}
                    ],
                    "wait_timeout": 300_000,
                }
            },
        ),
        Route(
            method="GET",
            path=_QUEUE,
            handler=get,
            summary="Read a queue",
            tags=tags,
            response=QueueAnswer,
            errors=(QueueNotFound,),
        ),
        Route(
            method="PUT",
            path=_QUEUE,
            handler=update,
            summary="Change a queue",
            description="Fields that are left out stay as they are.",
            tags=tags,
            auth="admin",
            body=QueueChange,
            context=rules,
            response=QueueAnswer,
            errors=(QueueNotFound,),
        ),
        Route(
            method="PUT",
            path=f"{_QUEUE}/tag_ids",
            handler=tag_ids,
            summary="Set a queue's tags",
            tags=tags,
            auth="admin",
            body=QueueTagIds,
            response=QueueAnswer,
            errors=(QueueNotFound,),
        ),
        Route(
            method="PUT",
            path=f"{_QUEUE}/routing_method",
            handler=routing_method,
            summary="Set a queue's routing method",
            tags=tags,
            auth="admin",
            body=QueueRoutingMethod,
            response=QueueAnswer,
            errors=(QueueNotFound,),
        ),
        Route(
            method="DELETE",
            path=_QUEUE,
            handler=delete,
            summary="Delete a queue",
            description="The flows of callers who wait in it go on; conversations with agents last.",
            tags=tags,
            auth="admin",
            response=QueueAnswer,
            errors=(QueueNotFound,),
        ),
    ]


def queuecall_routes(service: QueuecallService) -> list[Route]:
    """Calls in queues."""

    async def page(request: Request[None, QueuecallQuery]) -> Page[QueuecallAnswer]:
        rows = await service.page(request.customer_id, request.query)
        return page_of(rows, request.query, QueuecallAnswer.model_validate)

    async def get(request: Request) -> QueuecallAnswer:
        row = await service.get(request.customer_id, request.path["queuecall_id"])
        return QueuecallAnswer.model_validate(row)

    async def kick(request: Request) -> QueuecallAnswer:
        row = await service.kick(request.customer_id, request.path["queuecall_id"])
        return QueuecallAnswer.model_validate(row)

    async def kick_call(request: Request) -> QueuecallAnswer:
        row = await service.kick_call(request.customer_id, request.path["reference_id"])
        return QueuecallAnswer.model_validate(row)

    async def delete(request: Request) -> QueuecallAnswer:
        row = await service.delete(request.customer_id, request.path["queuecall_id"])
        return QueuecallAnswer.model_validate(row)

    tags = ("queuecalls",)
    kicked = (
        "The caller's flow goes on with the action after `queue_join`. Harmless once the caller has left."
    )
    return [
        Route(
            method="GET",
            path="/v1.0/queuecalls",
            handler=page,
            summary="List calls in queues",
            description="Present and past ones, newest first.",
            tags=tags,
            query=QueuecallQuery,
            response=Page[QueuecallAnswer],
        ),
        Route(
            method="GET",
            path=_CALL,
            handler=get,
            summary="Read a call in a queue",
            tags=tags,
            response=QueuecallAnswer,
            errors=(QueuecallNotFound,),
        ),
        Route(
            method="POST",
            path=f"{_CALL}/kick",
            handler=kick,
            summary="Take a caller out of the queue",
            description=kicked,
            tags=tags,
            response=QueuecallAnswer,
            errors=(QueuecallNotFound,),
        ),
        Route(
            method="POST",
            path="/v1.0/queuecalls/reference_id/{reference_id}/kick",
            handler=kick_call,
            summary="Take a call out of its queue",
            description=f"By the id of the caller's call. {kicked}",
            tags=tags,
            response=QueuecallAnswer,
            errors=(QueuecallNotFound,),
        ),
        Route(
            method="DELETE",
            path=_CALL,
            handler=delete,
            summary="Delete the record of a call in a queue",
            description="A caller who is still in the queue is taken out of it first.",
            tags=tags,
            auth="admin",
            response=QueuecallAnswer,
            errors=(QueuecallNotFound,),
        ),
    ]
