"""Groupcalls as the API shows them (seed page ``call-tutorial.txt``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from ringline.events.telling import Telling
from ringline.groupcalls.groupcall import Groupcall, Status
from ringline.http import ResponseModel, Timestamp
from ringline.sip.address import Address


class GroupcallView(ResponseModel):
    """Several phones that ring for one call. The zero UUID stands for "none", `null` for a time that has not come."""

    id: UUID
    customer_id: UUID
    flow_id: UUID
    status: str = Field(
        description="`progressing` while phones ring or the one that answered talks, `hangingup`, `hangup`."
    )
    source: Address
    destinations: list[Address]
    master_call_id: UUID = Field(description="The call that this one was made for and ends with.")
    master_groupcall_id: UUID = Field(description="The groupcall that this one is a destination of.")
    ring_method: str = Field(description="`ring_all` (also empty) or `linear`.")
    answer_method: str = Field(
        description="`hangup_others` (also empty): one answers, the others stop ringing."
    )
    answer_call_id: UUID = Field(description="The call that was answered.")
    call_ids: list[UUID] = Field(description="One call for each phone; with `linear` those that rang so far.")
    answer_groupcall_id: UUID = Field(description="The groupcall within this one whose call was answered.")
    groupcall_ids: list[UUID] = Field(
        description="One for each destination that has several phones (an agent)."
    )
    anonymous: str
    tm_create: Timestamp
    tm_hangup: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


def view(record: Groupcall | Mapping[str, Any]) -> GroupcallView:
    """The answer for a groupcall in memory or the columns of its row."""
    row = record.row() if isinstance(record, Groupcall) else record
    return GroupcallView.model_validate({name: row[name] for name in GroupcallView.model_fields})


def telling() -> Telling[Groupcall]:
    """What is announced of groupcalls."""
    return Telling("groupcall", view, _steps, final=("deleted",))


def _steps(record: Groupcall) -> Iterator[tuple[str, datetime | None]]:
    yield "created", record.tm_create
    yield "progressing", record.tm_create
    if record.status is Status.HANGINGUP:
        yield "hangingup", record.tm_update
    yield "hangup", record.tm_hangup
    if record.ended:
        yield "deleted", record.tm_delete
