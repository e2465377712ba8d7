"""What ARI does not tell, from Asterisk's Manager Interface: boots and restarts, security, quality of the audio.

The connection is panoramisk's. What had to be learned about it is kept in one place here:

- a wrong password is no error: ``connect()`` returns and ``authenticated`` stays False;
- an action sent while disconnected never resolves: every one is waited for with a time limit;
- its own reconnect cannot be stopped once it is scheduled, and keeps actions to send them again later: each
  connection gets a ``Manager`` of its own, and reconnecting is done here;
- it does not notice a silent peer: pings with a time limit are sent here;
- it must be connected inside a running loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import panoramisk
import structlog

from .backoff import Backoff
from .errors import AriError, ConnectionLost, RequestTimeout, Unauthorized

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 5.0
PING_EVERY = 3.0
PING_TIMEOUT = 4.0
NEVER = 10**8

SECURITY_EVENTS = frozenset(
    {
        "FailedACL",
        "InvalidAccountID",
        "SessionLimit",
        "MemoryLimit",
        "LoadAverageLimit",
        "RequestNotSupported",
        "RequestNotAllowed",
        "AuthMethodNotAllowed",
        "RequestBadFormat",
        "UnexpectedAddress",
        "ChallengeResponseFailed",
        "InvalidPassword",
        "InvalidTransport",
    }
)
"""Security events that mean trouble. ``SuccessfulAuth`` and ``ChallengeSent`` are everyday life and left out."""


@dataclass(frozen=True, slots=True)
class Boot:
    """Asterisk is fully booted. ``restarted`` says that it is not the process we knew before."""

    restarted: bool
    started: str
    """When this Asterisk started, in its own words (``2026-11-21 22:05:01``)."""
    uptime_seconds: int


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """Somebody was refused. ``remote_address`` is ``IPV4/UDP/192.0.2.1/5060``, as Asterisk writes it."""

    kind: str
    severity: str
    service: str
    account: str
    remote_address: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Quality:
    """One RTCP report of a channel. ``direction`` is ``received`` (what the other side heard of us) or ``sent``.

    ``round_trip_ms`` and ``jitter_ms`` (at the 8 kHz clock of telephone codecs) are milliseconds,
    ``fraction_lost`` is 0 to 1 since the last report, ``lost`` packets since the beginning. None where the
    report does not say.
    """

    channel_id: str
    channel_name: str
    direction: str
    round_trip_ms: float | None
    jitter_ms: float | None
    fraction_lost: float | None
    lost: int | None
    fields: Mapping[str, str]


class _Session(panoramisk.Manager):  # type: ignore[misc]  # panoramisk has no types
    """One connection. ``connect()`` works once: panoramisk calls it again by itself, and cannot be told not to."""

    pinger: asyncio.TimerHandle | None

    def __init__(self, on_lost: Callable[[str], None], **config: Any) -> None:
        super().__init__(ping_delay=NEVER, ping_interval=NEVER, **config)
        self._report_lost = on_lost
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, f: Any) -> None:
        if f.cancelled() or f.exception() is not None:
            self._fail(str(f.exception()) if not f.cancelled() else "given up")
            return
        super().connection_made(f)
        if not self.ready.done():
            self.ready.set_result(None)

    def connection_lost(self, exc: Any) -> None:
        # The protocol calls this with an exception, with None, or with the event "Shutdown".
        self._connected = False
        if self.pinger is not None:
            self.pinger.cancel()
            self.pinger = None
        self._fail(f"connection lost: {exc}" if isinstance(exc, Exception) else "closed by Asterisk")

    def _fail(self, reason: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionLost(reason))
            self.ready.exception()
        self._report_lost(reason)


class AmiMonitor:
    """Stays logged in to the Manager Interface and reports by callbacks, called inline; an exception is logged.

    ``on_boot(Boot)`` after each login once Asterisk is fully booted; ``on_lost(reason)`` when the connection is
    gone; ``on_shutdown()`` when Asterisk says that it ends; ``on_security(SecurityEvent)``;
    ``on_quality(Quality)``; ``on_event(dict)`` for every event.

    The user of ``manager.conf`` needs ``read=system,security,reporting`` and ``write=system,command,reporting``.
    """

    def __init__(
        self,
        host: str,
        port: int,
        username: str,
        secret: str,
        *,
        on_boot: Callable[[Boot], None] | None = None,
        on_lost: Callable[[str], None] | None = None,
        on_shutdown: Callable[[], None] | None = None,
        on_security: Callable[[SecurityEvent], None] | None = None,
        on_quality: Callable[[Quality], None] | None = None,
        on_event: Callable[[dict[str, str]], None] | None = None,
    ) -> None:
        self._config = {"host": host, "port": port, "username": username, "secret": secret}
        self._on_boot = on_boot
        self._on_lost = on_lost
        self._on_shutdown = on_shutdown
        self._on_security = on_security
        self._on_quality = on_quality
        self._on_event = on_event
        self._backoff = Backoff(0.2, 3.0)
        self._session: _Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._started = ""
        self._booted = asyncio.Event()
        self.refused = False
        """Whether the last login was refused for its user name or password."""

    async def start(self, timeout: float | None = 0) -> None:  # noqa: ASYNC109 - 0 means: do not wait
        """Log in, and stay logged in until ``close()``. Waits up to ``timeout`` seconds (0: not at all) for it."""
        if self._task is not None:
            raise RuntimeError("the monitor was started already")
        self._task = asyncio.create_task(self._run(), name="ari-ami")
        if timeout == 0:
            return
        try:
            await asyncio.wait_for(self._booted.wait(), timeout)
        except TimeoutError:
            if self.refused:
                raise Unauthorized("Asterisk refuses this AMI user name and password", status=401) from None
            raise RequestTimeout(f"no fully booted Asterisk over AMI within {timeout} s") from None

    async def close(self) -> None:
        """Log out and end the task."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def booted(self) -> bool:
        """Whether we are logged in to a fully booted Asterisk."""
        return self._booted.is_set()

    async def action(self, name: str, *, seconds: float = 5.0, **fields: str) -> dict[str, str]:
        """Run an AMI action with one answer and return its headers, ``content`` with the text of a command.

        Raises ``ConnectionLost``, ``RequestTimeout``, or ``AriError`` with Asterisk's message.
        """
        session = self._session
        if session is None or not self._booted.is_set():
            raise ConnectionLost("not logged in over AMI", method="AMI", uri=name)
        answer = await self._act(session, {"Action": name, **fields}, seconds)
        if answer.get("Response") not in {"Success", "Follows", "Goodbye", "Pong"}:
            reason = answer.get("content") or answer.get("Message") or "refused"
            raise AriError(reason, status=400, method="AMI", uri=name)
        return answer

    async def command(self, command: str, *, seconds: float = 10.0) -> str:
        """Output of a command of Asterisk's console (``malloc trim``)."""
        answer = await self.action("Command", seconds=seconds, Command=command)
        return answer.get("content", "")

    # -- the task ---------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            def on_lost(reason: str, lost: asyncio.Future[str] = lost) -> None:
                if not lost.done():
                    lost.set_result(reason)

            session = _Session(on_lost, **self._config)
            session.register_event("*", self._received)
            try:
                reason = await self._stay(session, lost)
            except AriError as error:
                reason = error.message
                self.refused = isinstance(error, Unauthorized)
                (log.error if self.refused else log.info)("ami_connect_failed", error=reason)
            except Exception as error:
                # panoramisk meets bytes it does not expect in its own ways; the monitor goes on.
                reason = repr(error)
                log.exception("ami_session_failed")
            finally:
                self._session = None
                was_booted = self._booted.is_set()
                self._booted.clear()
                session.close()
            if was_booted:
                log.warning("ami_connection_lost", reason=reason)
                self._call(self._on_lost, reason)
            await asyncio.sleep(3.0 if self.refused else self._backoff.next())

    async def _stay(self, session: _Session, lost: asyncio.Future[str]) -> str:
        """Log in and keep the connection alive; returns why it ended."""
        connecting = session.connect()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await session.ready
                login = session.authenticated_future
                answer = await login if login is not None else None
        except TimeoutError as error:
            connecting.cancel()
            raise RequestTimeout(f"no login within {CONNECT_SECONDS} s") from error
        if answer is None or not answer.success:
            raise Unauthorized("Asterisk refuses this AMI user name and password", status=401)
        self.refused = False
        self._session = session
        while True:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(lost), PING_EVERY)
            try:
                await self._act(session, {"Action": "Ping"}, PING_TIMEOUT)
            except RequestTimeout:
                return f"Asterisk answers no ping within {PING_TIMEOUT} s"
            if not self._booted.is_set():
                # FullyBooted came before we could see it, or Asterisk is still on its way.
                await self._identify(session, uptime=0)

    async def _identify(self, session: _Session, uptime: int) -> None:
        """Find out which process this is, and tell ``on_boot``."""
        try:
            status = await self._act(session, {"Action": "CoreStatus"}, PING_TIMEOUT)
        except AriError as error:
            log.info("ami_status_failed", error=str(error))
            return
        started = f"{status.get('CoreStartupDate', '')} {status.get('CoreStartupTime', '')}".strip()
        if not started or self._booted.is_set():
            return
        restarted = self._started not in {"", started}
        self._started = started
        self._backoff.reset()
        self._booted.set()
        log.info("ami_booted", started=started, restarted=restarted, uptime_seconds=uptime)
        self._call(self._on_boot, Boot(restarted, started, uptime))

    async def _act(self, session: _Session, fields: dict[str, str], seconds: float) -> dict[str, str]:
        name = fields["Action"]
        try:
            answer = await asyncio.wait_for(session.send_action(fields), seconds)
        except TimeoutError as error:
            raise RequestTimeout(f"no answer in {seconds} s", method="AMI", uri=name) from error
        if isinstance(answer, list):
            answer = answer[0]
        return _headers(answer)

    # -- events -----------------------------------------------------------------------------------------------

    def _received(self, manager: Any, message: Any) -> Any:
        event = _headers(message)
        kind = event.get("Event", "")
        if kind == "FullyBooted" and self._session in {None, manager}:
            # panoramisk runs a returned coroutine as a task.
            return self._identify(manager, int(event.get("Uptime") or 0))
        if kind == "Shutdown":
            self._call(self._on_shutdown)
        elif kind in SECURITY_EVENTS:
            self._call(self._on_security, _security(event))
        elif kind in {"RTCPReceived", "RTCPSent"}:
            self._call(self._on_quality, _quality(event))
        self._call(self._on_event, event)
        return None

    def _call(self, callback: Callable[..., None] | None, *args: Any) -> None:
        if callback is None:
            return
        try:
            callback(*args)
        except Exception:
            log.exception("ami_handler_failed", handler=repr(callback))


def _headers(message: Any) -> dict[str, str]:
    """The headers of a message; the lines of a command's output, which repeat one header, as ``content``."""
    headers: dict[str, str] = {}
    for name, value in message.items():
        if str(name).lower() == "output":
            headers["content"] = "\n".join(value) if isinstance(value, list | tuple) else str(value)
        elif isinstance(value, str) and (value or str(name) != "content"):
            headers[str(name)] = value
    return headers


def _security(event: Mapping[str, str]) -> SecurityEvent:
    return SecurityEvent(
        kind=event.get("Event", ""),
        severity=event.get("Severity", ""),
        service=event.get("Service", ""),
        account=event.get("AccountID", ""),
        remote_address=event.get("RemoteAddress", ""),
        fields=event,
    )


def _quality(event: Mapping[str, str]) -> Quality:
    """A report has blocks ``Report0...``; RTCP counts lost fractions in 256ths and jitter in samples (RFC 3550)."""
    rtt = _number(event.get("RTT"))
    fraction = _number(event.get("Report0FractionLost"))
    jitter = _number(event.get("Report0IAJitter"))
    lost = _number(event.get("Report0CumulativeLost"))
    return Quality(
        channel_id=event.get("Uniqueid", ""),
        channel_name=event.get("Channel", ""),
        direction="received" if event.get("Event") == "RTCPReceived" else "sent",
        round_trip_ms=None if rtt is None else rtt * 1000,
        jitter_ms=None if jitter is None else jitter / 8,
        fraction_lost=None if fraction is None else fraction / 256,
        lost=None if lost is None else int(lost),
        fields=event,
    )


def _number(value: str | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None
