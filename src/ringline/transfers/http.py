"""The routes of transfers."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from ringline.calls.transfer import TransferType
from ringline.errors import FailedPrecondition, NotFound
from ringline.http import Page, PageQuery, Request, RequestModel, Resource, Route
from ringline.sip.address import Address
from ringline.transfers.models import TransferView
from ringline.transfers.service import TransferService

_TRANSFERS = Resource("/v1.0/transfers", "transfer_id", TransferView, NotFound, "transfers")

MAX_ADDRESSES = 10


class CreateTransfer(RequestModel):
    """Who hands over the party it talks with, and to whom."""

    type: TransferType = Field(
        description="`blind`: the transferer is hung up at once, and the party it talked with hears ringing until the"
        " target answers. `attended`: that party hears music while the transferer talks with the target; when the"
        " transferer hangs up, the two talk with each other."
    )
    transferer_call_id: UUID = Field(description="A call of yours that is connected with another one.")
    transferee_addresses: list[Address] = Field(
        min_length=1,
        max_length=MAX_ADDRESSES,
        description="Whom to call. All ring at once, the first to answer is the target.",
    )


def routes(transfers: TransferService) -> list[Route]:
    async def create(request: Request[CreateTransfer, None]) -> TransferView:
        body = request.body
        return await transfers.create(
            request.customer_id,
            kind=body.type,
            transferer_call_id=body.transferer_call_id,
            addresses=body.transferee_addresses,
            seed=request.idempotency_seed,
        )

    async def listing(request: Request[None, PageQuery]) -> Page[TransferView]:
        return await transfers.page(request.customer_id, request.query)

    async def get(request: Request[None, None]) -> TransferView:
        return await transfers.get(request.customer_id, request.path["transfer_id"])

    async def cancel(request: Request[None, None]) -> TransferView:
        return await transfers.cancel(request.customer_id, request.path["transfer_id"])

    async def complete(request: Request[None, None]) -> TransferView:
        return await transfers.complete(request.customer_id, request.path["transfer_id"])

    return [
        _TRANSFERS.create(
            create,
            "Transfer a call",
            CreateTransfer,
            description="Either party of a conversation can be the transferer. If nobody answers, a blind transfer"
            " ends with the transferred party: its flow goes on after `connect` where it has one, else it is hung"
            " up; an attended one puts the two back together. A transferer who hangs up before the target answers"
            " makes an attended transfer a blind one. If the transferred party hangs up, transferer and target go on"
            " talking. The target is shown the number of yours that the transferred party called, or was called"
            " from.",
            body_examples={
                "attended": {
                    "type": "attended",
                    "transferer_call_id": "5a7f3c1e-8d42-4b6a-9e0f-1c2d3e4f5a6b",
                    "transferee_addresses": [{"type": "tel", "target": "+15559876543"}],
                }
            },
            errors=(NotFound, FailedPrecondition),
        ),
        _TRANSFERS.list(listing, "List transfers"),
        _TRANSFERS.get(get, "Get a transfer"),
        _TRANSFERS.act(
            "POST",
            "cancel",
            cancel,
            "Cancel a transfer",
            description="The target is hung up. An attended transfer puts the other two back together; what becomes"
            " of a blind one is what becomes of it when nobody answers.",
            errors=(FailedPrecondition,),
        ),
        _TRANSFERS.act(
            "POST",
            "complete",
            complete,
            "Complete an attended transfer",
            description="Hangs the transferer up, which is what completes it.",
            errors=(FailedPrecondition,),
        ),
    ]
