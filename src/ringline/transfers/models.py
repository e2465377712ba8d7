"""A transfer: the record, and how the API shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from ringline.calls.call import ZERO
from ringline.calls.transfer import TransferStatus, TransferType
from ringline.events.telling import Telling
from ringline.http import ResponseModel, Timestamp
from ringline.sip.address import Address


@dataclass(slots=True, eq=False)
class TransferRecord:
    """One transfer, from the request to its outcome."""

    id: UUID
    customer_id: UUID
    type: TransferType
    transferer_call_id: UUID
    transferred_call_id: UUID
    transferee_addresses: Sequence[Address]
    confbridge_id: UUID
    tm_create: datetime
    status: TransferStatus = TransferStatus.DIALING
    detail: str = ""
    transferee_call_id: UUID = ZERO
    groupcall_id: UUID = ZERO
    tm_update: datetime | None = None
    tm_delete: datetime | None = None

    def row(self) -> dict[str, Any]:
        """The columns, as ``transfers.store`` writes them."""
        return {
            "id": self.id,
            "customer_id": self.customer_id,
            "type": self.type.value,
            "status": self.status.value,
            "detail": self.detail,
            "transferer_call_id": self.transferer_call_id,
            "transferred_call_id": self.transferred_call_id,
            "transferee_addresses": [address.as_json() for address in self.transferee_addresses],
            "transferee_call_id": self.transferee_call_id,
            "groupcall_id": self.groupcall_id,
            "confbridge_id": self.confbridge_id,
            "tm_create": self.tm_create,
            "tm_update": self.tm_update,
            "tm_delete": self.tm_delete,
        }


class TransferView(ResponseModel):
    """A transfer. The zero UUID stands for "none"."""

    id: UUID
    customer_id: UUID
    type: str = Field(description="`blind` or `attended`.")
    status: str = Field(
        description="`dialing`: the target is being called; `consulting`: it talks with the transferer; `completed`:"
        " it talks with the transferred party; `canceled`, `failed`: there was no transfer."
    )
    detail: str = Field(description="A sentence where the status alone does not say what happened.")
    transferer_call_id: UUID = Field(description="The call that hands the other party over.")
    transferred_call_id: UUID = Field(description="The call that is handed over.")
    transferee_addresses: list[Address] = Field(description="Who was called; all at once.")
    transferee_call_id: UUID = Field(description="The call of the one who answered.")
    groupcall_id: UUID
    confbridge_id: UUID = Field(description="The bridge in which they talk.")
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


def view(record: TransferRecord | Mapping[str, Any]) -> TransferView:
    """The answer for a transfer in memory or the columns of its row."""
    row = record.row() if isinstance(record, TransferRecord) else record
    return TransferView.model_validate(dict(row))


def telling() -> Telling[TransferRecord]:
    """What is announced of transfers."""
    return Telling("transfer", view, lambda record: (("created", record.tm_create),))
