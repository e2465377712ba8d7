"""The routes of queues and queuecalls."""

from __future__ import annotations

from typing import Any

from ringline.billing.tiers import LimitReached
from ringline.errors import NotFound
from ringline.flows.check import Rules
from ringline.http import Page, PageQuery, Request, Resource, Route, page_of
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

_QUEUES = Resource("/v1.0/queues", "queue_id", QueueAnswer, QueueNotFound, "queues", writing="admin")
_QUEUECALLS = Resource("/v1.0/queuecalls", "queuecall_id", QueuecallAnswer, QueuecallNotFound, "queuecalls")


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

    return [
        _QUEUES.list(page, "List queues"),
        _QUEUES.create(
            create,
            "Make a queue",
            QueueCreate,
            description="Callers join it by the flow action `queue_join`. Agents who are `available` and have all "
            "of its tags are rung for the caller who has waited longest. An unknown `wait_flow_id` is 404.",
            context=rules,
            body_examples={
                "music": {
                    "name": "sales",
                    "wait_actions": [
                        {"type": "talk", "option": {"text": "Please hold the line.", "language": "en-US"}}
                    ],
                    "wait_timeout": 300_000,
                }
            },
            errors=(NotFound, LimitReached),
        ),
        _QUEUES.get(get, "Read a queue"),
        _QUEUES.update(
            update,
            "Change a queue",
            QueueChange,
            description="Fields that are left out stay as they are.",
            context=rules,
        ),
        _QUEUES.act("PUT", "tag_ids", tag_ids, "Set a queue's tags", body=QueueTagIds),
        _QUEUES.act(
            "PUT", "routing_method", routing_method, "Set a queue's routing method", body=QueueRoutingMethod
        ),
        _QUEUES.delete(
            delete,
            "Delete a queue",
            description="The flows of callers who wait in it go on; conversations with agents last.",
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

    kicked = (
        "The caller's flow goes on with the action after `queue_join`. Harmless once the caller has left."
    )
    return [
        _QUEUECALLS.list(
            page, "List calls in queues", QueuecallQuery, description="Present and past ones, newest first."
        ),
        _QUEUECALLS.get(get, "Read a call in a queue"),
        _QUEUECALLS.act("POST", "kick", kick, "Take a caller out of the queue", description=kicked),
        Route(
            method="POST",
            path="/v1.0/queuecalls/reference_id/{reference_id}/kick",
            handler=kick_call,
            summary="Take a call out of its queue",
            description=f"By the id of the caller's call. {kicked}",
            tags=("queuecalls",),
            response=QueuecallAnswer,
            errors=(QueuecallNotFound,),
        ),
        _QUEUECALLS.delete(
            delete,
            "Delete the record of a call in a queue",
            description="A caller who is still in the queue is taken out of it first.",
            auth="admin",
        ),
    ]
