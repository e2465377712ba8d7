"""Calls that flows place: each runs a flow of its own, and how many there can be is bounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID

from ringline.calls.call import ZERO, Call
from ringline.calls.caller import Anonymity
from ringline.calls.line import Start
from ringline.flows.actions import ActionFailed, NewCalls
from ringline.flows.activeflow import Activeflow
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.variables import RESERVED_PREFIX
from ringline.sip.address import Address

MAX_GENERATION = 5
"""A call that a flow placed may place calls itself, and so on: a flow that calls itself ends here."""
MAX_PLACED = 100
"""Calls that one flow may place: a loop around ``call`` ends here."""


class Outgoing(Protocol):
    """Who places the calls (``calls.service.CallService``)."""

    def place_from(
        self,
        parent: Call,
        *,
        source: Address,
        destinations: Sequence[Address],
        anonymous: Anonymity,
        prepare: Callable[[], Any],
        chained: bool,
        start: Start,
    ) -> list[Call]: ...


class Executions(Protocol):
    """The flows that run (``flows.service.FlowService``)."""

    def active(self, call_id: UUID) -> Activeflow | None: ...

    def prepare(
        self, customer_id: UUID, flow_id: UUID, actions: list[dict[str, Any]], variables: dict[str, str]
    ) -> Activeflow: ...


class FlowCalls:
    """Places what the action ``call`` asks for (``flows.actions.base.Calls``)."""

    def __init__(self, definitions: FlowDefinitions, flows: Executions, outgoing: Outgoing) -> None:
        self._definitions = definitions
        self._flows = flows
        self._outgoing = outgoing

    async def place(self, parent: Call, wanted: NewCalls) -> None:
        """Raises ``ActionFailed`` past a limit, ``RinglineError`` for an unknown flow or destination."""
        activeflow = self._flows.active(parent.id)
        generation = 0 if activeflow is None else activeflow.generation
        if generation >= MAX_GENERATION:
            raise ActionFailed(
                "TOO_DEEP", f"calls of calls of calls end at the {MAX_GENERATION}th generation"
            )
        if activeflow is not None:
            activeflow.placed += len(wanted.destinations)
            if activeflow.placed > MAX_PLACED:
                raise ActionFailed("TOO_MANY_CALLS", f"a flow may place {MAX_PLACED} calls")
        actions = wanted.actions
        if wanted.flow_id != ZERO:
            actions = await self._definitions.actions(parent.customer_id, wanted.flow_id)
        inherited = {
            name: text
            for name, text in wanted.variables.items()
            if not name.lower().startswith(RESERVED_PREFIX)
        }

        def prepare() -> Activeflow:
            made = self._flows.prepare(parent.customer_id, wanted.flow_id, actions, inherited)
            made.generation = generation + 1
            return made

        self._outgoing.place_from(
            parent,
            source=wanted.source,
            destinations=wanted.destinations,
            anonymous=wanted.anonymous,
            prepare=prepare,
            chained=wanted.chained and not parent.ended,
            start=Start.ON_RINGING if wanted.early else Start.ON_ANSWER,
        )


class NotedCalls:
    """Places nothing: for flows that are tried without a telephone."""

    def __init__(self) -> None:
        self.noted: list[NewCalls] = []

    async def place(self, parent: Call, wanted: NewCalls) -> None:
        self.noted.append(wanted)
