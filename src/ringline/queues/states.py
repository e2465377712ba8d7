"""The states of a call in a queue as data (VoIPBIN's queuecall)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Where a call in a queue stands."""

    INITIATING = "initiating"
    WAITING = "waiting"
    CONNECTING = "connecting"
    SERVICE = "service"
    DONE = "done"
    ABANDONED = "abandoned"


class EndReason(StrEnum):
    """Why a queuecall ended; empty while it lasts."""

    NONE = ""
    CALLER_HANGUP = "caller_hangup"
    AGENT_HANGUP = "agent_hangup"
    WAIT_TIMEOUT = "wait_timeout"
    SERVICE_TIMEOUT = "service_timeout"
    KICKED = "kicked"
    LEFT = "left"
    QUEUE_DELETED = "queue_deleted"
    FAILED = "failed"


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.INITIATING: frozenset({Status.WAITING, Status.ABANDONED}),
    Status.WAITING: frozenset({Status.CONNECTING, Status.ABANDONED}),
    Status.CONNECTING: frozenset({Status.WAITING, Status.SERVICE, Status.ABANDONED}),
    Status.SERVICE: frozenset({Status.DONE}),
    Status.DONE: frozenset(),
    Status.ABANDONED: frozenset(),
}

ENDED: Final = frozenset({Status.DONE, Status.ABANDONED})
"""States in which the caller is not in the queue any more."""

IN_LINE: Final = frozenset({Status.WAITING, Status.CONNECTING})
"""States in which the caller waits for an agent."""


def may_follow(present: Status, following: Status) -> bool:
    """Whether a queuecall in ``present`` may go to ``following``."""
    return following in TRANSITIONS[present]
