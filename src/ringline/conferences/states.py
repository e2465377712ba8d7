"""The states of conferences and of the calls in them, as data: what may follow what.

Source: VoIPBIN's documents (``shared/spec/voipbin-api.md`` section 3).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ConferenceStatus(StrEnum):
    """Ours are ``progressing`` as soon as they are stored: nothing has to be made before somebody joins.

    ``terminating``: nobody may join any more, and those in it are leaving.
    """

    STARTING = "starting"
    PROGRESSING = "progressing"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


class ConferencecallStatus(StrEnum):
    """``joining``: on its way in, the pre-flow included. ``terminating``: asked to leave, not yet out."""

    JOINING = "joining"
    PROGRESSING = "progressing"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


CONFERENCE: Final[dict[ConferenceStatus, frozenset[ConferenceStatus]]] = {
    ConferenceStatus.STARTING: frozenset(
        {ConferenceStatus.PROGRESSING, ConferenceStatus.TERMINATING, ConferenceStatus.TERMINATED}
    ),
    ConferenceStatus.PROGRESSING: frozenset({ConferenceStatus.TERMINATING, ConferenceStatus.TERMINATED}),
    ConferenceStatus.TERMINATING: frozenset({ConferenceStatus.TERMINATED}),
    ConferenceStatus.TERMINATED: frozenset(),
}

CONFERENCECALL: Final[dict[ConferencecallStatus, frozenset[ConferencecallStatus]]] = {
    ConferencecallStatus.JOINING: frozenset(
        {
            ConferencecallStatus.PROGRESSING,
            ConferencecallStatus.TERMINATING,
            ConferencecallStatus.TERMINATED,
        }
    ),
    ConferencecallStatus.PROGRESSING: frozenset(
        {ConferencecallStatus.TERMINATING, ConferencecallStatus.TERMINATED}
    ),
    ConferencecallStatus.TERMINATING: frozenset({ConferencecallStatus.TERMINATED}),
    ConferencecallStatus.TERMINATED: frozenset(),
}

ENDING: Final = frozenset({ConferenceStatus.TERMINATING, ConferenceStatus.TERMINATED})
"""States of a conference that nobody may join."""
