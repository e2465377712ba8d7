"""The routes of texts."""

from __future__ import annotations

from ringline.errors import FailedPrecondition, NotFound, PaymentRequired
from ringline.http import BytesReply, Page, Request, Resource, Route, page_of
from ringline.messages.media import Media, MediumNotFound
from ringline.messages.models import (
    MessageAnswer,
    MessageCreate,
    MessageQuery,
    OptoutAnswer,
    OptoutQuery,
)
from ringline.messages.service import MessageNotFound, MessageService

_MESSAGES = Resource("/v1.0/messages", "message_id", MessageAnswer, MessageNotFound, "messages")
_OPTOUTS = Resource("/v1.0/message_optouts", "optout_id", OptoutAnswer, NotFound, "messages")


def message_routes(service: MessageService, media: Media) -> list[Route]:
    """Sending, reading and deleting texts, and who wants none."""

    async def create(request: Request[MessageCreate]) -> MessageAnswer:
        return await service.create(request.customer_id, request.body, request.idempotency_seed)

    async def page(request: Request[None, MessageQuery]) -> Page[MessageAnswer]:
        return await service.page(request.customer_id, request.query)

    async def get(request: Request) -> MessageAnswer:
        return await service.get(request.customer_id, request.path["message_id"])

    async def delete(request: Request) -> MessageAnswer:
        return await service.delete(request.customer_id, request.path["message_id"])

    async def medium(request: Request) -> BytesReply:
        path = request.path
        return await media.fetch(request.customer_id, path["message_id"], request.words["index"])

    async def optouts(request: Request[None, OptoutQuery]) -> Page[OptoutAnswer]:
        rows = await service.optouts(request.customer_id, request.query)
        return page_of(rows, request.query, OptoutAnswer.model_validate)

    return [
        _MESSAGES.create(
            create,
            "Send a message",
            MessageCreate,
            description="It is stored and handed to the provider of the source number right after; the answer shows"
            " its targets as they stand then, and `GET` how they fare. Numbers of this installation get it at once,"
            " without any provider. A handset that has said STOP to the source gets nothing: its target fails with"
            " `opted_out`. Each part to each destination outside costs; a balance that does not pay for all of them"
            " is 402.",
            errors=(PaymentRequired,),
            body_examples={
                "text": {
                    "source": {"type": "tel", "target": "+15551234567"},
                    "destinations": [{"type": "tel", "target": "+15559876543"}],
                    "text": "We're open Mon-Fri 9-5",
                },
                "picture": {
                    "source": "+15551234567",
                    "destinations": ["+15559876543"],
                    "text": "The way to us",
                    "media": ["https://www.example.com/map.png"],
                },
            },
        ),
        _MESSAGES.list(page, "List messages", MessageQuery),
        _MESSAGES.get(get, "Read a message"),
        _MESSAGES.act(
            "GET",
            "media/{index}",
            medium,
            "Fetch a medium of a received message",
            response=bytes,
            produces=("image/*", "audio/*", "video/*", "application/octet-stream"),
            words=("index",),
            timeout=60.0,
            description="For providers that give what came with a message to nobody but their customer (Twilio): the"
            " medium at that place of `media`, counted from 0, at most 16 MB. Of other providers, and of messages"
            " that were sent, it is to be had at its `url` (409).",
            errors=(MediumNotFound, FailedPrecondition),
        ),
        _MESSAGES.delete(
            delete,
            "Delete a message",
            description="It is gone from every list. One that its provider does not have yet is 409.",
            errors=(FailedPrecondition,),
        ),
        _OPTOUTS.list(
            optouts,
            "List handsets that said STOP",
            OptoutQuery,
            description="Newest first. Only the handset itself ends it, by START.",
        ),
    ]
