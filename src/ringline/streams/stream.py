"""One stream of one call: a tap on the call's channel, a channel to the outside, and a bridge of the two.

The tap (ARI's snoop) hears and speaks beside whatever else happens on the call: prompts go on, conversations too.
Whatever ends a stream, ``close`` runs, without waiting for anything: the one place where its channels, its bridge
and its WebSocket go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import structlog

from ringline import ari
from ringline.calls.bridges import Bridges, bridge_name
from ringline.calls.call import Call
from ringline.calls.leg import LegGone
from ringline.streams.models import StreamFailed, StreamWanted
from ringline.streams.relay import Relays, Report

log = structlog.get_logger(__name__)

START_SECONDS: Final = 15.0
"""For everything; connecting with the server has 5 s of it."""
UNTAP_SECONDS: Final = 2.0
_GONE = (404, 409, 412, 422)
"""What Asterisk answers where the channel or the bridge is gone already."""

Event = dict[str, Any]


class Channels(Protocol):
    """Who tells of channels that are no calls (``calls.switchboard.Switchboard``)."""

    auxiliary: dict[str, Callable[[Event], None]]

    def live(self, call_id: UUID) -> Call | None: ...


class Finder(Protocol):
    """Turns a host into an address that may be contacted (``service.RtpHosts``). Raises ``StreamFailed``."""

    async def find(self, host: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What streams are made of."""

    client: ari.Client
    channels: Channels
    bridges: Bridges
    relays: Relays
    finder: Finder
    application: str
    media_url: str


class Stream:
    """``ended`` is called once, when it ends by itself, with a reason and a sentence (``""``: nothing is wrong)."""

    def __init__(
        self,
        parts: Parts,
        call: Call,
        wanted: StreamWanted,
        ended: Callable[[Stream, str, str], None],
        name: UUID | None = None,
        turn: int = 0,
    ) -> None:
        """``name``: what its channels and its bridge are called by; a new one unless it is found again. ``turn``: how
        often its tap was renewed.
        """
        self.call = call
        self.wanted = wanted
        self.name = name or uuid4()
        self.bridge = bridge_name("stream", self.name)
        self.turn = turn
        self.media = f"{self.bridge}-media"
        self.running = False
        self.closed = False
        self._parts = parts
        self._ended = ended
        self._key = str(call.id)
        self._arrivals: dict[str, asyncio.Future[None]] = {}
        self._relayed = False
        self._failure: StreamFailed | None = None

    @property
    def heard_by_phone(self) -> bool:
        """Whether what the server says goes to the call's other side."""
        return self.wanted.speak in ("out", "both")

    @property
    def tap(self) -> str:
        """The channel that hears the call and speaks into it."""
        return f"{self.bridge}-tap{self.turn or ''}"

    async def open(self) -> None:
        """Bring everything up. Raises ``StreamFailed``, or ``LegGone``; what was made is gone then."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._open()
        except TimeoutError:
            raise StreamFailed("EXTERNAL_MEDIA_TIMEOUT", "the stream was not ready in time") from None
        except ari.NotFound as error:
            raise LegGone from error
        except ari.AriError as error:
            raise StreamFailed("EXTERNAL_MEDIA_FAILED", f"Asterisk refused: {error}") from error
        finally:
            if not self.running:
                self.close()

    def adopt(self) -> None:
        """Everything is up already: a controller before this one made it."""
        self._own()
        self._parts.bridges.joined(self.bridge)
        self.running = True

    async def untap(self) -> None:
        """Take the tap off the call; returns when it is gone, or is not going to tell."""
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def hear(event: Event) -> None:
            if event["type"] != "StasisStart" and not gone.done():
                gone.set_result(None)

        old = self.tap
        self._parts.channels.auxiliary[old] = hear
        self._tell("DELETE", f"channels/{old}")
        try:
            async with asyncio.timeout(UNTAP_SECONDS):
                await gone
        except TimeoutError:
            log.warning("tap_not_gone", call_id=self._key, channel_id=old)
        finally:
            self._parts.channels.auxiliary.pop(old, None)

    def retap(self) -> None:
        """Tap the call again, through a new channel."""
        if not self.running:
            return
        self.turn += 1
        self._parts.channels.auxiliary[self.tap] = self._hear
        self._ask_tap().add_done_callback(self._tapped)

    def leave(self) -> None:
        """Another controller takes it over: whatever ends from now on is not for this one to see."""
        self.closed = True

    def close(self) -> None:
        """End it. Idempotent; ``ended`` is not called."""
        if self.closed:
            return
        self.closed = True
        self.running = False
        for arrival in self._arrivals.values():
            if not arrival.done():
                arrival.set_exception(LegGone())
                arrival.exception()
        parts = self._parts
        if self._relayed:
            parts.relays.end(str(self.wanted.id))
        for channel in (self.media, self.tap):
            if parts.channels.auxiliary.pop(channel, None) is not None:
                self._tell("DELETE", f"channels/{channel}")
        if parts.bridges.known_bridge(self.bridge):
            self._tell("DELETE", f"bridges/{self.bridge}")
            parts.bridges.forget(self.bridge)

    # steps

    async def _open(self) -> None:
        wanted = self.wanted
        host = ""
        if wanted.kind == "websocket":
            self._relayed = True
            await self._parts.relays.open(
                str(wanted.id), wanted.host, wanted.headers, self._key, self._relay_ended
            )
        else:
            host = await self._parts.finder.find(wanted.host)
        self._check()
        self._own()
        loop = asyncio.get_running_loop()
        self._arrivals = {self.tap: loop.create_future(), self.media: loop.create_future()}
        tap, bridge, media = self._ask_tap(), self._ask_bridge(), self._ask_media(host)
        await tap
        await bridge
        channel = await media
        self._check()
        if wanted.kind == "websocket":
            connection = channel["channelvars"]["MEDIA_WEBSOCKET_CONNECTION_ID"]
            self._parts.relays.attach(str(wanted.id), f"{self._parts.media_url}/{connection}")
        for arrival in self._arrivals.values():
            await arrival
        await self._send(
            "POST", f"bridges/{self.bridge}/addChannel", query={"channel": f"{self.tap},{self.media}"}
        )
        self._check()
        self._parts.bridges.joined(self.bridge)
        self.running = True
        log.info("stream_started", call_id=self._key, stream_id=str(wanted.id), kind=wanted.kind)

    def _own(self) -> None:
        self._parts.bridges.own(self.bridge, lambda: self._over("EXTERNAL_MEDIA_LOST", "its bridge was lost"))
        for channel in (self.tap, self.media):
            self._parts.channels.auxiliary[channel] = self._hear

    def _ask_tap(self) -> asyncio.Future[Any]:
        query = {"app": self._parts.application, "spy": self.wanted.listen, "whisper": self.wanted.speak}
        return self._send("POST", f"channels/{ari.quote(self.call.channel_id)}/snoop/{self.tap}", query=query)

    def _ask_bridge(self) -> asyncio.Future[Any]:
        return self._send("POST", f"bridges/{self.bridge}", query={"type": "mixing", "name": "stream"})

    def _ask_media(self, host: str) -> asyncio.Future[Any]:
        query = {"channelId": self.media, "app": self._parts.application, "format": self.wanted.format}
        if self.wanted.kind == "websocket":
            query |= {
                "external_host": "INCOMING",
                "transport": "websocket",
                "encapsulation": "none",
                "connection_type": "server",
            }
        else:
            query |= {
                "external_host": host,
                "transport": "udp",
                "encapsulation": "rtp",
                "connection_type": "client",
            }
        return self._send("POST", "channels/externalMedia", query=query)

    # what others tell

    def _hear(self, event: Event) -> None:
        """Something happened to one of the two channels."""
        channel = event["channel"]["id"]
        if event["type"] == "StasisStart":
            arrival = self._arrivals.get(channel)
            if arrival is not None and not arrival.done():
                arrival.set_result(None)
            elif self.running:
                self._send("POST", f"bridges/{self.bridge}/addChannel", query={"channel": channel})
            return
        if channel == self.tap:
            self._over("", "")
        elif self.wanted.kind == "rtp":
            self._over("EXTERNAL_MEDIA_LOST", "its channel ended")
        elif self._relayed:
            # the WebSocket ended, and the relay is about to say how
            asyncio.get_running_loop().call_later(1.0, self._over, "", "")

    def _tapped(self, request: asyncio.Future[Any]) -> None:
        error = None if request.cancelled() else request.exception()
        if error is not None and not isinstance(error, ari.NotFound):
            self._over("EXTERNAL_MEDIA_LOST", f"Asterisk refused to listen to the call again: {error}")

    def _relay_ended(self, report: Report) -> None:
        reason = report.get("reason") or ""
        log.info(
            "stream_closed",
            call_id=self._key,
            stream_id=str(self.wanted.id),
            by=report.get("by"),
            code=report.get("code"),
            reason=reason,
        )
        self._over(f"EXTERNAL_MEDIA_{reason}" if reason else "", str(report.get("message") or ""))

    def _over(self, reason: str, message: str) -> None:
        """It ended by itself; one that is still being opened fails."""
        if self.closed:
            return
        if not self.running:
            failure = self._failure = StreamFailed(
                reason or "EXTERNAL_MEDIA_LOST", message or "the server closed the connection at once"
            )
            for arrival in self._arrivals.values():
                if not arrival.done():
                    arrival.set_exception(failure)
                    arrival.exception()
            return
        self.close()
        self._ended(self, reason, message)

    # requests

    def _check(self) -> None:
        if self.closed or self.call.ended:
            raise LegGone
        if self._failure is not None:
            raise self._failure

    def _send(self, method: str, uri: str, *, query: dict[str, str]) -> asyncio.Future[Any]:
        return self._parts.client.send(method, uri, query=query, key=self._key)

    def _tell(self, method: str, uri: str) -> None:
        self._parts.client.tell(method, uri, key=self._key, ignore=_GONE)
