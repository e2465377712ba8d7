"""What actions need of the rest of the house beyond their own leg: one protocol for each service, one place for all.

An action module names no service of ours by its class: it sees the protocol here, so that a flow runs on simulated
services as well. What is ``None`` is not there (a flow that is tried without a telephone): the action then notes
on the leg's trace what it would have done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from ringline.calls.call import Call
from ringline.calls.caller import Anonymity
from ringline.calls.leg import Leg
from ringline.calls.states import HangupReason
from ringline.flows.snapshot import RawAction
from ringline.sip.address import Address
from ringline.streams.models import StreamWanted

if TYPE_CHECKING:
    from ringline.flows.actions.base import Context
    from ringline.flows.engine import Result


@dataclass(frozen=True, slots=True)
class NewCalls:
    """Calls that a flow wants placed, each with a flow of its own: ``flow_id``, else ``actions``.

    ``early``: their flow starts when they ring. ``variables`` are those of the flow that wants them.
    """

    source: Address
    destinations: Sequence[Address]
    anonymous: Anonymity
    flow_id: UUID
    actions: list[RawAction]
    variables: dict[str, str]
    chained: bool
    early: bool


class Calls(Protocol):
    """Placing further calls (``flows.calling.FlowCalls``)."""

    async def place(self, parent: Call, wanted: NewCalls) -> None: ...


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """A request for actions. ``id`` is the same however often the action is run; ``call`` is ``None`` for a flow
    without one. ``flow`` is what the server is told of the flow in execution. ``around`` are the lists that the
    fetched one will run within: it may jump into them."""

    id: UUID
    customer_id: UUID
    activeflow_id: UUID
    flow: dict[str, str]
    call: Call | None
    action: RawAction
    variables: dict[str, str]
    method: str
    url: str
    around: Sequence[Sequence[RawAction]]


class Fetches(Protocol):
    """Asking a customer's server for actions (``flows.fetching.Fetcher``). Raises ``FlowError``."""

    async def fetch(self, request: FetchRequest) -> list[RawAction]: ...


class StoredFlows(Protocol):
    """The flows that customers keep (``flows.definitions.FlowDefinitions``). Raises ``NotFound``."""

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[RawAction]: ...


@dataclass(frozen=True, slots=True)
class Webhook:
    """A request that a flow wants sent. ``id`` is the same however often the action is run."""

    id: UUID
    customer_id: UUID
    activeflow_id: UUID
    call: Call | None
    action: RawAction
    method: str
    url: str
    content_type: str
    data: str


class Webhooks(Protocol):
    """Sending webhooks (``flows.webhooks.FlowWebhooks``)."""

    def post(self, webhook: Webhook) -> None:
        """Send it in the background. Raises ``ActionFailed`` or ``RinglineError`` where it cannot be taken."""

    async def send(self, webhook: Webhook) -> tuple[int, str]:
        """Send it once and wait: the status and the body's beginning. Raises ``ActionFailed``."""


class Texts(Protocol):
    """Sending texts (``messages.texting.FlowTexts``)."""

    async def send(
        self,
        message_id: UUID,
        customer_id: UUID,
        *,
        source: Address,
        destinations: Sequence[Address],
        text: str,
        activeflow_id: UUID,
        answers: UUID,
    ) -> None:
        """Send one; an id that was used sends nothing again. ``answers``: the message that the flow runs for, or the
        zero UUID. Raises ``RinglineError``.
        """


class Queues(Protocol):
    """Waiting for agents (``queues.joining.QueueJoining``)."""

    async def join(self, context: Context, queue_id: UUID) -> Result | None:
        """Stay in a queue until the caller has left it; the result is what the wait flow wants done then.

        Raises ``LegGone``, ``RinglineError``.
        """


class Endings(Protocol):
    """How other calls of the customer ended (``calls.service.CallService``)."""

    async def ending(self, customer_id: UUID, call_id: UUID) -> tuple[HangupReason, int] | None:
        """Reason and Q.850 cause (0: none to be told); ``None`` for a call that lasts or does not exist."""


class Streams(Protocol):
    """Audio of a call to and from customers' servers (``streams.service.Streams``)."""

    async def start(self, call: Call, wanted: StreamWanted) -> None:
        """Return when the stream runs. Raises ``LegError`` or ``LegGone``."""

    def stop(self, call: Call) -> int:
        """End every stream of the call; how many there were."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A call's place in a conference. ``over``: it has left already. ``before`` is its way in, to be gone first."""

    over: bool
    before: list[RawAction]
    variables: dict[str, str]


class Conferences(Protocol):
    """Talking with everybody in a conference (``conferences.service.ConferenceService``)."""

    async def enter(
        self,
        call: Call,
        conference_id: UUID,
        conferencecall_id: UUID,
        *,
        activeflow_id: UUID,
        fresh: bool,
        resumed: bool,
    ) -> Seat:
        """Admit a call. ``fresh``: the id was chosen for this stay; ``resumed``: it may have begun before a restart.

        Raises ``RinglineError`` for a conference that is unknown, over or full, ``LegGone``.
        """

    async def stay(self, leg: Leg, conference_id: UUID, conferencecall_id: UUID) -> list[RawAction]:
        """Be in it until that ends; what the call is to do after it. Raises ``LegGone``, ``LegError``."""


@dataclass(slots=True)
class Services:
    """Everything that actions may reach."""

    calls: Calls
    fetches: Fetches | None = None
    flows: StoredFlows | None = None
    webhooks: Webhooks | None = None
    queues: Queues | None = None
    endings: Endings | None = None
    streams: Streams | None = None
    conferences: Conferences | None = None
    texts: Texts | None = None
