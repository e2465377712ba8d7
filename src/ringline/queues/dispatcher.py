"""Who is rung for whom: the callers of all queues in the order of their waiting, and the agents who are free.

Nothing is polled. Whatever may matter (a caller who joins, an agent who becomes available or free, a queue that is
changed, the end of an agent's rest) calls ``wake``; the round that follows in the next turn of the loop rings every
agent who can be rung, the caller who has waited longest first, across queues. There is no waiting within a round, so
that an agent is never rung for two callers.
"""

from __future__ import annotations

import asyncio
import random
from bisect import insort
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from ringline.customers import Agent, Engagement, Presence
from ringline.customers.presence import AVAILABLE
from ringline.queues.directory import Queue
from ringline.queues.queuecall import Queuecall
from ringline.queues.states import IN_LINE, Status

log = structlog.get_logger(__name__)


class Caller(Protocol):
    """Somebody in a queue (``queues.attendance``)."""

    @property
    def record(self) -> Queuecall: ...

    def ring(self, agent: Agent) -> None:
        """Have this agent rung; it is engaged already. Must not wait."""

    def queue_gone(self) -> None:
        """The queue was deleted: nobody will be rung."""


class Queues(Protocol):
    def by_id(self, row_id: UUID) -> Queue | None: ...


class Agents(Protocol):
    def all(self) -> Iterable[Agent]: ...


def _order(caller: Caller) -> tuple[datetime, UUID]:
    return caller.record.tm_create, caller.record.id


class Dispatcher:
    """Callers by queue, each in the order of arrival."""

    def __init__(
        self, queues: Queues, agents: Agents, presence: Presence, chance: random.Random | None = None
    ) -> None:
        self._queues = queues
        self._agents = agents
        self._presence = presence
        self._chance = chance or random.Random()  # noqa: S311 - who is rung is no secret
        self._lines: dict[UUID, list[Caller]] = {}
        self._last: dict[UUID, UUID] = {}
        self._round: asyncio.Handle | None = None
        self._rested: asyncio.TimerHandle | None = None
        self._closed = False

    def enter(self, caller: Caller) -> None:
        """Take a place in the line: the one of the time at which the caller joined."""
        insort(self._lines.setdefault(caller.record.queue_id, []), caller, key=_order)
        self.wake()

    def leave(self, caller: Caller) -> None:
        """Give the place up. Harmless for one that has none."""
        queue_id = caller.record.queue_id
        line = self._lines.get(queue_id, [])
        if caller in line:
            line.remove(caller)
        if not line:
            self._lines.pop(queue_id, None)
            self._last.pop(queue_id, None)

    def callers(self, queue_id: UUID) -> Sequence[Caller]:
        """Everybody in the queue, in order."""
        return self._lines.get(queue_id, ())

    def position(self, caller: Caller) -> int:
        """The place among those who wait, from 1; 0 for one who does not."""
        waiting = [one for one in self.callers(caller.record.queue_id) if one.record.status in IN_LINE]
        return waiting.index(caller) + 1 if caller in waiting else 0

    def wake(self) -> None:
        """Something changed: have a round soon."""
        if self._round is None and self._lines and not self._closed:
            self._round = asyncio.get_running_loop().call_soon(self._dispatch)

    def close(self) -> None:
        """Nobody is rung any more, whoever becomes free."""
        self._closed = True
        for handle in (self._round, self._rested):
            if handle is not None:
                handle.cancel()
        self._round = self._rested = None

    def _dispatch(self) -> None:
        self._round = None
        waiting = [
            caller
            for line in self._lines.values()
            for caller in line
            if caller.record.status is Status.WAITING
        ]
        eligible: dict[UUID, list[Agent]] = {}
        rest = 0.0
        for caller in sorted(waiting, key=_order):
            queue = self._queues.by_id(caller.record.queue_id)
            if queue is None:
                caller.queue_gone()
                continue
            agents = eligible.get(queue.id)
            if agents is None:
                agents = eligible[queue.id] = self._eligible(queue)
            free = [agent for agent in agents if self._presence.free(agent.id)]
            if free:
                self._ring(queue, caller, self._choose(queue, free))
            else:
                eligible[queue.id] = []
                rest = _sooner(rest, (self._presence.resting(agent.id) for agent in agents))
        self._wake_after(rest)

    def _eligible(self, queue: Queue) -> list[Agent]:
        """Agents who take calls and can do all that the queue asks for."""
        asked = frozenset(queue.tag_ids)
        return [
            agent
            for agent in self._agents.all()
            if agent.customer_id == queue.customer_id
            and agent.status == AVAILABLE
            and agent.addresses
            and asked <= agent.tag_ids
        ]

    def _choose(self, queue: Queue, free: list[Agent]) -> Agent:
        if queue.routing_method == "longest_idle":
            return min(free, key=lambda agent: (self._presence.idle_since(agent.id), agent.id))
        if queue.routing_method == "round_robin":
            last = self._last.get(queue.id, UUID(int=0))
            after = [agent for agent in free if agent.id > last]
            return min(after or free, key=lambda agent: agent.id)
        return self._chance.choice(free)

    def _ring(self, queue: Queue, caller: Caller, agent: Agent) -> None:
        self._last[queue.id] = agent.id
        self._presence.engage(agent.id, caller.record.id, Engagement.RINGING)
        log.info(
            "agent_chosen",
            queue_id=str(queue.id),
            queuecall_id=str(caller.record.id),
            agent_id=str(agent.id),
            customer_id=str(queue.customer_id),
        )
        caller.ring(agent)

    def _wake_after(self, seconds: float) -> None:
        if self._rested is not None:
            self._rested.cancel()
            self._rested = None
        if seconds > 0:
            # a timer may be a little early: the rest must be over by then
            self._rested = asyncio.get_running_loop().call_later(seconds + 0.01, self.wake)


def _sooner(present: float, candidates: Iterable[float]) -> float:
    """The smallest of the positive times; 0 where there is none."""
    return min((seconds for seconds in (present, *candidates) if seconds > 0), default=0.0)
