"""What the API shows and takes of tags."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from ringline.http import RequestModel, ResponseModel, Timestamp


class TagAnswer(ResponseModel):
    """A tag, such as a language or a department: a queue rings the agents that have all of its tags."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class TagCreate(RequestModel):
    """The tag to make."""

    name: str = Field(min_length=1, max_length=255)
    detail: str = Field("", max_length=2000)


class TagChange(RequestModel):
    """What is to be changed; what is left out stays."""

    name: str = Field("", min_length=1, max_length=255)
    detail: str = Field("", max_length=2000)
