# ruff: noqa: N802, N803 - operations and parameters are spelled as ARI spells them
"""Bridges: where channels hear each other (https://docs.asterisk.org, Bridges REST API)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from .models import Model, Resource
from .playbacks import Playback, play_body
from .recordings import LiveRecording, record_query

if TYPE_CHECKING:
    from .client import Client


class Bridge(Model):
    """A bridge. It stays until it is destroyed, channels or not: whoever makes it must end it."""

    kind = "bridge"
    resource = "bridges"
    id_parameter = "bridgeId"

    def addChannel(
        self,
        channel: str | Sequence[str],
        *,
        role: str | None = None,
        absorbDTMF: bool | None = None,
        mute: bool | None = None,
        inhibitConnectedLineUpdates: bool | None = None,
    ) -> asyncio.Future[None]:
        """Add one or more channels, by id. ``BadRequest`` for one that is gone or not in Stasis."""
        query = {
            "channel": channel,
            "role": role,
            "absorbDTMF": absorbDTMF,
            "mute": mute,
            "inhibitConnectedLineUpdates": inhibitConnectedLineUpdates,
        }
        return self._send("POST", "/addChannel", query=query)

    def removeChannel(self, channel: str | Sequence[str]) -> asyncio.Future[None]:
        """Take one or more channels out, by id."""
        return self._send("POST", "/removeChannel", query={"channel": channel})

    def destroy(self) -> asyncio.Future[None]:
        """End the bridge; its channels stay in Stasis."""
        return self._send("DELETE")

    def play(
        self,
        media: str | Sequence[str],
        *,
        playbackId: str | None = None,
        lang: str | None = None,
        offsetms: int | None = None,
        skipms: int | None = None,
    ) -> asyncio.Future[Playback]:
        """Play to everybody in the bridge; media as in ``Channel.play``."""
        body = play_body(media, playbackId=playbackId, lang=lang, offsetms=offsetms, skipms=skipms)
        return self._send(
            "POST", "/play", body=body, convert=lambda json: Playback(self.client, json, self.key)
        )

    def record(
        self,
        name: str,
        format: str,  # noqa: A002
        *,
        maxDurationSeconds: int | None = None,
        maxSilenceSeconds: int | None = None,
        ifExists: Literal["fail", "overwrite", "append"] | None = None,
        beep: bool | None = None,
        terminateOn: str | None = None,
    ) -> asyncio.Future[LiveRecording]:
        """Record the mix. A slash in ``name`` makes a folder; limits are in seconds, 0 for none."""
        query = record_query(
            name,
            format,
            maxDurationSeconds=maxDurationSeconds,
            maxSilenceSeconds=maxSilenceSeconds,
            ifExists=ifExists,
            beep=beep,
            terminateOn=terminateOn,
        )
        return self._send(
            "POST", "/record", query=query, convert=lambda json: LiveRecording(self.client, json, self.key)
        )

    def startMoh(self, *, mohClass: str | None = None) -> asyncio.Future[None]:
        """Play music on hold to the bridge."""
        return self._send("POST", "/moh", query={"mohClass": mohClass})

    def stopMoh(self) -> asyncio.Future[None]:
        """Stop music on hold."""
        return self._send("DELETE", "/moh")


class Bridges(Resource):
    """``client.bridges``."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, "bridges")

    def create(
        self,
        *,
        type: str = "mixing",  # noqa: A002
        bridgeId: str | None = None,
        name: str | None = None,
        key: str = "",
    ) -> asyncio.Future[Bridge]:
        """Make a bridge. ``type``: ``mixing``, ``holding``, or attributes with commas (``mixing,dtmf_events``)."""
        key = key or bridgeId or ""
        return self._client.send(
            "POST",
            "bridges",
            query={"type": type, "bridgeId": bridgeId, "name": name},
            key=key,
            convert=lambda json: Bridge(self._client, json, key),
        )

    def list(self) -> asyncio.Future[list[Bridge]]:
        """Every bridge of this Asterisk."""
        return self._client.send("GET", "bridges", convert=self._client.promotion("List[Bridge]"))

    def get(self, bridgeId: str, *, key: str = "") -> asyncio.Future[Bridge]:
        """One bridge as it is now."""
        return self._client.bridge(bridgeId, key).refresh()
