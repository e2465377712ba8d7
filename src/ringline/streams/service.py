"""Every stream there is: started and stopped by flows, ended with their calls, found again after a restart."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID

import aiohttp
import structlog

from ringline.calls.call import Call
from ringline.calls.leg import LegError, LegGone
from ringline.calls.notes import FailureNotes
from ringline.media.address_guard import AddressForbidden, AddressGuard
from ringline.media.outbound import GuardedResolver
from ringline.streams import metrics
from ringline.streams.models import StreamFailed, StreamWanted
from ringline.streams.stream import Parts, Stream

log = structlog.get_logger(__name__)

MAX_PER_CALL: Final = 4
MAX_PER_CUSTOMER: Final = 100
MAX_STREAMS: Final = 500
SETTLE_SECONDS: Final = 0.1
"""How long a tap that is gone may still be attached to the call's channel."""
ACTION: Final = "external_media_start"
PART: Final = "streams"
"""Under which they are kept for another life of the controller."""


class Kept(Protocol):
    """A store that outlives the controller (``calls.live_state``)."""

    def keep(self, part: str, key: str, value: dict[str, Any]) -> None: ...

    def drop(self, part: str, key: str) -> None: ...


class Found(Protocol):
    """What there is after a restart (``calls.recovery.Found``)."""

    @property
    def channels(self) -> Mapping[str, Any]: ...

    @property
    def bridges(self) -> Mapping[str, Any]: ...

    def kept(self, part: str) -> dict[str, Any]: ...


class Floors(Protocol):
    """Who has frames sent to a phone that hears nothing, so that a whisper is heard (``calls.background``)."""

    def keep_floor(self, call: Call, name: str) -> None: ...

    def drop_floor(self, call: Call, name: str) -> None: ...

    def entered_bridge(self, channel_id: str) -> None: ...


class RtpHosts:
    """Addresses for RTP: looked up once, checked, and handed to Asterisk as numbers (``stream.Finder``)."""

    def __init__(self, guard: AddressGuard) -> None:
        self._resolver = GuardedResolver(guard)

    async def close(self) -> None:
        await self._resolver.close()

    async def find(self, host: str) -> str:
        name, _, port = host.rpartition(":")
        try:
            found = await self._resolver.resolve(name.strip("[]"), int(port))
        except AddressForbidden as error:
            raise StreamFailed("EXTERNAL_MEDIA_FORBIDDEN", f"{host}: {error}") from error
        except TimeoutError:
            raise StreamFailed("EXTERNAL_MEDIA_TIMEOUT", f"{host}: the name was not resolved") from None
        except (OSError, ValueError, aiohttp.ClientError) as error:
            raise StreamFailed("EXTERNAL_MEDIA_FAILED", f"{host}: the name cannot be resolved") from error
        if not found:
            raise StreamFailed("EXTERNAL_MEDIA_FAILED", f"{host}: the name has no address")
        address = str(found[0]["host"])
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Streams:
    """Streams by call (``flows.actions.services.Streams``)."""

    def __init__(self, parts: Parts, floors: Floors, notes: FailureNotes, kept: Kept | None = None) -> None:
        self._parts = parts
        self._floors = floors
        self._notes = notes
        self._kept = kept
        self._streams: dict[UUID, dict[UUID, Stream]] = {}
        self._customers: Counter[UUID] = Counter()
        self._opening: dict[UUID, asyncio.Task[None]] = {}
        self._tapping: dict[UUID, asyncio.Task[None]] = {}
        self._channels: dict[str, UUID] = {}
        parts.client.on_event("ChannelLeftBridge", self._on_left_bridge)

    async def close(self) -> None:
        """Stop opening. What runs is left to whoever takes the calls over, and what is kept of it stays."""
        for streams in self._streams.values():
            for stream in streams.values():
                stream.leave()
        opening = [*self._opening.values(), *self._tapping.values()]
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)

    def __len__(self) -> int:
        return sum(map(len, self._streams.values()))

    def of(self, call_id: UUID) -> list[Stream]:
        """The streams of one call."""
        return list(self._streams.get(call_id, {}).values())

    async def start(self, call: Call, wanted: StreamWanted) -> None:
        """Start a stream and return when it runs; one that was found again after a restart runs already.

        Raises ``LegError`` or ``LegGone``.
        """
        if wanted.id in self._streams.get(call.id, {}):
            opening = self._opening.get(wanted.id)
            if opening is not None:
                await asyncio.wait({opening})
            return
        if self._full(call):
            raise LegError(
                "EXTERNAL_MEDIA_LIMIT",
                f"a call may have {MAX_PER_CALL} streams at once, a customer {MAX_PER_CUSTOMER}",
            )
        stream = Stream(self._parts, call, wanted, self._ended)
        self._add(stream)
        try:
            await stream.open()
        except StreamFailed as failure:
            metrics.streams.labels(wanted.kind, "failed").inc()
            raise LegError(failure.reason, failure.message) from failure
        finally:
            if not stream.running:
                self._remove(stream)
        metrics.streams.labels(wanted.kind, "started").inc()

    def stop(self, call: Call) -> int:
        """End every stream of a call; how many there were."""
        streams = self.of(call.id)
        for stream in streams:
            stream.close()
            self._remove(stream)
        return len(streams)

    def call_ended(self, call: Call) -> None:
        """The call has its final record (``Switchboard.watchers``)."""
        self.stop(call)

    async def restore(self, found: Found) -> None:
        """Go on after another controller (``calls.recovery.Part``)."""
        present = frozenset({*found.channels, *found.bridges})
        # silence in place of the other party is worse than none
        for name, bridge in found.bridges.items():
            if not name.startswith("stream-"):
                for channel_id in bridge.get("channels", ()):
                    self._floors.entered_bridge(channel_id)
        self.take_over(found.kept(PART), self._parts.channels.live, present)

    def take_over(
        self,
        kept: Mapping[str, Any],
        calls: Callable[[UUID], Call | None],
        present: frozenset[str],
    ) -> None:
        """Go on with what another life of this controller left. ``present``: channels and bridges that Asterisk has.

        A stream of RTP whose parts are all there goes on untouched. Others are begun again: the WebSocket that the
        relay held went with the controller.
        """
        for key, record in list(kept.items()):
            call = calls(UUID(record["call_id"]))
            wanted = StreamWanted.from_json(record["wanted"])
            if call is None or call.ending:
                self._drop(key)
                continue
            stream = Stream(self._parts, call, wanted, self._ended, UUID(record["name"]), record["turn"])
            if wanted.kind == "rtp" and {stream.tap, stream.media, stream.bridge} <= present:
                stream.adopt()
                self._add(stream)
                log.info("stream_found_again", call_id=str(call.id), stream_id=key)
                continue
            stream = Stream(self._parts, call, wanted, self._ended)
            self._add(stream)
            task = asyncio.create_task(self._begin_again(stream), name=f"stream-{key}")
            self._opening[wanted.id] = task
            task.add_done_callback(partial(self._opened, wanted.id))

    # inside

    def _opened(self, stream_id: UUID, _: asyncio.Task[None]) -> None:
        self._opening.pop(stream_id, None)

    async def _begin_again(self, stream: Stream) -> None:
        failure: tuple[str, str] | None = None
        try:
            await stream.open()
            log.info("stream_begun_again", call_id=str(stream.call.id), stream_id=str(stream.wanted.id))
        except StreamFailed as error:
            failure = error.reason, error.message
        except LegGone:
            failure = "", ""
        if failure is not None:
            self._ended(stream, *failure)

    def _full(self, call: Call) -> bool:
        return (
            len(self._streams.get(call.id, {})) >= MAX_PER_CALL
            or self._customers[call.customer_id] >= MAX_PER_CUSTOMER
            or len(self) >= MAX_STREAMS
        )

    def _add(self, stream: Stream) -> None:
        call = stream.call
        self._streams.setdefault(call.id, {})[stream.wanted.id] = stream
        self._channels[call.channel_id] = call.id
        if stream.heard_by_phone:
            self._floors.keep_floor(call, _floor(stream))
        self._customers[call.customer_id] += 1
        metrics.live.set(len(self))
        self._keep(stream)

    def _remove(self, stream: Stream) -> None:
        call = stream.call
        streams = self._streams.get(call.id, {})
        if streams.get(stream.wanted.id) is not stream:
            return
        del streams[stream.wanted.id]
        self._floors.drop_floor(call, _floor(stream))
        if not streams:
            del self._streams[call.id]
            del self._channels[call.channel_id]
        self._customers[call.customer_id] -= 1
        if self._customers[call.customer_id] <= 0:
            del self._customers[call.customer_id]
        metrics.live.set(len(self))
        self._drop(str(stream.wanted.id))

    def _on_left_bridge(self, event: dict[str, Any]) -> None:
        call_id = self._channels.get(event["channel"]["id"])
        if call_id is not None and call_id not in self._tapping:
            task = asyncio.create_task(self._tap_anew(call_id), name=f"tap-{call_id}")
            self._tapping[call_id] = task
            task.add_done_callback(lambda _: self._tapping.pop(call_id, None))

    async def _tap_anew(self, call_id: UUID) -> None:
        """Replace the taps of a call that has left a bridge.

        After that Asterisk hands a channel's old listeners nothing of what it hears, mixes nothing of what they say
        into prompts, and treats every new one alike as long as an old one is left: all go, then all come.
        """
        streams = [stream for stream in self.of(call_id) if stream.running]
        await asyncio.gather(*(stream.untap() for stream in streams))
        await asyncio.sleep(SETTLE_SECONDS)
        for stream in streams:
            if stream.running:
                stream.retap()
                self._keep(stream)

    def _keep(self, stream: Stream) -> None:
        if self._kept is None:
            return
        record = {
            "call_id": str(stream.call.id),
            "name": str(stream.name),
            "turn": stream.turn,
            "wanted": stream.wanted.as_json(),
        }
        self._kept.keep(PART, str(stream.wanted.id), record)

    def _drop(self, key: str) -> None:
        if self._kept is not None:
            self._kept.drop(PART, key)

    def _ended(self, stream: Stream, reason: str, message: str) -> None:
        """A stream ended by itself."""
        self._remove(stream)
        metrics.streams.labels(stream.wanted.kind, "lost" if reason else "closed").inc()
        if reason and not stream.call.ending:
            self._notes.failed(stream.call, stream.wanted.action_id, ACTION, reason, message)


def _floor(stream: Stream) -> str:
    return f"stream-{stream.wanted.id}"
