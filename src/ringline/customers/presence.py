"""Who of the agents is being rung or talks, in memory: what an agent's chosen status does not say.

Nothing of this is stored, so that no crash leaves an agent ringing for ever: whoever engages an agent releases it,
and a controller that starts again engages those whose calls it found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from enum import StrEnum
from uuid import UUID

AVAILABLE = "available"


class Engagement(StrEnum):
    """Why an agent cannot take another call."""

    RINGING = "ringing"
    BUSY = "busy"


class Presence:
    """Engagements of agents, each under the key of what engages them (a queuecall, a groupcall).

    One loop, no waiting in here: ``engage`` of an agent that was found free cannot be overtaken.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._engaged: dict[UUID, dict[Hashable, Engagement]] = {}
        self._freed: dict[UUID, float] = {}
        self._rests: dict[UUID, float] = {}
        self.watchers: list[Callable[[], None]] = []
        """Called when an agent became free. They must not block."""

    def free(self, agent_id: UUID) -> bool:
        """Whether nothing engages the agent, and it is not left alone for a while."""
        return agent_id not in self._engaged and self.resting(agent_id) == 0.0

    def engage(self, agent_id: UUID, key: Hashable, engagement: Engagement) -> None:
        """The agent rings or talks on behalf of ``key``; a second call for one key changes the first."""
        self._engaged.setdefault(agent_id, {})[key] = engagement

    def release(self, agent_id: UUID, key: Hashable) -> None:
        """``key`` is done with the agent. Harmless where it has no engagement."""
        engagements = self._engaged.get(agent_id)
        if engagements is None or engagements.pop(key, None) is None or engagements:
            return
        del self._engaged[agent_id]
        self._freed[agent_id] = self._now()
        for watcher in self.watchers:
            watcher()

    def rest(self, agent_id: UUID, seconds: float) -> None:
        """Leave the agent alone for so long: it was rung and did not answer."""
        self._rests[agent_id] = self._now() + seconds

    def resting(self, agent_id: UUID) -> float:
        """Seconds for which the agent is still left alone."""
        until = self._rests.get(agent_id)
        if until is None:
            return 0.0
        left = until - self._now()
        if left <= 0:
            del self._rests[agent_id]
            return 0.0
        return left

    def rouse(self, agent_id: UUID) -> None:
        """The agent has said that it is available: no more rest."""
        if self._rests.pop(agent_id, None) is not None:
            for watcher in self.watchers:
                watcher()

    def idle_since(self, agent_id: UUID) -> float:
        """When the agent was last released (monotonic seconds), 0 where it never was."""
        return self._freed.get(agent_id, 0.0)

    def shown(self, agent_id: UUID, chosen: str) -> str:
        """The status as the API shows it: a conversation comes before ringing, both before what was chosen."""
        engagements = self._engaged.get(agent_id)
        if not engagements:
            return chosen
        busy = Engagement.BUSY in engagements.values()
        return (Engagement.BUSY if busy else Engagement.RINGING).value
