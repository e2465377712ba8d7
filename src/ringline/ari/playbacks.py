# ruff: noqa: N803 - operations and parameters are spelled as ARI spells them
"""Playbacks: media being played to a channel or a bridge (https://docs.asterisk.org, Playbacks REST API)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from .models import Model, Resource

if TYPE_CHECKING:
    from .client import Client

Control = Literal["restart", "pause", "unpause", "reverse", "forward"]


class Playback(Model):
    """A playback. It is gone (``NotFound``) as soon as it has finished."""

    kind = "playback"
    resource = "playbacks"
    id_parameter = "playbackId"

    def stop(self) -> asyncio.Future[None]:
        """Stop it. ``PlaybackFinished`` then says ``done``, as after the natural end."""
        return self._send("DELETE")

    def control(self, operation: Control) -> asyncio.Future[None]:
        """Pause, go on, start again, or skip (by the ``skipms`` of ``play``)."""
        return self._send("POST", "/control", query={"operation": operation})


class Playbacks(Resource):
    """``client.playbacks``."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, "playbacks")

    def get(self, playbackId: str, *, key: str = "") -> asyncio.Future[Playback]:
        """One playback as it is now."""
        return self._client.playback(playbackId, key).refresh()


def play_body(media: str | Sequence[str], **options: Any) -> dict[str, Any]:
    """What ``play`` sends. A list in the body keeps commas inside file names; in a query they would split it."""
    body: dict[str, Any] = {"media": [media] if isinstance(media, str) else list(media)}
    body.update({name: value for name, value in options.items() if value is not None})
    return body
