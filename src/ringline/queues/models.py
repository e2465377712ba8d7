"""What the API shows and takes of queues and queuecalls."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from ringline.events.telling import Telling
from ringline.flows.check import FlowActions
from ringline.http import ZERO_UUID, PageQuery, RequestModel, ResponseModel, Timestamp
from ringline.queues.queuecall import Queuecall
from ringline.queues.states import ENDED, IN_LINE, Status
from ringline.sip.address import Address

MAX_TIMEOUT = 86_400_000
MAX_TAGS = 50

RoutingMethod = Literal["random", "longest_idle", "round_robin"]

Routing = Annotated[
    RoutingMethod,
    Field(
        description="Which of the free agents is rung: any (`random`), the one who was free for the longest time "
        "(`longest_idle`), or each in turn (`round_robin`)."
    ),
]
Timeout = Annotated[int, Field(ge=0, le=MAX_TIMEOUT)]
TagIds = Annotated[
    list[UUID],
    Field(max_length=MAX_TAGS, description="Tags of yours; only agents that have all of them are rung."),
]
WaitFlow = Annotated[
    UUID,
    Field(description="A flow that waiting callers hear, over and over; the zero UUID: `wait_actions`."),
]
WaitActions = Annotated[
    FlowActions,
    Field(description="What waiting callers hear where there is no `wait_flow_id`; empty: ringing."),
]
_WAIT = "How long a caller waits, in milliseconds; 0: until an agent answers."
_SERVICE = "How long a caller talks with an agent, in milliseconds; 0: until one of them hangs up."


class QueueAnswer(ResponseModel):
    """A queue."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    routing_method: RoutingMethod
    tag_ids: list[UUID]
    wait_flow_id: UUID
    wait_actions: list[dict[str, Any]]
    wait_timeout: int = Field(description=_WAIT)
    service_timeout: int = Field(description=_SERVICE)
    wait_queuecall_ids: list[UUID] = Field(description="Callers who wait, in order.")
    service_queuecall_ids: list[UUID] = Field(description="Callers who talk with an agent.")
    total_incoming_count: int = Field(description="Callers who joined.")
    total_serviced_count: int = Field(description="Callers who reached an agent.")
    total_abandoned_count: int = Field(description="Callers who left without having reached one.")
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class QueueCreate(RequestModel):
    """The queue to make."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    routing_method: Routing = "random"
    tag_ids: TagIds = Field([])
    wait_flow_id: WaitFlow = ZERO_UUID
    wait_actions: WaitActions = Field([])
    wait_timeout: Timeout = Field(0, description=_WAIT)
    service_timeout: Timeout = Field(0, description=_SERVICE)


class QueueChange(RequestModel):
    """What is to be changed; what is left out stays. Callers in the queue keep their timeouts."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    routing_method: Routing = "random"
    tag_ids: TagIds = Field([])
    wait_flow_id: WaitFlow = ZERO_UUID
    wait_actions: WaitActions = Field([])
    wait_timeout: Timeout = Field(0, description=_WAIT)
    service_timeout: Timeout = Field(0, description=_SERVICE)


class QueueTagIds(RequestModel):
    """All tags that the queue asks for."""

    tag_ids: TagIds


class QueueRoutingMethod(RequestModel):
    """How the queue chooses among free agents."""

    routing_method: Routing


class QueuecallQuery(PageQuery):
    """Which queuecalls."""

    queue_id: UUID | None = Field(None, description="Those of one queue.")
    status: Status | None = Field(None, description="Those in one state.")
    reference_id: UUID | None = Field(None, description="Those of one call.")


class QueuecallAnswer(ResponseModel):
    """A call in a queue: `initiating`, `waiting`, `connecting` (an agent rings), `service`, `done` or `abandoned`."""

    id: UUID
    customer_id: UUID
    queue_id: UUID
    reference_type: str
    reference_id: UUID = Field(description="The caller's call.")
    reference_activeflow_id: UUID
    source: Address = Field(description="Who waits.")
    routing_method: str
    tag_ids: list[UUID]
    status: Status
    end_reason: str = Field(
        description="`caller_hangup`, `agent_hangup`, `wait_timeout`, `service_timeout`, `kicked`, `left` (by the "
        "wait flow), `queue_deleted`, `failed`; empty while it lasts."
    )
    service_agent_id: UUID = Field(description="The agent who rings or talks.")
    service_call_id: UUID = Field(description="The agent's call.")
    timeout_wait: int = Field(description="In milliseconds; 0: none.")
    timeout_service: int = Field(description="In milliseconds; 0: none.")
    duration_waiting: int = Field(description="In milliseconds, once the waiting is over.")
    duration_service: int = Field(description="In milliseconds, once the conversation is over.")
    tm_create: Timestamp
    tm_service: Timestamp
    tm_end: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


def telling() -> Telling[Queuecall]:
    """What is announced of queuecalls."""
    types = {Status.SERVICE.value: "serviced"}
    return Telling("queuecall", QueuecallAnswer.model_validate, _steps, types=types, final=ENDED)


def _steps(record: Queuecall) -> Iterator[tuple[str, datetime | None]]:
    yield "created", record.tm_create
    if record.status in IN_LINE:
        yield record.status.value, record.tm_update
    yield Status.SERVICE.value, record.tm_service
    if record.ended:
        yield record.status.value, record.tm_end
