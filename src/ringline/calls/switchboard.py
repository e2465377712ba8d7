"""The switchboard: every live call, the channel it has, and what Asterisk's events make of it.

It runs on one event loop and owns its calls: state changes are made here and nowhere else, synchronously, in the
order in which the events came. Nothing in here waits for a database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID

import structlog

from ringline import ari
from ringline.calls import metrics
from ringline.calls.ari_leg import AriLeg, Detector, Recorder
from ringline.calls.call import Call
from ringline.calls.journal import Journal
from ringline.calls.leg import Connected, Left, Notes, Wanted
from ringline.calls.line import CallHooks, LegHooks, Line, Start, Unclaimed
from ringline.calls.states import UNANSWERED, Direction, MuteDirection, Status, local_ending
from ringline.calls.tally import Tally
from ringline.clock import Clock
from ringline.sip.cause import Cause, known

log = structlog.get_logger(__name__)

CHANNEL_PREFIX = "call-"
"""Channels that we place are named after their call, so that they can be told from others after a restart."""
DIALS = 3
"""How often a channel may say that it cannot be dialled yet."""
_NOT_YET = (404, 409)
VANISHED_SECONDS = 2.0
"""How long the end of a channel may take to be reported once Asterisk said that there is no such channel."""


class Connector(Protocol):
    """Who connects a call with others (``calls.connection``)."""

    async def connect(self, leg: AriLeg, wanted: Wanted, notes: Notes | None = None) -> Connected: ...


class EchoesBack(Protocol):
    """Who lets a party hear itself (``calls.echo``)."""

    async def echo(self, leg: AriLeg, seconds: float) -> None: ...


class Muting(Protocol):
    """Who mutes calls (``calls.control``)."""

    async def mute(self, call: Call, direction: MuteDirection) -> None: ...


class Gatherer(Protocol):
    """Who puts calls into bridges that they share with others (``calls.membership``)."""

    async def join(self, leg: AriLeg, name: str, joined: Callable[[], None] | None = None) -> Left: ...


class Metering(Protocol):
    """Who has calls paid (``charging.meters``). Called inside events; looks only into memory."""

    def begun(self, call: Call) -> str:
        """A call is about to be placed, or was let in. Why it may not begin, ``""`` where it may."""

    def answered(self, call: Call) -> None: ...


class Free:
    """Nobody pays."""

    def begun(self, call: Call) -> str:
        return ""

    def answered(self, call: Call) -> None:
        pass


class Arrivals(Protocol):
    """Who decides what becomes of an incoming channel (``calls.inbound``)."""

    def admit(self, channel: dict[str, Any], args: list[str]) -> Call | Cause:
        """A call to run, or the cause to refuse the channel with."""


class Switchboard:
    """Live calls by id and by channel."""

    def __init__(
        self,
        client: ari.Client,
        journal: Journal,
        clock: Clock,
        *,
        application: str,
        dial_timeout: float,
        max_duration: float,
    ) -> None:
        self._client = client
        self._journal = journal
        self._clock = clock
        self._application = application
        self._dial_timeout = dial_timeout
        self._max_duration = max_duration
        self._lines: dict[UUID, Line] = {}
        self._channels: dict[str, Line] = {}
        self.tally = Tally()
        self._subscriptions: list[ari.Subscription] = []
        self._empty = asyncio.Event()
        self._empty.set()
        self.hooks: CallHooks
        self.arrivals: Arrivals
        self.connector: Connector
        self.muting: Muting
        self.gatherings: Gatherer
        self.echoes: EchoesBack
        self.recorder: Recorder
        self.detector: Detector
        self.metering: Metering = Free()
        self.auxiliary: dict[str, Callable[[dict[str, Any]], None]] = {}
        """Channels that are no calls (recorders, media streams, partners of an echo), by id: who hears of their
        ``StasisStart``, ``StasisEnd`` and ``ChannelDestroyed``. Whoever adds one takes it out again."""
        self._held: list[Line] | None = None
        self._past: dict[UUID, Call] = {}
        self.watchers: list[Callable[[Call], None]] = []
        """Who is told of every call that has its final record, besides its hooks. Called synchronously."""

    # life

    def start(self) -> None:
        """Listen to Asterisk's events."""
        handlers = {
            "StasisStart": self._on_stasis_start,
            "StasisEnd": self._on_stasis_end,
            "Dial": self._on_dial,
            "ChannelStateChange": self._on_state_change,
            "ChannelHangupRequest": self._on_hangup_request,
            "ChannelDestroyed": self._on_destroyed,
            "ChannelDtmfReceived": self._on_digit,
            "PlaybackFinished": self._on_playback_finished,
        }
        self._subscriptions = [self._client.on_event(name, handler) for name, handler in handlers.items()]

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        for line in self._lines.values():
            line.stop_timers()

    # looking

    def __len__(self) -> int:
        return len(self._lines)

    async def emptied(self) -> None:
        """Return when no call lasts."""
        await self._empty.wait()

    def live(self, call_id: UUID) -> Call | None:
        """The call while it lasts."""
        line = self._lines.get(call_id)
        return None if line is None else line.call

    def past(self, call_id: UUID) -> Call | None:
        """The final record of a call of a former controller that ended before its flow or its owner went on."""
        return self._past.get(call_id)

    def leg_of(self, call_id: UUID) -> AriLeg | None:
        """The leg of a call while it lasts."""
        line = self._lines.get(call_id)
        return None if line is None else line.leg

    def calls(self) -> list[Call]:
        """Every live call."""
        return [line.call for line in self._lines.values()]

    def lines(self) -> list[Line]:
        """Every live call, for whoever reconciles or counts."""
        return list(self._lines.values())

    def line(self, call_id: UUID) -> Line | None:
        """A live call with its leg."""
        return self._lines.get(call_id)

    def line_on(self, channel_id: str) -> Line | None:
        """The live call that has this channel."""
        return self._channels.get(channel_id)

    def known_channel(self, channel_id: str) -> bool:
        return channel_id in self._channels or channel_id in self.auxiliary

    # taking over from a former controller (``calls.recovery``)

    def hold(self) -> None:
        """From now on no flow begins, until ``release``: what is to go on is being put together."""
        self._held = []

    def release(self) -> int:
        """Begin, or go on with, what waits; how many there were."""
        held, self._held = dict.fromkeys(self._held or []), None
        for line in held:
            self._begin(line)
        return sum(line.started for line in held)

    def restore(self, kept: dict[str, Any]) -> Line:
        """A line as ``Line.kept`` has it. Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is none."""
        call = Call.from_row(kept["call"])
        start, own = Start(kept["start"]), bool(kept["own"])
        started, placed, dialled = kept["started"], kept["placed"], kept["dialled"]
        # one that waited for its turn began when that came
        began = (call.tm_dialing or call.tm_create).timestamp()
        until, dial_until = kept["until"], kept["dial_until"]
        until = began + self._max_duration if until is None else float(until)
        dial_until = began + self._dial_timeout if dial_until is None else float(dial_until)
        line = self._add(call, Unclaimed() if own else None, until=until)
        line.leg.restore(kept["leg"])
        line.start, line.placed, line.dialled = start, placed, dialled
        line.entered = placed
        if dial_until and call.direction is Direction.OUTGOING and call.status in UNANSWERED:
            self._limit_dialling(line, dial_until)
        if started:
            self._begin(line)
        return line

    def claim(self, call_id: UUID, hooks: LegHooks) -> Line | None:
        """Take over a line whose owner lived in a former controller. ``None`` where the call has ended: see ``past``.

        What happened before is not told again: the call's status says it.
        """
        line = self._lines.get(call_id)
        if line is None or not isinstance(line.hooks, Unclaimed):
            return None
        line.belongs_to(hooks)
        return line

    def forget_past(self) -> None:
        """Nobody will ask any more how a call of the former controller ended."""
        self._past.clear()

    def unclaimed(self) -> list[Line]:
        """Lines that nobody has taken over."""
        return [line for line in self._lines.values() if isinstance(line.hooks, Unclaimed)]

    def gone(self, line: Line, cause: int, detail: str) -> None:
        """The channel ended while nobody listened: make the final record, as if its end had been told now."""
        line.call.hangup_detail = line.call.hangup_detail or detail
        self._finish(line, cause)

    def found_ringing(self, line: Line) -> None:
        """Asterisk says that the other side rings."""
        self._ringing(line)

    def found_created(self, line: Line) -> None:
        """Asterisk has the channel and has not begun to dial it, for all we know."""
        self._dial_created(line)

    def arrived(self, channel: dict[str, Any], args: list[str]) -> None:
        """A channel waits in Stasis whose arrival nobody heard of."""
        if not self.known_channel(channel["id"]):
            self._arrive(channel, args)

    # doing

    def dial(
        self,
        call: Call,
        endpoint: str,
        variables: dict[str, str],
        *,
        hooks: LegHooks | None = None,
        start: Start = Start.ON_ANSWER,
    ) -> None:
        """Place an outgoing call whose record is stored. Never raises: a call that cannot be placed ends.

        ``hooks`` hears of this call instead of ``self.hooks``.
        """
        refused = self.metering.begun(call)
        now = self._clock.now()
        call.tm_dialing = call.tm_dialing or now
        line = self._add(call, hooks)
        line.start = start
        if refused:
            # whoever places it is told of its end as of any other, and not before it has been placed
            line.dialled = True
            asyncio.get_running_loop().call_soon(self.lost, line, refused)
            return
        self._limit_dialling(line, now.timestamp() + self._dial_timeout)
        self._journal.touch_live(call)
        # Created and then dialled: such a channel is in Stasis from its first moment, so that an answer finds it
        # there even while no controller listens. One that is originated would be hung up by its answer.
        request = self._client.send(
            "POST",
            "channels/create",
            body={
                "endpoint": endpoint,
                "app": self._application,
                "appArgs": "outbound",
                "channelId": call.channel_id,
                "variables": variables,
            },
            key=str(call.id),
        )
        request.add_done_callback(lambda done: self._created(line, done))
        self._dial_created(line)

    def hang_up(self, call: Call, cause: int = Cause.NORMAL_CLEARING) -> bool:
        """End a call from our side. ``False`` where it is ending already; asking twice is no fault."""
        line = self._lines.get(call.id)
        if line is None or call.ending:
            return False
        call.advance(local_ending(call.direction, call.status), self._clock.now())
        self._journal.touch(call)
        self._drop_channel(line, cause)
        return True

    def answered_elsewhere(self, call: Call) -> None:
        """Withdraw a call because another one was answered: its phone shows no missed call (Q.850 cause 26)."""
        line = self._lines.get(call.id)
        if line is None or call.ending or call.end_cause is not None:
            return
        if call.status is Status.PROGRESSING:
            self.hang_up(call, Cause.ANSWERED_ELSEWHERE)
            return
        call.end_cause = int(Cause.ANSWERED_ELSEWHERE)
        self._journal.touch_live(call)
        self._drop_channel(line, Cause.ANSWERED_ELSEWHERE)

    def lost(self, line: Line, detail: str) -> None:
        """The channel is gone and nobody said how: make a final record that says so."""
        if line.call.ending:
            self._finish(line, Cause.NORMAL_CLEARING)
        elif line.call.end_broken(self._clock.now(), detail):
            self._remove(line)

    def drop_again(self, line: Line) -> None:
        """The channel of a call that is ending still lives: the request to end it was lost."""
        self._drop_channel(line, Cause.NORMAL_CLEARING)

    def found_up(self, line: Line) -> None:
        """Asterisk says that the channel is up: catch up with an answer that was missed."""
        self._answered(line)

    # events, in reader order

    def _on_stasis_start(self, event: dict[str, Any]) -> None:
        channel = event["channel"]
        line = self._channels.get(channel["id"])
        if line is not None:
            line.placed = line.entered = True
            line.call.sip_call_id = line.call.sip_call_id or channel.get("protocol_id", "")
            if line.call.direction is Direction.OUTGOING:
                if channel.get("state") == "Up":
                    self._answered(line)
                else:
                    self._dial_created(line)
            return
        if self._is_auxiliary(event):
            return
        args = event.get("args") or []
        if args[:1] == ["inbound"]:
            self._arrive(channel, args[1:])
            return
        log.warning("unknown_channel", channel_id=channel["id"], args=args[:1])
        self._client.tell("DELETE", f"channels/{ari.quote(channel['id'])}")

    def _is_auxiliary(self, event: dict[str, Any]) -> bool:
        hear = self.auxiliary.get(event["channel"]["id"])
        if hear is None:
            return False
        hear(event)
        return True

    def _on_stasis_end(self, event: dict[str, Any]) -> None:
        if self._is_auxiliary(event):
            return
        line = self._channels.get(event["channel"]["id"])
        # an outgoing channel's own end, with its cause, follows as ChannelDestroyed
        if line is not None and line.call.direction is Direction.INCOMING:
            self._finish(line, line.remote_cause)

    def _on_dial(self, event: dict[str, Any]) -> None:
        line = self._channels.get((event.get("peer") or {}).get("id", ""))
        if line is None:
            return
        line.placed = True
        state = event.get("dialstatus")
        if state == "RINGING":
            self._ringing(line)
        elif state == "PROGRESS":
            if line.start is Start.WITH_MEDIA and line.early is not None and not line.call.ending:
                line.early(line.call)
        elif state == "ANSWER":
            self._answered(line)

    def _on_state_change(self, event: dict[str, Any]) -> None:
        channel = event["channel"]
        line = self._channels.get(channel["id"])
        if line is not None and channel.get("state") == "Up":
            self._answered(line)

    def _on_hangup_request(self, event: dict[str, Any]) -> None:
        line = self._channels.get(event["channel"]["id"])
        if line is None:
            return
        line.leg.leaving = True
        if not event.get("soft"):
            line.remote_cause = known(int(event.get("cause") or Cause.NORMAL_CLEARING))

    def _on_destroyed(self, event: dict[str, Any]) -> None:
        if self._is_auxiliary(event):
            return
        line = self._channels.get(event["channel"]["id"])
        if line is not None:
            self._finish(line, known(int(event.get("cause") or 0)), sip_code=_sip_code(event))

    def _on_digit(self, event: dict[str, Any]) -> None:
        line = self._channels.get(event["channel"]["id"])
        if line is not None:
            line.leg.digit_received(event["digit"])
            self._journal.touch_live(line.call)

    def _on_playback_finished(self, event: dict[str, Any]) -> None:
        playback = event["playback"]
        line = self._channels.get(playback.get("target_uri", "").removeprefix("channel:"))
        if line is not None:
            line.leg.playback_finished(playback["id"], playback.get("state", "done"))

    # steps

    def _add(self, call: Call, hooks: LegHooks | None = None, *, until: float | None = None) -> Line:
        """``until``: when the call ends at the latest, where that was decided before."""
        leg = AriLeg(call, self._client, self, self._clock)
        line = Line(call, leg, self._clock.monotonic(), hooks or self.hooks)
        if hooks is not None:
            line.own = True
            line.belongs_to(hooks)
        self._lines[call.id] = self._channels[call.channel_id] = line
        self.tally.add(call)
        self._empty.clear()
        now = self._clock.now().timestamp()
        if until is None:
            until = now + self._max_duration
            metrics.started(call.direction.value).inc()
        line.until = until
        line.duration_timer = asyncio.get_running_loop().call_later(
            max(0.0, until - now), self._duration_expired, line
        )
        return line

    def _limit_dialling(self, line: Line, until: float) -> None:
        line.dial_until = until
        line.dial_timer = asyncio.get_running_loop().call_later(
            max(0.0, until - self._clock.now().timestamp()), self._dial_expired, line
        )

    def _arrive(self, channel: dict[str, Any], args: list[str]) -> None:
        admitted = self.arrivals.admit(channel, args)
        if isinstance(admitted, Cause):
            self._client.tell(
                "DELETE", f"channels/{ari.quote(channel['id'])}", query={"reason_code": int(admitted)}
            )
            return
        if self.metering.begun(admitted):
            self._client.tell(
                "DELETE",
                f"channels/{ari.quote(channel['id'])}",
                query={"reason_code": int(Cause.SWITCH_CONGESTION)},
            )
            return
        line = self._add(admitted)
        line.placed = True
        self._journal.touch(admitted)
        self._begin(line)

    def _begin(self, line: Line) -> None:
        """Start the call's flow, once, unless the call is already on its way out."""
        if line.started or line.overdue:
            return
        if self._held is not None:
            self._held.append(line)
            return
        line.started = True
        line.hooks.call_ready(line.call, line.leg)

    def _ringing(self, line: Line) -> None:
        if line.call.advance(Status.RINGING, self._clock.now()):
            self._journal.touch(line.call)
            if line.ringing is not None and not line.overdue:
                line.ringing(line.call)
            if line.start is Start.ON_RINGING:
                self._begin(line)

    def _answered(self, line: Line) -> None:
        self._progress(line)
        self._begin(line)

    def _dial_created(self, line: Line) -> None:
        """Dial the channel that was created, right behind that request: the answer to it need not be waited for."""
        if line.dialled or line.overdue:
            return
        line.dialled = True
        request = self._client.send(
            "POST",
            f"channels/{ari.quote(line.call.channel_id)}/dial",
            # the timer of ours rules; Asterisk's is the net under it
            query={"timeout": self._net_seconds()},
            key=str(line.call.id),
        )
        request.add_done_callback(lambda done: self._dial_answered(line, done))

    def _net_seconds(self) -> int:
        return int(self._dial_timeout) + 10

    def _dial_answered(self, line: Line, request: asyncio.Future[Any]) -> None:
        if request.cancelled() or line.call.ended:
            return
        error = request.exception()
        if error is None:
            metrics.dial_seconds.observe(self._clock.monotonic() - line.began)
        elif isinstance(error, ari.Unanswered):
            # Asterisk may have taken it: whoever reconciles finds out.
            log.warning("dial_unanswered", call_id=str(line.call.id), error=str(error))
            self._watch_end(line)
        elif line.dials < DIALS and isinstance(error, ari.AriError) and error.status in _NOT_YET:
            # the channel is made, but on its way into Stasis still: it says so itself when it has arrived
            line.dialled = False
            line.dials += 1
            if line.entered:
                self._dial_created(line)
        else:
            log.warning("dial_refused", call_id=str(line.call.id), error=str(error))
            line.call.hangup_detail = f"Asterisk refused to place the call: {error}"
            self._drop_channel(line, Cause.NORMAL_TEMPORARY_FAILURE)

    def _progress(self, line: Line) -> None:
        if line.call.end_cause is not None:
            return  # we have given it up: an answer that crosses our hang-up changes nothing
        if not line.call.advance(Status.PROGRESSING, self._clock.now()):
            return
        line.dial_until = 0.0
        if line.dial_timer is not None:
            line.dial_timer.cancel()
        if line.call.direction is Direction.OUTGOING:
            metrics.setup_seconds.observe(self._clock.monotonic() - line.began)
        self.metering.answered(line.call)
        self._journal.touch(line.call)

    def _created(self, line: Line, request: asyncio.Future[Any]) -> None:
        if request.cancelled():
            return
        error = request.exception()
        if error is None:
            line.placed = True
            channel = request.result()
            if isinstance(channel, dict):
                line.call.sip_call_id = line.call.sip_call_id or channel.get("protocol_id", "")
        elif isinstance(error, ari.Unanswered):
            log.warning("dial_unanswered", call_id=str(line.call.id), error=str(error))
            self._watch_end(line)
        else:
            log.warning("dial_refused", call_id=str(line.call.id), error=str(error))
            self.lost(line, f"Asterisk refused to place the call: {error}")

    def _dial_expired(self, line: Line) -> None:
        """Nobody answered within our own dial timeout: the reason will be ``dialout``."""
        if line.call.ending or line.call.status is Status.PROGRESSING:
            return
        line.call.end_cause = int(Cause.UNKNOWN)
        self._journal.touch_live(line.call)
        self._drop_channel(line, Cause.NO_ANSWER)

    def _duration_expired(self, line: Line) -> None:
        if not line.call.ending:
            log.info("call_duration_exceeded", call_id=str(line.call.id))
            line.call.end_cause = int(Cause.CALL_DURATION_TIMEOUT)
            self.hang_up(line.call)

    def _drop_channel(self, line: Line, cause: int) -> None:
        request = self._client.send(
            "DELETE",
            f"channels/{ari.quote(line.call.channel_id)}",
            query={"reason_code": int(cause)},
            key=str(line.call.id),
        )
        request.add_done_callback(lambda _: self._watch_end(line))

    def _watch_end(self, line: Line) -> None:
        """An end was asked for: look after a moment whether it came."""
        if line.call.ended or line.end_check is not None:
            return
        line.end_check = asyncio.get_running_loop().call_later(VANISHED_SECONDS, self._check_end, line)

    def _check_end(self, line: Line) -> None:
        line.end_check = None
        if line.call.ended:
            return
        request = self._client.send(
            "GET", f"channels/{ari.quote(line.call.channel_id)}", key=str(line.call.id)
        )
        request.add_done_callback(lambda done: self._end_checked(line, done))

    def _end_checked(self, line: Line, request: asyncio.Future[Any]) -> None:
        if line.call.ended or request.cancelled():
            return
        error = request.exception()
        if isinstance(error, ari.NotFound):
            if line.call.end_cause is not None:
                self._finish(line, line.call.end_cause)
            else:
                self.lost(line, "Asterisk has no such channel")
        elif error is not None:
            self._watch_end(line)
        elif line.overdue:
            self._drop_channel(line, Cause.NORMAL_CLEARING)

    def _finish(self, line: Line, cause: int, *, sip_code: int = 0) -> None:
        if line.call.end(cause, self._clock.now(), sip_code=sip_code):
            self._remove(line)

    def _remove(self, line: Line) -> None:
        """The call has its final record: forget the line and tell everybody."""
        call = line.call
        line.stop_timers()
        if self._lines.pop(call.id, None) is not None:
            self.tally.remove(call)
        self._channels.pop(call.channel_id, None)
        if not self._lines:
            self._empty.set()
        if self._held is not None or isinstance(line.hooks, Unclaimed):
            self._past[call.id] = call
        line.leg.ended()
        self._journal.touch(call)
        metrics.ended(call.direction.value, call.hangup_reason.value).inc()
        self._end_chained(call.chained_call_ids)
        line.hooks.call_ended(call)
        for watcher in list(self.watchers):
            watcher(call)

    def _end_chained(self, call_ids: Sequence[UUID]) -> None:
        """Calls end with the call that they were made for."""
        for call_id in call_ids:
            line = self._lines.get(call_id)
            if line is not None and line.call.end_cause is None:
                self.hang_up(line.call)


def _sip_code(event: dict[str, Any]) -> int:
    code = event.get("tech_cause")
    return code if isinstance(code, int) and 100 <= code <= 699 else 0
