"""What the trail takes and shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from ringline.http import Moment, PageQuery, ResponseModel, Timestamp, UuidOrZero

ZERO = UUID(int=0)
ActorType = Literal["agent", "accesskey", "operator", "system", "none"]


@dataclass(frozen=True, slots=True)
class Actor:
    """In whose name something is changed. ``type``: ``agent``, ``accesskey``, ``system``, ``none``."""

    type: str
    customer_id: UUID | None = None
    agent_id: UUID | None = None
    accesskey_id: UUID | None = None
    username: str = ""
    remote: str = ""
    request_id: str = ""
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something for the trail that changes no table by itself, such as a login.

    ``changes``: field to ``{"before": ..., "after": ...}``, without secrets.
    """

    customer_id: UUID
    action: str
    resource: str
    resource_id: UUID
    changes: Mapping[str, Any] = field(default_factory=dict)


class Change(ResponseModel):
    """How a field was, and how it is now. Secrets are `***`; what is very long is its length and SHA-256."""

    before: Any
    after: Any


class AuditEventAnswer(ResponseModel):
    """One administrative change."""

    id: UUID
    customer_id: UuidOrZero = Field(
        description="Whose resource it is; the zero UUID: the whole installation's."
    )
    actor_type: ActorType = Field(
        description="`agent` (a login), `accesskey`, `operator` (the installation's administrator, of another "
        "customer), `system` (the installation itself), `none` (nobody who has proven who he is)."
    )
    agent_id: UuidOrZero
    accesskey_id: UuidOrZero
    username: str
    remote: str = Field(description="The address that the request came from.")
    request_id: str = Field(description="The `X-Request-Id` of the answer, which the log has too.")
    operation: str = Field(
        description="Method and path of the operation, such as `PUT /v1.0/agents/{agent_id}`."
    )
    action: str = Field(
        description="`create`, `update`, `delete`, `login`, `login_failed`, or for what changes nothing that is "
        "stored the operation's method and last word, such as `delete bans`."
    )
    resource: str = Field(description="What was changed, such as `agent` or `number`.")
    resource_id: UuidOrZero
    changes: dict[str, Change]
    tm_create: Timestamp


class AuditQuery(PageQuery):
    """What is looked for."""

    customer_id: UUID | None = Field(
        None,
        description="Whose: for the installation's administrator, who sees all. Others see their own in any case.",
    )
    resource: str | None = Field(None, max_length=64, description="Such as `agent`.")
    resource_id: UUID | None = Field(None, description="The id of what was changed.")
    agent_id: UUID | None = Field(None, description="Who did it: an agent's id.")
    accesskey_id: UUID | None = Field(None, description="Who did it: an access key's id.")
    action: str | None = Field(None, max_length=64, description="Such as `delete` or `login_failed`.")
    tm_from: Moment = Field(None, description="Not before this time (ISO 8601, UTC unless it says more).")
    tm_to: Moment = Field(None, description="Before this time.")
