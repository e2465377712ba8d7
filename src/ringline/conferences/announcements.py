"""What those in a conference hear beside each other: beeps at coming and going, music for who is alone."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

import structlog

from ringline import ari
from ringline.conferences.records import Conference
from ringline.media import Prompt
from ringline.media.errors import MediaFailed

log = structlog.get_logger(__name__)

_OVER = (404, 409)
"""What Asterisk answers where the bridge is gone, or plays no music."""


class Sounds(Protocol):
    """Where the beep comes from (``media.MediaLibrary``)."""

    async def beep(self) -> Prompt: ...


class Announcements:
    """Requests only: nothing in a conference waits for what is announced in it."""

    def __init__(self, client: ari.Client, sounds: Sounds) -> None:
        self._client = client
        self._sounds = sounds
        self._beep: Prompt | None = None
        self._music: dict[UUID, bool] = {}

    async def prepare(self, conference: Conference) -> None:
        """Have the beep ready before anybody comes. Without one the conference is silent about it."""
        if conference.beep and self._beep is None:
            try:
                self._beep = await self._sounds.beep()
            except MediaFailed as error:
                log.warning("conference_without_beep", conference_id=str(conference.id), why=str(error))

    def joined(self, conference: Conference) -> None:
        """Somebody came: all hear it, the one who came included."""
        if conference.beep in ("join", "both"):
            self._sound(conference)

    def left(self, conference: Conference, inside: int) -> None:
        """Somebody went; ``inside`` are left to hear it."""
        if inside and conference.beep in ("leave", "both"):
            self._sound(conference)
        self.tune(conference, inside)

    def tune(self, conference: Conference, inside: int) -> None:
        """Music while exactly one is there, where the conference has it; what another life left playing ends, too."""
        known = self._music.get(conference.id)
        if not inside:
            # it ends with the bridge
            self.forget(conference)
            return
        wanted = conference.alone_music and inside == 1
        if wanted == known:
            return
        self._music[conference.id] = wanted
        if wanted or known or conference.alone_music:
            method = "POST" if wanted else "DELETE"
            self._client.tell(method, f"bridges/{conference.bridge}/moh", key=conference.bridge, ignore=_OVER)

    def forget(self, conference: Conference) -> None:
        """Nobody is in it any more."""
        self._music.pop(conference.id, None)

    def _sound(self, conference: Conference) -> None:
        if self._beep is not None:
            self._client.tell(
                "POST",
                f"bridges/{conference.bridge}/play",
                body={"media": [self._beep.media]},
                key=conference.bridge,
                ignore=_OVER,
            )
