# ruff: noqa: N802, N803 - operations and parameters are spelled as ARI spells them
"""Channels: one side of a call each (https://docs.asterisk.org, Channels REST API)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .models import Model, Resource
from .playbacks import Playback, play_body
from .recordings import LiveRecording, record_query

if TYPE_CHECKING:
    from .client import Client

Direction = Literal["both", "in", "out"]


class Channel(Model):
    """A channel. All operations fail with ``NotFound`` once it is gone, most with ``Conflict`` outside Stasis."""

    kind = "channel"
    resource = "channels"
    id_parameter = "channelId"

    def answer(self) -> asyncio.Future[None]:
        """Answer an incoming channel."""
        return self._send("POST", "/answer")

    def ring(self) -> asyncio.Future[None]:
        """Tell the caller that it rings (180)."""
        return self._send("POST", "/ring")

    def ringStop(self) -> asyncio.Future[None]:
        """Stop a ringing tone that Asterisk makes itself."""
        return self._send("DELETE", "/ring")

    def hangup(
        self, *, reason_code: int | str | None = None, reason: str | None = None
    ) -> asyncio.Future[None]:
        """Hang up. ``reason_code`` is a Q.850 cause (17 becomes 486 on an unanswered leg), ``reason`` one of ARI's
        words (``normal``, ``busy``, ``congestion``, ``no_answer``...); give one of them."""
        return self._send("DELETE", query={"reason_code": reason_code, "reason": reason})

    def play(
        self,
        media: str | Sequence[str],
        *,
        playbackId: str | None = None,
        lang: str | None = None,
        offsetms: int | None = None,
        skipms: int | None = None,
    ) -> asyncio.Future[Playback]:
        """Play ``sound:``, ``recording:``, ``tone:``, ``number:``, ``digits:`` or ``characters:`` URIs in a row.

        A sound file is named without its extension. Missing ones are skipped or end the playback as ``failed``.
        """
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
        """Record what the channel says. A slash in ``name`` makes a folder; limits are in seconds, 0 for none."""
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

    def sendDTMF(
        self,
        dtmf: str,
        *,
        before: int | None = None,
        between: int | None = None,
        duration: int | None = None,
        after: int | None = None,
    ) -> asyncio.Future[None]:
        """Send digits (0-9, A-D, * and #). All times are in milliseconds; 100 between and for each digit unless
        given. The answer comes at once, not when the digits were sent."""
        query = {"dtmf": dtmf, "before": before, "between": between, "duration": duration, "after": after}
        return self._send("POST", "/dtmf", query=query)

    def dial(self, *, caller: str | None = None, timeout: int | None = None) -> asyncio.Future[None]:
        """Dial a channel that was made with ``channels.create``; ``timeout`` in seconds."""
        return self._send("POST", "/dial", query={"caller": caller, "timeout": timeout})

    def mute(self, *, direction: Direction = "both") -> asyncio.Future[None]:
        """Silence one or both directions."""
        return self._send("POST", "/mute", query={"direction": direction})

    def unmute(self, *, direction: Direction = "both") -> asyncio.Future[None]:
        """Undo ``mute``."""
        return self._send("DELETE", "/mute", query={"direction": direction})

    def hold(self) -> asyncio.Future[None]:
        """Put the channel on hold."""
        return self._send("POST", "/hold")

    def unhold(self) -> asyncio.Future[None]:
        """Take the channel off hold."""
        return self._send("DELETE", "/hold")

    def startMoh(self, *, mohClass: str | None = None) -> asyncio.Future[None]:
        """Play music on hold."""
        return self._send("POST", "/moh", query={"mohClass": mohClass})

    def stopMoh(self) -> asyncio.Future[None]:
        """Stop music on hold."""
        return self._send("DELETE", "/moh")

    def startSilence(self) -> asyncio.Future[None]:
        """Send silence, so that the other side gets RTP."""
        return self._send("POST", "/silence")

    def stopSilence(self) -> asyncio.Future[None]:
        """Stop sending silence."""
        return self._send("DELETE", "/silence")

    def continueInDialplan(
        self,
        *,
        context: str | None = None,
        extension: str | None = None,
        priority: int | None = None,
        label: str | None = None,
    ) -> asyncio.Future[None]:
        """Leave Stasis and go on in the dialplan."""
        query = {"context": context, "extension": extension, "priority": priority, "label": label}
        return self._send("POST", "/continue", query=query)

    def getChannelVar(self, variable: str) -> asyncio.Future[str]:
        """Value of a variable or function, ``""`` when it is not set."""
        return self._send(
            "GET", "/variable", query={"variable": variable}, convert=lambda json: str(json["value"])
        )

    def setChannelVar(self, variable: str, value: str = "") -> asyncio.Future[None]:
        """Set a variable or function."""
        return self._send("POST", "/variable", query={"variable": variable, "value": value})

    def snoopChannel(
        self,
        app: str,
        *,
        spy: Direction | Literal["none"] | None = None,
        whisper: Direction | Literal["none"] | None = None,
        appArgs: str | None = None,
        snoopId: str | None = None,
    ) -> asyncio.Future[Channel]:
        """Listen to (``spy``) or talk into (``whisper``) the channel through a new one."""
        query = {"app": app, "spy": spy, "whisper": whisper, "appArgs": appArgs, "snoopId": snoopId}
        return self._send(
            "POST", "/snoop", query=query, convert=lambda json: Channel(self.client, json, self.key)
        )

    def rtpstatistics(self) -> asyncio.Future[dict[str, Any]]:
        """Packets, jitter, loss and round-trip time so far, as Asterisk's ``RTPstat``."""
        return self._send("GET", "/rtp_statistics")


class Channels(Resource):
    """``client.channels``."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, "channels")

    def originate(
        self,
        endpoint: str,
        *,
        app: str | None = None,
        appArgs: str | None = None,
        channelId: str | None = None,
        otherChannelId: str | None = None,
        callerId: str | None = None,
        timeout: int | None = None,
        variables: Mapping[str, str] | None = None,
        formats: str | Sequence[str] | None = None,
        originator: str | None = None,
        context: str | None = None,
        extension: str | None = None,
        priority: int | None = None,
        label: str | None = None,
        key: str = "",
    ) -> asyncio.Future[Channel]:
        """Call ``endpoint`` and, once it answers, run an application (``app``) or dialplan (``context``...).

        ``timeout`` in seconds, -1 for none. ``variables`` may be functions: ``PJSIP_HEADER(add,X-Name)``. Events can
        come before the answer: choose ``channelId`` and register handlers first. Neither ``app`` nor
        ``extension`` means the client's own application.
        """
        if app is None and extension is None and context is None:
            app = self._client.application
        body: dict[str, Any] = {
            "endpoint": endpoint,
            "app": app,
            "appArgs": appArgs,
            "channelId": channelId,
            "otherChannelId": otherChannelId,
            "callerId": callerId,
            "timeout": timeout,
            "formats": formats if formats is None or isinstance(formats, str) else ",".join(formats),
            "originator": originator,
            "context": context,
            "extension": extension,
            "priority": priority,
            "label": label,
            "variables": _variables(variables),
        }
        return self._make("channels", body, key or channelId or "")

    def create(
        self,
        endpoint: str,
        *,
        app: str | None = None,
        appArgs: str | None = None,
        channelId: str | None = None,
        otherChannelId: str | None = None,
        originator: str | None = None,
        formats: str | Sequence[str] | None = None,
        variables: Mapping[str, str] | None = None,
        key: str = "",
    ) -> asyncio.Future[Channel]:
        """A channel that is in Stasis at once and dials when ``channel.dial()`` says so."""
        body: dict[str, Any] = {
            "endpoint": endpoint,
            "app": app or self._client.application,
            "appArgs": appArgs,
            "channelId": channelId,
            "otherChannelId": otherChannelId,
            "originator": originator,
            "formats": formats if formats is None or isinstance(formats, str) else ",".join(formats),
            "variables": _variables(variables),
        }
        return self._make("channels/create", body, key or channelId or "")

    def list(self) -> asyncio.Future[list[Channel]]:
        """Every channel of this Asterisk, those of other applications too."""
        return self._client.send("GET", "channels", convert=self._client.promotion("List[Channel]"))

    def get(self, channelId: str, *, key: str = "") -> asyncio.Future[Channel]:
        """One channel as it is now."""
        return self._client.channel(channelId, key).refresh()

    def _make(self, uri: str, body: dict[str, Any], key: str) -> asyncio.Future[Channel]:
        given = {name: value for name, value in body.items() if value is not None}
        return self._client.send(
            "POST", uri, body=given, key=key, convert=lambda json: Channel(self._client, json, key)
        )


def _variables(variables: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """ari-py wants ``{"variables": {...}}``; the plain mapping is meant as often."""
    if variables and set(variables) == {"variables"} and isinstance(variables["variables"], Mapping):
        return dict(variables["variables"])
    return variables
