"""What actions need of the rest of the house beyond their own leg: one protocol for each service, one place for all.

An action module names no service of ours by its class: it sees the protocol here, so that a flow runs on simulated
services as well. What is ``None`` is not there (a flow that is tried without a telephone): the action then notes
on the leg's trace what it would have done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from ringline.calls.call import Call
from ringline.calls.caller import Anonymity
from ringline.flows.snapshot import RawAction
from ringline.sip.address import Address


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


@dataclass(slots=True)
class Services:
    """Everything that actions may reach."""

    calls: Calls
